//! Measures what the operator costs: memory, calls of AWS, requests to Kubernetes and time, phase by phase, beside what
//! the same work costs at least.
//!
//! ```text
//! Run ─► Subject: the operator, or a peer, in a process of its own
//!   ├──► Fleet: N S3AccessUsers, each in one of as many S3AccessClasses as there are accounts
//!   ├──► Account, twice or more: a strict double of AWS, with the count of its calls
//!   └──► Audit: what the subject asked of the API server
//! phases ─► Figures, beside `floor`; `gate` judges them
//! ```

pub mod account;
pub mod audit;
mod emergency;
pub mod figures;
pub mod fleet;
pub mod floor;
pub mod gate;
mod ground;
mod phases;
mod run;
pub mod subject;
mod trials;
mod unasked;
pub mod usage;

pub use ground::BenchGround;
pub use run::{Pace, Run, Setup};
