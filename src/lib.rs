//! S3 access operator: gives workloads their own AWS IAM user, S3 policy and access key.
//!
//! # Architecture
//! A pure core in an effectful shell. For each S3AccessUser, [`controller`] *observes* everything there is to know
//! into one [`core::observed::Observed`]; [`core::plan`] decides, as a pure function of what is wanted, what is seen and
//! the time; the controller *applies* one action at a time and records its effect in the picture, until nothing is
//! left to do. The status is a report, written last and only if it says anything new.
//!
//! | module | what it is | may import, beside its own |
//! |---|---|---|
//! | [`api`] | the custom resource, its conditions, every name that is written on an object | no module, client or time: types only |
//! | [`core`] | desired, observed, plan, policy, rotation, names, conditions, secret data | `api`; neither client nor time, which callers hand over |
//! | [`leadership`] | until when this process may write | no module |
//! | [`metrics`] | what is counted | `core` |
//! | [`traces`] | what is told of a reconcile, and where to | `api`; the AWS SDK's HTTP client, tokio |
//! | [`aws`] | the calls used, what their errors mean, one session an account | `api`, `core`, `leadership`, `metrics`, `traces`; the AWS SDK, tokio, a clock |
//! | [`kubernetes`] | the requests made, what a Secret holds | `api`, `core`; kube's client |
//! | [`controller`] | streams, observe, apply, report, memory | `api`, `core`, `leadership`, `metrics`, `traces`, `aws`, `kubernetes`; kube's client, the AWS SDK's credentials, tokio, a clock |
//! | [`config`] | the settings | `core`, `metrics`, `aws` |
//! | [`server`] | the HTTP endpoints | `metrics`; tokio, a clock |
//! | [`telemetry`] | logs and traces, as the settings have them | `traces`, `config`; tokio |
//! | [`cli`] | the commands, and the process around the controller | all above; kube's client, tokio, a clock |
//!
//! `tests/architecture` holds the source to this table.
//!
//! # Invariants
//! 1. A secret key is only ever in the Secret and in memory.
//! 2. IAM never holds a key of ours that is not in the Secret, beyond a rotation's overlap or one in-flight mint.
//! 3. No key that the Secret holds is deactivated or deleted before its successor is in the Secret and has been seen to
//!    work, unless the CR is being deleted or suspended, or the key is proven lost.
//! 4. Nothing is changed or deleted without proof of ownership, read live: our tags with the CR's UID on the user, our
//!    controller reference with the CR's UID on the Secret.
//! 5. Two leaders, a stale cache, a lost answer or a crash at any point lead to the same end, with no key left over.
//! 6. At rest: no write to Kubernetes, none to IAM, no burst at restart.
//! 7. Tenants reach nothing outside their class.
//! 8. A read error is never "missing"; NotFound is, and for IAM only after the consistency window.
//! 9. A bad CR harms no other; one throttled account delays no other.
//! 10. Deleting always ends: keys go first, and what blocks is named in the condition.
//! 11. Whatever stands in one object, in its Secret or in IAM's answer about it costs the process bounded time and memory,
//!     and ends at most that object's reconcile.
//! 12. What a class or a deletion takes away is gone within one reconcile of its being known, whatever else about the object
//!     is wrong, paused, unreadable or refused: [`core::curtail`] comes before [`core::plan`] and waits for nothing.

pub mod api;
pub mod aws;
pub mod cli;
pub mod config;
pub mod controller;
pub mod core;
pub mod kubernetes;
pub mod leadership;
pub mod metrics;
pub mod server;
pub mod telemetry;
pub mod traces;
