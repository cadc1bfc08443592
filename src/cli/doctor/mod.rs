//! `doctor`: whether the operator, with the settings of `run`, could work; it reads and asks, and changes nothing.

mod accounts;
mod clock;
mod identity;
mod kubernetes;
mod lease;
mod orphans;
mod own_key;
mod permissions;
mod place;
mod system;

use std::fmt::Display;
use std::io::Write;
use std::num::NonZeroU32;
use std::sync::Arc;

use clap::Args;

use super::run::session_options;
use super::{Error, on_one_line};
use crate::aws::Session;
use crate::config::RunOptions;
use crate::leadership::Leadership;
use crate::metrics::Metrics;

#[derive(Args, Debug)]
pub(super) struct Options {
    #[command(flatten)]
    run: RunOptions,
    /// Look at this S3AccessClass alone; of an S3-compatible system, tell each thing that was tried, and what came of it
    #[arg(long, value_name = "NAME")]
    class: Option<String>,
}

/// Requests a second to each account: the checks have to end in time, whatever the operator is let have.
const RATE: NonZeroU32 = NonZeroU32::MIN.saturating_add(9);

/// Characters of what was found. Every action of the policy has room.
const LONGEST: usize = 4_000;

/// How a check ended. A warning says what costs something, or may be wrong; the operator works nevertheless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Ok,
    Warning,
    Failure,
}

/// What was checked, and what was found or is to be done.
#[derive(Clone, Debug)]
struct Check {
    what: String,
    level: Level,
    found: String,
}

impl Check {
    fn ok(what: impl Into<String>, found: impl Into<String>) -> Self {
        Self { what: what.into(), level: Level::Ok, found: found.into() }
    }

    fn warning(what: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { what: what.into(), level: Level::Warning, found: problem.into() }
    }

    fn failure(what: impl Into<String>, problem: impl Display, advice: &str) -> Self {
        Self { what: what.into(), level: Level::Failure, found: format!("{problem}: {advice}") }
    }

    fn of(what: impl Into<String>, found: Result<String, impl Display>, advice: &str) -> Self {
        match found {
            Ok(found) => Self::ok(what, found),
            Err(problem) => Self::failure(what, problem, advice),
        }
    }
}

pub(super) async fn run(options: &Options) -> Result<(), Error> {
    let class = options.class.as_deref();
    let options = &RunOptions { requests_per_second: RATE, ..options.run.clone() };
    let mut checks = Vec::new();
    let client = match kubernetes::connect().await {
        Ok((client, version)) => {
            checks.push(Check::ok("API server", version));
            if class.is_none() {
                checks.extend(kubernetes::check(&client, options).await);
            }
            Some(client)
        }
        Err(check) => {
            checks.push(check);
            None
        }
    };
    let metrics = Arc::new(Metrics::default());
    let own_key = own_key::secret(client.as_ref(), options);
    let session = match &own_key {
        Ok(own_key) => {
            let session_options = session_options(options, own_key.clone());
            Session::from_environment(&session_options, Leadership::nobody(), metrics).await
        }
        Err(error) => Err(error.clone()),
    };
    match session {
        Ok(session) => {
            let session = Arc::new(session);
            if let Some(class) = class {
                checks.extend(accounts::check_class(client.as_ref(), options, &session, class).await);
                return tell(&checks);
            }
            checks.extend(accounts::check(client.as_ref(), options, &session).await);
            checks.extend(own_key::check(own_key.ok().flatten(), options, &session).await);
            if let Some(client) = &client {
                checks.push(orphans::check(client, options, &session).await);
            }
        }
        Err(error) => checks.push(Check::failure("AWS settings", error, "see operate.md, \"Settings\"")),
    }
    tell(&checks)
}

fn tell(checks: &[Check]) -> Result<(), Error> {
    let mut out = std::io::stdout();
    for check in checks {
        let level = match check.level {
            Level::Ok => "ok  ",
            Level::Warning => "WARN",
            Level::Failure => "FAIL",
        };
        // A class's endpoint may answer whatever it likes, and as much.
        let found: String = check.found.chars().take(LONGEST).collect();
        writeln!(out, "{level}  {}: {}", on_one_line(&check.what), on_one_line(&found))?;
    }
    match checks.iter().filter(|check| check.level == Level::Failure).count() {
        0 => Ok(()),
        failed => Err(Error::Unwell(failed)),
    }
}
