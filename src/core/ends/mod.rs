//! Why and when a key's use ends before anybody replaces it: its time is over, it is suspended or shut out, AWS has found it in
//! public, nobody uses it, or it is revoked.

pub mod inactive;
pub mod quarantine;
pub mod revocation;
pub mod unused;
