//! The controller: watches objects, queues them, and reconciles each one.
//!
//! The path of one reconcile, type by type:
//!
//! ```text
//! Opened ─► Pass ─► Known + Seen ─► Facts ─► Reads ─► Observed ─► Plan ─► Effect ─► Known
//! ```
//!
//! | type | what it is on that path |
//! |---|---|
//! | [`Opened`] | the S3AccessUser, unpacked from the watch's cache |
//! | `Pass` (context.rs) | that, with its class and account, who owns what, and what should be |
//! | [`Known`](crate::core::reads::known::Known), `Seen` (observe.rs) | what this process remembers of it; what its Secrets hold, read live |
//! | [`Facts`](crate::core::reads::Facts) | what of the two the next decision rests upon |
//! | [`Reads`](crate::core::reads::Reads) | how much of IAM is read, and so what may be written |
//! | [`Observed`](crate::core::observed::Observed) | the picture that comes of it |
//! | [`Plan`](crate::core::plan::Plan) | the next actions, and how each part stands |
//! | [`Effect`](crate::core::plan::Effect) | what an action led to: the picture takes it in, and the next plan follows, until none has an action |
//! | [`Known`](crate::core::reads::known::Known) | what the next reconcile may go by; the status tells the rest |

mod account;
mod apply;
mod class;
mod context;
mod converge;
mod curtail;
mod error;
mod observe;
mod outcome;
mod own_key;
mod panics;
mod preview;
mod queue;
mod reconcile;
mod report;
mod run;
mod state;
mod watch;
mod worker;

pub use class::{ClassResolver, KnownClass, OneAccount, OwnAccount, ResolvedClass, check_account};
pub use context::{Clock, Context, Options};
pub use error::Error;
pub use outcome::Outcome;
pub use own_key::{OwnSecret, Rotator};
pub use panics::log_panics;
pub use preview::{Planner, Preview, Standing, Touched, applied};
pub use run::run;
pub use state::State;
pub use watch::cached::{Membership, Opened};
pub use worker::reconcile_now;
