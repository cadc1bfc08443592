//! The Secret with the operator's own key: what it holds, and what is recorded beside it.

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use secrecy::ExposeSecret;

use super::{Kubernetes, KubernetesError};
use crate::api::{annotations, secret_annotations};
use crate::core::iam::{AccessKeyId, secret_half};
use crate::core::rotation::own_key::{Held, Record};
use crate::core::secret_data::Credentials;

const KEY_ID: &str = "AWS_ACCESS_KEY_ID";
const SECRET_HALF: &str = "AWS_SECRET_ACCESS_KEY";
const TOKEN: &str = "AWS_SESSION_TOKEN";

/// Why the operator has no key of its own.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OwnKeyError {
    /// It was not answered.
    #[error("the operator's own key: {0}: deploy/docs/operate.md, \"The operator's own key\", says what it takes")]
    Kubernetes(#[from] KubernetesError),
    /// It is not there, or not as it must be.
    #[error("the operator's own key: Secret {namespace}/{name} {problem}")]
    Secret {
        /// The operator's namespace.
        namespace: String,
        /// As S3ACCESS_ROTATE_OWN_KEY says.
        name: String,
        /// What is wrong, and what to do.
        problem: &'static str,
    },
}

/// The Secret, as it was read, and what it says.
#[derive(Clone, Debug)]
pub struct OwnKey {
    /// As it was read.
    pub secret: Secret,
    /// The key.
    pub credentials: Credentials,
    /// The same without its secret half, and the record beside it.
    pub held: Held,
}

impl OwnKey {
    /// Reads it live.
    ///
    /// # Errors
    /// [`OwnKeyError`], which names the Secret and the entry, and never says what is in it.
    pub async fn get(kubernetes: &dyn Kubernetes, namespace: &str, name: &str) -> Result<Self, OwnKeyError> {
        let found = kubernetes.get_secret(namespace, name).await?;
        let found = found.ok_or("does not exist: create it, with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
        found.and_then(Self::of).map_err(|problem| OwnKeyError::Secret {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            problem,
        })
    }

    fn of(secret: Secret) -> Result<Self, &'static str> {
        let text = |entry: &str| {
            let bytes = &secret.data.as_ref()?.get(entry)?.0;
            std::str::from_utf8(bytes).ok().map(str::trim).filter(|text| !text.is_empty())
        };
        let id = text(KEY_ID).and_then(AccessKeyId::parse);
        let half = text(SECRET_HALF).and_then(secret_half);
        let (access_key_id, half) = match (id, half) {
            _ if text(TOKEN).is_some() => {
                return Err("has AWS_SESSION_TOKEN: write a key of an IAM user, which has none");
            }
            (None, _) => return Err("has no AWS_ACCESS_KEY_ID that can be one: write it anew"),
            (_, None) => return Err("has no AWS_SECRET_ACCESS_KEY that can be one: write it anew"),
            (Some(id), Some(half)) => (id, half.to_owned()),
        };
        let credentials = Credentials { access_key_id, secret_access_key: half.into(), token: None };
        let held = Held {
            key_id: credentials.access_key_id.clone(),
            record: recorded(&secret, &credentials),
            requested: secret.annotations().get(annotations::ROTATE).cloned(),
            immutable: secret.immutable == Some(true),
        };
        Ok(Self { secret, credentials, held })
    }

    /// The Secret as it should be with that key and record, on top of what others have put on it, and of the very version that
    /// was read.
    pub fn with(&self, credentials: &Credentials, record: &Record) -> Secret {
        let mut secret = self.secret.clone();
        secret.metadata.managed_fields = None;
        if credentials.access_key_id != self.credentials.access_key_id {
            let data = secret.data.get_or_insert_default();
            let entries =
                [(KEY_ID, &*credentials.access_key_id), (SECRET_HALF, credentials.secret_access_key.expose_secret())];
            data.extend(entries.map(|(entry, text)| (entry.to_owned(), ByteString(text.into()))));
        }
        let found = secret.metadata.annotations.get_or_insert_default();
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
        let id = |id: &Option<AccessKeyId>| id.as_ref().map(ToString::to_string);
        for (name, value) in [
            (secret_annotations::PREVIOUS_ACCESS_KEY_ID, id(&record.previous)),
            (secret_annotations::ROTATED_AT, time(record.rotated_at)),
            (secret_annotations::KEY_BEGUN_AT, time(record.begun_at)),
            (secret_annotations::REVOKED_ACCESS_KEY_ID, id(&record.orphan_to_delete)),
            (secret_annotations::ROTATE_HANDLED, record.rotate_handled.clone()),
            (secret_annotations::SEAL, Some(record.seal(credentials))),
        ] {
            match value {
                Some(value) => found.insert(name.to_owned(), value),
                None => found.remove(name),
            };
        }
        secret
    }
}

