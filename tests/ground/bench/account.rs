//! An AWS account to measure against: a strict double, in a process of its own where its CPU and memory must not mix with
//! anybody else's.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use futures::stream::{FuturesUnordered, StreamExt};
use jiff::SignedDuration;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::usage::Usage;
use crate::double::{Account as AccountId, Config, CredentialReport, DoubleServer, Rate, Settings, Throttle};
use crate::moto::{Account as Credentials, Partition};
use crate::operator::get;
use crate::processes::{Process, Spec};

/// Calls under way at once when the double's own ceiling is measured.
const CEILING_CLIENTS: usize = 32;
/// Room for the operator's own identity and for the users that come beside the measured ones.
const SPARE: usize = 300;

/// How long each session lasts. The measured users have none.
pub(super) const SESSION_LIFE: SignedDuration = SignedDuration::from_secs(16);

/// Calls so far, by operation.
pub type Calls = BTreeMap<String, u64>;

/// An account, and a look behind its scenes.
#[derive(Debug)]
pub struct Account {
    /// Its administrator.
    pub admin: Credentials,
    control: Control,
}

#[derive(Debug)]
enum Control {
    Here(DoubleServer),
    Process { process: Process, port: u16 },
}

/// What a double's process says of itself, in its first line.
#[derive(Serialize, Deserialize)]
struct Hello {
    admin: Credentials,
    control: u16,
}

/// How many calls a second the double answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ceiling {
    /// As seen by one client on the same machine, which shares its cores.
    pub calls_per_second: f64,
    /// For each second of the double's own CPU time; absent where it runs in this process.
    pub calls_per_cpu_second: Option<f64>,
}

fn config(number: u8, users: usize) -> Config {
    let settings = Settings {
        seed: u64::from(number),
        users_per_account: users + SPARE,
        policies_per_account: users + SPARE,
        session_life: Some(SESSION_LIFE),
        // A peer may compare the text and write again what says the same; AWS gives it back as it was written.
        reorder_documents: false,
        // As short as the intervals are.
        credential_report: CredentialReport {
            takes: SignedDuration::ZERO,
            again: SignedDuration::ZERO,
            ..Settings::default().credential_report
        },
        ..Settings::default()
    };
    let account = AccountId { id: (100_000_000_000_u64 + u64::from(number)).to_string(), partition: "aws".into() };
    Config { account, settings, ..Config::default() }
}

fn credentials(double: &DoubleServer) -> Credentials {
    let admin = double.admin();
    Credentials {
        endpoint: double.endpoint(),
        partition: Partition::Aws,
        access_key_id: admin.access_key_id,
        secret_access_key: admin.secret_access_key,
    }
}

fn calls(double: &DoubleServer) -> Calls {
    double.with(|world| {
        let counts = world.history().counts().iter().map(|(call, count)| (call.as_str().to_owned(), *count)).collect();
        // Only the counts are of use here, and a million calls would fill the memory.
        world.history_mut().forget_calls();
        counts
    })
}

fn throttled(double: &DoubleServer) -> u64 {
    double.with(|world| world.history().throttled())
}

/// Lets so many calls of IAM a second through, and as many at once; 0 lets all through.
fn limit(double: &DoubleServer, per_second: u32) {
    let rate = f64::from(per_second);
    let account = (per_second > 0).then_some(Rate { burst: rate, per_second: rate });
    double.with(|world| {
        if let Some(iam) = world.account_mut(&double.account().id) {
            iam.settings_mut().throttle = Throttle { account, ..Throttle::default() };
        }
    });
}

impl Account {
    /// The account of that number in this process.
    ///
    /// # Errors
    /// Where its port cannot be had.
    pub async fn here(number: u8, users: usize) -> Result<Self> {
        let double = DoubleServer::start(config(number, users)).await?;
        Ok(Self { admin: credentials(&double), control: Control::Here(double) })
    }

