//! The controller: watches objects, queues them, and reconciles each one.

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
