//! What the controllers are made of.

use std::sync::Arc;

use jiff::SignedDuration;

use crate::aws::{Session, SessionOptions};
use crate::core::class::Defaults;
use crate::core::names::Cluster;
use crate::core::plan::Waits;
use crate::leadership::Leadership;
use crate::metrics::{Metrics, UserMetrics};

/// What the controllers are made of.
pub struct Options {
    /// Only these namespaces; empty: all.
    pub namespaces: Vec<String>,
    /// The operator's own namespace.
    pub own_namespace: String,
    /// Whether there are S3AccessClasses.
    pub classes: bool,
    /// Only classes with these labels.
    pub class_selector: Option<String>,
    /// Whether the operator's own account is closed to S3AccessUsers.
    pub require_class: bool,
    /// The cluster.
    pub cluster: Cluster,
    /// The operator's own account.
    pub session: Arc<Session>,
    /// For what a class does not say of its account.
    pub session_options: SessionOptions,
    /// For what a class does not say of its users.
    pub defaults: Defaults,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether each user has a metric of its own.
    pub user_metrics: UserMetrics,
    /// Waits within a reconcile.
    pub waits: Waits,
    /// The interval of drift detection for a Ready user.
    pub resync_interval: SignedDuration,
    /// Whether to write.
    pub leadership: Leadership,
}
