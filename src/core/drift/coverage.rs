//! Which accounts the bulk sweep answers for, so that a user's resync need not read its details again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::core::iam::Account;
use crate::core::rotation::later;
use crate::core::schedule::{backoff, next_resync};

/// A sweep takes its time, and may be tried again.
const SHORTEST_SLACK: SignedDuration = SignedDuration::from_secs(5);

/// What is known of one account's sweeps.
#[derive(Clone, Debug)]
struct Sweeps {
    /// When the next one is due.
    due_at: Timestamp,
    /// The end of the last one that saw the whole account.
    done_at: Option<Timestamp>,
    /// How many have failed since.
    failures: u32,
    /// One has begun and not ended.
    under_way: bool,
}

/// The sweeps of all accounts. All of it may be lost at any time: each account has its time in the interval.
#[derive(Debug, Default)]
pub struct Coverage(Mutex<HashMap<Account, Sweeps>>);

impl Coverage {
    /// Whether the details of every settled user of the account are compared at least once an interval, without a
    /// reconcile: a sweep has ended within the interval, or, after a start, the first one is still to come in its turn.
    pub fn covers(&self, account: &Account, now: Timestamp, interval: SignedDuration) -> bool {
        let all = self.all();
        let Some(sweeps) = all.get(account) else { return false };
        let slack = (interval / 10).max(SHORTEST_SLACK);
        match sweeps.done_at {
            Some(done_at) => now <= later(done_at, interval + slack),
            None => sweeps.failures == 0 && now <= later(sweeps.due_at, slack),
        }
    }

    /// Takes the accounts that are due, and gives each its next turn: the same in every process, and another for each
    /// account. One that is new waits for its turn; one that is not there any more is forgotten.
    pub fn take_due(&self, accounts: &[Account], now: Timestamp, interval: SignedDuration) -> Vec<Account> {
        let mut all = self.all();
        all.retain(|account, _| accounts.contains(account));
        let mut due = Vec::new();
        for account in accounts {
            let turn = next_resync(&account.id, now, interval);
            let fresh = Sweeps { due_at: turn, done_at: None, failures: 0, under_way: false };
            let sweeps = all.entry(account.clone()).or_insert(fresh);
            if sweeps.due_at <= now && !sweeps.under_way {
                (sweeps.due_at, sweeps.under_way) = (turn, true);
                due.push(account.clone());
            }
        }
        due
    }

    /// A sweep has seen the whole account.
    pub fn done(&self, account: &Account, now: Timestamp) {
        if let Some(sweeps) = self.all().get_mut(account) {
            (sweeps.done_at, sweeps.failures, sweeps.under_way) = (Some(now), 0, false);
        }
    }

    /// A sweep came to no end; it is tried again soon. Answers how many have failed in a row.
    pub fn failed(&self, account: &Account, now: Timestamp) -> u32 {
        let mut all = self.all();
        let Some(sweeps) = all.get_mut(account) else { return 0 };
        (sweeps.failures, sweeps.under_way) = (sweeps.failures.saturating_add(1), false);
        sweeps.due_at = sweeps.due_at.min(later(now, backoff(&account.id, sweeps.failures)));
        sweeps.failures
    }

    /// The account does not let itself be read in bulk: each user's details are read at its own resync. It is asked again
    /// in its next turn. Answers how often it has said so in a row.
    pub fn denied(&self, account: &Account) -> u32 {
        let mut all = self.all();
        let Some(sweeps) = all.get_mut(account) else { return 0 };
        (sweeps.done_at, sweeps.failures, sweeps.under_way) = (None, sweeps.failures.saturating_add(1), false);
        sweeps.failures
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Account, Sweeps>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const INTERVAL: SignedDuration = SignedDuration::from_hours(10);

    fn account(number: u32) -> Account {
        Account { id: format!("{number:012}"), partition: "aws".to_owned() }
    }

    fn start() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    #[test]
    fn invariant_6_a_restart_sweeps_no_account_before_its_turn_and_each_once_an_interval() {
        let accounts: Vec<Account> = (0..100).map(account).collect();
        let coverage = Coverage::default();
        assert!(coverage.take_due(&accounts, start(), INTERVAL).is_empty());
        let end = |account: &Account| coverage.done(account, start());
        let mut busiest = 0;
        let mut swept: Vec<Account> = Vec::new();
        for minute in 1..=600 {
            let due = coverage.take_due(&accounts, later(start(), SignedDuration::from_mins(minute)), INTERVAL);
            busiest = busiest.max(due.len());
            due.iter().for_each(end);
            swept.extend(due);
        }
        assert_eq!(swept.len(), 100);
        assert!(accounts.iter().all(|account| swept.contains(account)));
        assert!(busiest <= 5, "{busiest} accounts in one minute");
    }

    #[test]
    fn an_account_whose_sweep_takes_longer_than_the_interval_is_not_swept_twice_at_once() {
        let (coverage, accounts) = (Coverage::default(), [account(1)]);
        let at = |intervals: i32| later(start(), INTERVAL * intervals);
        coverage.take_due(&accounts, at(0), INTERVAL);
        assert_eq!(coverage.take_due(&accounts, at(1), INTERVAL), accounts);
        assert!(coverage.take_due(&accounts, at(3), INTERVAL).is_empty());
        coverage.done(&accounts[0], at(3));
        assert_eq!(coverage.take_due(&accounts, at(4), INTERVAL), accounts);
    }

    #[test]
    fn an_account_is_answered_for_while_its_sweeps_succeed() {
        let (coverage, one) = (Coverage::default(), account(1));
        assert!(!coverage.covers(&one, start(), INTERVAL), "nobody sweeps it");
        coverage.take_due(std::slice::from_ref(&one), start(), INTERVAL);
        assert!(coverage.covers(&one, start(), INTERVAL), "its first turn is to come");
        let late = later(start(), INTERVAL * 2);
        assert!(!coverage.covers(&one, late, INTERVAL), "it never came");
        coverage.done(&one, late);
        assert!(coverage.covers(&one, later(late, INTERVAL), INTERVAL));
        assert!(!coverage.covers(&one, later(late, INTERVAL * 2), INTERVAL), "the next one is missing");
        assert_eq!((coverage.denied(&one), coverage.denied(&one)), (1, 2));
        assert!(!coverage.covers(&one, late, INTERVAL), "denied");
        coverage.done(&one, late);
        assert!(coverage.covers(&one, late, INTERVAL), "allowed again");
    }

    #[test]
    fn a_sweep_that_failed_is_tried_again_soon_and_vouches_for_nothing() {
        let (coverage, one) = (Coverage::default(), account(1));
        let accounts = [one.clone()];
        coverage.take_due(&accounts, start(), INTERVAL);
        assert_eq!(coverage.failed(&one, start()), 1);
        assert!(!coverage.covers(&one, start(), INTERVAL));
        assert_eq!(coverage.take_due(&accounts, later(start(), SignedDuration::from_mins(1)), INTERVAL), accounts);
        assert!(coverage.take_due(&[], start(), INTERVAL).is_empty());
        assert!(!coverage.covers(&one, start(), INTERVAL), "it is nobody's any more");
    }
}
