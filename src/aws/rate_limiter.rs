//! Who may call next, and when: the more urgent first, none faster than AWS takes it.
//!
//! One rate is the account's, as configured. Each API has one more, since that is how IAM throttles: a ListAccessKeys
//! that is throttled slows no CreateUser down.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::core::priority::Priority;
use crate::core::queue::FairQueue;
use crate::core::rate::AdaptiveRate;

/// A call that waits.
pub(super) struct WaitingCall {
    /// The operation, such as `CreateUser`.
    pub(super) operation: &'static str,
    /// How urgent it is.
    pub(super) priority: Priority,
    /// Lets it go.
    pub(super) go: oneshot::Sender<()>,
}

/// What the lane is told.
pub(super) enum Event {
    /// A call waits.
    Waits(WaitingCall),
    /// From now on, at most so many calls a second.
    Limited(f64),
    /// A call of that operation, sent at that time, was throttled.
    Throttled(&'static str, Duration),
}

/// The calls of an account that wait, and its rates. Times are those of any clock that does not go backwards.
pub(super) struct RateLimiter {
    per_second: f64,
    account: AdaptiveRate,
    operations: HashMap<&'static str, AdaptiveRate>,
    queue: FairQueue<WaitingCall>,
}

impl RateLimiter {
    /// At most so many calls a second.
    pub(super) fn new(per_second: f64, now: Duration) -> Self {
        Self {
            per_second,
            account: AdaptiveRate::new(per_second, now),
            operations: HashMap::new(),
            queue: FairQueue::default(),
        }
    }

    /// Takes note.
    pub(super) fn note(&mut self, event: Event, now: Duration) {
        match event {
            Event::Waits(call) => {
                self.operations.entry(call.operation).or_insert_with(|| AdaptiveRate::new(self.per_second, now));
                self.queue.push(call.priority, call);
            }
            Event::Limited(per_second) => {
                self.per_second = per_second;
                self.account.limit(per_second, now);
                self.operations.values_mut().for_each(|rate| rate.limit(per_second, now));
            }
            Event::Throttled(operation, sent_at) => {
                let rate = self.operations.entry(operation).or_insert_with(|| AdaptiveRate::new(self.per_second, now));
                rate.throttled(sent_at, now);
            }
        }
    }

    /// Lets go whoever may; answers how long until the next one may, or `None` where nobody waits.
    pub(super) fn release(&mut self, now: Duration) -> Option<Duration> {
        loop {
            let mut wait = self.account.wait(now, 0.0);
            if wait.is_zero() {
                let open = Priority::ALL.map(|priority| self.account.wait(now, priority.kept_for_others()).is_zero());
                let operations = &mut self.operations;
                let fits = |priority: Priority, call: &WaitingCall| {
                    let rate = operations.get_mut(call.operation);
                    // A call that nobody waits for any more is let in, to be out of the queue.
                    call.go.is_closed() || rate.is_none_or(|rate| rate.wait(now, priority.kept_for_others()).is_zero())
                };
                if let Some((_, call)) = self.queue.next(|priority| open[priority as usize], fits) {
                    if call.go.send(()).is_ok() {
                        self.account.take(now);
                        if let Some(rate) = self.operations.get_mut(call.operation) {
                            rate.take(now);
                        }
                    }
                    continue;
                }
                wait = Duration::MAX;
                for (priority, call) in self.queue.iter() {
                    let kept = priority.kept_for_others();
                    let own = self.operations.get_mut(call.operation).map(|rate| rate.wait(now, kept));
                    wait = wait.min(self.account.wait(now, kept).max(own.unwrap_or_default()));
                }
            }
            return (!self.queue.is_empty()).then_some(wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(7);

    fn wait(limiter: &mut RateLimiter, operation: &'static str, priority: Priority) -> oneshot::Receiver<()> {
        let (go, gone) = oneshot::channel();
        limiter.note(Event::Waits(WaitingCall { operation, priority, go }), START);
        gone
    }

    fn has_gone(receiver: &mut oneshot::Receiver<()>) -> bool {
        receiver.try_recv().is_ok()
    }

    #[test]
    fn a_new_user_goes_at_once_amid_a_long_line() {
        let mut limiter = RateLimiter::new(10.0, START);
        let mut sweep: Vec<_> = (0..100).map(|_| wait(&mut limiter, "ListAccessKeys", Priority::Background)).collect();
        assert!(limiter.release(START).is_some());
        let early = sweep.iter_mut().filter_map(|call| has_gone(call).then_some(())).count();
        assert!((1..=4).contains(&early), "a part of the bucket: {early}");
        for operation in ["CreateUser", "CreatePolicy", "AttachUserPolicy", "CreateAccessKey", "GetCallerIdentity"] {
            let mut call = wait(&mut limiter, operation, Priority::New);
            limiter.release(START);
            assert!(has_gone(&mut call), "{operation}");
        }
        assert!(limiter.release(START).is_some_and(|wait| wait > Duration::from_millis(90)), "the bucket fills again");
    }

    #[test]
    fn an_operation_that_is_throttled_slows_no_other_down() {
        let mut limiter = RateLimiter::new(100.0, START);
        let mut first = wait(&mut limiter, "CreateUser", Priority::New);
        limiter.release(START);
        assert!(has_gone(&mut first));
        limiter.note(Event::Throttled("CreateUser", START), START);
        let mut again = wait(&mut limiter, "CreateUser", Priority::New);
        let mut other = wait(&mut limiter, "GetUser", Priority::Background);
        let wait = limiter.release(START);
        assert!(!has_gone(&mut again) && has_gone(&mut other));
        let wait = wait.filter(|wait| !wait.is_zero()).unwrap_or(Duration::MAX);
        assert!(wait < Duration::from_secs(2), "{wait:?}");
        assert_eq!(limiter.release(START + wait), None);
        assert!(has_gone(&mut again));
    }

    #[test]
    fn a_lower_limit_holds_from_then_on_and_goes_with_who_set_it() {
        let mut limiter = RateLimiter::new(100.0, START);
        let second = Duration::from_secs(1);
        let mut gone = |per_second, now: Duration| {
            limiter.note(Event::Limited(per_second), now);
            limiter.release(now + second);
            let mut calls: Vec<_> = (0..200).map(|_| wait(&mut limiter, "GetUser", Priority::New)).collect();
            limiter.release(now + second);
            calls.iter_mut().filter_map(|call| has_gone(call).then_some(())).count()
        };
        assert_eq!(gone(10.0, START), 10);
        assert_eq!(gone(100.0, START + second * 10), 100);
    }

    #[test]
    fn a_call_that_was_given_up_costs_nothing() {
        let mut limiter = RateLimiter::new(1.0, START);
        drop(wait(&mut limiter, "GetUser", Priority::New));
        let mut other = wait(&mut limiter, "GetUser", Priority::Background);
        assert_eq!(limiter.release(START), None);
        assert!(has_gone(&mut other));
    }
}
