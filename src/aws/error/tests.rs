#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use aws_config::sts::AssumeRoleProvider;
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_iam::error::ErrorMetadata;
use aws_sdk_iam::operation::get_user::GetUserError;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;

use super::*;
use crate::aws::scripted::answering;

#[test]
fn the_quota_error_is_no_throttling() {
    assert_eq!(ErrorKind::of_code("LimitExceeded", Some(409)), ErrorKind::LimitExceeded);
    assert_eq!(ErrorKind::of_code("Throttling", Some(400)), ErrorKind::Throttled);
    assert_eq!(ErrorKind::of_code("EntityTemporarilyUnmodifiable", Some(409)), ErrorKind::TryLater);
    assert_eq!(ErrorKind::of_code("Whatever", Some(503)), ErrorKind::TryLater);
    assert_eq!(ErrorKind::of_code("Whatever", Some(429)), ErrorKind::Throttled);
    assert_eq!(ErrorKind::of_code("Whatever", Some(400)), ErrorKind::Other);
    assert_eq!(ErrorKind::of_code("Unknown", Some(405)), ErrorKind::Unsupported);
    assert_eq!(ErrorKind::of_code("Unknown", Some(501)), ErrorKind::Unsupported);
}

#[test]
fn a_used_up_quota_of_policies_leads_to_inline_ones() {
    let told = |quota: &str| {
        let (object, code) = ("reports".to_owned(), "LimitExceeded".to_owned());
        let message = format!("Cannot exceed quota for {quota}: 1500");
        let kind = ErrorKind::LimitExceeded;
        AwsError { operation: "CreatePolicy", object, kind, code, message }.to_string()
    };
    assert!(told("PoliciesPerAccount").contains("spec.policy.type to Inline"), "{}", told("PoliciesPerAccount"));
    assert!(told("PolicySize").contains("raise the IAM quota"));
}

/// AWS SDK for Rust, aws-runtime, `retries::classifiers`: THROTTLING_ERRORS but `LimitExceededException`'s short form, which is
/// IAM's quota, and TRANSIENT_ERRORS.
#[test]
fn what_the_sdk_takes_for_throttled_or_passing_is_tried_again() {
    for code in [
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestThrottledException",
        "TooManyRequestsException",
        "ProvisionedThroughputExceededException",
        "TransactionInProgressException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "RequestThrottled",
        "SlowDown",
        "PriorRequestNotComplete",
        "EC2ThrottledException",
    ] {
        assert_eq!(ErrorKind::of_code(code, Some(400)), ErrorKind::Throttled, "{code}");
    }
    for code in ["RequestTimeout", "RequestTimeoutException"] {
        assert_eq!(ErrorKind::of_code(code, Some(400)), ErrorKind::TryLater, "{code}");
    }
}

fn error(kind: ErrorKind, code: &str, message: &str) -> AwsError {
    let (operation, object) = ("CreateUser", "reports".to_owned());
    AwsError { operation, object, kind, code: code.to_owned(), message: message.to_owned() }
}

#[test]
fn what_only_somebodys_action_helps_says_which() {
    for (code, help) in [
        ("RequestExpired", "clock"),
        ("RequestTimeTooSkewed", "clock"),
        ("InvalidToken", "replace the operator's AWS credentials"),
        ("TokenRefreshRequired", "replace the operator's AWS credentials"),
        ("NotAuthorized", "grant the operator"),
        ("OptInRequired", "grant the operator"),
    ] {
        let error = error(ErrorKind::of_code(code, Some(403)), code, "");
        assert!(error.to_string().contains(help) && !error.is_transient(), "{error}");
    }
}

#[test]
fn what_aws_finds_invalid_names_the_field() {
    for (message, field) in [
        ("1 validation error detected: Value at 'tags' failed to satisfy constraint", "spec.tags"),
        ("Duplicate tag keys found. Please note that Tag keys are case insensitive.", "spec.tags"),
        ("The specified value for path is invalid. It must begin and end with /", "spec.path"),
        ("The specified value for userName is invalid. It must contain only alphanumeric", "spec.userName"),
        ("1 validation error detected: Value at 'policyName' failed to satisfy", "spec.policy.name"),
        ("ARN arn:aws:iam::1:policy is not valid.", "spec.managedPolicyArns"),
    ] {
        let error = error(ErrorKind::of_code("ValidationError", Some(400)), "ValidationError", message);
        assert!(error.reason() == Reason::InvalidSpec && error.to_string().contains(field), "{error}");
    }
}

