//! World-state tests: a real API server, moto, the operator's own process under its shipped RBAC and IAM policy. They
//! look at what is in IAM, in the Secret and in the CR, never at the order of calls.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

mod admission;
mod bad_input;
mod bound;
mod bounded;
mod buckets;
mod classes;
mod commands;
mod compatible;
mod consumer;
mod conversion;
mod crash;
mod doctor;
mod fairness;
mod first_class;
mod grants;
mod guard;
mod hostile;
mod install;
mod last_use;
mod leftovers;
mod levels;
mod lifecycle;
mod loose;
mod metrics;
mod misbehaving;
mod mistakes;
mod own;
mod own_key;
mod quarantine;
mod races;
mod recorded;
mod rest;
mod restart;
mod restore;
mod revoke;
mod rotation;
mod scene;
mod secrecy;
mod session;
mod snippets;
mod soak;
mod sweep;
mod systems;
mod takeover;
mod traces;
mod untaken;
mod withdrawn;
