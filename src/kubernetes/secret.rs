//! The Secret: whose it is, which key it holds, and what it should hold.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};
use secrecy::SecretString;

use crate::api::{
    GROUP, MANAGED_BY_LABEL, MANAGER, S3AccessUser, SecretSpec, limits, secret_annotations as annotations,
};
use crate::core::iam::{AccessKeyId, account_id, past, secret_half, session_token};
use crate::core::names::key_secret;
use crate::core::plan::SecretRecord;
use crate::core::secret_data::{self, Credentials, Location, RenderError, SecretData, SessionToken, Target};
use crate::core::sessions::HeldSession;

/// Whose a Secret is, by its controller reference: the only proof, since labels and annotations can be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretOwner {
    /// This user's, by UID.
    Ours,
    /// Another S3AccessUser's.
    Other(String),
    /// Not an S3AccessUser's.
    Foreign,
}

/// Reads the proof.
pub fn owner_of(secret: &Secret, uid: &str) -> SecretOwner {
    match user_of(&secret.metadata) {
        Some(reference) if reference.uid == uid => SecretOwner::Ours,
        Some(reference) => SecretOwner::Other(reference.name.clone()),
        None => SecretOwner::Foreign,
    }
}

/// The S3AccessUser that controls an object, as the object says. Whoever writes that may write a megabyte: what is too long for
/// a name or a UID is none.
pub fn user_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    let mut references = meta.owner_references.iter().flatten();
    let reference = references.find(|reference| reference.controller == Some(true))?;
    let is_user = reference.kind == S3AccessUser::kind(&())
        && reference.api_version.split_once('/').is_some_and(|(group, _)| group == GROUP);
    let is_short = reference.name.len() <= limits::NAME && reference.uid.len() <= limits::UID;
    (is_user && is_short).then_some(reference)
}

/// What the Secret's annotations record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The annotations are there.
    pub annotated: bool,
    /// What was recorded beside the key.
    pub record: SecretRecord,
    /// The account of the key.
    pub account_id: Option<String>,
}

/// Reads the record. Whoever may write the Secret may write anything there: what can be no key, no account and no time that
/// has passed is no record.
pub fn recorded(secret: &Secret, now: Timestamp) -> Recorded {
    let get = |name: &str| secret.annotations().get(name).cloned();
    let time = |name: &str| get(name).and_then(|text| text.parse::<Timestamp>().ok()).and_then(|time| past(time, now));
    let key = |name: &str| get(name).and_then(|text| AccessKeyId::parse(&text));
    Recorded {
        annotated: key(annotations::ACCESS_KEY_ID).is_some(),
        record: SecretRecord {
            created_at: time(annotations::ACCESS_KEY_CREATED_AT),
            previous: key(annotations::PREVIOUS_ACCESS_KEY_ID),
            rotated_at: time(annotations::ROTATED_AT),
            rotate_handled: get(annotations::ROTATE_HANDLED).filter(|value| value.len() <= limits::REQUEST),
            orphan_to_delete: key(annotations::REVOKED_ACCESS_KEY_ID),
        },
        account_id: get(annotations::ACCOUNT_ID).filter(|text| account_id(text).is_some()),
    }
}

/// Whether the Secret in the operator's namespace is the one with the key of that user. No reference can cross namespaces;
/// what stands there is proof enough, since nobody writes there but the operator and its administrators.
pub fn is_key_of(secret: &Secret, uid: &str) -> bool {
    secret.labels().get(MANAGED_BY_LABEL).is_some_and(|manager| manager == MANAGER)
        && secret.annotations().get(annotations::USER_UID).is_some_and(|found| found == uid)
}

/// A key found in a Secret.
#[derive(Clone, Debug)]
pub struct FoundKey {
    /// Both halves.
    pub credentials: Credentials,
    /// The digest vouches for them; otherwise only AWS can.
    pub vouched: bool,
}

