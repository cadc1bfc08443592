//! The Helm chart and what goes with it: rendered by helm, held against the kustomize base, installed into a real API
//! server, and read by those who will read it (kstatus, Argo CD, Prometheus, OLM). And what goes before it: the side of AWS.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking, and clippy's own exception for tests does not reach their helpers"
)]

mod alerts;
mod base;
mod docs;
mod health;
mod helm;
mod install;
mod olm;
mod quickstart;
mod shell;
mod snippets;
mod stack;
mod values;
