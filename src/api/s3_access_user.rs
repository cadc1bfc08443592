//! The `S3AccessUser` custom resource, v1alpha1.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema, ResourceExt};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::{AccessConditions, Duration, FINALIZER, SecretSpec};

/// An IAM user with an S3 policy and one access key, delivered in a Secret of the same namespace.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[kube(
    group = "s3access.dev",
    version = "v1alpha1",
    kind = "S3AccessUser",
    plural = "s3accessusers",
    singular = "s3accessuser",
    shortname = "s3u",
    category = "s3access",
    namespaced,
    derive = "PartialEq",
    status = "S3AccessUserStatus",
    doc = "An IAM user with an S3 policy and one access key, delivered in a Secret of the same namespace.",
    // servicebinding.io's duck type: a ServiceBinding may name the CR itself.
    label("servicebinding.io/provisioned-service", "true"),
    validation = Rule::new("self.metadata.name.size() <= 250").message("metadata.name: at most 250 characters, so that the default Secret name `<name>-s3` fits"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "User", type_ = "string", json_path = ".status.userName"),
    printcolumn(name = "Key", type_ = "string", json_path = ".status.accessKeyId"),
    printcolumn(name = "KeyAge", type_ = "date", json_path = ".status.accessKeyCreatedAt"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.binding.name"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "ARN", type_ = "string", json_path = ".status.userArn", priority = 1),
    printcolumn(name = "Class", type_ = "string", json_path = ".status.className", priority = 1),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].message", priority = 1)
)]
#[serde(rename_all = "camelCase")]
#[schemars(transform = super::described_by_fields)]
#[x_kube(
    validation = Rule::new("(has(self.access) && size(self.access) > 0) || (has(self.policy) && (has(self.policy.preset) || (has(self.policy.statements) && size(self.policy.statements) > 0))) || (has(self.managedPolicyArns) && size(self.managedPolicyArns) > 0)").message("nothing is granted: set access, policy.preset, policy.statements or managedPolicyArns"),
    // Rules, since the refusal of a pattern quotes no more than the pattern.
    validation = Rule::new("!has(self.userName) || self.userName.matches('^[A-Za-z0-9+=,.@_-]+$')").message("userName: letters, digits and any of + = , . @ _ - without spaces"),
    validation = Rule::new("!has(self.path) || self.path.matches('^/([A-Za-z0-9+=,.@_-]+/)*$')").message("path: begins and ends with a slash, and has letters, digits and any of + = , . @ _ - between, such as /team-a/"),
    validation = Rule::new("!has(self.managedPolicyArns) || self.managedPolicyArns.all(arn, arn.matches('^arn:[a-z-]+:iam::(aws|[0-9]{12}):policy/.+$'))").message("managedPolicyArns: write the ARN of a managed policy, such as arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess (in China arn:aws-cn:iam::aws:policy/...)"),
    validation = Rule::new("!has(self.permissionsBoundaryArn) || self.permissionsBoundaryArn.matches('^(arn:[a-z-]+:iam::(aws|[0-9]{12}):policy/.+)?$')").message("permissionsBoundaryArn: write the ARN of a managed policy, such as arn:aws:iam::123456789012:policy/boundary"),
    // In another class the user would be in another account: the one that is left would be nobody's.
    validation = Rule::new("has(self.className) == has(oldSelf.className) && (!has(self.className) || self.className == oldSelf.className)").message("className is immutable: delete the S3AccessUser and create another"),
    validation = Rule::new("has(self.userName) == has(oldSelf.userName) && (!has(self.userName) || self.userName == oldSelf.userName)").message("userName is immutable: delete the S3AccessUser and create another"),
    validation = Rule::new("!has(self.accessKey) || !has(self.accessKey.mode) || self.accessKey.mode != 'Session' || !has(self.secret) || !has(self.secret.format) || self.secret.format in ['aws-env', 'velero', 'cnpg', 'rclone', 'argo-workflows', 'airflow', 'hadoop', 'template']").message("accessKey.mode Session: what reads this secret.format takes no session token, or no new one while it runs: use one of aws-env, velero, cnpg, rclone, argo-workflows, airflow, hadoop, template, or mode Static"),
    validation = Rule::new("!has(self.tags) || self.tags.all(k, !k.lowerAscii().startsWith('s3access.dev/') && !k.lowerAscii().startsWith('aws:'))").message("tags: the prefixes s3access.dev/ and aws: are reserved")
)]
pub struct S3AccessUserSpec {
    /// The S3AccessClass that says in which account, and within which limits, the user is made.
    /// Omitted: the class marked default. Where none is: with `--require-class`, which the chart sets, it is refused
    /// (`ClassNotFound`). Without, who was made before the first class is in the operator's own AWS account, without a
    /// class's limits, and so is everybody while there is no class; others are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub class_name: Option<String>,

