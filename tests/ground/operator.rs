//! The operator as a process, with an environment of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::ports::Port;
use crate::processes::{Process, Spec};
use crate::wait::eventually;

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);

/// A running operator; dropping it kills it.
#[derive(Debug)]
pub struct Operator {
    process: Process,
    port: Port,
}

impl Operator {
    /// Starts the binary and waits until it is ready. `env` is all that it sees, beside its address.
    ///
    /// # Errors
    /// Where it ends or does not become ready; with the end of its log.
    pub async fn start(binary: &Path, env: BTreeMap<String, String>, log: PathBuf) -> Result<Self> {
        let port = Port::free()?;
        let process = Spec::new("the operator", binary, log)
            .args(["run"])
            .envs(env)
            .env("S3ACCESS_LISTEN", format!("127.0.0.1:{}", port.number()))
            .spawn()?;
        let mut operator = Self { process, port };
        eventually("the operator to be ready", START, async || {
            operator.process.ensure_running()?;
            operator.get("/readyz").await.map(drop)
        })
        .await?;
        Ok(operator)
    }

    /// The process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The port of its endpoints.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// SIGKILL: no farewell of any kind.
    ///
    /// # Errors
    /// Where it had ended before.
    pub async fn kill9(mut self) -> Result<()> {
        self.process.kill9().await.map(drop)
    }

    /// SIGTERM; it must end by itself, and in order.
    ///
    /// # Errors
    /// Where it does not.
    pub async fn terminate(mut self) -> Result<()> {
        let status = self.process.terminate(STOP).await?;
        ensure!(status.success(), "the operator ended with {status}; its log ends:\n{}", self.process.log_tail());
        Ok(())
    }

    /// SIGSTOP: it holds its connections and does nothing.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn freeze(&mut self) -> Result<()> {
        self.process.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// Where it has ended.
    pub fn thaw(&mut self) -> Result<()> {
        self.process.signal(Signal::CONT)
    }

    /// Everything it has logged.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn log(&self) -> Result<String> {
        self.process.log()
    }

    /// The sum of a metric over all its labels that contain `label`; 0 where it is absent.
    ///
    /// # Errors
    /// Where the operator does not answer.
    pub async fn metric(&self, name: &str, label: &str) -> Result<f64> {
        Ok(sum_of(&self.get("/metrics").await?, name, label))
    }

    /// The body of one of its endpoints.
    ///
    /// # Errors
    /// Where it does not answer, or not with 200.
    pub async fn get(&self, path: &str) -> Result<String> {
        get(self.port.number(), path).await
    }
}

/// The body of a page at a port of this machine.
///
/// # Errors
/// Where nobody answers, or not with 200.
pub async fn get(port: u16, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{path} answered: {answer}");
    Ok(body.to_owned())
}

/// The sum of a metric in a text exposition, over all its labels that contain `label`; 0 where it is absent.
#[must_use]
pub fn sum_of(exposition: &str, name: &str, label: &str) -> f64 {
    let samples = exposition.lines().filter(|line| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{'])) && line.contains(label)
    });
    samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}