/// The key in the data: where the annotations say, else where the format has it.
pub fn find_key(secret: &Secret, spec: &SecretSpec) -> Option<FoundKey> {
    let data = data_of(secret);
    let get = |name: &str| secret.annotations().get(name);
    let by_record = || {
        let location: Location = get(annotations::ACCESS_KEY_LOCATION)?.parse().ok()?;
        let secret_access_key = secret_data::extract(&data, &location, secret_half)?;
        let access_key_id = AccessKeyId::parse(get(annotations::ACCESS_KEY_ID)?)?;
        let credentials = Credentials { access_key_id, secret_access_key, token: None };
        let vouched = get(annotations::ACCESS_KEY_DIGEST) == Some(&secret_data::digest(&credentials));
        vouched.then_some(FoundKey { credentials, vouched })
    };
    by_record().or_else(|| {
        let credentials = secret_data::extract_by_format(spec, &data)?;
        let vouched = get(annotations::ACCESS_KEY_DIGEST) == Some(&secret_data::digest(&credentials));
        Some(FoundKey { credentials, vouched })
    })
}

/// The session in the data, where it is whole and its digest vouches for it and its record.
pub fn find_session(secret: &Secret, now: Timestamp) -> Option<(Credentials, HeldSession)> {
    let data = data_of(secret);
    let get = |name: &str| secret.annotations().get(name);
    let time = |name: &str| get(name)?.parse::<Timestamp>().ok();
    let at = |name: &str, is| secret_data::extract(&data, &get(name)?.parse::<Location>().ok()?, is);
    let expires_at = time(annotations::SESSION_EXPIRES_AT)?;
    let key = AccessKeyId::parse(get(annotations::SESSION_OF)?)?;
    let session = HeldSession::recorded(key, time(annotations::SESSION_ISSUED_AT)?, expires_at, now)?;
    let token = SessionToken { token: at(annotations::SESSION_TOKEN_LOCATION, session_token)?, expires_at };
    let credentials = Credentials {
        access_key_id: AccessKeyId::parse(get(annotations::ACCESS_KEY_ID)?)?,
        secret_access_key: at(annotations::ACCESS_KEY_LOCATION, secret_half)?,
        token: Some(token),
    };
    let vouched = get(annotations::ACCESS_KEY_DIGEST) == Some(&secret_data::session_digest(&credentials, &session));
    vouched.then_some((credentials, session))
}

/// What a Secret is to hold, and to record beside it.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The access key, or a session.
    pub credentials: &'a Credentials,
    /// What is recorded of it.
    pub record: Record<'a>,
    /// The account that it is of.
    pub account_id: &'a str,
    /// What else a consumer needs to know.
    pub target: &'a Target,
}

impl Content<'_> {
    /// What stands in the data: of a session, with an end that is a little early.
    fn as_told(&self) -> Credentials {
        let mut told = self.credentials.clone();
        if let (Record::Session(session), Some(token)) = (self.record, &mut told.token) {
            token.expires_at = session.told_end();
        }
        told
    }
}

/// What is recorded beside what a Secret holds.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// Of a key.
    Key(&'a SecretRecord),
    /// Of a session.
    Session(&'a HeldSession),
}

/// The Secret with the key itself in the operator's namespace, as it should be.
///
/// # Errors
/// As for [`wanted`].
pub fn wanted_key(
    user: &S3AccessUser,
    namespace: &str,
    live: Option<&Secret>,
    content: Content<'_>,
) -> Result<Secret, RenderError> {
    // Nothing of what a tenant may write is on it, and nobody is to act on it.
    let mut plain = user.clone();
    plain.spec.secret = SecretSpec::default();
    let mut secret = wanted(&plain, &key_secret(&user.uid().unwrap_or_default()), live, content)?;
    let meta = &mut secret.metadata;
    (meta.namespace, meta.owner_references) = (Some(namespace.to_owned()), None);
    let found = meta.annotations.get_or_insert_default();
    found.remove(annotations::RELOADER_MATCH);
    let owner = format!("{}/{}", user.namespace().unwrap_or_default(), user.name_any());
    found.insert(annotations::OWNER.to_owned(), owner);
    Ok(secret)
}

/// The Secret as it should be, on top of what others have put on it.
///
/// # Errors
/// The format cannot be rendered.
pub fn wanted(
    user: &S3AccessUser,
    name: &str,
    live: Option<&Secret>,
    content: Content<'_>,
) -> Result<Secret, RenderError> {
    let spec = &user.spec.secret;
    let data = secret_data::render(spec, &content.as_told(), content.target)?;
    let mut secret = live.cloned().unwrap_or_default();
    let meta = &mut secret.metadata;
    meta.managed_fields = None;
    meta.name = Some(name.to_owned());
    meta.namespace = user.namespace();
    if meta.owner_references.as_ref().is_none_or(Vec::is_empty) {
        meta.owner_references = user.controller_owner_ref(&()).map(|reference| vec![reference]);
    }
    let labels = meta.labels.get_or_insert_default();
    let found_annotations = meta.annotations.get_or_insert_default();
    remove_stale(labels, found_annotations, spec);
    labels.extend(spec.labels.clone());
    labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned());
    found_annotations.retain(|name, _| !name.starts_with("s3access.dev/"));
    found_annotations.extend(spec.annotations.clone());
    found_annotations.extend(own_annotations(user, content, &data));
    secret.type_.get_or_insert_with(|| "Opaque".to_owned());
    secret.string_data = None;
    secret.data = Some(data.iter().map(|(key, value)| (key.to_owned(), ByteString(value.to_vec()))).collect());
    Ok(secret)
}