    /// The name of the IAM user. Immutable. Default: `<cluster>-<namespace>-<name>-<hash>`, at most 64 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub user_name: Option<String>,

    /// The IAM path of the user and of its policy. Default: the class's, else the operator's, `/s3access/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100))]
    pub path: Option<String>,

    /// High-level grants, together one policy: what each of them allows is allowed. A bucket may stand more than once, such
    /// as to read all of it and write below one prefix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub access: Vec<AccessGrant>,

    /// A policy in IAM's own words, beside or instead of `access`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicySpec>,

    /// Existing managed policies to attach to the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub managed_policy_arns: Vec<String>,

    /// The permissions boundary of the user; a class may force one. Empty: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub permissions_boundary_arn: Option<String>,

    /// From where and how the access key may be used: narrows all that is allowed, within what the class requires. Not with
    /// `managedPolicyArns`, which nobody can bind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conditions: Option<AccessConditions>,

    /// From then on nothing is allowed and the access key is inactive, until a later date stands here. IAM sees to it by
    /// itself. Default: never, or when the class's maxLifetime ends. Not with `managedPolicyArns`, which nobody can bind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,

    /// Tags of the IAM user, beside the operator's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "tags_schema")]
    pub tags: BTreeMap<String, String>,

    /// The access key's life.
    #[serde(default)]
    #[schemars(default)]
    pub access_key: AccessKeySpec,

    /// The Secret that receives the access key.
    #[serde(default)]
    #[schemars(default)]
    pub secret: SecretSpec,

    /// What to do where an IAM user of that name exists already. `Never`: refuse it, unless this very S3AccessUser made
    /// it. `IfOwnedByTag`: also take over one whose tags name this cluster, namespace and name, which an earlier
    /// S3AccessUser left behind. `Force`: also any that no other S3AccessUser's tags claim; only where the class allows it.
    #[serde(default)]
    #[schemars(default)]
    pub adoption: Adoption,

    /// What deleting the S3AccessUser does to the IAM user and policy. `Delete`: they are deleted. `Retain`: they stay, and
    /// the class has to allow that. Access keys are deleted either way, since their only copy goes with the Secret. Default:
    /// the class's, else `Delete`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// Deactivates the access key and stops its rotation until set back; everything else is kept true.
    #[serde(default)]
    #[schemars(default)]
    pub suspend: bool,
}

impl S3AccessUser {
    /// Whether the CR carries our finalizer.
    pub fn is_finalized(&self) -> bool {
        self.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
    }

    /// Whether the status says that something was made for it. Tenants may not write the status by the shipped roles, and
    /// whoever could would only have the operator look for what is not there.
    pub fn was_acted_upon(&self) -> bool {
        self.status.as_ref().is_some_and(|status| {
            status.user_arn.is_some() || status.access_key_id.is_some() || status.policy_arn.is_some()
        })
    }

    /// The buckets of its grants, each once, in the order of the spec: the first is the one of formats that name one.
    pub fn buckets(&self) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let buckets = self.spec.access.iter().map(|grant| &grant.bucket);
        buckets.filter(|bucket| seen.insert(*bucket)).cloned().collect()
    }

    /// The name of the Secret.
    pub fn secret_name(&self) -> String {
        self.spec.secret.name.clone().unwrap_or_else(|| format!("{}-s3", self.name_any()))
    }

    /// The finalizers that are somebody else's.
    pub fn other_finalizers(&self) -> Vec<String> {
        self.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect()
    }
}

