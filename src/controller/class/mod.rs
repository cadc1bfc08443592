//! The S3AccessClasses: what the watches have of them, which one an S3AccessUser is in, and the reconcile of each.

mod namespaces;
mod probe;
mod reconcile;
mod registry;
mod resolve;
mod watch;

pub use namespaces::{Changes, Namespaces};
pub use registry::{Classes, KnownClass, Stores, check_account};
pub use resolve::{ClassResolver, OneAccount, OwnAccount, ResolvedClass};
pub use watch::Watched;
