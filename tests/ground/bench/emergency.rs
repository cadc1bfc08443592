//! An emergency: all users of one account are to have new keys, and AWS takes ten calls a second. Measured against a double
//! that takes no more, and stepped through the operator's own limiter in simulated time for as many as an account holds.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;

use self::rate::AdaptiveRate;
use super::account::Calls;
use super::figures::{Emergency, Simulated, Stage};
use super::fleet::Goal;
use super::run::{Run, difference, is_sts};
use super::trials::REQUESTS_PER_SECOND;
use crate::wait::eventually;

/// The operator's own, which is pure: what is simulated is what is shipped.
#[allow(dead_code, reason = "its tests, and the changes of a limit, are the operator's")]
#[path = "../../../src/core/rate.rs"]
mod rate;

/// Settings of the run that are left at what is shipped; an empty value takes a variable away.
const SHIPPED: [(&str, &str); 2] = [("S3ACCESS_REQUESTS_PER_SECOND", ""), ("S3ACCESS_CONSISTENCY_WINDOW", "")];
/// Those who tell before how many calls a new key takes.
const PROBES: usize = 10;
/// What a rotation waits for beside its calls: the consistency window, and some more.
const BESIDE: Duration = Duration::from_secs(120);
/// How much longer than all new keys take by their calls the old ones work on, and as long again inactive.
const MARGIN: (f64, f64) = (1.2, 30.0);
/// AWS's quota of users.
const FULL_ACCOUNT: usize = 5_000;
/// What of the bucket is kept for the more urgent, as `Priority::kept_for_others` has it for rotations.
const KEPT: f64 = 0.75;
/// Between a call and the answer that it was throttled.
const ANSWER: Duration = Duration::from_millis(5);

/// The counts at one moment.
struct Tally {
    calls: Calls,
    throttled: u64,
}

impl Run {
    /// Makes all users, lets the account take no more calls than AWS does, and asks for a new key of each; the operator
    /// works as it is shipped.
    ///
    /// # Errors
    /// Where one does not get its key, or an old one does not go.
    pub async fn emergency(&mut self) -> Result<()> {
        let users = self.setup.users;
        // Only once all have new keys, old ones are due, as with the default overlap of a day.
        let calls = self.probe().await? * users as f64 / f64::from(REQUESTS_PER_SECOND);
        let overlap = Duration::from_secs_f64((calls * MARGIN.0 + MARGIN.1).round());
        self.setup.pace.overlap = overlap;
        self.create().await?;
        self.restart(&SHIPPED).await?;
        self.quiet().await?;
        self.accounts[0].limit(REQUESTS_PER_SECOND).await?;
        let (before, started) = (self.tally().await?, Instant::now());
        self.fleet.rotate(&self.names, &Timestamp::now().to_string(), Goal::Rotated).await?;
        let times = self.fleet.settled("giving new keys", self.setup.pace.patience).await?;
        let rotated = self.tally().await?;
        let [first, last] = [times.first(), times.last()].map(|time| time.copied().unwrap_or_default());
        let new_keys = rotated.stage(&before, last);
        ensure!(last < first + overlap.as_secs_f64(), "old keys were due before all had new ones: {first} s, {last} s");
        eprintln!("every workload has its new key: {new_keys:?}");
        // It works for an overlap, and is inactive for as long again.
        eventually("the old keys to go", overlap * 4 + BESIDE, async || {
            let left = self.fleet.unsettled(&self.names);
            ensure!(left == 0, "{left} are there");
            Ok(())
        })
        .await?;
        let old_keys = self.tally().await?.stage(&rotated, started.elapsed().as_secs_f64());
        eprintln!("all old keys are gone: {old_keys:?}");
        self.accounts[0].limit(0).await?;
        let simulated: Vec<_> =
            [users, FULL_ACCOUNT].map(|simulated| simulate(&new_keys, &old_keys, users, simulated)).into();
        eprintln!("the calls alone, in simulated time: {simulated:?}");
        self.figures.emergency = Some(Emergency {
            users,
            requests_per_second: REQUESTS_PER_SECOND,
            overlap_seconds: overlap.as_secs_f64(),
            new_keys,
            old_keys,
            simulated,
        });
        self.stop().await
    }

    /// How many calls a new key takes, by some that come before.
    async fn probe(&mut self) -> Result<f64> {
        let patience = self.setup.pace.patience;
        let names: Vec<String> = (0..PROBES).map(|number| format!("probe-{number}")).collect();
        self.start(&SHIPPED).await?;
        self.fleet.create(&names, |number| self.spec(number)).await?;
        self.fleet.settled("creating probes", patience).await?;
        self.quiet().await?;
        let before = self.calls().await?;
        self.fleet.rotate(&names, &Timestamp::now().to_string(), Goal::Rotated).await?;
        self.fleet.settled("rotating probes", patience).await?;
        let calls: u64 = difference(&self.calls().await?, &before).values().sum();
        self.remove(&names).await?;
        self.stop().await?;
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        Ok(calls as f64 / PROBES as f64)
    }

