//! An S3AccessUser in the cache: packed, since there are ten thousand of them, and opened for a reconcile.
//!
//! One that does not fit the schema, or is larger than any needs to be, is kept without its content: what is left says
//! whose it is, so that it can be reported, held against its class, and deleted like any other.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};

use jiff::Timestamp;
use kube::Resource;
use kube::core::ObjectMeta;
use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::api::{ConditionType, S3AccessUser, S3AccessUserSpec, S3AccessUserStatus, annotations, limits};
use crate::controller::queue::Key;
use crate::core::sessions::Watched;

/// What most of them have in common, which therefore takes no memory in any of them.
const IN_COMMON: &[u8] = include_bytes!("cached.json");

/// Where kubectl keeps the object as it was applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Characters of a text that is kept of an object without its content.
const SHORT: usize = 512;

/// An S3AccessUser as it comes from the API server.
#[derive(Clone, Debug, Resource)]
#[resource(inherit = S3AccessUser)]
pub struct Arrived {
    /// Its names, UID and resource version; nothing else.
    metadata: ObjectMeta,
    /// What is kept of it.
    pub kept: CachedUser,
}

/// An S3AccessUser as it is kept: packed, with what is asked of all of them at hand.
#[derive(Clone, Debug)]
pub struct CachedUser {
    key: Key,
    packed: Box<[u8]>,
    class_name: Option<Box<str>>,
    change_digest: u64,
    is_finalized: bool,
    has_been_in_a_class: bool,
    is_ready: bool,
    session: Option<Watched>,
    created_at: Option<Timestamp>,
}

/// An S3AccessUser as it was taken from where it is kept.
#[derive(Serialize, Deserialize)]
pub struct Opened {
    /// The object; of one that is not valid no more than its names, its deletion and its status.
    pub user: Box<S3AccessUser>,
    /// Why it is not valid.
    pub invalid: Option<String>,
}

/// The class that an S3AccessUser is in rests on this alone.
#[derive(Clone, Copy, Debug)]
pub struct Membership<'a> {
    /// `spec.className`.
    pub class_name: Option<&'a str>,
    /// The operator has begun to act for it.
    pub is_finalized: bool,
    /// Its status, which only the operator writes, says that it is held to a class.
    pub has_been_in_a_class: bool,
    /// When the API server made it: that, unlike a finalizer, nobody can choose.
    pub created_at: Option<Timestamp>,
}

impl<'a> Membership<'a> {
    /// That of an S3AccessUser.
    pub fn of(user: &'a S3AccessUser) -> Self {
        Self {
            class_name: user.spec.class_name.as_deref(),
            is_finalized: user.is_finalized(),
            has_been_in_a_class: has_been_in_a_class(user),
            created_at: created_at(user),
        }
    }
}

/// For the cache. It finds an object by its names, so that nothing else is kept twice.
impl kube::runtime::reflector::Lookup for CachedUser {
    type DynamicType = ();

    fn kind((): &()) -> Cow<'_, str> {
        <S3AccessUser as Resource>::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        <S3AccessUser as Resource>::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        <S3AccessUser as Resource>::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        <S3AccessUser as Resource>::plural(&())
    }

    fn name(&self) -> Option<Cow<'_, str>> {
        Some(self.key.name().into())
    }

    fn namespace(&self) -> Option<Cow<'_, str>> {
        Some(self.key.namespace().into())
    }

    fn resource_version(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn uid(&self) -> Option<Cow<'_, str>> {
        None
    }
}

impl<'de> Deserialize<'de> for Arrived {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Without(&["metadata", "managedFields"]).deserialize(deserializer).map(Self::from)
    }
}

