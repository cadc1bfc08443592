//! The test ground.

pub mod double;