    async fn tally(&self) -> Result<Tally> {
        let account = self.accounts.first().context("there is no account")?;
        Ok(Tally { calls: account.calls().await?, throttled: account.throttled().await? })
    }
}

impl Tally {
    /// What came since `before`.
    fn stage(&self, before: &Self, seconds: f64) -> Stage {
        let calls = difference(&self.calls, &before.calls);
        let (sts_calls, iam_calls) = calls.into_iter().partition(|(call, _)| is_sts(call));
        Stage { seconds, iam_calls, sts_calls, refused: self.throttled - before.throttled }
    }
}

/// How long the calls take, of which so many users took as many as was counted.
fn simulate(new: &Stage, old: &Stage, counted: usize, users: usize) -> Simulated {
    let [(new_keys_seconds, early), (old_keys_seconds, late)] = [new, old].map(|stage| {
        let share = |(_, count): (&String, &u64)| count * users as u64 / counted.max(1) as u64;
        // What was refused was counted too, and is simulated again.
        let iam: Vec<u64> = stage.iam_calls.iter().map(share).collect();
        let sts: Vec<u64> = stage.sts_calls.iter().map(share).collect();
        let rate = f64::from(REQUESTS_PER_SECOND);
        // Each of the two services has its own lane.
        let ((of_iam, refused), (of_sts, _)) = (step(&iam, &[], rate, rate), step(&[], &sts, rate, rate));
        (of_iam.max(of_sts), refused)
    });
    Simulated { users, new_keys_seconds, old_keys_seconds, refused: early + late }
}

/// The calls of one operation.
struct Waiting {
    all: u64,
    left: u64,
    of_iam: bool,
    rate: AdaptiveRate,
}

impl Waiting {
    /// What share of them has been made.
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    fn done(&self) -> f64 {
        1.0 - self.left as f64 / self.all.max(1) as f64
    }
}

/// Makes so many calls of each operation, as the operator's lane lets them go: by the rate of the account and by that of the
/// operation. AWS takes `theirs` of IAM's a second. How long that takes, seconds, and how many were refused.
fn step(iam: &[u64], sts: &[u64], ours: f64, theirs: f64) -> (f64, u64) {
    let mut now = Duration::ZERO;
    let (mut account, mut aws) = (AdaptiveRate::new(ours, now), AdaptiveRate::new(theirs, now));
    let rate = account.clone();
    let waiting = |of_iam: bool| {
        let rate = rate.clone();
        move |count: &u64| Waiting { all: *count, left: *count, of_iam, rate: rate.clone() }
    };
    let mut all: Vec<Waiting> = iam.iter().map(waiting(true)).chain(sts.iter().map(waiting(false))).collect();
    let mut refused = 0;
    loop {
        let left = all.iter_mut().filter(|operation| operation.left > 0);
        let waits = left.map(|operation| (operation.rate.wait(now, KEPT), operation));
        // Each user makes one after the other: of those that may go, the one that is furthest behind.
        let Some((wait, next)) = waits
            .min_by(|(wait, one), (other_wait, other)| wait.cmp(other_wait).then(one.done().total_cmp(&other.done())))
        else {
            return (now.as_secs_f64(), refused);
        };
        let wait = wait.max(account.wait(now, KEPT));
        if wait > Duration::ZERO {
            now += wait;
            continue;
        }
        account.take(now);
        next.rate.take(now);
        if next.of_iam && aws.wait(now, 0.0) > Duration::ZERO {
            refused += 1;
            next.rate.throttled(now, now + ANSWER);
            continue;
        }
        if next.of_iam {
            aws.take(now);
        }
        next.left -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_take_as_long_as_the_rate_says_and_none_is_refused() {
        let (seconds, refused) = step(&[5_000; 9], &[5_000; 3], 10.0, 10.0);
        assert!((seconds - 6_000.0).abs() < 10.0 && refused == 0, "{seconds} s, {refused} refused");
        assert_eq!(step(&[], &[0], 10.0, 10.0), (0.0, 0));
    }

    #[test]
    fn where_aws_takes_less_some_are_refused_and_sent_again() {
        let (seconds, refused) = step(&[1_000; 4], &[], 10.0, 5.0);
        assert!((800.0..1_000.0).contains(&seconds), "{seconds}");
        assert!((1..200).contains(&refused), "{refused}");
    }

    #[test]
    fn an_account_is_simulated_by_what_was_counted_of_fewer() {
        let stage = |iam: u64| Stage {
            seconds: 100.0,
            iam_calls: [("GetUser".to_owned(), iam)].into(),
            sts_calls: [("GetCallerIdentity".to_owned(), 300)].into(),
            refused: 0,
        };
        let simulated = simulate(&stage(600), &stage(1_200), 300, 5_000);
        assert!((simulated.new_keys_seconds - 1_000.0).abs() < 5.0, "{simulated:?}");
        assert!((simulated.old_keys_seconds - 2_000.0).abs() < 5.0, "{simulated:?}");
    }
}
