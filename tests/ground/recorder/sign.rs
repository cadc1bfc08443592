//! Sends requests that are signed for the server itself, whoever they came from.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::default_connector;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorSettings, SharedHttpConnector};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;

const CONNECT: Duration = Duration::from_secs(10);
const READ: Duration = Duration::from_secs(60);
const FORM: &str = "application/x-www-form-urlencoded";

/// Where a service is, and which region signatures for it name.
#[derive(Clone, Debug)]
pub struct Service {
    /// The address, without a path.
    pub url: String,
    /// The region.
    pub region: String,
}

/// What came back.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// Content type and date: a client that finds its clock wrong goes by the date.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

/// The HTTP and TLS stack of the AWS SDK.
pub(super) fn connector() -> Result<SharedHttpConnector> {
    let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT).read_timeout(READ).build();
    let sleep = aws_smithy_async::rt::sleep::default_async_sleep();
    default_connector(&settings, sleep).context("the SDK has no HTTP client")
}

/// Posts a form, signed with these credentials for that service, `iam` or `sts`.
pub(super) async fn post(
    connector: &SharedHttpConnector,
    service: &Service,
    name: &str,
    credentials: &Credentials,
    form: &[u8],
) -> Result<Answer> {
    let url = format!("{}/", service.url.trim_end_matches('/'));
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(&service.region)
        .name(name)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let headers = [("content-type", FORM)];
    let signable = SignableRequest::new("POST", &url, headers.into_iter(), SignableBody::Bytes(form))?;
    let (instructions, _) = sign(signable, &params)?.into_parts();
    let mut request = HttpRequest::new(SdkBody::from(form.to_vec()));
    request.set_method("POST")?;
    request.set_uri(url)?;
    request.headers_mut().insert("content-type", FORM);
    request.headers_mut().insert("content-length", form.len().to_string());
    for (name, value) in instructions.headers() {
        request.headers_mut().insert(name.to_owned(), value.to_owned());
    }
    let mut answer = connector.call(request).await.context("the server gave no answer")?;
    let kept = ["content-type", "date"].map(|name| Some((name, answer.headers().get(name)?.to_owned())));
    let status = answer.status().as_u16();
    let body = ByteStream::new(answer.take_body()).collect().await?.to_vec();
    Ok(Answer { status, headers: kept.into_iter().flatten().collect(), body })
}
