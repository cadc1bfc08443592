//! What can go wrong while a plan is carried out, and what the conditions say of it.

use crate::api::Reason;
use crate::aws::{AwsError, ErrorKind};
use crate::core::conditions::Failure;
use crate::core::plan::Part;
use crate::core::secret_data::RenderError;
use crate::kubernetes::KubernetesError;
use crate::leadership::NotLeading;

/// What can go wrong while a plan is carried out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// AWS said no, or nothing.
    #[error(transparent)]
    Aws(AwsError),
    /// Kubernetes said no, or nothing.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// The Secret cannot be rendered as the spec asks.
    #[error("spec.secret: {0}")]
    Render(#[from] RenderError),
    /// The secret half of a key is not at hand; the next reconcile finds the key in no Secret and replaces it.
    #[error("the secret half of access key {0} is not at hand; it is looked for again")]
    KeyUnknown(String),
    /// The S3AccessUser is in a class of another operator.
    #[error("another operator's S3AccessUser")]
    NotOurs,
    /// There is no class for the S3AccessUser.
    #[error("{0}")]
    NoClass(String),
    /// The class is being deleted, and takes nobody new.
    #[error("S3AccessClass {0:?} is being deleted: use another")]
    ClassGoing(String),
    /// The class's credentials are of another account than it says.
    #[error("{0}")]
    OtherAccount(String),
    /// The class's credentials cannot be used.
    #[error("{0}")]
    BadCredentials(String),
    /// The class does not fit the schema.
    #[error("the class cannot be read: {0}: correct it; until then nothing is done for its S3AccessUsers")]
    InvalidClass(String),
    /// A defect of the operator.
    #[error(
        "the operator failed on this object by a defect of its own (see its log, and please report it); it is tried again"
    )]
    Defect,
    /// The Lease is not provably held any more.
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
}

impl From<AwsError> for Error {
    fn from(error: AwsError) -> Self {
        if error.kind == ErrorKind::NotLeading { NotLeading.into() } else { Self::Aws(error) }
    }
}

impl Error {
    /// Everything is to be read anew at once: the world is not as it was read.
    pub fn is_stale_view(&self) -> bool {
        match self {
            Self::Kubernetes(error) => error.is_conflict(),
            Self::Aws(error) => error.kind == ErrorKind::AlreadyExists,
            _ => false,
        }
    }

    /// The user has another access key than was taken for granted, or lacks one.
    pub fn belies_the_keys(&self) -> bool {
        matches!(self, Self::Aws(error) if matches!(error.kind, ErrorKind::LimitExceeded | ErrorKind::NotFound))
    }

    /// For the conditions.
    pub fn failure(&self, part: Part) -> Failure {
        let (reason, transient) = match self {
            Self::Aws(error) => (error.reason(), error.is_transient()),
            Self::Kubernetes(error) if error.is_denial() => (Reason::AccessDenied, false),
            Self::Kubernetes(error) => {
                let transient = error.code.is_none_or(|code| code == 409 || code == 404 || code == 429 || code >= 500);
                (Reason::Failed, transient)
            }
            Self::Render(_) => (Reason::InvalidSpec, false),
            Self::NoClass(_) | Self::ClassGoing(_) | Self::NotOurs => (Reason::ClassNotFound, false),
            Self::OtherAccount(_) => (Reason::AccountMismatch, false),
            Self::BadCredentials(_) => (Reason::InvalidCredentials, false),
            Self::InvalidClass(_) => (Reason::InvalidSpec, false),
            Self::Defect => (Reason::ReconcilePanicked, false),
            Self::KeyUnknown(_) | Self::NotLeading(_) => (Reason::Creating, true),
        };
        Failure { part, reason, message: self.to_string(), transient }
    }
}
