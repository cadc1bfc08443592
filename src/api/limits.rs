//! How much of each thing an object may hold. The schemas say the same; the core asks again, since an older CRD may have
//! let more in. Each bound is far above what a real spec needs, and far below what could cost the operator much.

/// The JSON of an S3AccessUser or S3AccessClass, without managedFields and kubectl's copy of it; bytes. What is larger is
/// kept without its content.
pub const OBJECT: usize = 96 * 1024;
/// The JSON of an S3AccessClass: it may hold certificates.
pub const CLASS: usize = 256 * 1024;
/// Grants in `spec.access`, and statements in `spec.policy.statements`.
pub const GRANTS: usize = 64;
/// Prefixes of one grant.
pub const PREFIXES: usize = 32;
/// Characters of a prefix: S3's keys have 1,024 bytes, and half of that leaves room for what comes after.
pub const PREFIX: usize = 512;
/// KMS keys of one grant.
pub const KMS_KEYS: usize = 8;
/// KMS keys of all grants of a spec together: IAM's longest policy has room for fewer.
pub const ALL_KMS_KEYS: usize = 80;
/// Characters of a KMS key's ARN.
pub const KMS_KEY_ARN: usize = 256;
/// Characters of an action, as the service authorization reference has none longer.
pub const ACTION: usize = 128;
/// Characters of a resource: S3's longest key behind an ARN and a bucket.
pub const RESOURCE: usize = 1_200;
/// Managed policies that are named (IAM attaches 20 at most).
pub const MANAGED_POLICIES: usize = 20;
/// Ranges of addresses that a key may be used from: each stands in every statement.
pub const SOURCE_IPS: usize = 32;
/// Characters of one: an IPv6 range in full.
pub const SOURCE_IP: usize = 49;
/// VPCs, and VPC endpoints, that a key may be used from.
pub const SOURCE_VPCS: usize = 16;
/// Characters of the id of one.
pub const SOURCE_VPC: usize = 32;
/// Characters of a window of rotations: seven days by name, and the longest name of a time zone.
pub const ROTATION_WINDOW: usize = 80;
/// Tags of a spec: IAM takes 50, of which the operator needs some.
pub const TAGS: usize = 30;
/// Entries in `secret.keys`, `secret.template`, `secret.labels` and `secret.annotations`.
pub const SECRET_ENTRIES: usize = 32;
/// Characters of the key of a label or an annotation.
pub const METADATA_KEY: usize = 317;
/// Tags of a class.
pub const CLASS_TAGS: usize = 10;
/// Patterns in each list of a class.
pub const PATTERNS: usize = 64;
/// Characters of a pattern of buckets.
pub const BUCKET_PATTERN: usize = 128;
/// Characters of a list of such patterns in an annotation of a Namespace, with what separates them.
pub const BUCKET_LIST: usize = PATTERNS * (BUCKET_PATTERN + 2);
/// Namespaces that a class names.
pub const NAMESPACES: usize = 256;
/// Characters of one template.
pub const TEMPLATE: usize = 16 * 1024;
/// Characters of all templates of a spec together.
pub const TEMPLATES: usize = 64 * 1024;
/// Characters of one tag of a template, its braces included.
pub const TEMPLATE_TAG: usize = 256;
/// Characters of an annotation of the Secret.
pub const SECRET_ANNOTATION: usize = 4_096;
/// Characters of an object's name, and of a UID, which has 36 where Kubernetes makes it.
pub const NAME: usize = 253;
/// See [`NAME`].
pub const UID: usize = 64;
/// Characters of a request for a rotation; a longer one goes by its digest, since the Secret records which one was answered.
pub const REQUEST: usize = 128;
/// Workloads that are restarted.
pub const WORKLOADS: usize = 16;
/// Bytes of a policy document that a server answers with: IAM's own are 6,144 characters, URL-encoded at most.
pub const DOCUMENT: usize = 64 * 1024;
