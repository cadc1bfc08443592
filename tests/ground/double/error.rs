//! The errors that IAM and STS answer with.

use std::fmt;

/// An error code of IAM, STS, or the query protocol that both speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the AWS API reference documents each code under this very name")]
pub enum Code {
    AccessDenied,
    ConcurrentModification,
    DeleteConflict,
    EntityAlreadyExists,
    EntityTemporarilyUnmodifiable,
    ExpiredToken,
    InvalidAction,
    InvalidAuthenticationCode,
    InvalidClientTokenId,
    InvalidInput,
    LimitExceeded,
    MalformedCertificate,
    MalformedPolicyDocument,
    MissingAuthenticationToken,
    NoSuchEntity,
    NotSupportedService,
    ReportExpired,
    ReportInProgress,
    ReportNotPresent,
    ServiceFailure,
    SignatureDoesNotMatch,
    Throttling,
    UnrecognizedPublicKeyEncoding,
    ValidationError,
}

impl Code {
    /// The code on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDenied",
            Self::ConcurrentModification => "ConcurrentModification",
            Self::DeleteConflict => "DeleteConflict",
            Self::EntityAlreadyExists => "EntityAlreadyExists",
            Self::EntityTemporarilyUnmodifiable => "EntityTemporarilyUnmodifiable",
            Self::ExpiredToken => "ExpiredToken",
            Self::InvalidAction => "InvalidAction",
            Self::InvalidAuthenticationCode => "InvalidAuthenticationCode",
            Self::InvalidClientTokenId => "InvalidClientTokenId",
            Self::InvalidInput => "InvalidInput",
            Self::LimitExceeded => "LimitExceeded",
            Self::MalformedCertificate => "MalformedCertificate",
            Self::MalformedPolicyDocument => "MalformedPolicyDocument",
            Self::MissingAuthenticationToken => "MissingAuthenticationToken",
            Self::NoSuchEntity => "NoSuchEntity",
            Self::NotSupportedService => "NotSupportedService",
            Self::ReportExpired => "ReportExpired",
            Self::ReportInProgress => "ReportInProgress",
            Self::ReportNotPresent => "ReportNotPresent",
            Self::ServiceFailure => "ServiceFailure",
            Self::SignatureDoesNotMatch => "SignatureDoesNotMatch",
            Self::Throttling => "Throttling",
            Self::UnrecognizedPublicKeyEncoding => "UnrecognizedPublicKeyEncoding",
            Self::ValidationError => "ValidationError",
        }
    }

    /// The HTTP status that AWS sends with the code (IAM service model, and "Common Errors").
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidAction
            | Self::InvalidInput
            | Self::MalformedCertificate
            | Self::MalformedPolicyDocument
            | Self::Throttling
            | Self::UnrecognizedPublicKeyEncoding
            | Self::ValidationError => 400,
            Self::AccessDenied
            | Self::ExpiredToken
            | Self::InvalidAuthenticationCode
            | Self::InvalidClientTokenId
            | Self::MissingAuthenticationToken
            | Self::SignatureDoesNotMatch => 403,
            Self::NoSuchEntity | Self::NotSupportedService | Self::ReportInProgress => 404,
            Self::ConcurrentModification
            | Self::DeleteConflict
            | Self::EntityAlreadyExists
            | Self::EntityTemporarilyUnmodifiable
            | Self::LimitExceeded => 409,
            Self::ReportExpired | Self::ReportNotPresent => 410,
            Self::ServiceFailure => 500,
        }
    }

    /// An error with this code and a message.
    pub fn error(self, message: impl Into<String>) -> ApiError {
        ApiError { code: self, message: message.into() }
    }
}

/// What AWS answers instead of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// What went wrong, for programs.
    pub code: Code,
    /// What went wrong, for people; worded as AWS words it where its wording is known.
    pub message: String,
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.code.as_str(), self.message)
    }
}

impl std::error::Error for ApiError {}
