//! What is read of a whole account, for all its users at once: the bulk read that finds drift, and AWS's alarm.
//!
//! Nothing is written on what is read here; whom it concerns is reconciled, and reads live.

mod alarm;
mod sweep;

pub use sweep::Sweeper;
