//! What the Secret contains, in every format, and where in it the key can be found again.

mod formats;
mod location;
mod template;

pub use location::{Location, extract, extract_by_format, locate};

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroize;

use crate::api::{SecretFormat, SecretSpec};
use crate::core::iam::AccessKeyId;
use crate::core::sessions::HeldSession;

/// Kubernetes' limit on a Secret's data, bytes.
const SIZE_LIMIT: usize = 1 << 20;

/// An access key, both halves, or a session of one.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The id.
    pub access_key_id: AccessKeyId,
    /// The secret half.
    pub secret_access_key: SecretString,
    /// What a session has beside.
    pub token: Option<SessionToken>,
}

/// What makes a key a session's.
#[derive(Clone, Debug)]
pub struct SessionToken {
    /// The token, which goes with every request.
    pub token: SecretString,
    /// When the session ends.
    pub expires_at: Timestamp,
}

/// What else a consumer needs to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The region.
    pub region: String,
    /// The S3 endpoint, where it is not AWS's own.
    pub endpoint: Option<String>,
    /// Whether buckets stand in the path rather than in the host name.
    pub path_style: bool,
    /// The buckets of `spec.access`, each once.
    pub buckets: Vec<String>,
    /// The IAM user's ARN.
    pub user_arn: String,
}

/// The data of a Secret. It is wiped when dropped, and shows only its keys.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretData(BTreeMap<String, Vec<u8>>);

impl SecretData {
    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_slice()))
    }

    /// An entry.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.0.get(key).map(Vec::as_slice)
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(|value| std::str::from_utf8(value).ok())
    }
}

impl FromIterator<(String, Vec<u8>)> for SecretData {
    fn from_iter<T: IntoIterator<Item = (String, Vec<u8>)>>(entries: T) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl fmt::Debug for SecretData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Drop for SecretData {
    fn drop(&mut self) {
        self.0.values_mut().for_each(Zeroize::zeroize);
    }
}

/// Why a Secret cannot be rendered; never with a value in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// `keys` renames something that the format does not have.
    #[error("keys: the format has no key {found:?}: it has {}", .known.join(", "))]
    UnknownKey {
        /// What was renamed.
        found: String,
        /// What the format has.
        known: Vec<String>,
    },
    /// Two keys end up with one name.
    #[error("keys: two keys are renamed to {0:?}: give each a name of its own")]
    KeyCollision(String),
    /// A data key that Kubernetes does not take.
    #[error("{0:?} is no data key: use letters, digits, - _ and .")]
    InvalidKey(String),
    /// The format names one bucket, and the spec none.
    #[error("format {0} names a bucket: set spec.access")]
    BucketNeeded(String),
    /// The template is at fault.
    #[error("template.{key}: {problem}")]
    Template {
        /// The data key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The operator would not find the key again, and take it for lost.
    #[error(
        "no entry of the Secret has the secret key as it is: use {{{{ secret_access_key }}}} without a filter in secret.template (a Helm chart takes braces for its own: there, write {{{{`{{{{ secret_access_key }}}}`}}}})"
    )]
    KeyMissing,
    /// The consumer would be refused without the token.
    #[error("no entry of the Secret has the session token as it is: use {{{{ session_token }}}} in secret.template")]
    TokenMissing,
    /// The format's consumer knows no sessions.
    #[error(
        "accessKey.mode Session: what reads format {0} takes no session token, or no new one while it runs: use one of {list}, or mode Static",
        list = SecretFormat::OF_SESSIONS.map(|format| format.to_string()).join(", ")
    )]
    NoSessions(SecretFormat),
    /// Kubernetes takes at most a mebibyte.
    #[error("the Secret would have {0} bytes, and Kubernetes takes {SIZE_LIMIT}: shorten the templates")]
    TooLarge(usize),
}

/// Renders the data.
///
/// # Errors
/// [`RenderError`], which says what to change in `spec.secret`.
pub fn render(spec: &SecretSpec, credentials: &Credentials, target: &Target) -> Result<SecretData, RenderError> {
    if credentials.token.is_some() && !SecretFormat::OF_SESSIONS.contains(&spec.format) {
        return Err(RenderError::NoSessions(spec.format));
    }
    let entries = if spec.format == SecretFormat::Template {
        template::entries(&spec.template, credentials, target)?
    } else {
        formats::entries(spec.format, credentials, target)?
    };
    let entries = rename(entries, &spec.keys)?;
    let data: SecretData = entries.into_iter().map(|(key, value)| (key, value.into_bytes())).collect();
    let size: usize = data.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > SIZE_LIMIT {
        return Err(RenderError::TooLarge(size));
    }
    if locate(&data, &credentials.secret_access_key).is_none() {
        return Err(RenderError::KeyMissing);
    }
    if credentials.token.as_ref().is_some_and(|session| locate(&data, &session.token).is_none()) {
        return Err(RenderError::TokenMissing);
    }
    Ok(data)
}

/// Tells an edited Secret from an intact one. The secret half has 240 random bits, so nobody finds it from its digest.
pub fn digest(credentials: &Credentials) -> String {
    let mut hasher = Sha256::new();
    hasher.update("s3access.dev/access-key\0");
    hasher.update(&*credentials.access_key_id);
    hasher.update("\0");
    hasher.update(credentials.secret_access_key.expose_secret());
    hex::encode(hasher.finalize())
}

/// The same of a session, and of what is recorded of it.
pub fn session_digest(credentials: &Credentials, session: &HeldSession) -> String {
    let token = credentials.token.as_ref().map_or("", |session| session.token.expose_secret());
    let HeldSession { key, issued_at, expires_at } = session;
    let mut hasher = Sha256::new();
    hasher.update("s3access.dev/session\0");
    for part in [&digest(credentials), token, key, &issued_at.to_string(), &expires_at.to_string()] {
        hasher.update(part);
        hasher.update("\0");
    }
    hex::encode(hasher.finalize())
}

type Entries = Vec<(String, String)>;

fn rename(entries: Entries, renames: &BTreeMap<String, String>) -> Result<Entries, RenderError> {
    if let Some(found) = renames.keys().find(|from| !entries.iter().any(|(key, _)| key == *from)) {
        let known = entries.iter().map(|(key, _)| key.clone()).collect();
        return Err(RenderError::UnknownKey { found: found.clone(), known });
    }
    let mut renamed: Entries = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let key = renames.get(&key).cloned().unwrap_or(key);
        let valid = (1..=253).contains(&key.len())
            && key.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && key != "."
            && !key.starts_with("..");
        if !valid {
            return Err(RenderError::InvalidKey(key));
        }
        if renamed.iter().any(|(earlier, _)| *earlier == key) {
            return Err(RenderError::KeyCollision(key));
        }
        renamed.push((key, value));
    }
    Ok(renamed)
}

#[cfg(test)]
mod tests;
