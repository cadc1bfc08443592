//! S3 access operator.
pub mod api;
pub mod core;
