//! Waiting for a state, without fixed sleeps.

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// How often a state is looked at, at first and at most.
const POLL: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(250));
/// How long a look that has begun may take on a busy machine, also at the end.
const LOOK: Duration = Duration::from_secs(10);

/// Polls `probe` until it returns a value; an error says what is still missing.
///
/// # Errors
/// After `timeout`, with the last error of `probe`: what was seen instead, also where the last look hangs.
pub async fn eventually<T>(what: &str, timeout: Duration, mut probe: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let started = Instant::now();
    let mut pause = POLL.0;
    let mut seen = None;
    loop {
        let left = timeout.saturating_sub(started.elapsed());
        let last = match tokio::time::timeout(left.max(LOOK), probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(error)) => error,
            Err(_) => anyhow!("the last look hung; before it: {:#}", seen.unwrap_or_else(|| anyhow!("nothing"))),
        };
        if started.elapsed() + pause > timeout {
            return Err(last.context(format!("waited {timeout:?} for: {what}; last seen")));
        }
        seen = Some(last);
        tokio::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(POLL.1);
    }
}

/// Checks over and over, for `duration`, that `probe` finds nothing wrong.
///
/// # Errors
/// As soon as `probe` returns one.
pub async fn throughout(what: &str, duration: Duration, mut probe: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    let started = Instant::now();
    loop {
        probe().await.map_err(|error| error.context(format!("broken after {:?}: {what}", started.elapsed())))?;
        if started.elapsed() >= duration {
            return Ok(());
        }
        tokio::time::sleep(POLL.1).await;
    }
}
