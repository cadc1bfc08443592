//! The controller: streams in, looks out.

mod apply;
mod class;
mod class_watch;
mod classes;
mod conclusion;
mod context;
mod coverage;
mod ending;
mod error;
mod glance;
mod kept;
mod memory;
mod news;
mod observe;
mod place;
mod preview;
mod quiet;
mod reconcile;
mod report;
mod run;
mod schedule;
mod sweep;
mod urgency;
mod vigil;
mod waiting;

pub use context::{Clock, Context};
pub use coverage::Coverage;
pub use error::Error;
pub use kept::Membership;
pub use memory::Memory;
pub use place::{OnePlace, Place, Places};
pub use preview::{Onlooker, Preview, applied};
pub use reconcile::{Outcome, reconcile, reconcile_invalid};
pub use run::{Options, run};
