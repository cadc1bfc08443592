//! The test ground.