    /// The same in a process of its own: `program` calls [`serve`] when it is given `double <number> <users>`.
    ///
    /// # Errors
    /// Where the process does not come up.
    pub async fn process(program: &Path, folder: &Path, number: u8, users: usize) -> Result<Self> {
        let mut process = Spec::new("the double", program, folder.join(format!("double-{number}.log")))
            .args(["double".to_owned(), number.to_string(), users.to_string()])
            .piped()
            .spawn()?;
        let pipe = process.take_stdout().context("the double has no output")?;
        let line = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            BufReader::new(pipe).read_line(&mut line).map(|_| line)
        });
        let line =
            tokio::time::timeout(Duration::from_secs(30), line).await.context("the double says nothing")???;
        let hello: Hello = serde_json::from_str(&line).with_context(|| format!("the double said {line:?}"))?;
        Ok(Self { admin: hello.admin, control: Control::Process { process, port: hello.control } })
    }

    /// The calls so far.
    ///
    /// # Errors
    /// Where the double does not answer.
    pub async fn calls(&self) -> Result<Calls> {
        match &self.control {
            Control::Here(double) => Ok(calls(double)),
            Control::Process { port, .. } => Ok(serde_json::from_str(&get(*port, "/calls").await?)?),
        }
    }

    /// How many calls it has refused as throttled so far.
    ///
    /// # Errors
    /// Where the double does not answer.
    pub async fn throttled(&self) -> Result<u64> {
        match &self.control {
            Control::Here(double) => Ok(throttled(double)),
            Control::Process { port, .. } => Ok(serde_json::from_str(&get(*port, "/throttled").await?)?),
        }
    }

    /// From now on, the account takes no more calls of IAM than so many a second; 0 is no limit.
    ///
    /// # Errors
    /// Where the double does not answer.
    pub async fn limit(&self, per_second: u32) -> Result<()> {
        match &self.control {
            Control::Here(double) => limit(double, per_second),
            Control::Process { port, .. } => drop(get(*port, &format!("/limit/{per_second}")).await?),
        }
        Ok(())
    }

    /// Its process, where it has one.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        match &self.control {
            Control::Here(_) => None,
            Control::Process { process, .. } => Some(process.id()),
        }
    }

    /// Makes the account dark, or light again: connections are taken, and nobody answers.
    ///
    /// # Errors
    /// Where it has no process of its own, or that has ended.
    pub fn set_dark(&mut self, dark: bool) -> Result<()> {
        match &mut self.control {
            Control::Here(_) => anyhow::bail!("only a double with a process of its own can be made dark"),
            Control::Process { process, .. } => process.signal(if dark { Signal::STOP } else { Signal::CONT }),
        }
    }

    /// How many IAM users there are.
    ///
    /// # Errors
    /// Where IAM does not answer.
    pub async fn users(&self) -> Result<usize> {
        let iam = self.admin.iam();
        let mut pages = iam.list_users().into_paginator().send();
        let mut count = 0;
        while let Some(page) = pages.next().await {
            count += page?.users.len();
        }
        Ok(count)
    }

    /// Asks as much as it can for `duration`.
    ///
    /// # Errors
    /// Where a call fails.
    pub async fn ceiling(&self, duration: Duration) -> Result<Ceiling> {
        let iam = self.admin.iam();
        let before = self.process_id().map(Usage::of).transpose()?;
        let started = Instant::now();
        let ask = || async {
            let mut count = 0_u32;
            while started.elapsed() < duration {
                iam.list_users().max_items(1).send().await?;
                count += 1;
            }
            anyhow::Ok(count)
        };
        let mut clients: FuturesUnordered<_> = (0..CEILING_CLIENTS).map(|_| ask()).collect();
        let mut count = 0.0;
        while let Some(asked) = clients.next().await {
            count += f64::from(asked?);
        }
        let calls_per_second = count / started.elapsed().as_secs_f64();
        let after = self.process_id().map(Usage::of).transpose()?;
        let calls_per_cpu_second =
            before.zip(after).map(|(before, after)| count / (after.cpu_seconds - before.cpu_seconds));
        Ok(Ceiling { calls_per_second, calls_per_cpu_second })
    }
}

/// What the control port says of a path, or does at it.
fn answer(double: &DoubleServer, path: &str) -> Result<String> {
    Ok(match path.strip_prefix("/limit/") {
        Some(per_second) => {
            limit(double, per_second.parse()?);
            String::new()
        }
        None if path == "/throttled" => throttled(double).to_string(),
        None => serde_json::to_string(&calls(double))?,
    })
}

/// Serves a double and the counts of its calls until the process ends; says where in its first line.
///
/// # Errors
/// Where a port cannot be had.
pub async fn serve(number: u8, users: usize) -> Result<()> {
    let double = DoubleServer::start(config(number, users)).await?;
    let control = TcpListener::bind(("127.0.0.1", 0)).await?;
    let hello = Hello { admin: credentials(&double), control: control.local_addr()?.port() };
    writeln!(std::io::stdout(), "{}", serde_json::to_string(&hello)?)?;
    let mut forget = tokio::time::interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            accepted = control.accept() => {
                let (mut stream, _) = accepted?;
                let mut request = [0; 1024];
                let length = stream.read(&mut request).await?;
                let request = String::from_utf8_lossy(&request[..length]);
                let body = answer(&double, request.split(' ').nth(1).context("an empty request")?)?;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await?;
            }
            _ = forget.tick() => drop(calls(&double)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::eventually;

    #[tokio::test]
    async fn an_account_takes_no_more_calls_than_its_limit_and_counts_those_that_it_refuses() {
        let double = DoubleServer::start(config(12, 10)).await.unwrap();
        assert_eq!(double.account().id.len(), 12, "as of the first nine");
        let account = Account { admin: credentials(&double), control: Control::Here(double) };
        account.limit(1).await.unwrap();
        let iam = account.admin.iam();
        for _ in 0..2 {
            // The client tries again what is throttled, but not for as long as it may take.
            eventually("the account to take it", Duration::from_secs(60), async || Ok(iam.list_users().send().await?))
                .await
                .unwrap();
        }
        let refused = account.throttled().await.unwrap();
        assert!(refused > 0, "of two calls at once");
        assert_eq!(account.calls().await.unwrap()["ListUsers"], 2 + refused, "what was refused is counted, too");
        account.limit(0).await.unwrap();
        for _ in 0..20 {
            iam.list_users().send().await.unwrap();
        }
        assert_eq!(account.throttled().await.unwrap(), refused);
    }

    #[tokio::test]
    async fn the_control_port_limits_and_tells() {
        let double = DoubleServer::start(config(1, 10)).await.unwrap();
        assert_eq!(answer(&double, "/limit/10").unwrap(), "");
        assert_eq!(answer(&double, "/throttled").unwrap(), "0");
        assert_eq!(answer(&double, "/calls").unwrap(), "{}");
        assert!(answer(&double, "/limit/some").is_err());
    }
}
