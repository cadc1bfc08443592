//! Replicas that are behind: each read sees a state that the account really had.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::ids::Ids;
use super::settings::Lag;
use super::state::State;

/// The states of the recent past, oldest first, each with the time since when it holds.
#[derive(Debug, Clone, Default)]
pub(super) struct Replicas {
    past: VecDeque<(Timestamp, Arc<State>)>,
}

impl Replicas {
    /// Notes a write, and forgets what no replica can show any more.
    pub(super) fn record(&mut self, now: Timestamp, longest: SignedDuration, before: State, after: State) {
        if longest.is_zero() {
            self.past.clear();
            return;
        }
        if self.past.is_empty() {
            self.past.push_back((Timestamp::MIN, Arc::new(before)));
        }
        // A clock that is turned back does not turn back the order of the writes.
        let now = self.past.back().map_or(now, |(latest, _)| now.max(*latest));
        self.past.push_back((now, Arc::new(after)));
        let horizon = now.checked_sub(longest).unwrap_or(Timestamp::MIN);
        while self.past.get(1).is_some_and(|(since, _)| *since <= horizon) {
            self.past.pop_front();
        }
    }

    /// The state that held at a time, `None` if that is the latest one.
    fn at(&self, time: Timestamp) -> Option<&State> {
        let index = self.past.partition_point(|(since, _)| *since <= time);
        self.past.get(index.saturating_sub(1)).map(|(_, state)| state.as_ref())
    }

    /// The state that one read sees: a replica is chosen anew for each.
    pub(super) fn choose(&self, now: Timestamp, lag: Lag, ids: &mut Ids, latest: &State) -> State {
        if lag.longest.is_zero() || ids.up_to(99) >= u64::from(lag.stale_percent) {
            return latest.clone();
        }
        let longest = u64::try_from(lag.longest.as_millis()).unwrap_or_default();
        let behind = SignedDuration::from_millis(i64::try_from(ids.up_to(longest)).unwrap_or_default());
        let time = now.checked_sub(behind).unwrap_or(Timestamp::MIN);
        self.at(time).unwrap_or(latest).clone()
    }
}