/// The record, where its seal holds.
fn recorded(secret: &Secret, credentials: &Credentials) -> Record {
    let get = |name: &str| secret.annotations().get(name);
    let time = |name: &str| get(name)?.parse::<Timestamp>().ok();
    let id = |name: &str| AccessKeyId::parse(get(name)?);
    let record = Record {
        previous: id(secret_annotations::PREVIOUS_ACCESS_KEY_ID),
        rotated_at: time(secret_annotations::ROTATED_AT),
        begun_at: time(secret_annotations::KEY_BEGUN_AT),
        orphan_to_delete: id(secret_annotations::REVOKED_ACCESS_KEY_ID),
        rotate_handled: get(secret_annotations::ROTATE_HANDLED).cloned(),
    };
    let sealed = get(secret_annotations::SEAL).is_some_and(|seal| *seal == record.seal(credentials));
    if sealed { record } else { Record::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn secret(data: &[(&str, &str)]) -> Secret {
        let secret: Value = json!({ "metadata": { "name": "own", "annotations": { "s3access.dev/rotate": "now" } } });
        let mut secret: Secret = serde_json::from_value(secret).unwrap();
        let entries = data.iter().map(|(entry, text)| ((*entry).to_owned(), ByteString(text.as_bytes().to_vec())));
        secret.data = Some(entries.collect());
        secret
    }

    fn read(secret: Secret) -> OwnKey {
        OwnKey::of(secret).unwrap()
    }

    #[test]
    fn what_can_be_no_key_is_named_and_not_shown() {
        for (data, named) in [
            (&[][..], KEY_ID),
            (&[(KEY_ID, "AKIA ONE"), (SECRET_HALF, "half")], KEY_ID),
            (&[(KEY_ID, "AKIAONE")], SECRET_HALF),
            (&[(KEY_ID, "AKIAONE"), (SECRET_HALF, "in\nlines")], SECRET_HALF),
            (&[(KEY_ID, "ASIAONE"), (SECRET_HALF, "half"), (TOKEN, "token")], TOKEN),
        ] {
            let problem = OwnKey::of(secret(data)).unwrap_err();
            assert!(problem.contains(named), "{problem}");
            assert!(!problem.contains("half") && !problem.contains("lines"), "{problem}");
        }
        // As `echo` writes it.
        let own = read(secret(&[(KEY_ID, "AKIAONE\n"), (SECRET_HALF, "half\n"), (TOKEN, "")]));
        assert_eq!((&*own.held.key_id, own.credentials.secret_access_key.expose_secret()), ("AKIAONE", "half"));
        assert_eq!(own.held.requested.as_deref(), Some("now"));
    }

    #[test]
    fn a_record_is_read_as_it_was_written_and_not_believed_beside_another_key_or_changed() {
        let own = read(secret(&[(KEY_ID, "AKIAONE"), (SECRET_HALF, "half"), ("other", "kept")]));
        assert_eq!(own.held.record, Record::default());
        let two = Credentials {
            access_key_id: AccessKeyId::of_iam("AKIATWO"),
            secret_access_key: "otherhalf".to_owned().into(),
            token: None,
        };
        let record = Record {
            previous: Some(own.held.key_id.clone()),
            rotated_at: Some(Timestamp::constant(1_800_000_000, 123_456_789)),
            begun_at: None,
            orphan_to_delete: Some(AccessKeyId::of_iam("AKIATHREE")),
            rotate_handled: Some("now".to_owned()),
        };
        let written = own.with(&two, &record);
        assert_eq!(written.data.as_ref().unwrap()["other"].0, b"kept");
        let read_back = read(written.clone());
        assert_eq!((&*read_back.held.key_id, &read_back.held.record), ("AKIATWO", &record));
        for (name, value) in [
            (secret_annotations::PREVIOUS_ACCESS_KEY_ID, "AKIASTRANGER"),
            (secret_annotations::KEY_BEGUN_AT, "2027-01-15T08:00:00Z"),
            (secret_annotations::ROTATED_AT, "2020-01-15T08:00:00Z"),
            (secret_annotations::SEAL, "0000"),
        ] {
            let mut edited = written.clone();
            edited.metadata.annotations.as_mut().unwrap().insert(name.to_owned(), value.to_owned());
            assert_eq!(read(edited).held.record, Record::default(), "{name}");
        }
        let mut replaced = written;
        replaced.data.as_mut().unwrap().insert(SECRET_HALF.to_owned(), ByteString(b"another".to_vec()));
        assert_eq!(read(replaced).held.record, Record::default());
    }
}