/// Access to one bucket.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    // The naming rules of general purpose buckets, Amazon S3 user guide "Bucket naming rules". Rules, since the refusal of a
    // pattern quotes no more than the pattern.
    validation = Rule::new("self.bucket.matches('^[a-z0-9][a-z0-9.-]*[a-z0-9]$')").message("bucket: not a valid S3 bucket name: one bucket's bare name, of lower-case letters, digits, periods and hyphens; what comes after it belongs into prefixes, and a bucket with a name of the old kind (capital letters, underscores) is granted by spec.policy.statements"),
    validation = Rule::new("!has(self.prefixes) || self.prefixes.all(prefix, prefix.matches('^[^*?$\\\\x{0}-\\\\x{1f}\\\\x{7f}]+$'))").message("prefixes: plain text without *, ?, $ and control characters, which stands for all that begins with it: write 2026/ for 2026/*"),
    validation = Rule::new("!self.bucket.contains('..') && !self.bucket.matches('^[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+$')").message("bucket: not a valid S3 bucket name: adjacent periods and IP addresses are not allowed"),
    // IAM API reference, CreatePolicy: a document holds no character beyond U+00FF.
    validation = Rule::new("!has(self.prefixes) || self.prefixes.all(prefix, prefix.matches('^[^\\\\x{100}-\\\\x{10ffff}]*$'))").message("prefixes: IAM takes no character beyond U+00FF in a policy: grant a prefix above it or the whole bucket, or write a statement in spec.policy with ? in place of each such character"),
    validation = Rule::new("!has(self.kmsKeyArns) || self.kmsKeyArns.all(arn, !arn.contains('alias/'))").message("kmsKeyArns: an alias is no key, and IAM allows a key by its own ARN only: write the Arn that `aws kms describe-key --key-id alias/<name>` tells"),
    validation = Rule::new("!has(self.kmsKeyArns) || self.kmsKeyArns.all(arn, arn.contains('alias/') || arn.matches('^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+$'))").message("kmsKeyArns: write the ARN of a key, such as arn:aws:kms:<region>:<account>:key/<id>"),
    validation = Rule::new("!self.bucket.startsWith('xn--') && !self.bucket.startsWith('sthree-') && !self.bucket.startsWith('amzn-s3-demo-') && !self.bucket.endsWith('-s3alias') && !self.bucket.endsWith('--ol-s3') && !self.bucket.endsWith('.mrap') && !self.bucket.endsWith('--x-s3') && !self.bucket.endsWith('--table-s3')").message("bucket: not a valid S3 bucket name: it has a prefix or suffix that S3 reserves")
)]
pub struct AccessGrant {
    /// The name of the bucket.
    #[schemars(length(min = 3, max = 63))]
    pub bucket: String,
    /// Only objects whose keys start with one of these. Omitted: the whole bucket.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    pub prefixes: Vec<String>,
    /// What may be done with them. `ReadOnly`: list and get. `WriteOnly`: put, neither get nor list. `ReadWrite`: list, get,
    /// put and delete. `Admin`: also versions, tags, retention and, without `prefixes`, the bucket's settings; never a change
    /// of its policy or of an ACL, nor its deletion.
    pub level: AccessLevel,
    /// The KMS keys that the bucket's objects are encrypted with, by their ARNs: the user may use them through S3, as the
    /// level needs. Omitted: none, as for SSE-S3.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    pub kms_key_arns: Vec<String>,
}

/// What a grant allows.
#[derive(JsonSchema, Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, Hash)]
pub enum AccessLevel {
    /// List, and get objects.
    ReadOnly,
    /// Put objects, multipart uploads included; neither get nor list.
    WriteOnly,
    /// List, get, put and delete objects.
    ReadWrite,
    /// Objects with their versions, tags and retention, and the bucket's own settings; not the ACLs, the bucket's policy,
    /// nor its deletion.
    Admin,
}

