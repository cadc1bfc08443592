//! Names and tags: how an IAM user or policy is found again, and how it proves that it is ours.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::api::tags;

/// IAM's limit on the length of a user name (IAM user guide, "IAM and AWS STS quotas").
pub const USER_NAME_LIMIT: usize = 64;

/// Hex digits of the digest in a derived name: 40 bits, so that a million users collide with odds of one in two.
const NAME_DIGEST: usize = 10;

/// Hex digits of a digest in a record tag; 31 of them fit a tag value's 256 characters.
const RECORD_DIGEST: usize = 8;

const WORKLOAD_PREFIX: &str = "access-key-id.s3access.dev";

/// The Kubernetes cluster, as IAM knows it: clusters may share an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// The id in the ownership tags; the UID of the kube-system namespace, unless configured.
    pub id: String,
    /// The short name at the start of derived user names.
    pub name: String,
}

/// The S3AccessUser that an IAM user or a Secret belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The id of its cluster.
    pub cluster_id: String,
    /// Its UID.
    pub uid: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What the tags of an IAM user or policy say of its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This very S3AccessUser's: cluster id and UID match.
    Ours,
    /// Of an S3AccessUser of the same cluster, namespace and name, but of another UID: the predecessor, since no two
    /// such objects exist at once.
    Predecessor,
    /// Anybody else's.
    Foreign,
}

impl Identity {
    /// The tags that prove ownership.
    pub fn tags(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            (tags::CLUSTER.to_owned(), self.cluster_id.clone()),
            (tags::UID.to_owned(), self.uid.clone()),
            (tags::OWNER.to_owned(), self.owner()),
        ])
    }

    /// Reads the proof. A tag of ours on a user of another UID is not ownership.
    pub fn ownership(&self, tags: &BTreeMap<String, String>) -> Ownership {
        let is = |key: &str, value: &str| tags.get(key).is_some_and(|found| found == value);
        if !is(tags::CLUSTER, &self.cluster_id) {
            return Ownership::Foreign;
        }
        if is(tags::UID, &self.uid) {
            return Ownership::Ours;
        }
        if is(tags::OWNER, &self.owner()) { Ownership::Predecessor } else { Ownership::Foreign }
    }

    fn owner(&self) -> String {
        // An IAM tag value holds 256 characters; a namespace and a name may have 63 + 253.
        let owner = format!("{}/{}", self.namespace, self.name);
        if owner.len() <= 256 { owner } else { format!("{}:{}", &owner[..215], digest(&[&owner], 40)) }
    }
}

/// `<cluster>-<namespace>-<name>-<digest>`, cut in the middle part to fit IAM's 64 characters.
///
/// The digest covers the full names, so that a cut never makes two users one.
pub fn user_name(cluster: &Cluster, namespace: &str, name: &str) -> String {
    let mut readable = format!("{}-{namespace}-{name}", cluster.name);
    readable.truncate(USER_NAME_LIMIT - NAME_DIGEST - 1);
    format!("{readable}-{}", digest(&[&cluster.id, namespace, name], NAME_DIGEST))
}

/// The annotation of a workload that names the key of the S3AccessUser with which its pods were started. Each
/// S3AccessUser has one of its own, since a workload may use several.
pub fn workload_annotation(name: &str) -> String {
    // What follows the slash may have 63 characters.
    if name.len() <= 63 {
        return format!("{WORKLOAD_PREFIX}/{name}");
    }
    format!("{WORKLOAD_PREFIX}/{}-{}", &name[..63 - NAME_DIGEST - 1], digest(&[name], NAME_DIGEST))
}

/// The name of the Secret in the operator's namespace with the key whose sessions the S3AccessUser of that UID has.
pub fn key_secret(uid: &str) -> String {
    format!("session-key-{uid}")
}

/// The ARN of a customer managed policy. `path` starts and ends with a slash.
pub fn policy_arn(partition: &str, account: &str, path: &str, name: &str) -> String {
    format!("arn:{partition}:iam::{account}:policy{path}{name}")
}

