//! Requests without an SDK, signed by the signer that the SDKs use.

use std::time::SystemTime;

use aws_credential_types::Credentials as Identity;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode,
    sign,
};
use aws_sigv4::sign::v4;
use ground::double::Credentials;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A request that is to be sent as it is.
pub(crate) struct Request {
    method: &'static str,
    /// Path and query, encoded.
    target: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Request {
    pub(crate) fn new(method: &'static str, target: &str, body: &[u8]) -> Self {
        Self { method, target: target.to_owned(), headers: Vec::new(), body: body.to_vec() }
    }

    pub(crate) fn post(target: &str, content_type: &str, body: &[u8]) -> Self {
        let mut request = Self::new("POST", target, body);
        request.headers.push(("content-type".into(), content_type.into()));
        request
    }

    /// Signs the request as an SDK would for the service.
    pub(crate) fn sign(&mut self, endpoint: &str, credentials: &Credentials, service: &str, region: &str) {
        let mut settings = SigningSettings::default();
        if service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let identity = Identity::new(
            &credentials.access_key_id,
            &credentials.secret_access_key,
            credentials.session_token.clone(),
            None,
            "test",
        )
        .into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(service)
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let url = format!("{endpoint}{}", self.target);
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new(self.method, url, headers, SignableBody::Bytes(&self.body)).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let signed = instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.headers.extend(signed);
    }

    /// The bytes on the wire.
    pub(crate) fn bytes(&self, address: &str, connection: &str) -> Vec<u8> {
        let mut head =
            format!("{} {} HTTP/1.1\r\nhost: {address}\r\nconnection: {connection}\r\n", self.method, self.target);
        head += &format!("content-length: {}\r\n", self.body.len());
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        [format!("{head}\r\n").as_bytes(), &self.body].concat()
    }
}

/// Sends a request on a connection of its own.
pub(crate) async fn send(endpoint: &str, request: Request) -> Answer {
    let address = endpoint.strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(&request.bytes(address, "close")).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("an answer");
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, body: answer[end + 4..].to_vec() }
}
