//! S3 access operator: gives workloads their own AWS IAM user, S3 policy and access key.
//!
//! # Data flow
//! **watch → queue → read → decide → apply → report.** For each S3AccessUser, [`controller`] watches the object and queues
//! it; [`core::reads`] decides how little has to be read; what is read becomes one [`core::observed::Observed`];
//! [`core::plan`] decides, as a pure function of what is desired, what is observed and the time; the controller applies one
//! action at a time and records its effect in the picture, until nothing is left to do. The status is a report, written last
//! and only if it says anything new. Before all that, [`core::curtail`] takes away what a class no longer allows.
//!
//! `.github/CONTRIBUTING.md` walks through an edit, a rotation and a change by hand in IAM.
//!
//! # Map
//! | module | what it is | may import, beside its own |
//! |---|---|---|
//! | [`api`] | the custom resource, its conditions, every name that is written on an object | no module, client or time: types only |
//! | [`core`] | desired, observed, reads, plan, curtail, policy, lint, rotation, ends, drift, names, conditions, secret data | `api`; neither client nor time, which callers hand over |
//! | [`leadership`] | until when this process may write | no module |
//! | [`metrics`] | what is counted | `core` |
//! | [`traces`] | what is told of a reconcile, and where to | `api`; the AWS SDK's HTTP client, tokio |
//! | [`aws`] | the calls used, what their errors mean, one session an account | `api`, `core`, `leadership`, `metrics`, `traces`; the AWS SDK, tokio, a clock |
//! | [`kubernetes`] | the requests made, what a Secret holds | `api`, `core`; kube's client |
//! | [`controller`] | watch, queue, read, apply, report; the state between two reconciles | `api`, `core`, `leadership`, `metrics`, `traces`, `aws`, `kubernetes`; kube's client, the AWS SDK's credentials, tokio, a clock |
//! | [`config`] | the settings | `core`, `leadership`, `metrics`, `aws` |
//! | [`server`] | the HTTP endpoints, and who may read metrics | `metrics`, `kubernetes`; tokio, a clock |
//! | [`telemetry`] | logs and traces, as the settings have them | `traces`, `config`; tokio |
//! | [`cli`] | the commands, and the process around the controller | all above; kube's client, tokio, a clock |
//!
//! `tests/architecture` holds the source to this table.
//!
//! # Invariants
//! 1. A secret key is only ever in the Secret and in memory.
//! 2. IAM never holds a key of ours that is not in the Secret, beyond a rotation's overlap or one in-flight mint.
//! 3. No key that the Secret holds is deactivated or deleted before its successor is in the Secret and has been seen to
//!    work, unless the CR is being deleted or suspended, or the key is revoked or proven lost.
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
//!
//! # Cross-cutting rules
//! - **Time**: one clock in [`controller`]; the core is handed `now`. What is recorded in a Secret or a tag is held against IAM's
//!   own dates before it is believed.
//! - **Errors**: an error of AWS or Kubernetes says operation, object, code and what to do ([`aws::AwsError`],
//!   [`kubernetes::KubernetesError`]); it becomes a reason and a message of one condition. A spec that cannot be carried out is a
//!   [`core::refusal::Refusal`], found before anything is written.
//! - **Secrecy**: a secret key is a `SecretString` from IAM's answer to the Secret; nothing that is logged or printed holds one.
//! - **Concurrency**: one reconcile of an object at a time; an account has so many slots and a rate. The work queue is
//!   [`core::queue`], a pure structure that is model-checked; the controller only carries it out. Whatever a process knows may be
//!   lost at any time. A write asks the Lease last.
//!
//! # Glossary
//! | word | meaning |
//! |---|---|
//! | *action*, *effect* | one step of a plan, and what it led to |
//! | *curtail* | to take away access that the class does not allow, before and apart from the plan |
//! | *drift*, *sweep* | a change in IAM by somebody else; the bulk read of an account that finds it |
//! | *fingerprint* | what is asked for, in short: spec, annotations and the class's revision |
//! | *finding*, *lint* | a mistake in a policy that IAM takes; to search for them, by a table of AWS's actions |
//! | *known*, *state* | what this process remembers of one object, and of all |
//! | *lane* | what the users of one account share: the rate of calls, the slots of reconciles, and who goes first |
//! | *minted* | a key that IAM has made and that is in no Secret yet |
//! | *owner*, *desired*, *observed* | who owns what under which names; what should be; what is |
//! | *part*, *progress* | user, policy, key and Secret, each with a condition of its own; how it stands |
//! | *pass* | one reconcile of one object, with all that it is about |
//! | *reads* | how much a reconcile reads: nothing, the Secret, a probe, keys, user and keys, everything |
//! | *retiring* | the replaced key in its overlap |
//! | *revocation* | the end of keys that have leaked, recorded on the IAM user; revoked keys are kept for a while, inactive |
//! | *settled* | everything was done at the end of the last reconcile |
//! | *window* | the days and hours in which keys are replaced by schedule; the *consistency window* is the time that the replicas of IAM take |
//! | *work queue* | each object at most once: delayed until it is due, admitted to a lane if there is work, queued, running |

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
