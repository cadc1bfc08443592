//! The pure core: what should be, what is, and what to do about the difference.
//!
//! Nothing here imports a Kubernetes client or the AWS SDK, and nothing reads a clock: every function takes `now`.
//! So each crash point, clock and interleaving can be tried in microseconds, and the `plan` command is the very
//! function that the controller runs.

pub mod adoption;
pub mod budget;
pub mod class;
pub mod conditions;
pub mod credential_report;
pub mod curtail;
pub mod desired;
pub mod drift;
pub mod ends;
pub mod iam;
pub mod lint;
pub mod names;
pub mod observed;
pub mod plan;
pub mod policy;
pub mod priority;
pub mod provider;
pub mod queue;
pub mod rate;
pub mod reads;
pub mod refusal;
pub mod rotation;
pub mod schedule;
pub mod secret_data;
pub mod sessions;