/// A policy in IAM's own words.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PolicySpec {
    /// A ready-made set of statements. `ReadWriteNoDelete`: `s3:PutObject`, `s3:GetObject`, `s3:CreateBucket`,
    /// `s3:ListAllMyBuckets` and `s3:ListBucket` on every bucket of the account, as in the console walk-through; so a class
    /// has to allow every bucket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<PolicyPreset>,
    /// IAM statements as in a policy document; `${partition}` and `${account}` are filled in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "statements_schema")]
    pub statements: Vec<serde_json::Value>,
    /// Whether the policy is a customer managed one that is attached, or inline in the user.
    #[serde(default, rename = "type")]
    #[schemars(default)]
    pub policy_type: PolicyType,
    /// The policy's name. Default: the user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9+=,.@_-]+$"))]
    pub name: Option<String>,
}

/// Ready-made statements.
#[derive(JsonSchema, Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, Hash)]
pub enum PolicyPreset {
    /// The console walk-through's five actions on every bucket: PutObject, GetObject, CreateBucket,
    /// ListAllMyBuckets and ListBucket.
    ReadWriteNoDelete,
}

/// Where the policy lives.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, Hash)]
pub enum PolicyType {
    /// A customer managed policy, attached to the user.
    #[default]
    Managed,
    /// A policy inside the user: what S3-compatible systems offer.
    Inline,
}

/// The access key's life.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.duration) || (has(self.mode) && self.mode == 'Session')").message("accessKey: duration is of sessions: set mode to Session, or remove it"),
    // sts:GetSessionToken takes 900 to 129,600 seconds.
    validation = Rule::new("!has(self.duration) || !self.duration.matches('^[0-9.hms]+$') || (duration(self.duration) >= duration('15m') && duration(self.duration) <= duration('36h'))").message("accessKey: duration must be from 15m to 36h, which is what AWS STS takes")
)]
pub struct AccessKeySpec {
    /// What the Secret holds: the access key itself, or a session of it that ends by itself and is renewed at half its life.
    #[serde(default)]
    #[schemars(default)]
    pub mode: AccessKeyMode,
    /// With mode Session: how long a session works, from 15m to 36h. Default: `12h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::duration_schema")]
    pub duration: Option<Duration>,
    /// Scheduled rotation. Absent: by the class's `rotation`; where it has none, only on demand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationSpec>,
    /// `Inactive` suspends the key without deleting it.
    #[serde(default)]
    #[schemars(default)]
    pub status: AccessKeyStatus,
}

/// What the Secret holds.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, Hash)]
pub enum AccessKeyMode {
    /// The access key, which works until it is replaced.
    #[default]
    Static,
    /// What sts:GetSessionToken answers for it: id, secret, token and end. The key itself stays in the operator's namespace.
    Session,
}

/// Scheduled rotation. Durations are Go's, such as `2160h` or `30m`.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.overlap) || !self.interval.matches('^[0-9.hms]+$') || !self.overlap.matches('^[0-9.hms]+$') || duration(self.overlap) < duration(self.interval)").message("rotation: overlap must be shorter than interval"),
    validation = Rule::new("!self.interval.matches('^[0-9.hms]+$') || duration(self.interval) > duration('0s')").message("rotation: interval must be positive (the class and the operator ask for an hour at least, unless set)"),
    validation = Rule::new("has(self.overlap) || !self.interval.matches('^[0-9.hms]+$') || duration(self.interval) > duration('24h')").message("rotation: the default overlap is 24h, so an interval of 24h or less needs an overlap of its own")
)]
pub struct RotationSpec {
    /// The age, by IAM's CreateDate, at which a key is replaced.
    #[schemars(schema_with = "super::duration_schema")]
    pub interval: Duration,
    /// How long the old key goes on working after the new one is in the Secret. Default: `24h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::duration_schema")]
    pub overlap: Option<Duration>,
    /// Days, hours and a time zone of the IANA database, such as `Mon-Fri 09:00-16:00 Europe/Berlin`: the key is replaced by
    /// schedule in the last of these windows before it is as old as `interval`, so that somebody is there. Default: at that
    /// age, at any time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "super::window_schema")]
    pub window: Option<String>,
}

/// IAM's status of an access key.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, Hash)]
pub enum AccessKeyStatus {
    /// The key works.
    #[default]
    Active,
    /// The key is kept, but AWS refuses it.
    Inactive,
}

/// What to do where an IAM user of that name exists already.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, Hash)]
pub enum Adoption {
    /// Refuse it, unless this very S3AccessUser made it.
    Never,
    /// Take it over if its tags name this cluster, namespace and name: what an earlier S3AccessUser left behind.
    #[default]
    IfOwnedByTag,
    /// Take over any user; only where the class allows it.
    Force,
}