/// Reads a value, but for what lies at that path: who wrote which field is most of an object, and would be read in vain at each
/// of our own writes.
struct Without(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for Without {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Without {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut kept = Map::new();
        while let Some(field) = fields.next_key::<String>()? {
            match self.0 {
                [last] if *last == field => drop(fields.next_value::<IgnoredAny>()?),
                [outer, inner @ ..] if *outer == field => {
                    drop(kept.insert(field, fields.next_value_seed(Self(inner))?))
                }
                _ => drop(kept.insert(field, fields.next_value()?)),
            }
        }
        Ok(Value::Object(kept))
    }
}

/// How many bytes are written to it.
struct Length(usize);

impl Write for Length {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<Value> for Arrived {
    /// Packs, without kubectl's copy of the spec, which nobody needs.
    fn from(mut object: Value) -> Self {
        if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
            annotations.remove(LAST_APPLIED);
        }
        let Opened { user, invalid } = read(object);
        let meta = &user.metadata;
        let metadata = ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            ..ObjectMeta::default()
        };
        let mut kept = CachedUser {
            key: Key::of(&metadata),
            packed: Box::default(),
            class_name: user.spec.class_name.as_deref().map(Into::into),
            change_digest: digest(&user),
            is_finalized: user.is_finalized(),
            has_been_in_a_class: has_been_in_a_class(&user),
            is_ready: is_ready(&user),
            session: Watched::of(&user),
            created_at: created_at(&user),
        };
        // It came as JSON, so that it can be written as such.
        let text = serde_json::to_vec(&Opened { user, invalid }).unwrap_or_default();
        kept.packed = compress_prepend_size_with_dict(&text, IN_COMMON).into_boxed_slice();
        Self { metadata, kept }
    }
}

/// Reads an object, whole where it is valid and of a size that a valid one can have.
fn read(object: Value) -> Opened {
    // Counted in what it takes as text, which is less than what it takes as values; less the status, which is the operator's.
    let length = |value: &Value| {
        let mut length = Length(0);
        serde_json::to_writer(&mut length, value).map_or(usize::MAX, |()| length.0)
    };
    let size = length(&object).saturating_sub(object.get("status").map_or(0, length));
    if size > limits::OBJECT {
        // Not how many it has: that changes with each resource version, and what is told would be written again.
        let message = format!(
            "the object has more than {} bytes, and no more are taken: shorten its spec, its annotations or its labels",
            limits::OBJECT
        );
        return Opened { user: Box::new(names_of(&object)), invalid: Some(message) };
    }
    if let Ok(user) = Box::<S3AccessUser>::deserialize(&object) {
        return Opened { user, invalid: None };
    }
    // What serde says of a value names no field.
    match serde_path_to_error::deserialize(&object) {
        Ok(user) => Opened { user, invalid: None },
        Err(error) => {
            let error: String = error.to_string().chars().take(SHORT).collect();
            let message = format!("the object does not fit this version's schema: {error}: correct it");
            Opened { user: Box::new(names_of(&object)), invalid: Some(message) }
        }
    }
}

/// What says whose an object is, and what is to become of it, as far as each of it can be read by itself.
fn names_of(object: &Value) -> S3AccessUser {
    let short = |value: &Value| value.as_str().is_some_and(|text| text.len() <= SHORT) || value.is_boolean();
    let mut spec = Map::new();
    let mut keep = |field: &str, value: Value| {
        spec.insert(field.to_owned(), value);
        if serde_json::from_value::<S3AccessUserSpec>(Value::Object(spec.clone())).is_err() {
            spec.remove(field);
        }
    };
    let found = &object["spec"];
    for field in ["className", "userName", "path", "deletionPolicy", "adoption", "expiresAt"] {
        if let Some(value) = found.get(field).filter(|value| short(value)) {
            keep(field, value.clone());
        }
    }
    for part in ["policy", "secret"] {
        if let Some(name) = found[part].get("name").filter(|value| short(value)) {
            keep(part, json!({ "name": name }));
        }
    }
    // A class may require sessions.
    if let Some(mode) = found["accessKey"].get("mode").filter(|value| short(value)) {
        keep("accessKey", json!({ "mode": mode }));
    }
    let mut meta: ObjectMeta = serde_json::from_value(object["metadata"].clone()).unwrap_or_default();
    (meta.labels, meta.owner_references) = (None, None);
    let ours = [annotations::PAUSED, annotations::ABANDON, annotations::ROTATE, annotations::REVOKE];
    if let Some(annotations) = &mut meta.annotations {
        annotations.retain(|name, value| ours.contains(&name.as_str()) && value.len() <= SHORT);
    }
    let status = object.get("status").filter(|status| status.to_string().len() <= limits::OBJECT / 2);
    let status: Option<S3AccessUserStatus> = status.and_then(|status| serde_json::from_value(status.clone()).ok());
    let spec = serde_json::from_value(Value::Object(spec)).unwrap_or_default();
    S3AccessUser { metadata: meta, spec, status }
}

