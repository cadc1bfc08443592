//! S3 access operator.
pub mod api;