/// What deleting the S3AccessUser does to the IAM user and policy.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, Hash)]
pub enum DeletionPolicy {
    /// They are deleted.
    #[default]
    Delete,
    /// They stay, without an access key.
    Retain,
}

/// A report of what was last seen; no decision is taken from it.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
// Before the first reconcile, kstatus would take an object without a status for one that is done.
#[schemars(extend("default" = { "observedGeneration": -1 }))]
#[serde(rename_all = "camelCase")]
pub struct S3AccessUserStatus {
    /// The generation of the spec that the rest of the status answers to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled; UserSynced, PolicySynced, AccessKeySynced, SecretSynced; where they apply,
    /// PolicyEffective, WorkloadsRestarted, Compromised, Unused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The S3AccessClass that it is held to, also where the spec names none. Absent: none, in the operator's own account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class_name: Option<String>,
    /// The ARN of the IAM user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_arn: Option<String>,
    /// The name of the IAM user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
    /// The AWS account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// The AWS partition: `aws`, `aws-cn`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The ARN of the policy made from `access` and `policy`; absent where it is inline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_arn: Option<String>,
    /// The id of the key that the Secret holds, or that its sessions are of. Never the secret key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// When that key was made, by IAM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_created_at: Option<Time>,
    /// The resource version of the Secret as the operator has left it, and a digest of what it is made of beside the key: while
    /// both are the same, a restart does not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_version: Option<String>,
    /// When the session that the Secret holds ends, unless it is renewed before; after a change to mode Static, when the last
    /// session does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_expires_at: Option<Time>,
    /// When the key is due to be replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_at: Option<Time>,
    /// When the access key stops working: `spec.expiresAt`, or the end of the class's maxLifetime, whichever is earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// The last use of that key that AWS tells of, by the account's credential report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<LastUse>,
    /// When AWS last reported a use of the retiring key; IAM's report lags by hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Time>,
    /// The key that the Secret held before, until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retiring_key: Option<RetiringKey>,
    /// The last revocation of its access keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<RevocationReport>,
    /// servicebinding.io: the Secret to bind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<BindingReference>,
}

/// The last use of an access key, as AWS tells it: hours late, and to a day here, so that a key in use is not written of all
/// the time.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct LastUse {
    /// When. Absent: AWS knows of none since the key was made, beside the operator's own trial of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Time>,
    /// The region of that use, where AWS tells one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The service that was called, such as `s3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// When AWS made the report that says so: what came after it is not known.
    pub reported_at: Time,
}

/// A replaced key in its overlap.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RetiringKey {
    /// Its id.
    pub id: String,
    /// When it is deactivated, and a little later deleted.
    pub retire_at: Time,
    /// Why it is kept for longer than the overlap, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// What was revoked, and what is left of it.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RevocationReport {
    /// A digest of the annotation's value: each new value is another request.
    pub request: String,
    /// When the keys were taken out of use, or that was begun.
    pub revoked_at: Time,
    /// Those of the revoked keys that IAM still has, for whoever looks into what was done with them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub access_key_ids: Vec<String>,
    /// When they are deleted; earlier where their slot is needed for another key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_at: Option<Time>,
}

/// servicebinding.io's reference to a Secret of the same namespace.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub struct BindingReference {
    /// The Secret's name.
    pub name: String,
}

/// A statement is checked by [`crate::core::policy`], which can say more than a schema: `Action` may be a string or a list.
fn statements_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "IAM statements as in a policy document (Sid, Effect, Action or NotAction, Resource or NotResource, Condition); `${partition}` and `${account}` are filled in.",
        "type": "array",
        "maxItems": 64,
        "items": { "type": "object", "maxProperties": 7, "x-kubernetes-preserve-unknown-fields": true },
    })
}

/// IAM's limits on tags, less those that the operator needs (IAM user guide "Rules for tagging").
fn tags_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Tags of the IAM user, beside the operator's own.",
        "type": "object",
        "maxProperties": 30,
        "additionalProperties": { "type": "string", "maxLength": 256 },
    })
}