impl CachedUser {
    /// Which it is.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The object.
    pub fn open(&self) -> Opened {
        let text = decompress_size_prepended_with_dict(&self.packed, IN_COMMON).map_err(|error| error.to_string());
        let opened = text.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
        opened.unwrap_or_else(|error| {
            let mut user = S3AccessUser::new(self.key.name(), S3AccessUserSpec::default());
            user.metadata.namespace = Some(self.key.namespace().to_owned());
            user.metadata.uid = Some(self.key.uid().to_owned());
            Opened { user: Box::new(user), invalid: Some(error) }
        })
    }

    /// What its class rests on.
    pub fn membership(&self) -> Membership<'_> {
        let Self { is_finalized, has_been_in_a_class, created_at, .. } = *self;
        Membership { class_name: self.class_name.as_deref(), is_finalized, has_been_in_a_class, created_at }
    }

    /// Its session, where it is to be renewed.
    pub fn session(&self) -> Option<Watched> {
        self.session
    }

    /// Whether its status says that it is Ready.
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// What of it is a change, in short: our own finalizer and status are not; a deletion is, and that somebody has taken the
    /// finalizer off.
    pub fn change_digest(&self) -> u64 {
        self.change_digest
    }
}

fn digest(user: &S3AccessUser) -> u64 {
    let mut hasher = DefaultHasher::new();
    let meta = &user.metadata;
    let let_go = user.was_acted_upon() && !user.is_finalized();
    (meta.generation, &meta.annotations, meta.deletion_timestamp.is_some(), let_go).hash(&mut hasher);
    hasher.finish()
}

fn has_been_in_a_class(user: &S3AccessUser) -> bool {
    user.status.as_ref().is_some_and(|status| status.class_name.is_some())
}

