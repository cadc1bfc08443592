//! One lane for each account, however many classes lead to it: what it lets through in a second. The users of an account
//! share their slots, too, and are queued by its lane.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};

use super::call::Lane;
use crate::core::iam::Account;
use crate::metrics::Metrics;

/// An account, and the endpoint of its IAM: two systems may number their accounts alike.
type Key = (Account, Option<String>);

/// The lanes of all accounts in use.
#[derive(Default)]
pub struct Lanes(Mutex<HashMap<Key, Weak<AccountLane>>>);

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lanes")
    }
}

impl Lanes {
    /// The account's lane: the one that is in use, or this one from now on.
    fn of(&self, key: Key, own: &Arc<AccountLane>) -> Arc<AccountLane> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, lane| lane.strong_count() > 0);
        if let Some(lane) = all.get(&key).and_then(Weak::upgrade) {
            return lane;
        }
        all.insert(key, Arc::downgrade(own));
        own.clone()
    }
}

/// Tells the lanes of a process apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneId(u64);

impl LaneId {
    /// Of those who are in no account.
    pub const NONE: Self = Self(0);

    fn fresh() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// The calls to one account. STS counts its own (STS user guide, "Quotas"): trying a thousand new keys takes no turn of IAM's.
struct AccountLane {
    id: LaneId,
    iam: Lane,
    /// Of a system that is one server for both, none: it counts all of them.
    sts: Option<Lane>,
}

impl AccountLane {
    fn all(&self) -> impl Iterator<Item = &Lane> {
        [&self.iam].into_iter().chain(&self.sts)
    }
}

/// A session's way to its account: a lane of its own until the account is known, and the account's from then on.
pub(super) struct Way {
    own: Arc<AccountLane>,
    rate: NonZeroU32,
    joined: OnceLock<Joined>,
}

/// A session in an account's lane; dropping it takes its limit away.
struct Joined {
    lane: Arc<AccountLane>,
    rate: NonZeroU32,
}

impl Drop for Joined {
    fn drop(&mut self) {
        self.lane.all().for_each(|lane| lane.unlimit(self.rate));
    }
}

impl Way {
    /// At most so many requests a second: to each of the two services where AWS has them `apart`, to both together elsewhere.
    pub(super) fn new(rate: NonZeroU32, metrics: Arc<Metrics>, apart: bool) -> Self {
        let iam = Lane::new(rate, metrics.clone());
        let sts = apart.then(|| Lane::new(rate, metrics));
        let own = AccountLane { id: LaneId::fresh(), iam, sts };
        Self { own: Arc::new(own), rate, joined: OnceLock::new() }
    }

    /// The account is known. Of the limits of its sessions the lowest holds.
    pub(super) fn join(&self, lanes: &Lanes, account: &Account, endpoint: Option<&str>) {
        self.joined.get_or_init(|| {
            let lane = lanes.of((account.clone(), endpoint.map(ToOwned::to_owned)), &self.own);
            if !Arc::ptr_eq(&lane, &self.own) {
                lane.all().for_each(|lane| lane.limit(self.rate));
            }
            Joined { lane, rate: self.rate }
        });
    }

    /// The lane.
    pub(super) fn id(&self) -> LaneId {
        self.lane().id
    }

    /// The calls to STS.
    pub(super) fn sts(&self) -> &Lane {
        let lane = self.lane();
        lane.sts.as_ref().unwrap_or(&lane.iam)
    }

    fn lane(&self) -> &AccountLane {
        self.joined.get().map_or(&self.own, |joined| &joined.lane)
    }
}

impl Deref for Way {
    type Target = Lane;

    fn deref(&self) -> &Lane {
        &self.lane().iam
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way() -> Way {
        Way::new(NonZeroU32::MIN, Arc::new(Metrics::default()), true)
    }

    fn account(id: &str) -> Account {
        Account { id: id.to_owned(), partition: "aws".to_owned() }
    }

    fn shares(one: &Way, other: &Way) -> bool {
        one.id() == other.id()
    }

    #[tokio::test]
    async fn two_sessions_of_one_account_share_its_lane() {
        let (lanes, first, second, third, elsewhere) = (Lanes::default(), way(), way(), way(), way());
        assert!(!shares(&first, &second), "nobody knows yet that it is one account");
        first.join(&lanes, &account("1"), None);
        second.join(&lanes, &account("1"), None);
        third.join(&lanes, &account("2"), None);
        elsewhere.join(&lanes, &account("1"), Some("https://garage.example"));
        assert!(shares(&first, &second));
        assert!(!shares(&first, &third) && !shares(&first, &elsewhere) && !shares(&third, &elsewhere));
    }

    #[tokio::test]
    async fn a_system_that_is_one_server_has_one_rate_for_all_calls_and_aws_two() {
        let together = |way: &Way| std::ptr::eq(way.sts(), &**way);
        assert!(!together(&way()));
        assert!(together(&Way::new(NonZeroU32::MIN, Arc::new(Metrics::default()), false)));
    }

    #[tokio::test]
    async fn a_lane_that_nobody_uses_is_forgotten() {
        let lanes = Lanes::default();
        for id in ["1", "2", "3"] {
            way().join(&lanes, &account(id), None);
        }
        let last = way();
        last.join(&lanes, &account("4"), None);
        assert_eq!(lanes.0.lock().unwrap_or_else(PoisonError::into_inner).len(), 1);
    }
}
