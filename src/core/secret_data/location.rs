//! Where in the data the secret half stands: so a Secret can change its format without a new key.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroize;

use super::{Credentials, SecretData};
use crate::api::{SecretFormat, SecretSpec};
use crate::core::iam::{AccessKeyId, secret_half};

/// A stretch of a data value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The data key.
    pub key: String,
    /// Bytes before it.
    pub offset: usize,
    /// Bytes.
    pub length: usize,
    /// It stands there percent-encoded, as in a URL.
    pub encoded: bool,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, offset, length, encoded } = self;
        write!(f, "{key}@{offset}+{length}{}", if *encoded { "%" } else { "" })
    }
}

impl FromStr for Location {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (key, stretch) = text.rsplit_once('@').ok_or(())?;
        let (offset, length) = stretch.split_once('+').ok_or(())?;
        let encoded = length.ends_with('%');
        let length = length.trim_end_matches('%');
        Ok(Self {
            key: key.to_owned(),
            offset: offset.parse().map_err(|_| ())?,
            length: length.parse().map_err(|_| ())?,
            encoded,
        })
    }
}

/// The first place where the secret half stands to the letter, else where it stands percent-encoded.
pub fn locate(data: &SecretData, secret: &SecretString) -> Option<Location> {
    let plain = secret.expose_secret();
    let find = |wanted: &str, encoded: bool| {
        data.iter().find_map(|(key, value)| {
            let offset = value.windows(wanted.len()).position(|window| window == wanted.as_bytes())?;
            Some(Location { key: key.to_owned(), offset, length: wanted.len(), encoded })
        })
    };
    if plain.is_empty() {
        return None;
    }
    find(plain, false).or_else(|| {
        let mut encoded = utf8_percent_encode(plain, NON_ALPHANUMERIC).to_string();
        let found = find(&encoded, true);
        encoded.zeroize();
        found
    })
}

/// What stands at that place, where it is what is wanted.
pub fn extract(data: &SecretData, location: &Location, is: fn(&str) -> Option<&str>) -> Option<SecretString> {
    let end = location.offset.checked_add(location.length)?;
    let stretch = data.get(&location.key)?.get(location.offset..end)?;
    let text = std::str::from_utf8(stretch).ok()?;
    if location.encoded {
        let plain = percent_decode_str(text).decode_utf8().ok()?;
        return is(&plain).map(SecretString::from);
    }
    is(text).map(SecretString::from)
}

/// The key of a Secret whose annotations were stripped, for the formats that hold both halves in entries of their own.
pub fn extract_by_format(spec: &SecretSpec, data: &SecretData) -> Option<Credentials> {
    let (id, secret) = match spec.format {
        SecretFormat::AwsEnv | SecretFormat::Longhorn => ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        SecretFormat::Cnpg => ("ACCESS_KEY_ID", "ACCESS_SECRET_KEY"),
        SecretFormat::LokiOperator | SecretFormat::TempoOperator => ("access_key_id", "access_key_secret"),
        SecretFormat::MountpointCsi => ("key_id", "access_key"),
        SecretFormat::CsiS3 => ("accessKeyID", "secretAccessKey"),
        SecretFormat::ArgoWorkflows => ("accessKey", "secretKey"),
        SecretFormat::Kubeflow => ("accesskey", "secretkey"),
        SecretFormat::Harbor => ("REGISTRY_STORAGE_S3_ACCESSKEY", "REGISTRY_STORAGE_S3_SECRETKEY"),
        SecretFormat::Hadoop => ("fs.s3a.access.key", "fs.s3a.secret.key"),
        SecretFormat::Trino => ("s3.aws-access-key", "s3.aws-secret-key"),
        SecretFormat::Flink => ("s3.access-key", "s3.secret-key"),
        SecretFormat::Cosi => ("COSI_S3_ACCESS_KEY_ID", "COSI_S3_ACCESS_SECRET_KEY"),
        SecretFormat::Velero
        | SecretFormat::Thanos
        | SecretFormat::Rclone
        | SecretFormat::Airflow
        | SecretFormat::S3fs
        | SecretFormat::Template => return None,
    };
    let entry =
        |name: &str| data.text(spec.keys.get(name).map_or(name, String::as_str)).filter(|text| !text.is_empty());
    Some(Credentials {
        access_key_id: AccessKeyId::parse(entry(id)?)?,
        secret_access_key: SecretString::from(secret_half(entry(secret)?)?.to_owned()),
        token: None,
    })
}
