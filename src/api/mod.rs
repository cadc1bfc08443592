//! What users see: the custom resource, its conditions, and every name that is written on an object.
//!
//! Nothing here decides anything; [`crate::core`] does.

mod access_conditions;
mod capabilities;
mod conditions;
mod duration;
pub mod limits;
mod s3_access_class;
mod s3_access_user;
mod secret_spec;

use schemars::Schema;
use schemars::transform::transform_subschemas;
use serde_json::Value;

pub use access_conditions::AccessConditions;
pub use capabilities::{Capabilities, Capability, Trial};
pub use conditions::{ConditionType, Reason};
pub use duration::{Duration, DurationError};
use duration::{duration_schema, window_schema};
pub use s3_access_class::{
    AllowedNamespaces, BucketsFrom, CLASS_FINALIZER, ClassEndpoints, ClassProvider, ClassRotation,
    CredentialsSecretRef, DEFAULT_CLASS_ANNOTATION, OnCompromise, Ownership, S3AccessClass, S3AccessClassSpec,
    S3AccessClassStatus,
};
pub use s3_access_user::{
    AccessGrant, AccessKeyMode, AccessKeySpec, AccessKeyStatus, AccessLevel, Adoption, BindingReference,
    DeletionPolicy, LastUse, PolicyPreset, PolicySpec, PolicyType, RetiringKey, RevocationReport, RotationSpec,
    S3AccessUser, S3AccessUserSpec, S3AccessUserStatus,
};
pub use secret_spec::{SecretFormat, SecretSpec, Workload, WorkloadKind};

/// The API group of every custom resource.
pub const GROUP: &str = "s3access.dev";
/// Holds a custom resource until everything that was made for it in IAM is gone.
pub const FINALIZER: &str = "s3access.dev/iam";
/// The manager named in `managedFields`, Events and the `app.kubernetes.io/managed-by` label.
pub const MANAGER: &str = "s3-access-operator";
/// The label by which the operator watches its Secrets.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// Annotations on the custom resource, set by its users.
pub mod annotations {
    /// Any new value rotates the access key at once.
    pub const ROTATE: &str = "s3access.dev/rotate";
    /// Any new value revokes the access key: it is inactive at once, and another one is made. With a value that begins with
    /// `keep-working`, the other one is in the Secret before.
    pub const REVOKE: &str = "s3access.dev/revoke";
    /// Any new value has a key work again that was suspended since it was not used: see
    /// [`crate::core::ends::unused`].
    pub const RESUME: &str = "s3access.dev/resume";
    /// `"true"` stops every write, to IAM and to Kubernetes, until it is removed; but what a class or a deletion takes away is
    /// taken all the same.
    pub const PAUSED: &str = "s3access.dev/paused";
    /// `"true"` on a CR under deletion gives up on IAM: whatever is left there is named in an Event and abandoned.
    pub const ABANDON: &str = "s3access.dev/abandon";
}

