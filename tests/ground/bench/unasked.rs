//! What is done though nobody asks for it: AWS's alarm is listened for, credential reports are read, and sessions are renewed.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::account::{Calls, SESSION_LIFE};
use super::figures::{Listening, Renewals};
use super::run::{Run, difference};

/// Between two times that an account is asked for AWS's alarm, and how many of them are watched.
const INTERVAL: Duration = Duration::from_secs(1);
const INTERVALS: u32 = 20;
/// How many half-lives of sessions are watched.
const HALF_LIVES: u32 = 3;

impl Run {
    /// Has all accounts asked for AWS's alarm and for their credential reports in short intervals.
    ///
    /// # Errors
    /// Where the process does not start.
    pub async fn listen(&mut self) -> Result<()> {
        let interval = format!("{}s", INTERVAL.as_secs());
        let often = ["S3ACCESS_ALARM_INTERVAL", "S3ACCESS_REPORT_INTERVAL"].map(|name| (name, interval.as_str()));
        self.restart(&often).await?;
        let (calls, time) = self.watched(INTERVAL * INTERVALS).await?;
        let count = |call: &str| calls.get(call).copied().unwrap_or_default();
        self.figures.listening = Some(Listening {
            accounts: self.accounts.len(),
            intervals: time.as_secs_f64() / INTERVAL.as_secs_f64(),
            calls: count("ListEntitiesForPolicy"),
            reports: count("GenerateCredentialReport") + count("GetCredentialReport"),
        });
        eprintln!("listening: {:?}", self.figures.listening);
        self.restart(&[]).await?;
        self.quiet().await
    }

    /// Makes users with short sessions beside the measured ones, and lets them live for a while.
    ///
    /// # Errors
    /// Where one does not become Ready.
    pub async fn renew(&mut self, sessions: usize) -> Result<()> {
        let names: Vec<String> = (0..sessions).map(|number| format!("session-{number:03}")).collect();
        let spec = |number| {
            let mut spec = self.spec(number);
            spec["accessKey"] = json!({ "mode": "Session", "duration": "15m" });
            spec
        };
        self.fleet.create(&names, spec).await?;
        self.fleet.settled("making sessions", self.setup.pace.patience).await?;
        let half_life = SESSION_LIFE.unsigned_abs() / 2;
        let (calls, time) = self.watched(half_life * HALF_LIVES).await?;
        let count = |call: &str| calls.get(call).copied().unwrap_or_default();
        self.figures.renewals = Some(Renewals {
            sessions,
            half_lives: time.as_secs_f64() / half_life.as_secs_f64(),
            sts_calls: count("GetSessionToken"),
            iam_calls: count("ListAccessKeys"),
        });
        eprintln!("renewals: {:?}", self.figures.renewals);
        self.remove(&names).await
    }

    /// The calls within a time, and how long that was.
    async fn watched(&self, time: Duration) -> Result<(Calls, Duration)> {
        let (before, started) = (self.calls().await?, Instant::now());
        tokio::time::sleep(time).await;
        Ok((difference(&self.calls().await?, &before), started.elapsed()))
    }
}
