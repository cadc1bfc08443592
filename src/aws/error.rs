//! What an AWS error means to the operator.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use aws_sdk_sts::operation::assume_role_with_web_identity::AssumeRoleWithWebIdentityError;
use aws_sdk_sts::operation::get_caller_identity::GetCallerIdentityError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::raw::StatusOf;
use crate::api::Reason;
use crate::leadership::NotLeading;

/// What an AWS error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// NoSuchEntity.
    NotFound,
    /// EntityAlreadyExists.
    AlreadyExists,
    /// DeleteConflict.
    DeleteConflict,
    /// LimitExceeded: a quota, not the request rate.
    LimitExceeded,
    /// The operator's own permissions do not suffice.
    AccessDenied,
    /// The operator has no credentials.
    NoCredentials,
    /// AWS does not accept the credentials that signed the request.
    InvalidCredentials,
    /// The request was signed too long ago, or in the future: a clock is wrong.
    Clock,
    /// Too many requests.
    Throttled,
    /// IAM asks to come again later.
    TryLater,
    /// No answer: after a write, nobody knows whether it took effect.
    Unreachable,
    /// MalformedPolicyDocument.
    MalformedPolicy,
    /// What the request says is not allowed: it will never be taken as it is.
    Invalid,
    /// The server does not know the call: it is not AWS.
    Unsupported,
    /// The server has taken what proves that a user is ours, and does not show it: it is not AWS.
    OwnershipNotKept,
    /// The server has taken a policy, and shows another: it is not AWS.
    PolicyNotKept,
    /// It was not sent: this process may not lead any more.
    NotLeading,
    /// It was not sent: the credentials are of another account than those that the operator began with.
    AnotherAccount,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// By the error code: IAM's quota error is `LimitExceeded`, whereas `LimitExceededException` is in the SDK's list
    /// of throttling codes.
    pub fn of_code(code: &str, status: Option<u16>) -> Self {
        let known = CODES.iter().find(|(_, codes)| codes.contains(&code)).map(|(kind, _)| *kind);
        known.unwrap_or(match status {
            Some(429) => Self::Throttled,
            // Without a code of its own: Ceph RGW answers so to what it does not know.
            Some(405 | 501) => Self::Unsupported,
            Some(500..) => Self::TryLater,
            _ => Self::Other,
        })
    }
}

/// The error codes that mean something to the operator: those of IAM's and STS's API references, and the SDK's lists of what is
/// throttled and what passes.
const CODES: &[(ErrorKind, &[&str])] = &[
    (ErrorKind::NotFound, &["NoSuchEntity", "NoSuchEntityException"]),
    (ErrorKind::AlreadyExists, &["EntityAlreadyExists", "EntityAlreadyExistsException"]),
    (ErrorKind::DeleteConflict, &["DeleteConflict", "DeleteConflictException"]),
    (ErrorKind::LimitExceeded, &["LimitExceeded", "ReportSizeLimitExceeded"]),
    (
        ErrorKind::AccessDenied,
        &["AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized", "OptInRequired"],
    ),
    (ErrorKind::Clock, &["RequestExpired", "RequestTimeTooSkewed"]),
    (
        ErrorKind::InvalidCredentials,
        &[
            "InvalidClientTokenId",
            "SignatureDoesNotMatch",
            "UnrecognizedClientException",
            "InvalidAccessKeyId",
            "ExpiredToken",
            "ExpiredTokenException",
            "IncompleteSignature",
            "AuthFailure",
            "MissingAuthenticationToken",
            "InvalidToken",
            "TokenRefreshRequired",
        ],
    ),
    (
        ErrorKind::Throttled,
        &[
            "Throttling",
            "ThrottlingException",
            "RequestLimitExceeded",
            "LimitExceededException",
            "SlowDown",
            "TooManyRequestsException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "BandwidthLimitExceeded",
            "EC2ThrottledException",
            "PriorRequestNotComplete",
            "ProvisionedThroughputExceededException",
            "TransactionInProgressException",
        ],
    ),
    (
        ErrorKind::TryLater,
        &[
            "ReportNotPresent",
            "ReportInProgress",
            "ReportExpired",
            "ConcurrentModification",
            "ConcurrentModificationException",
            "EntityTemporarilyUnmodifiable",
            "EntityTemporarilyUnmodifiableException",
            "ServiceFailure",
            "ServiceFailureException",
            "ServiceUnavailable",
            "InternalFailure",
            "RequestTimeout",
            "RequestTimeoutException",
        ],
    ),
    (
        ErrorKind::MalformedPolicy,
        &["MalformedPolicyDocument", "MalformedPolicyDocumentException", "PolicyNotAttachable"],
    ),
    (
        ErrorKind::Invalid,
        &["ValidationError", "ValidationException", "InvalidInput", "InvalidInputException", "InvalidParameterValue"],
    ),
    (
        ErrorKind::Unsupported,
        &["InvalidAction", "NotImplemented", "MethodNotAllowed", "NotSupportedService", "UnknownOperationException"],
    ),
];

