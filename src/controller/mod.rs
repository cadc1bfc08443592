//! The controller: streams in, looks out.

mod apply;
mod context;
mod error;
mod leadership;
mod memory;
mod observe;
mod reconcile;
mod report;
mod run;
mod schedule;

pub use context::{Clock, Context};
pub use error::Error;
pub use leadership::Leadership;
pub use memory::Memory;
pub use reconcile::{Outcome, reconcile, reconcile_invalid};
pub use run::{Options, run};
