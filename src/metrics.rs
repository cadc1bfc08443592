//! The Prometheus metrics, prefix `s3access_`. Labels are static words or IAM's operation names.

use std::borrow::Cow;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use clap::ValueEnum;
use jiff::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::core::plan::{Part, WhyDelete};
use crate::core::priority::Priority;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    operation: String,
    code: Cow<'static, str>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AccountLabel {
    account: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WhyLabel {
    why: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WhatLabel {
    what: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PriorityLabel {
    priority: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct UsersLabels {
    class: String,
    condition: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct UserLabels {
    namespace: String,
    name: String,
}

/// Whether each user has a metric of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum UserMetrics {
    /// Up to a thousand users.
    Auto,
    /// However many there are.
    On,
    /// None.
    Off,
}

impl UserMetrics {
    /// Each user is a time series, and a Prometheus is sized by those.
    const MOST: usize = 1_000;

    /// Whether so many users have a metric each.
    pub fn is_on_for(self, users: usize) -> bool {
        match self {
            Self::Auto => users <= Self::MOST,
            Self::On => true,
            Self::Off => false,
        }
    }
}

/// Every metric of the operator.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ResultLabel, Counter>,
    reconcile_duration: Histogram,
    aws_requests: Family<RequestLabels, Counter>,
    aws_duration: Histogram,
    aws_throttled: Counter,
    keys_issued: Counter,
    keys_deleted: Family<WhyLabel, Counter>,
    orphans_deleted: Counter,
    key_age: Histogram,
    key_last_used: Histogram,
    session_renewals: Family<ResultLabel, Counter>,
    session_life_left: Gauge<f64, AtomicU64>,
    drift_corrected: Family<WhatLabel, Counter>,
    sweeps: Family<ResultLabel, Counter>,
    panics: Counter,
    orphan_users: Family<AccountLabel, Gauge>,
    compromised_users: Family<AccountLabel, Gauge>,
    users: Family<UsersLabels, Gauge>,
    user_ready: Family<UserLabels, Gauge>,
    queue_depth: Family<PriorityLabel, Gauge>,
    own_key_created: Family<AccountLabel, Gauge<f64, AtomicU64>>,
    own_key_due: Family<AccountLabel, Gauge<f64, AtomicU64>>,
    leader: Gauge<i64>,
    started: Gauge<f64, AtomicU64>,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            reconciles: Family::default(),
            reconcile_duration: Histogram::new(exponential_buckets(0.005, 2.0, 14)),
            aws_requests: Family::default(),
            aws_duration: Histogram::new(exponential_buckets(0.005, 2.0, 14)),
            aws_throttled: Counter::default(),
            keys_issued: Counter::default(),
            keys_deleted: Family::default(),
            orphans_deleted: Counter::default(),
            // An hour to about two years.
            key_age: Histogram::new(exponential_buckets(3_600.0, 2.0, 14)),
            key_last_used: Histogram::new(exponential_buckets(3_600.0, 2.0, 14)),
            session_renewals: Family::default(),
            session_life_left: Gauge::default(),
            drift_corrected: Family::default(),
            sweeps: Family::default(),
            panics: Counter::default(),
            orphan_users: Family::default(),
            compromised_users: Family::default(),
            users: Family::default(),
            user_ready: Family::default(),
            queue_depth: Family::default(),
            own_key_created: Family::default(),
            own_key_due: Family::default(),
            leader: Gauge::default(),
            started: Gauge::default(),
            registry: Registry::default(),
        };
        metrics.begin_at_zero();
        Self { registry: metrics.registered(), ..metrics }
    }
}

impl Metrics {
    /// What is rare is there from the start: a counter that appears with its first event hides that event from `increase`.
    fn begin_at_zero(&self) {
        for why in WhyDelete::ALL {
            drop(self.keys_deleted.get_or_create(&WhyLabel { why: why.as_str() }));
        }
        for part in Part::ALL {
            drop(self.drift_corrected.get_or_create(&WhatLabel { what: part.condition().as_str() }));
        }
        for result in ["done", "failed"] {
            drop(self.session_renewals.get_or_create(&ResultLabel { result }));
        }
    }