/// Annotations on the Secret, set by the operator: the durable record of the key that the Secret holds.
///
/// They are written in the same request as the key itself, so no crash can part the two.
pub mod secret_annotations {
    /// The UID of the S3AccessUser that the Secret belongs to.
    pub const USER_UID: &str = "s3access.dev/user-uid";
    /// `<namespace>/<name>` of the S3AccessUser, on the Secret with its key in the operator's namespace.
    pub const OWNER: &str = "s3access.dev/owner";
    /// The id of the access key, or of the session, that the Secret holds.
    pub const ACCESS_KEY_ID: &str = "s3access.dev/access-key-id";
    /// IAM's CreateDate of that key, RFC 3339.
    pub const ACCESS_KEY_CREATED_AT: &str = "s3access.dev/access-key-created-at";
    /// SHA-256 of the key's two halves: tells an edited Secret from an intact one without asking AWS.
    pub const ACCESS_KEY_DIGEST: &str = "s3access.dev/access-key-digest";
    /// Where in the data the secret key stands: `<data key>@<byte offset>+<length>`.
    pub const ACCESS_KEY_LOCATION: &str = "s3access.dev/access-key-location";
    /// The account that the key belongs to.
    pub const ACCOUNT_ID: &str = "s3access.dev/account-id";
    /// The key that this one replaced in a rotation, until it is deleted.
    pub const PREVIOUS_ACCESS_KEY_ID: &str = "s3access.dev/previous-access-key-id";
    /// When the Secret's key was swapped for a new one, RFC 3339.
    pub const ROTATED_AT: &str = "s3access.dev/rotated-at";
    /// The value of the CR's rotate annotation that the key answers to.
    pub const ROTATE_HANDLED: &str = "s3access.dev/rotate-handled";
    /// The last key that was deleted because no Secret held it. Noted before the deletion: the Secret's new resource
    /// version keeps a second leader, should there be one, from putting that very key in.
    pub const REVOKED_ACCESS_KEY_ID: &str = "s3access.dev/revoked-access-key-id";
    /// Of the operator's own key: when another one was begun, RFC 3339.
    pub const KEY_BEGUN_AT: &str = "s3access.dev/key-begun-at";
    /// Of the operator's own key: what vouches for the other annotations.
    pub const SEAL: &str = "s3access.dev/seal";
    /// Of a session: the access key that it is of.
    pub const SESSION_OF: &str = "s3access.dev/session-of";
    /// Where in the data its token stands, as [`ACCESS_KEY_LOCATION`].
    pub const SESSION_TOKEN_LOCATION: &str = "s3access.dev/session-token-location";
    /// When the session was asked for, RFC 3339.
    pub const SESSION_ISSUED_AT: &str = "s3access.dev/session-issued-at";
    /// When it ends, by AWS's answer, RFC 3339.
    pub const SESSION_EXPIRES_AT: &str = "s3access.dev/session-expires-at";
    /// The labels that `spec.secret.labels` set, comma-separated.
    pub const SPEC_LABELS: &str = "s3access.dev/spec-labels";
    /// The annotations that `spec.secret.annotations` set, comma-separated.
    pub const SPEC_ANNOTATIONS: &str = "s3access.dev/spec-annotations";
    /// Stakater Reloader restarts the workloads that ask for it when the Secret changes.
    pub const RELOADER_MATCH: &str = "reloader.stakater.com/match";
}

/// Tags on the IAM user and policy: the proof of ownership, and the record of what was set.
pub mod tags {
    /// The reserved prefix of all of them; `spec.tags` may not use it.
    pub const PREFIX: &str = "s3access.dev/";
    /// The id of the cluster (the UID of its kube-system namespace, unless configured).
    pub const CLUSTER: &str = "s3access.dev/cluster";
    /// The UID of the S3AccessUser.
    pub const UID: &str = "s3access.dev/uid";
    /// `<namespace>/<name>` of the S3AccessUser.
    pub const OWNER: &str = "s3access.dev/owner";
    /// The policy that the operator made for the user: `managed:<path><name>` or `inline:<name>`.
    pub const POLICY: &str = "s3access.dev/policy";
    /// Digests of the managed policies that the operator attached because the spec names them.
    pub const ATTACHED: &str = "s3access.dev/attached";
    /// The policy that [`POLICY`] named before, until it is deleted.
    pub const PREVIOUS_POLICY: &str = "s3access.dev/previous-policy";
    /// The digest of the permissions boundary that the operator set because the spec names it.
    pub const BOUNDARY: &str = "s3access.dev/boundary";
    /// Digests of the tag keys that the operator set because the spec names them.
    pub const TAG_KEYS: &str = "s3access.dev/tag-keys";
    /// When the user was adopted, RFC 3339: keys that are older than this belong to somebody else. With the words
    /// `settling since` before it, no key is the operator's yet.
    pub const ADOPTED_AT: &str = "s3access.dev/adopted-at";
    /// Which keys were revoked last, by which request and when: see [`crate::core::ends::revocation`].
    pub const REVOKED: &str = "s3access.dev/revoked";
    /// Since when no use of its keys is known, or that it was suspended for that: see [`crate::core::ends::unused`].
    pub const UNUSED: &str = "s3access.dev/unused";
}

/// A field says what it is there: of an optional enum, kube's own transform puts the description of the type in the place of
/// the field's.
fn described_by_fields(schema: &mut Schema) {
    if schema.get("description").is_some() {
        let kinds = schema.get_mut("anyOf").and_then(Value::as_array_mut);
        for kind in kinds.into_iter().flatten().filter_map(Value::as_object_mut) {
            kind.remove("description");
        }
    }
    transform_subschemas(&mut described_by_fields, schema);
}