fn own_annotations(user: &S3AccessUser, content: Content<'_>, data: &SecretData) -> BTreeMap<String, String> {
    let Content { credentials, record, account_id, .. } = content;
    let at = |text: &SecretString| secret_data::locate(data, text).map(|location| location.to_string());
    let spec = &user.spec.secret;
    let mut entries = vec![
        (annotations::USER_UID, user.uid()),
        (annotations::ACCESS_KEY_ID, Some(credentials.access_key_id.to_string())),
        (annotations::ACCESS_KEY_LOCATION, at(&credentials.secret_access_key)),
        (annotations::ACCOUNT_ID, Some(account_id.to_owned())),
        (annotations::SPEC_LABELS, names(&spec.labels)),
        (annotations::SPEC_ANNOTATIONS, names(&spec.annotations)),
        (annotations::RELOADER_MATCH, Some("true".to_owned())),
    ];
    match record {
        Record::Key(record) => entries.extend([
            (annotations::ACCESS_KEY_DIGEST, Some(secret_data::digest(credentials))),
            (annotations::ACCESS_KEY_CREATED_AT, record.created_at.map(|time| time.to_string())),
            (annotations::PREVIOUS_ACCESS_KEY_ID, record.previous.as_ref().map(ToString::to_string)),
            (annotations::ROTATED_AT, record.rotated_at.map(|time| time.to_string())),
            (annotations::ROTATE_HANDLED, record.rotate_handled.clone()),
            (annotations::REVOKED_ACCESS_KEY_ID, record.orphan_to_delete.as_ref().map(ToString::to_string)),
        ]),
        Record::Session(session) => entries.extend([
            (annotations::ACCESS_KEY_DIGEST, Some(secret_data::session_digest(credentials, session))),
            (annotations::SESSION_OF, Some(session.key.to_string())),
            (annotations::SESSION_ISSUED_AT, Some(session.issued_at.to_string())),
            (annotations::SESSION_EXPIRES_AT, Some(session.expires_at.to_string())),
            (annotations::SESSION_TOKEN_LOCATION, credentials.token.as_ref().and_then(|session| at(&session.token))),
        ]),
    }
    entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// Labels and annotations that the spec once named and no longer does; all others are somebody else's.
fn remove_stale(labels: &mut BTreeMap<String, String>, found: &mut BTreeMap<String, String>, spec: &SecretSpec) {
    let listed = |found: &BTreeMap<String, String>, record: &str| -> Vec<String> {
        found.get(record).map(|names| names.split(',').map(ToOwned::to_owned).collect()).unwrap_or_default()
    };
    for name in listed(found, annotations::SPEC_LABELS) {
        if !spec.labels.contains_key(&name) {
            labels.remove(&name);
        }
    }
    for name in listed(found, annotations::SPEC_ANNOTATIONS) {
        if !spec.annotations.contains_key(&name) {
            found.remove(&name);
        }
    }
}

fn names(entries: &BTreeMap<String, String>) -> Option<String> {
    (!entries.is_empty()).then(|| entries.keys().cloned().collect::<Vec<_>>().join(","))
}

fn data_of(secret: &Secret) -> SecretData {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

/// Whether the live Secret is as wanted, as far as it is the operator's to say.
pub fn is_up_to_date(live: &Secret, wanted: &Secret) -> bool {
    live.data == wanted.data
        && live.labels() == wanted.labels()
        && live.annotations() == wanted.annotations()
        && live.type_ == wanted.type_
}