    fn registered(&self) -> Registry {
        let mut registry = Registry::with_prefix("s3access");
        registry.register("reconcile", "Reconciliations, by result", self.reconciles.clone());
        registry.register("reconcile_duration_seconds", "Time of a reconciliation", self.reconcile_duration.clone());
        registry.register(
            "aws_requests",
            "Attempts of AWS calls, by operation and error code; else by HTTP status",
            self.aws_requests.clone(),
        );
        registry.register(
            "aws_request_duration_seconds",
            "Time of an attempt of an AWS call",
            self.aws_duration.clone(),
        );
        registry.register("aws_throttled", "AWS calls that were throttled", self.aws_throttled.clone());
        registry.register("keys_issued", "Access keys made", self.keys_issued.clone());
        registry.register("keys_deleted", "Access keys deleted, by reason", self.keys_deleted.clone());
        registry.register(
            "orphan_keys_deleted",
            "Access keys deleted because no Secret held them",
            self.orphans_deleted.clone(),
        );
        registry.register(
            "access_key_age_seconds",
            "Age of the Secrets' access keys, at each reconcile that ends settled",
            self.key_age.clone(),
        );
        registry.register(
            "access_key_last_used_seconds",
            "Time since the last use of the Secrets' access keys that AWS tells of, or since they were made; once a credential report",
            self.key_last_used.clone(),
        );
        registry.register("session_renewals", "Attempts to renew a session, by result", self.session_renewals.clone());
        registry.register(
            "session_life_left_ratio",
            "Of the session that ends first by its life, the share that is left; renewed at half",
            self.session_life_left.clone(),
        );
        registry.register("drift_corrected", "Differences put right, by what differed", self.drift_corrected.clone());
        registry.register("panics", "Reconciles and sweeps that ended in a panic", self.panics.clone());
        registry.register(
            "orphan_users",
            "IAM users with this cluster's tags and without an S3AccessUser, by account",
            self.orphan_users.clone(),
        );
        registry.register(
            "compromised_users",
            "S3AccessUsers to whose IAM users AWS has attached its policy of keys that it found in public, by account",
            self.compromised_users.clone(),
        );
        registry.register("sweeps", "Bulk sweeps of accounts, by result", self.sweeps.clone());
        registry.register(
            "user_ready",
            "1 while the S3AccessUser is Ready; where each has a metric of its own",
            self.user_ready.clone(),
        );
        registry.register("users", "S3AccessUsers, by class and by Ready condition", self.users.clone());
        registry.register("queue_depth", "Queued and running reconciles, by priority", self.queue_depth.clone());
        self.register_process(&mut registry);
        registry
    }

    /// What is of the process, and of no S3AccessUser.
    fn register_process(&self, registry: &mut Registry) {
        registry.register("leader", "1 while this replica holds the lease", self.leader.clone());
        registry.register("start_time_seconds", "When the process started, Unix time", self.started.clone());
        registry.register(
            "own_key_created_timestamp_seconds",
            "When the operator's own key was made, Unix time; where it is rotated, by account",
            self.own_key_created.clone(),
        );
        registry.register(
            "own_key_due_timestamp_seconds",
            "When it is to be replaced, Unix time",
            self.own_key_due.clone(),
        );
    }

    /// The text exposition.
    ///
    /// # Errors
    /// None in practice: writing to a string.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// A reconcile of that priority is queued.
    pub fn reconcile_queued(&self, priority: Priority) {
        self.waiting(priority).inc();
    }

    /// While it waited, it has become as urgent as that.
    pub fn reconcile_promoted(&self, from: Priority, to: Priority) {
        if from != to {
            self.waiting(from).dec();
            self.waiting(to).inc();
        }
    }

    /// A reconciliation ended: `settled`, `deferred`, `waiting`, `failed`, `refused` or `deleted`.
    pub fn reconcile_ended(&self, priority: Priority, result: &'static str, took: Duration) {
        self.waiting(priority).dec();
        self.reconciles.get_or_create(&ResultLabel { result }).inc();
        self.reconcile_duration.observe(took.as_secs_f64());
    }

    fn waiting(&self, priority: Priority) -> impl std::ops::Deref<Target = Gauge> {
        self.queue_depth.get_or_create(&PriorityLabel { priority: priority.as_str() })
    }

    /// An attempt of an AWS call ended; `code` is one of a closed set.
    pub fn aws_request(&self, operation: String, code: Cow<'static, str>, took: Option<Duration>) {
        self.aws_requests.get_or_create(&RequestLabels { operation, code }).inc();
        if let Some(took) = took {
            self.aws_duration.observe(took.as_secs_f64());
        }
    }