/// An answer in one word out of a closed set, for a metric's label: a known error code, else the HTTP status.
pub(super) fn label_of(code: &str, status: u16) -> Cow<'static, str> {
    match status {
        0 => Cow::Borrowed("NoAnswer"),
        200..300 => Cow::Borrowed("OK"),
        _ => {
            let mut known = CODES.iter().flat_map(|(_, codes)| *codes);
            known.find(|known| **known == code).map_or_else(|| status.to_string().into(), |known| (*known).into())
        }
    }
}

/// A failed AWS call.
#[derive(Clone, Debug)]
pub struct AwsError {
    /// The operation, such as `CreateUser`.
    pub operation: &'static str,
    /// The object it was about.
    pub object: String,
    /// What the error means.
    pub kind: ErrorKind,
    /// The error code, or what stands in its place.
    pub code: String,
    /// AWS's words, without the request id.
    pub message: String,
}

impl fmt::Display for AwsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation, self.object, self.code)?;
        if !self.message.is_empty() {
            write!(f, ": {}", self.message)?;
        }
        if let Some(help) = self.help() {
            write!(f, ": {help}")?;
        }
        Ok(())
    }
}

impl Error for AwsError {}

impl AwsError {
    /// A list that comes to no end: the server begins it anew, or makes it up as it goes.
    pub(super) fn endless(operation: &'static str, object: &str) -> Self {
        let message = "the list comes to no end: page follows page, or it begins anew".to_owned();
        Self { operation, object: object.to_owned(), kind: ErrorKind::Other, code: "EndlessList".to_owned(), message }
    }