fn created_at(user: &S3AccessUser) -> Option<Timestamp> {
    user.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

fn is_ready(user: &S3AccessUser) -> bool {
    let mut conditions = user.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == ConditionType::Ready.as_str() && condition.status == "True")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::{Value, json};

    use super::*;

    fn kept(object: &Value) -> CachedUser {
        serde_json::from_value::<Arrived>(object.clone()).unwrap().kept
    }

    /// One that is Ready, as most are.
    fn settled() -> Value {
        let condition = |kind: &str, status: &str, message: &str| {
            json!({
                "type": kind, "status": status, "reason": "Synced", "message": message, "observedGeneration": 3,
                "lastTransitionTime": "2026-11-25T20:44:20Z",
            })
        };
        let all = "IAM user, policy, access key and Secret are as the spec says";
        json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
            "metadata": {
                "name": "billing", "namespace": "payments", "uid": "7d4c2f10-9f3b-4c88-a5d0-2f6f1d0d9a37",
                "resourceVersion": "48151623", "generation": 3, "creationTimestamp": "2026-11-25T20:44:18Z",
                "finalizers": ["s3access.dev/iam"],
                "annotations": { "kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "payments" },
                "managedFields": [{ "manager": "kubectl", "operation": "Apply" }],
            },
            "spec": {
                "className": "prod", "access": [{ "bucket": "payments-invoices", "level": "ReadOnly" }],
                "policy": { "statements": [{ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/*" }] },
                "accessKey": { "rotation": { "interval": "2160h", "overlap": "36h" } },
            },
            "status": {
                "observedGeneration": 3, "userName": "prod.payments.billing", "accountId": "123456789012", "partition": "aws",
                "userArn": "arn:aws:iam::123456789012:user/s3access/prod.payments.billing",
                "accessKeyId": "AKIAZY2ZCVFDSCNVM3TO", "accessKeyCreatedAt": "2026-11-25T20:44:19Z",
                "nextRotationAt": "2027-02-23T20:44:19Z", "binding": { "name": "billing-s3" }, "className": "prod",
                "secretVersion": "48151622-8a5fbfd6d2c189df", "lastUsed": { "reportedAt": "2026-11-25T21:00:19Z" },
                "conditions": [
                    condition("Ready", "True", all), condition("Reconciling", "False", all), condition("Stalled", "False", all),
                    condition("UserSynced", "True", ""), condition("PolicySynced", "True", ""),
                    condition("AccessKeySynced", "True", ""), condition("SecretSynced", "True", ""),
                    condition("PolicyEffective", "True", ""),
                ],
            },
        })
    }

    #[test]
    fn what_is_kept_is_what_came_without_what_nobody_needs() {
        let kept = kept(&settled());
        let mut wanted: S3AccessUser = serde_json::from_value(settled()).unwrap();
        wanted.metadata.managed_fields = None;
        wanted.metadata.annotations.as_mut().unwrap().remove(LAST_APPLIED);
        let opened = kept.open();
        assert_eq!((*opened.user, opened.invalid), (wanted.clone(), None));
        assert_eq!(kept.key(), &Key::of(&wanted.metadata));
        let member = kept.membership();
        assert_eq!((member.class_name, member.is_finalized, kept.is_ready()), (Some("prod"), true, true));
    }

    #[test]
    fn what_is_left_out_is_left_out_of_its_own_place_alone() {
        let mut object = settled();
        let deep = format!("{}1{}", r#"{"x":"#.repeat(100), "}".repeat(100));
        object["metadata"]["managedFields"] = serde_json::from_str(&deep).unwrap();
        object["metadata"]["labels"] = json!({ "managedFields": "kept", "metadata": "kept" });
        let Opened { user, invalid } = kept(&object).open();
        assert_eq!((user.metadata.managed_fields, invalid), (None, None));
        let labels = user.metadata.labels.unwrap();
        assert_eq!((&*labels["managedFields"], &*labels["metadata"]), ("kept", "kept"));
    }

    #[test]
    fn a_settled_user_takes_a_few_hundred_bytes() {
        let packed = kept(&settled()).packed.len();
        assert!(packed < 600, "{packed} of {} bytes", settled().to_string().len());
    }

    #[test]
    fn one_that_cannot_be_read_says_why_and_whose_it_is() {
        let mut object = settled();
        object["spec"]["access"] = json!("everything");
        object["spec"]["userName"] = json!("reports-app");
        object["spec"]["deletionPolicy"] = json!({ "of": "no sort" });
        let kept = kept(&object);
        let Opened { user, invalid } = kept.open();
        let invalid = invalid.unwrap();
        assert!(invalid.contains("spec.access: ") && invalid.contains("everything"), "{invalid}");
        assert_eq!(user.metadata.generation, Some(3));
        assert_eq!(
            (user.spec.class_name.as_deref(), user.spec.user_name.as_deref()),
            (Some("prod"), Some("reports-app"))
        );
        assert!(user.spec.access.is_empty() && user.spec.deletion_policy.is_none() && user.was_acted_upon());
        assert!(kept.membership().class_name == Some("prod") && kept.membership().is_finalized && kept.is_ready());
    }

    #[test]
    fn invariant_11_what_is_larger_than_any_needs_to_be_is_kept_without_its_content() {
        for field in ["annotations", "labels"] {
            let mut object = settled();
            object["metadata"][field] = json!({ "a": "x".repeat(1 << 20) });
            check_large(&object);
        }
        let mut object = settled();
        object["spec"]["policy"]["statements"][0]["Junk"] = json!("x".repeat(1 << 20));
        check_large(&object);
    }

    fn check_large(object: &Value) {
        let mut without = object.clone();
        without.as_object_mut().unwrap().remove("status");
        without["metadata"]["resourceVersion"] = json!("1");
        assert_eq!(
            kept(&without).open().invalid,
            kept(object).open().invalid,
            "what is told does not change with itself"
        );
        let kept = kept(object);
        assert!(kept.packed.len() < 2_000, "{}", kept.packed.len());
        let Opened { user, invalid } = kept.open();
        assert!(invalid.unwrap().contains("98304"), "it says how much is taken");
        assert!(user.is_finalized() && user.spec.class_name.as_deref() == Some("prod"));
    }

    #[test]
    fn a_finalizer_that_was_taken_off_is_news() {
        let mut object = settled();
        let before = kept(&object).change_digest();
        object["metadata"]["finalizers"] = json!([]);
        assert_ne!(kept(&object).change_digest(), before);
        object["status"] = json!({ "userName": "prod.payments.billing" });
        assert_eq!(kept(&object).change_digest(), before, "nothing was made for it, so that there was none");
    }

    #[test]
    fn our_own_writes_are_no_news() {
        let asked = |change: fn(&mut Value)| {
            let mut object = settled();
            change(&mut object);
            kept(&object).change_digest()
        };
        let before = asked(|_| {});
        assert_eq!(asked(|object| object["status"] = json!({})), before);
        assert_ne!(asked(|object| object["metadata"]["generation"] = json!(4)), before);
        assert_ne!(asked(|object| object["metadata"]["annotations"]["team"] = json!("x")), before);
        assert_ne!(asked(|object| object["metadata"]["deletionTimestamp"] = json!("2026-11-25T20:44:18Z")), before);
    }
}
