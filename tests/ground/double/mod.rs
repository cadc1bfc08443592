//! A strict double of IAM, STS, and S3's authorization.
//!
//! At its core is a state machine without a clock, without I/O and with seeded identifiers: [`World::call`] takes a time,
//! a caller and a request, and gives the answer that AWS would give. Crash tests run it in-process, thousands of worlds
//! a second; an HTTP shell around the same machine lets the real SDKs sign, retry and fail.
//!
//! ```text
//! Request ─► World: faults, history, keys and sessions
//!              └► Iam (one per account): throttling, permission, replica or latest state
//!                    └► State: users, keys, policies, … (persistent maps: a copy costs nothing)
//! ```
//!
//! In-process, a test gives the time and gets the answer; a clone is a world of its own:
//!
//! ```
//! use ground::double::{Account, Caller, Fault, FaultKind, Operation, Request, Settings, When, World};
//!
//! let account = Account { id: "123456789012".into(), partition: "aws".into() };
//! let mut world = World::new(account, Settings::default());
//! let (root, now) = (Caller::root("123456789012"), "2026-01-01T00:00:00Z".parse()?);
//! world.faults().set([Fault::new(When::Nth(Operation::DeleteUser, 0), FaultKind::LostBeforeEffect)]);
//! let delete = Request::DeleteUser { user_name: "reports".into() };
//! assert!(world.clone().call(now, &root, &delete).result.is_err());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Over HTTP, [`DoubleServer`] answers IAM, STS and S3 at one URL; [`DoubleServer::with`] looks into its world.
//!
//! What it holds to:
//! - a call that fails changes nothing;
//! - writes see the latest state; reads see a state that the account really had, at most [`Lag::longest`] ago;
//! - quotas hold, unless [`Settings::key_quota_race`] is set;
//! - secrets are in no `Debug` output.

mod attachments;
mod authorize;
mod buckets;
mod caller;
mod check;
mod conditions;
mod details;
mod document;
mod error;
mod faults;
mod groups;
mod history;
mod iam;
mod ids;
mod keys;
mod leftovers;
pub mod limits;
mod model;
mod names;
mod operation;
mod policies;
mod replica;
mod report;
mod request;
mod response;
mod settings;
mod simulate;
mod state;
mod sts;
#[cfg(test)]
mod tests;
mod throttle;
mod users;
pub(crate) mod wire;
mod world;

pub use authorize::Decision;
pub use caller::{Caller, Credentials};
pub use conditions::Context;
pub use document::Document;
pub use error::{ApiError, Code};
pub use faults::{Fault, FaultKind, FaultPlan, When};
pub use history::{Call, History, Outcome};
pub use iam::Iam;
pub use model::{
    AccessKey, Account, Group, LastUsed, Policy, PolicyVersion, Role, ServiceCredential, SigningCertificate, SshKey,
    Status, Tag, Tags, User, VirtualMfaDevice,
};
pub use operation::{Kind, Operation};
pub use request::{DetailsFilter, Page, PolicyScope, Request};
pub use response::{
    AccessKeyMetadata, AccountDetails, AssumedRole, AttachedPolicy, CallerIdentity, Evaluation, Listing, NewAccessKey,
    PolicyDetail, Response, SessionCredentials, UserDetail, VersionView,
};
pub use settings::{CredentialReport, Distortion, Lag, Quirk, Rate, Settings, Throttle};
pub use state::State;
pub use wire::{Clock, Config, DoubleServer};
pub use world::{Access, CallError, Identity, Reply, World};