    /// Reads the SDK's error.
    pub(super) fn of<E, R>(operation: &'static str, object: &str, error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: fmt::Debug + StatusOf + 'static,
    {
        let made = |kind, code: &str, message: String| Self {
            operation,
            object: object.to_owned(),
            kind,
            code: code.to_owned(),
            message,
        };
        if let Some(cause) = find::<AnotherAccount>(error) {
            return made(ErrorKind::AnotherAccount, "AnotherAccount", cause.to_string());
        }
        if let Some(cause) = find::<CredentialsError>(error) {
            // Whose they are was asked of STS, which says what is wrong with them.
            if let Some(asked) = find::<SdkError<GetCallerIdentityError, HttpResponse>>(cause) {
                let asked = Self::of("GetCallerIdentity", object, asked);
                let own = passes(asked.kind) || matches!(asked.kind, ErrorKind::InvalidCredentials | ErrorKind::Clock);
                return Self { kind: if own { asked.kind } else { ErrorKind::NoCredentials }, ..asked };
            }
            let message = cause.source().map_or_else(|| cause.to_string(), chain);
            return match why_not_loaded(cause) {
                Some(kind) => made(kind, "CredentialsNotLoaded", message),
                None => made(ErrorKind::NoCredentials, "NoCredentials", message),
            };
        }
        if let Some(cause) = find::<NotLeading>(error) {
            return made(ErrorKind::NotLeading, "NotSent", cause.to_string());
        }
        match error {
            SdkError::ServiceError(service) => {
                // Compatible servers wrap the code in other elements than the SDK reads.
                let code = service.err().code().or_else(|| service.raw().code_in_body()).unwrap_or("Unknown");
                let message = service.err().message().unwrap_or_default();
                let kind = match ErrorKind::of_code(code, service.raw().status_code()) {
                    ErrorKind::InvalidCredentials if WRONG_TIME.iter().any(|told| message.starts_with(told)) => {
                        ErrorKind::Clock
                    }
                    kind => kind,
                };
                made(kind, code, message.to_owned())
            }
            SdkError::TimeoutError(_) => made(ErrorKind::Unreachable, "Timeout", "no answer in time".to_owned()),
            SdkError::DispatchFailure(failure) => {
                let message = failure.as_connector_error().map_or_else(String::new, |cause| chain(cause));
                made(ErrorKind::Unreachable, "Unreachable", message)
            }
            SdkError::ResponseError(response) => made(
                ErrorKind::Unreachable,
                "UnreadableAnswer",
                format!("HTTP status {:?}", response.raw().status_code()),
            ),
            other => made(ErrorKind::Other, "RequestNotSent", chain(other)),
        }
    }

    /// The reason of the condition.
    pub fn reason(&self) -> Reason {
        match self.kind {
            ErrorKind::AccessDenied => Reason::AccessDenied,
            ErrorKind::NoCredentials => Reason::NoCredentials,
            ErrorKind::InvalidCredentials | ErrorKind::Clock => Reason::InvalidCredentials,
            ErrorKind::AnotherAccount => Reason::AccountMismatch,
            ErrorKind::Throttled | ErrorKind::TryLater => Reason::Throttled,
            ErrorKind::Unreachable => Reason::Unreachable,
            ErrorKind::LimitExceeded => Reason::QuotaExceeded,
            ErrorKind::MalformedPolicy => Reason::InvalidPolicy,
            ErrorKind::Invalid => Reason::InvalidSpec,
            ErrorKind::DeleteConflict => Reason::DeleteBlocked,
            // Read again, it will have come or gone.
            ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::NotLeading => Reason::Creating,
            ErrorKind::OwnershipNotKept => Reason::OwnershipNotKept,
            ErrorKind::PolicyNotKept => Reason::SystemUnfit,
            ErrorKind::Unsupported | ErrorKind::Other => Reason::Failed,
        }
    }

    /// Whether another try, without anybody's help, may well succeed.
    pub fn is_transient(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::Throttled
                | ErrorKind::TryLater
                | ErrorKind::Unreachable
                | ErrorKind::NotFound
                | ErrorKind::AlreadyExists
                | ErrorKind::NotLeading
        )
    }

