//! Whether an S3 server knows a key, and what it lets it do: one signed ListBuckets, for systems whose STS is absent or is not what consumers
//! talk to.
//!
//! A client of its own would be as large as IAM's, for one request; the SDK's signer and connector are there already.

use std::time::{Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::http::{HttpConnector, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use secrecy::{ExposeSecret, SecretString};

use super::call::Lane;
use super::error::StatusOf;
use super::{AwsError, ErrorKind, Result};

const OPERATION: &str = "ListBuckets";

/// An S3 endpoint.
pub(super) struct S3Endpoint {
    url: String,
    region: String,
    connector: Option<SharedHttpConnector>,
}

impl S3Endpoint {
    /// The endpoint at that URL.
    pub(super) fn new(url: &str, region: &str, connector: Option<SharedHttpConnector>) -> Self {
        Self { url: format!("{}/", url.trim_end_matches('/')), region: region.to_owned(), connector }
    }

    /// Whether the key's policies let it list buckets; `None`: the endpoint does not know the key.
    pub(super) async fn lists_buckets(&self, lane: &Lane, id: &str, secret: &SecretString) -> Result<Option<bool>> {
        let request = self.signed(id, secret).ok_or_else(|| failed(id, ErrorKind::Other, "RequestNotSent", ""))?;
        let connector = self.connector.as_ref().ok_or_else(|| failed(id, ErrorKind::Other, "RequestNotSent", ""))?;
        lane.turn(OPERATION).await;
        let started = Instant::now();
        let unreachable = |message: &str| failed(id, ErrorKind::Unreachable, "Unreachable", message);
        let answer = match connector.call(request).await {
            Ok(answer) if answer.status().is_success() => Ok(answer),
            Ok(answer) => with_body(answer).await.ok_or_else(|| unreachable("the answer broke off")),
            Err(error) => Err(unreachable(&super::error::chain(&error))),
        };
        let status = answer.as_ref().map_or(0, |answer| answer.status().as_u16());
        let code = answer.as_ref().ok().and_then(StatusOf::code_in_body).unwrap_or_default();
        lane.count(OPERATION, code, status, started.elapsed());
        let answer = answer?;
        if answer.status().is_success() {
            return Ok(Some(true));
        }
        let code = answer.code_in_body().unwrap_or("Unknown");
        match ErrorKind::of_code(code, Some(status)) {
            ErrorKind::AccessDenied => Ok(Some(false)),
            ErrorKind::InvalidCredentials => Ok(None),
            kind => Err(failed(id, kind, code, &format!("HTTP status {status}"))),
        }
    }

    fn signed(&self, id: &str, secret: &SecretString) -> Option<HttpRequest> {
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let identity = Credentials::from_keys(id, secret.expose_secret(), None).into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .ok()?
            .into();
        let signable =
            SignableRequest::new("GET", self.url.as_str(), std::iter::empty(), SignableBody::Bytes(b"")).ok()?;
        let (instructions, _) = sign(signable, &params).ok()?.into_parts();
        let mut request = HttpRequest::new(SdkBody::empty());
        request.set_uri(self.url.as_str()).ok()?;
        for (name, value) in instructions.headers() {
            request.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        Some(request)
    }
}

/// The answer with its body in memory.
async fn with_body(mut answer: HttpResponse) -> Option<HttpResponse> {
    /// An error's body is a few hundred bytes.
    const LONGEST: usize = 64 * 1024;
    let mut body = ByteStream::new(answer.take_body());
    let mut bytes = Vec::new();
    while let Some(part) = body.next().await {
        bytes.extend_from_slice(&part.ok()?);
        if bytes.len() > LONGEST {
            return None;
        }
    }
    *answer.body_mut() = SdkBody::from(bytes);
    Some(answer)
}

fn failed(id: &str, kind: ErrorKind, code: &str, message: &str) -> AwsError {
    AwsError { operation: OPERATION, object: id.to_owned(), kind, code: code.to_owned(), message: message.to_owned() }
}
