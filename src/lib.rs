//! S3 access operator.
pub mod api;
pub mod aws;
pub mod core;
pub mod metrics;