    /// AWS throttled a call.
    pub fn throttled(&self) {
        self.aws_throttled.inc();
    }

    /// A key was made.
    pub fn key_issued(&self) {
        self.keys_issued.inc();
    }

    /// A key was deleted.
    pub fn key_deleted(&self, why: WhyDelete) {
        self.keys_deleted.get_or_create(&WhyLabel { why: why.as_str() }).inc();
        if why == WhyDelete::Orphan {
            self.orphans_deleted.inc();
        }
    }

    /// The age of a key in a Secret.
    pub fn key_age(&self, age: Duration) {
        self.key_age.observe(age.as_secs_f64());
    }

    /// For how long AWS tells of no use of a key in a Secret.
    pub fn key_last_used(&self, ago: Duration) {
        self.key_last_used.observe(ago.as_secs_f64());
    }

    /// An attempt to renew a session ended.
    pub fn session_renewed(&self, done: bool) {
        let result = if done { "done" } else { "failed" };
        self.session_renewals.get_or_create(&ResultLabel { result }).inc();
    }

    /// No session has a smaller share of its life left.
    pub fn set_session_life_left(&self, share: f64) {
        self.session_life_left.set(share);
    }

    /// A settled CR was found to differ, and put right.
    pub fn drift_corrected(&self, what: &'static str) {
        self.drift_corrected.get_or_create(&WhatLabel { what }).inc();
    }

    /// A bulk sweep of an account ended: `done`, `denied` or `failed`.
    pub fn swept(&self, result: &'static str) {
        self.sweeps.get_or_create(&ResultLabel { result }).inc();
    }

    /// A piece of work ended in a panic.
    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// So many IAM users of the account carry this cluster's tags and belong to no S3AccessUser.
    pub fn set_orphan_users(&self, account: &str, count: usize) {
        let labels = AccountLabel { account: account.to_owned() };
        self.orphan_users.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// AWS has found keys of so many of our IAM users of the account in public.
    pub fn set_compromised_users(&self, account: &str, count: usize) {
        let labels = AccountLabel { account: account.to_owned() };
        self.compromised_users.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// The numbers of ready and other users, by class.
    pub fn set_users(&self, class: &str, ready: i64, not_ready: i64) {
        for (condition, count) in [("Ready", ready), ("NotReady", not_ready)] {
            self.users.get_or_create(&UsersLabels { class: class.to_owned(), condition }).set(count);
        }
    }

    /// Whether a user is Ready.
    pub fn set_user(&self, namespace: &str, name: &str, ready: bool) {
        let labels = UserLabels { namespace: namespace.to_owned(), name: name.to_owned() };
        self.user_ready.get_or_create(&labels).set(i64::from(ready));
    }

    /// A user has no metric of its own any more.
    pub fn forget_user(&self, namespace: &str, name: &str) {
        self.user_ready.remove(&UserLabels { namespace: namespace.to_owned(), name: name.to_owned() });
    }

    /// When the operator's own key of that account was made, and when it is due.
    pub fn set_own_key(&self, account: &str, created_at: Timestamp, due_at: Timestamp) {
        let labels = AccountLabel { account: account.to_owned() };
        self.own_key_created.get_or_create(&labels).set(created_at.as_duration().as_secs_f64());
        self.own_key_due.get_or_create(&labels).set(due_at.as_duration().as_secs_f64());
    }

    /// Whether this replica leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// When the process started, Unix seconds.
    pub fn set_started(&self, seconds: f64) {
        self.started.set(seconds);
    }
}

#[cfg(test)]
mod tests {
    use super::{Metrics, UserMetrics};

    #[test]
    fn the_first_of_rare_events_is_an_increase() {
        let text = Metrics::default().render().unwrap();
        for counter in ["keys_deleted_total{why=\"orphan\"} 0", "drift_corrected_total{what=\"PolicySynced\"} 0"] {
            assert!(text.contains(counter), "{counter} in {text}");
        }
    }

    #[test]
    fn a_metric_for_each_of_many_users_has_to_be_asked_for() {
        let on = |option: UserMetrics| [1_000, 1_001].map(|users| option.is_on_for(users));
        assert_eq!(on(UserMetrics::Auto), [true, false]);
        assert_eq!(on(UserMetrics::On), [true, true]);
        assert_eq!(on(UserMetrics::Off), [false, false]);
    }
}
