//! What an S3 server makes of a key: single signed requests, for systems whose STS is absent or is not what consumers talk to.
//!
//! A client of its own would be as large as IAM's, for a few requests without answers to read; the SDK's signer and connector
//! are there already.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::answers::body_of;
use crate::aws::error::chain;
use crate::aws::lanes::Way;
use crate::aws::raw::StatusOf;
use crate::aws::session::ATTEMPT_TIMEOUT;
use crate::aws::{AwsError, ErrorKind, Result};

/// An error's body is a few hundred bytes.
const LONGEST: usize = 64 * 1024;

/// A name that a bucket may have, and none has.
const NO_BUCKET: &str = "s3access-there-is-no-such-bucket-9d4e1f7a6b";

/// What an S3 server says to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does what it is asked.
    Allowed,
    /// It knows the key, and its policies do not let it.
    Denied,
    /// It knows the key, and has nothing of that name.
    Absent,
    /// It does not know the key, or does not take its signature.
    UnknownKey,
}

/// A request to S3 without a body that matters.
#[derive(Clone, Copy, Debug)]
pub struct S3Request<'a> {
    /// What it is, in S3's word.
    pub operation: &'static str,
    /// Its method.
    pub method: &'static str,
    /// What follows the address of the server: a bucket, an object, a query.
    pub target: &'a str,
}

/// An S3 endpoint.
pub struct S3Endpoint {
    url: String,
    region: String,
    connector: SharedHttpConnector,
    own: Option<SharedCredentialsProvider>,
    lane: Arc<Way>,
    /// For a whole answer.
    patience: Duration,
}

impl S3Endpoint {
    /// The endpoint at that URL, with the operator's own credentials.
    pub(in crate::aws) fn new(
        url: &str,
        region: &str,
        connector: SharedHttpConnector,
        own: Option<SharedCredentialsProvider>,
        lane: Arc<Way>,
    ) -> Self {
        let url = format!("{}/", url.trim_end_matches('/'));
        Self { url, region: region.to_owned(), connector, own, lane, patience: ATTEMPT_TIMEOUT }
    }

    /// Whether the server knows a key. It is asked for a bucket that nobody has: it says that there is none, or that the
    /// key may not see it. A key that nobody has is sent, too: unless that is turned away, and otherwise, it proves nothing.
    ///
    /// # Errors
    /// The server does not answer, or neither with yes nor no.
    pub async fn knows(&self, key: (&str, &SecretString)) -> Result<bool> {
        let nothing = S3Request { operation: "ListObjects", method: "GET", target: NO_BUCKET };
        let said = self.ask(nothing, key).await?;
        if said == Verdict::UnknownKey {
            return Ok(false);
        }
        let of_nobody = self.ask(nothing, (&nobody(key.0), key.1)).await?;
        Ok(matches!(of_nobody, Verdict::UnknownKey | Verdict::Denied) && said != of_nobody)
    }

    /// What the server says to a request with that key.
    ///
    /// # Errors
    /// The server does not answer, or neither with yes nor no.
    pub async fn ask(&self, request: S3Request<'_>, (id, secret): (&str, &SecretString)) -> Result<Verdict> {
        let credentials = Credentials::from_keys(id, secret.expose_secret(), None);
        self.send(request, id, credentials).await
    }

    /// The same, with the operator's own credentials.
    ///
    /// # Errors
    /// As [`S3Endpoint::ask`]; or there are no credentials.
    pub async fn ask_as_operator(&self, request: S3Request<'_>) -> Result<Verdict> {
        let none = || failed(request.operation, request.target, ErrorKind::NoCredentials, "NoCredentials", "");
        let credentials = self.own.as_ref().ok_or_else(none)?.provide_credentials().await.map_err(|_| none())?;
        self.send(request, request.target, credentials).await
    }