    /// AWS has read the request and not carried it out, or it was never sent: nothing has changed.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::NotFound
                | ErrorKind::LimitExceeded
                | ErrorKind::AccessDenied
                | ErrorKind::NoCredentials
                | ErrorKind::InvalidCredentials
                | ErrorKind::Clock
                | ErrorKind::Invalid
                | ErrorKind::Unsupported
                | ErrorKind::NotLeading
                | ErrorKind::AnotherAccount
        )
    }

    fn field(&self) -> Option<&'static str> {
        let named = FIELDS.iter().find(|(names, _)| names.iter().any(|name| self.message.contains(name)));
        named.map(|(_, help)| *help)
    }

    /// To GetAccessKeyLastUsed, AWS answers so for a key that is gone, whoever asks: a missing permission has a colon after
    /// "perform", and says because of what.
    pub(super) fn is_of_a_key_that_is_gone(&self) -> bool {
        let denied = self.kind == ErrorKind::AccessDenied && self.message.contains("on resource: access key ");
        denied && !self.message.contains("perform:") && !self.message.contains("because")
    }

    /// It names something that is not there, as in "Policy … does not exist or is not attachable", and that is not what the
    /// call was about.
    pub fn lacks(&self, arn: &str) -> bool {
        self.kind == ErrorKind::NotFound && self.message.contains(arn)
    }

    fn help(&self) -> Option<&'static str> {
        match self.kind {
            ErrorKind::AccessDenied => Some("grant the operator the permissions of deploy/iam/operator-policy"),
            ErrorKind::NoCredentials => Some(
                "give the operator AWS credentials: a role for its service account, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ),
            ErrorKind::InvalidCredentials => Some("replace the operator's AWS credentials"),
            ErrorKind::Clock => Some("set the clock of the node that the operator runs on"),
            ErrorKind::Invalid => self.field(),
            ErrorKind::Unreachable => Some("check the network and AWS_ENDPOINT_URL; it is tried again"),
            ErrorKind::Throttled | ErrorKind::TryLater => Some("it is tried again more slowly"),
            ErrorKind::Unsupported => Some(
                "the server does not know this call: where it is S3-compatible and not AWS, set S3ACCESS_PROVIDER=s3-compatible, and S3ACCESS_ACCOUNT_ID if it has no STS",
            ),
            ErrorKind::LimitExceeded if self.message.contains("PoliciesPerAccount") => Some(
                "set spec.policy.type to Inline, which needs no policy of the account's 1,500; or raise the quota, up to 5,000",
            ),
            ErrorKind::LimitExceeded => Some("raise the IAM quota, or remove what is not needed"),
            _ => None,
        }
    }
}

/// What AWS calls a parameter that it did not take, and what to correct then. It names the parameter as in "Value at
/// 'tags' failed to satisfy constraint", or in words.
const FIELDS: [(&[&str], &str); 6] = [
    (&["'tags", "'tagKeys", "Duplicate tag keys"], "correct spec.tags"),
    (&["'path'", "value for path"], "correct spec.path"),
    (&["'userName'", "value for userName"], "correct spec.userName"),
    (&["'policyName'"], "correct spec.policy.name"),
    (&["'permissionsBoundary'"], "correct spec.permissionsBoundaryArn, or the class's"),
    (&["'policyArn'", "ARN "], "correct spec.managedPolicyArns, or spec.permissionsBoundaryArn"),
];

/// STS tells so of a clock under the code SignatureDoesNotMatch (observed: aws/aws-cli#6676).
const WRONG_TIME: [&str; 2] = ["Signature expired", "Signature not yet current"];

/// Credentials that belong to another account than those before them.
#[derive(Debug, thiserror::Error)]
#[error(
    "the operator's credentials were of account {before}, and are of account {now}: nothing is done there; put back those of {before}, or restart the operator to go on in {now}"
)]
pub(super) struct AnotherAccount {
    pub(super) before: String,
    pub(super) now: String,
}

/// What keeps credentials from being loaded only for now; `None`: somebody has to see to it.
fn why_not_loaded(error: &CredentialsError) -> Option<ErrorKind> {
    if matches!(error, CredentialsError::ProviderTimedOut(_)) {
        return Some(ErrorKind::Unreachable);
    }
    let of_role =
        find::<SdkError<AssumeRoleError, HttpResponse>>(error).map(|error| AwsError::of("AssumeRole", "", error));
    let of_token = find::<SdkError<AssumeRoleWithWebIdentityError, HttpResponse>>(error)
        .map(|error| AwsError::of("AssumeRoleWithWebIdentity", "", error));
    of_role.or(of_token).map(|error| error.kind).filter(|kind| passes(*kind))
}

/// Of what STS answers about credentials, that which passes by itself. The rest must not be taken for IAM's answer to the call
/// that they were for: by a NoSuchEntity its user would be missing.
fn passes(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::Throttled | ErrorKind::TryLater | ErrorKind::Unreachable)
}

fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<E>() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

/// An error with its causes, which the SDK's Display leaves out.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests;
