//! How an S3AccessUser is kept between looks: packed, since there are ten thousand of them, and opened for a look.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};

use kube::Resource;
use kube::core::error_boundary::InvalidObject;
use kube::core::{DeserializeGuard, ObjectMeta};
use lz4_flex::block::{compress_prepend_size_with_dict, decompress_size_prepended_with_dict};
use serde::{Deserialize, Serialize};

use crate::api::{ConditionType, S3AccessUser};

/// What most of them have in common, which therefore takes no memory in any of them.
const IN_COMMON: &[u8] = include_bytes!("kept.json");

/// Where kubectl keeps the object as it was applied.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An S3AccessUser as it is kept, or why it could not be read: packed, with what is asked of all of them at hand.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "DeserializeGuard<S3AccessUser>")]
pub struct Kept {
    /// Its names, UID and resource version; nothing else.
    metadata: ObjectMeta,
    packed: Box<[u8]>,
    class_name: Option<Box<str>>,
    asked: u64,
    is_readable: bool,
    is_finalized: bool,
    is_ready: bool,
}

/// The class that an S3AccessUser is in rests on this alone.
#[derive(Clone, Copy, Debug)]
pub struct Membership<'a> {
    /// `spec.className`.
    pub class_name: Option<&'a str>,
    /// The operator has begun to act for it.
    pub is_finalized: bool,
}

impl<'a> Membership<'a> {
    /// That of an S3AccessUser.
    pub fn of(user: &'a S3AccessUser) -> Self {
        Self { class_name: user.spec.class_name.as_deref(), is_finalized: user.is_finalized() }
    }
}

/// What is packed.
#[derive(Serialize, Deserialize)]
enum Content {
    Readable(Box<S3AccessUser>),
    Invalid { metadata: Box<ObjectMeta>, error: String },
}

impl From<DeserializeGuard<S3AccessUser>> for Kept {
    /// Packs, without what nobody needs: who wrote which field, and kubectl's copy of the spec.
    fn from(mut user: DeserializeGuard<S3AccessUser>) -> Self {
        let meta = user.meta_mut();
        meta.managed_fields = None;
        if let Some(annotations) = &mut meta.annotations {
            annotations.remove(LAST_APPLIED);
        }
        let meta = user.meta();
        let metadata = ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            ..ObjectMeta::default()
        };
        let asked = asked_for(meta);
        let readable = user.0.as_ref().ok();
        let mut kept = Self {
            packed: Box::default(),
            class_name: readable.and_then(|user| user.spec.class_name.as_deref()).map(Into::into),
            asked,
            is_readable: readable.is_some(),
            is_finalized: readable.is_some_and(S3AccessUser::is_finalized),
            is_ready: readable.is_some_and(is_ready),
            metadata,
        };
        let content = match user.0 {
            Ok(user) => Content::Readable(Box::new(user)),
            Err(InvalidObject { error, metadata }) => Content::Invalid { metadata: Box::new(metadata), error },
        };
        // It came as JSON, so that it can be written as such.
        let text = serde_json::to_vec(&content).unwrap_or_default();
        kept.packed = compress_prepend_size_with_dict(&text, IN_COMMON).into_boxed_slice();
        kept
    }
}

impl Kept {
    /// The object.
    ///
    /// # Errors
    /// It does not fit the schema.
    pub fn open(&self) -> Result<Box<S3AccessUser>, Box<InvalidObject>> {
        let text = decompress_size_prepended_with_dict(&self.packed, IN_COMMON).map_err(|error| error.to_string());
        let content = text.and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
        match content {
            Ok(Content::Readable(user)) => Ok(user),
            Ok(Content::Invalid { metadata, error }) => Err(Box::new(InvalidObject { error, metadata: *metadata })),
            Err(error) => Err(Box::new(InvalidObject { error, metadata: self.metadata.clone() })),
        }
    }

    /// What its class rests on; `None` where it cannot be read, and is in none.
    pub fn membership(&self) -> Option<Membership<'_>> {
        let Self { class_name, is_finalized, is_readable, .. } = self;
        is_readable.then_some(Membership { class_name: class_name.as_deref(), is_finalized: *is_finalized })
    }

    /// Whether its status says that it is Ready.
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// What of it is news, in short: our own finalizer and status are not; a deletion is.
    pub fn asked(&self) -> u64 {
        self.asked
    }
}

fn asked_for(meta: &ObjectMeta) -> u64 {
    let mut hasher = DefaultHasher::new();
    (meta.generation, &meta.annotations, meta.deletion_timestamp.is_some()).hash(&mut hasher);
    hasher.finish()
}

fn is_ready(user: &S3AccessUser) -> bool {
    let mut conditions = user.status.iter().flat_map(|status| &status.conditions);
    conditions.any(|condition| condition.type_ == ConditionType::Ready.as_str() && condition.status == "True")
}

/// To kube's stores and queues it is the S3AccessUser.
impl Resource for Kept {
    type DynamicType = ();
    type Scope = <S3AccessUser as Resource>::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        S3AccessUser::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        S3AccessUser::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        S3AccessUser::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        S3AccessUser::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::{Value, json};

    use super::*;

    fn kept(object: &Value) -> Kept {
        serde_json::from_value(object.clone()).unwrap()
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
                "nextRotationAt": "2027-02-23T20:44:19Z", "binding": { "name": "billing-s3" },
                "conditions": [
                    condition("Ready", "True", all), condition("Reconciling", "False", all), condition("Stalled", "False", all),
                    condition("UserSynced", "True", ""), condition("PolicySynced", "True", ""),
                    condition("AccessKeySynced", "True", ""), condition("SecretSynced", "True", ""),
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
        assert_eq!(*kept.open().unwrap(), wanted);
        assert_eq!(kept.meta().name, wanted.metadata.name);
        let member = kept.membership().unwrap();
        assert_eq!((member.class_name, member.is_finalized, kept.is_ready()), (Some("prod"), true, true));
    }

    #[test]
    fn a_settled_user_takes_a_few_hundred_bytes() {
        let packed = kept(&settled()).packed.len();
        assert!(packed < 600, "{packed} of {} bytes", settled().to_string().len());
    }

    #[test]
    fn one_that_cannot_be_read_says_why_and_is_in_no_class() {
        let mut object = settled();
        object["spec"]["access"] = json!("everything");
        let kept = kept(&object);
        let invalid = kept.open().unwrap_err();
        assert!(invalid.error.contains("everything"), "{}", invalid.error);
        assert_eq!(invalid.metadata.generation, Some(3));
        assert!(kept.membership().is_none() && !kept.is_ready());
    }

    #[test]
    fn our_own_writes_are_no_news() {
        let asked = |change: fn(&mut Value)| {
            let mut object = settled();
            change(&mut object);
            kept(&object).asked()
        };
        let before = asked(|_| {});
        assert_eq!(asked(|object| object["status"] = json!({})), before);
        assert_eq!(asked(|object| object["metadata"]["finalizers"] = json!([])), before);
        assert_ne!(asked(|object| object["metadata"]["generation"] = json!(4)), before);
        assert_ne!(asked(|object| object["metadata"]["annotations"]["team"] = json!("x")), before);
        assert_ne!(asked(|object| object["metadata"]["deletionTimestamp"] = json!("2026-11-25T20:44:18Z")), before);
    }
}
