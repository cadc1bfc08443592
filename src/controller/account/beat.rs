//! How often each account is read in one way, and what that has come to.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::aws::ErrorKind;
use crate::controller::error::Error;
use crate::core::drift::Coverage;
use crate::core::iam::Account;

/// How often each account is read in one way, and what that has come to.
pub struct Beat {
    /// What it has come to.
    pub coverage: Arc<Coverage>,
    /// How often; zero: never.
    pub interval: SignedDuration,
}

/// Why a bulk read did not come to its end.
pub struct Unread {
    /// What AWS or the Lease says.
    pub error: Error,
    /// The account does not let itself be read so; otherwise it is tried again soon.
    pub denied: bool,
    /// The one before did not either, so that somebody has been told.
    pub again: bool,
}

impl Beat {
    /// That often.
    pub fn each(interval: SignedDuration) -> Self {
        Self { coverage: Arc::default(), interval }
    }

    /// Whether each account is seen as often as that.
    pub fn covers(&self, account: &Account, now: Timestamp) -> bool {
        self.coverage.covers(account, now, self.interval)
    }

    /// Takes the accounts that are due.
    pub fn take_due(&self, accounts: &[Account], now: Timestamp) -> Vec<Account> {
        if self.interval.is_zero() { Vec::new() } else { self.coverage.take_due(accounts, now, self.interval) }
    }

    /// Notes how the bulk read of an account has ended.
    ///
    /// # Errors
    /// [`Unread`]: it did not come to its end, and why.
    pub fn ended<T>(&self, account: &Account, read: Result<T, Error>) -> Result<T, Unread> {
        let now = Timestamp::now();
        let (error, denied) = match read {
            Ok(found) => {
                self.coverage.done(account, now);
                return Ok(found);
            }
            Err(Error::Aws(error)) if matches!(error.kind, ErrorKind::AccessDenied | ErrorKind::Unsupported) => {
                (Error::Aws(error), true)
            }
            Err(error) => (error, false),
        };
        let times = if denied { self.coverage.denied(account) } else { self.coverage.failed(account, now) };
        Err(Unread { error, denied, again: times != 1 })
    }
}
