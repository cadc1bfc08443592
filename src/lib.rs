//! S3 access operator.