    async fn send(&self, request: S3Request<'_>, object: &str, credentials: Credentials) -> Result<Verdict> {
        let S3Request { operation, .. } = request;
        let failed = |kind, code: &str, message: &str| failed(operation, object, kind, code, message);
        let unsent = || failed(ErrorKind::Other, "RequestNotSent", "");
        let signed = self.signed(request, credentials).ok_or_else(unsent)?;
        self.lane.acquire(operation).await;
        let started = Instant::now();
        // The connector's own limit ends with the head of an answer.
        let answer = match timeout(self.patience, self.answer(signed)).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("no whole answer within {} s", self.patience.as_secs())),
        };
        let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        let code = answer.as_ref().ok().and_then(StatusOf::code_in_body).unwrap_or_default();
        self.lane.count(operation, code, status, started.elapsed());
        let answer = answer.map_err(|why| failed(ErrorKind::Unreachable, "Unreachable", &why))?;
        if answer.status().is_success() {
            return Ok(Verdict::Allowed);
        }
        let code = answer.code_in_body().unwrap_or("Unknown");
        match ErrorKind::of_code(code, Some(status)) {
            _ if code == "NoSuchBucket" => Ok(Verdict::Absent),
            ErrorKind::AccessDenied => Ok(Verdict::Denied),
            ErrorKind::InvalidCredentials => Ok(Verdict::UnknownKey),
            kind => Err(failed(kind, code, &format!("HTTP status {status}"))),
        }
    }

    /// The answer with its body in memory, or why it broke off.
    async fn answer(&self, signed: HttpRequest) -> std::result::Result<HttpResponse, String> {
        let mut answer = self.connector.call(signed).await.map_err(|error| chain(&error))?;
        if !answer.status().is_success() {
            let bytes = body_of(&mut answer, LONGEST).await.map_err(|error| chain(&error))?;
            *answer.body_mut() = SdkBody::from(bytes);
        }
        Ok(answer)
    }

    fn signed(&self, asked: S3Request<'_>, credentials: Credentials) -> Option<HttpRequest> {
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .ok()?
            .into();
        let url = format!("{}{}", self.url, asked.target);
        let signable =
            SignableRequest::new(asked.method, url.as_str(), std::iter::empty(), SignableBody::Bytes(b"")).ok()?;
        let (instructions, _) = sign(signable, &params).ok()?.into_parts();
        let mut request = HttpRequest::new(SdkBody::empty());
        request.set_method(asked.method).ok()?;
        request.set_uri(url.as_str()).ok()?;
        if asked.method == "PUT" {
            request.headers_mut().insert("content-length", "0");
        }
        for (name, value) in instructions.headers() {
            request.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        Some(request)
    }
}

/// The id of a key of the same form that nobody has.
fn nobody(id: &str) -> String {
    let kept = id.len().saturating_sub(4);
    let another = |(at, c): (usize, char)| match c {
        c if at < kept => c,
        'A' => 'B',
        'a' => 'b',
        '0' => '1',
        c if c.is_ascii_uppercase() => 'A',
        c if c.is_ascii_lowercase() => 'a',
        _ => '0',
    };
    id.char_indices().map(another).collect()
}

fn failed(operation: &'static str, object: &str, kind: ErrorKind, code: &str, message: &str) -> AwsError {
    AwsError { operation, object: object.to_owned(), kind, code: code.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::num::NonZeroU32;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use aws_smithy_runtime_api::client::http::HttpConnectorFuture;
    use aws_smithy_runtime_api::http::StatusCode;
    use hyper::body::{Body, Bytes, Frame};

    use super::*;

    /// Sends the head of an answer, and no body.
    #[derive(Debug)]
    struct Stalls;

    impl HttpConnector for Stalls {
        fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
            let not_found = StatusCode::try_from(404).unwrap();
            HttpConnectorFuture::ready(Ok(HttpResponse::new(not_found, SdkBody::from_body_1_x(Stalls))))
        }
    }

    impl Body for Stalls {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<std::result::Result<Frame<Bytes>, Self::Error>>> {
            Poll::Pending
        }
    }

    #[tokio::test]
    async fn an_answer_that_stops_halfway_is_none() {
        let way = Arc::new(Way::new(NonZeroU32::MAX, Arc::default(), true));
        let s3 = S3Endpoint::new("http://s3.local", "local", SharedHttpConnector::new(Stalls), None, way);
        let s3 = S3Endpoint { patience: Duration::from_millis(20), ..s3 };
        let said = s3.knows(("AKIA1", &SecretString::from("secret"))).await;
        assert_eq!(said.unwrap_err().kind, ErrorKind::Unreachable);
    }

    #[test]
    fn a_key_that_nobody_has_is_of_the_same_form() {
        assert_eq!(nobody("AKIAIOSFODNN7EXAMPLE"), "AKIAIOSFODNN7EXAAAAA");
        assert_eq!(nobody("AKIAIOSFODNN7EXAAAAA"), "AKIAIOSFODNN7EXABBBB");
        assert_eq!(nobody("GK31c2f218a2e44f0a"), "GK31c2f218a2e40a1b");
        assert_eq!(nobody("a"), "b");
    }
}