#[test]
fn a_key_that_is_gone_is_told_from_a_missing_permission() {
    let who = "User: arn:aws:iam::123456789012:user/operator is not authorized to perform";
    for (message, gone) in [
        (format!("{who} iam:GetAccessKeyLastUsed on resource: access key AKIA1"), true),
        (
            format!("{who}: iam:GetAccessKeyLastUsed on resource: user u because no identity-based policy allows it"),
            false,
        ),
        (format!("{who}: iam:GetAccessKeyLastUsed on resource: access key AKIA1"), false),
    ] {
        assert_eq!(
            error(ErrorKind::AccessDenied, "AccessDenied", &message).is_of_a_key_that_is_gone(),
            gone,
            "{message}"
        );
    }
}

#[test]
fn a_label_is_one_of_a_closed_set() {
    assert_eq!(label_of("", 200), "OK");
    assert_eq!(label_of("Throttling", 400), "Throttling");
    assert_eq!(label_of("AKIA-whatever-a-server-says", 400), "400");
    assert_eq!(label_of("", 0), "NoAnswer");
}

#[test]
fn rival_15_messages_name_the_object_and_what_to_do_and_no_request() {
    let error = AwsError {
        operation: "CreateUser",
        object: "reports".to_owned(),
        kind: ErrorKind::AccessDenied,
        code: "AccessDenied".to_owned(),
        message: "not authorized".to_owned(),
    };
    let text = error.to_string();
    assert!(text.starts_with("CreateUser reports: AccessDenied: not authorized: grant the operator"), "{text}");
    assert!(!text.to_lowercase().contains("request"), "{text}");
}

#[tokio::test]
async fn a_role_that_cannot_be_assumed_just_now_is_no_lack_of_credentials() {
    for (status, code, kind) in [
        (400, "Throttling", ErrorKind::Throttled),
        (503, "ServiceUnavailable", ErrorKind::TryLater),
        (403, "AccessDenied", ErrorKind::NoCredentials),
        (400, "ExpiredToken", ErrorKind::NoCredentials),
        (404, "NoSuchEntity", ErrorKind::NoCredentials),
        (409, "EntityAlreadyExists", ErrorKind::NoCredentials),
    ] {
        let told = role_answered_with(status, code).await;
        assert_eq!(told.kind, kind, "{told}");
    }
}

/// What a call comes to whose credentials are a role's that STS answers so about.
async fn role_answered_with(status: u16, code: &str) -> AwsError {
    let body = format!("<ErrorResponse><Error><Code>{code}</Code><Message>no</Message></Error></ErrorResponse>");
    let config = aws_config::SdkConfig::builder()
        .behavior_version(aws_config::BehaviorVersion::latest())
        .region(aws_config::Region::new("eu-central-1"))
        .retry_config(aws_config::retry::RetryConfig::disabled())
        .credentials_provider(SharedCredentialsProvider::new(Credentials::from_keys("AKIA1", "secret", None)))
        .http_client(answering(move |_| (status, body.clone())))
        .time_source(SystemTimeSource::new())
        .build();
    let role = AssumeRoleProvider::builder("arn:aws:iam::123456789012:role/r").configure(&config).build().await;
    let config = config.to_builder().credentials_provider(SharedCredentialsProvider::new(role)).build();
    let sent = aws_sdk_iam::Client::new(&config).get_user().user_name("reports").send().await;
    AwsError::of("GetUser", "reports", &sent.unwrap_err())
}

#[test]
fn a_wrong_clock_is_told_from_a_wrong_signature() {
    let told = |message: &str| {
        let raw = HttpResponse::new(StatusCode::try_from(403).unwrap(), SdkBody::empty());
        let meta = ErrorMetadata::builder().code("SignatureDoesNotMatch").message(message).build();
        let error = SdkError::service_error(GetUserError::generic(meta), raw);
        AwsError::of("GetUser", "reports", &error).kind
    };
    let early = "Signature expired: 20261128T000000Z is now earlier than 20261128T001500Z (20261128T003000Z - 15 min.)";
    assert_eq!(told(early), ErrorKind::Clock);
    assert_eq!(told("Signature not yet current: 20261128T010000Z is still later than ..."), ErrorKind::Clock);
    assert_eq!(told("The request signature we calculated does not match"), ErrorKind::InvalidCredentials);
}
