//! Checks AWS Signature Version 4 (IAM user guide, "Create a signed AWS API request").

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What stays as it is in a canonical URI: the unreserved characters of RFC 3986.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// The parts of a request that a signature covers.
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) method: &'a str,
    /// The path as it was sent.
    pub(crate) path: &'a str,
    /// The query string as it was sent.
    pub(crate) query: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a [u8],
}

/// What a request claims about its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) access_key_id: String,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) token: Option<String>,
    pub(crate) time: Timestamp,
    /// The day, region and service, as they were sent.
    scope: String,
    date: String,
    headers: Vec<String>,
    signature: String,
}

impl Claim {
    /// Reads the `Authorization` header; `None` if there is none of this algorithm or it makes no sense.
    pub(crate) fn read(headers: &HeaderMap) -> Option<Self> {
        let rest = text(headers, AUTHORIZATION.as_str())?.strip_prefix(ALGORITHM)?;
        let fields: BTreeMap<&str, &str> = rest.split(',').filter_map(|field| field.trim().split_once('=')).collect();
        let (access_key_id, scope) = fields.get("Credential")?.split_once('/')?;
        let [_day, region, service, "aws4_request"] = scope.split('/').collect::<Vec<_>>()[..] else {
            return None;
        };
        let date = text(headers, "x-amz-date")?;
        Some(Self {
            access_key_id: access_key_id.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            token: text(headers, "x-amz-security-token").map(str::to_owned),
            time: jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date)
                .ok()?
                .to_zoned(jiff::tz::TimeZone::UTC)
                .ok()?
                .timestamp(),
            scope: scope.to_owned(),
            date: date.to_owned(),
            headers: fields.get("SignedHeaders")?.split(';').map(str::to_owned).collect(),
            signature: (*fields.get("Signature")?).to_owned(),
        })
    }

    /// Whether the request was signed with a secret, and its body is the one that was signed.
    pub(crate) fn is_signed_with(&self, secret: &str, signed: &Signed<'_>) -> bool {
        let body_hash = hex::encode(Sha256::digest(signed.body));
        // S3's clients may leave the body out of the signature, and say so in a header that they sign.
        let claimed_hash = text(signed.headers, "x-amz-content-sha256").unwrap_or(&body_hash);
        if claimed_hash != body_hash && claimed_hash != "UNSIGNED-PAYLOAD" {
            return false;
        }
        let request = self.canonical_request(signed, claimed_hash);
        let hash = hex::encode(Sha256::digest(request));
        let to_sign = format!("{ALGORITHM}\n{}\n{}\n{hash}", self.date, self.scope);
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in self.scope.split('/') {
            key = sign(&key, part);
        }
        hex::encode(sign(&key, &to_sign)) == self.signature
    }

    fn canonical_request(&self, signed: &Signed<'_>, body_hash: &str) -> String {
        let headers: String = self
            .headers
            .iter()
            .map(|name| {
                let values: Vec<String> = signed
                    .headers
                    .get_all(name)
                    .iter()
                    .filter_map(|value| value.to_str().ok())
                    .map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
                    .collect();
                format!("{name}:{}\n", values.join(","))
            })
            .collect();
        format!(
            "{}\n{}\n{}\n{headers}\n{}\n{body_hash}",
            signed.method,
            self.canonical_path(signed.path),
            canonical_query(signed.query),
            self.headers.join(";"),
        )
    }

    /// The path encoded once more, but for S3, which takes it as it is.
    fn canonical_path(&self, path: &str) -> String {
        let decoded = percent_decode_str(path).decode_utf8_lossy();
        let once = utf8_percent_encode(&decoded, PATH).to_string();
        if self.service == "s3" { once } else { utf8_percent_encode(&once, PATH).to_string() }
    }
}

fn canonical_query(query: &str) -> String {
    let encode = |text: &str| utf8_percent_encode(&percent_decode_str(text).decode_utf8_lossy(), QUERY).to_string();
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (encode(key), encode(value)))
        .collect();
    pairs.sort();
    pairs.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join("&")
}

fn sign(key: &[u8], message: &str) -> Vec<u8> {
    // A key of any length is fine for HMAC, so this cannot fail; an empty signature would match nothing.
    Hmac::<Sha256>::new_from_slice(key).map_or_else(
        |_| Vec::new(),
        |mut mac| {
            mac.update(message.as_bytes());
            mac.finalize().into_bytes().to_vec()
        },
    )
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}