/// The value of a record tag: digests of the items that were set, since the items themselves would not fit.
pub fn record<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    let digests: BTreeSet<String> = items.into_iter().map(|item| digest(&[item], RECORD_DIGEST)).collect();
    digests.into_iter().collect()
}

/// Whether a record tag names the item.
pub fn recorded(record: Option<&String>, item: &str) -> bool {
    let Some(record) = record.filter(|record| !record.is_empty()) else { return false };
    let wanted = digest(&[item], RECORD_DIGEST);
    record.as_bytes().chunks(RECORD_DIGEST).any(|chunk| chunk == wanted.as_bytes())
}

/// The first hexadecimal digits, so many of 64, of a digest of the parts, each of which is told from the next.
pub fn digest(parts: &[&str], length: usize) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part.len().to_be_bytes());
        hasher.update(part);
    }
    let mut hex = hex::encode(hasher.finalize());
    hex.truncate(length);
    hex
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cluster() -> Cluster {
        Cluster { id: "0b5c".to_owned(), name: "prod".to_owned() }
    }

    fn identity(uid: &str) -> Identity {
        Identity {
            cluster_id: "0b5c".to_owned(),
            uid: uid.to_owned(),
            namespace: "team-a".to_owned(),
            name: "reports".to_owned(),
        }
    }

    #[test]
    fn derived_names_are_readable() {
        let name = user_name(&cluster(), "team-a", "reports");
        assert!(name.starts_with("prod-team-a-reports-"), "{name}");
    }

    #[test]
    fn invariant_4_a_tag_of_another_uid_is_not_ownership() {
        let tags = identity("old").tags();
        assert_eq!(identity("old").ownership(&tags), Ownership::Ours);
        assert_eq!(identity("new").ownership(&tags), Ownership::Predecessor);
        let elsewhere = Identity { namespace: "team-b".to_owned(), ..identity("new") };
        assert_eq!(elsewhere.ownership(&tags), Ownership::Foreign);
        let other_cluster = Identity { cluster_id: "ffff".to_owned(), ..identity("old") };
        assert_eq!(other_cluster.ownership(&tags), Ownership::Foreign);
    }

    proptest! {
        #[test]
        fn workload_annotations_fit_kubernetes_and_are_one_for_each_user(a in "[a-z0-9][a-z0-9.-]{0,248}[a-z0-9]", b in "[a-z0-9][a-z0-9.-]{0,248}[a-z0-9]") {
            let (for_a, for_b) = (workload_annotation(&a), workload_annotation(&b));
            let (prefix, name) = for_a.split_once('/').unwrap();
            prop_assert!(prefix.len() <= 253 && (1..=63).contains(&name.len()));
            prop_assert_eq!(a == b, for_a == for_b);
        }

        #[test]
        fn derived_names_fit_iam_and_never_collide(
            a in ("[a-z0-9-]{1,63}", "[a-z0-9.-]{1,250}"),
            b in ("[a-z0-9-]{1,63}", "[a-z0-9.-]{1,250}"),
        ) {
            let (name_a, name_b) = (user_name(&cluster(), &a.0, &a.1), user_name(&cluster(), &b.0, &b.1));
            prop_assert!(name_a.len() <= USER_NAME_LIMIT);
            prop_assert_eq!(a == b, name_a.eq_ignore_ascii_case(&name_b));
        }

        #[test]
        fn tag_values_fit_iam(namespace in "[a-z0-9-]{1,63}", name in "[a-z0-9.-]{1,253}", items in proptest::collection::vec("[a-z]{1,9}", 0..30)) {
            let identity = Identity { namespace, name, ..identity("u") };
            prop_assert!(identity.tags().values().all(|value| value.len() <= 256));
            let record = record(items.iter().map(String::as_str));
            prop_assert!(record.len() <= 256);
            prop_assert!(items.iter().all(|item| recorded(Some(&record), item)));
        }
    }
}
