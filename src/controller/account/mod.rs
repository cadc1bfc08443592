//! What is read of a whole account, for all its users at once: the bulk read that finds drift, AWS's alarm, and when
//! keys were used last.
//!
//! Nothing is written on what is read here; whom it concerns is reconciled, and reads live.

mod alarm;
mod beat;
mod last_use;
mod sweep;

pub use beat::Beat;
pub use sweep::Sweeper;
