//! The tags of a user that decisions rest upon, kept in its path: for systems whose users have none. IAM lets nobody but those who may
//! manage users write a path, so it proves as much as a tag does.

use std::collections::BTreeMap;

use crate::api::tags;

const ROOT: &str = "/s3access/";
/// What stands for a UID that was taken off.
const NOBODY: &str = "-";

/// Between a UID and the record of what was revoked.
const REVOKED: char = '~';

/// The path that holds the ownership tags and the record of a revocation, with the wanted path behind.
pub(in crate::aws) fn encode(path: &str, owned: &BTreeMap<String, String>) -> String {
    let tag = |key: &str| owned.get(key).map_or(NOBODY, String::as_str);
    let revoked = owned.get(tags::REVOKED).map(|record| format!("{REVOKED}{record}")).unwrap_or_default();
    format!("{ROOT}{}/{}{revoked}/{}{path}", tag(tags::CLUSTER), tag(tags::UID), tag(tags::OWNER))
}

/// The wanted path, and the ownership tags. A path that is not ours has none.
pub(in crate::aws) fn decode(path: &str) -> (String, BTreeMap<String, String>) {
    let mut parts = path.strip_prefix(ROOT).unwrap_or_default().splitn(5, '/');
    let (Some(cluster), Some(uid), Some(namespace), Some(name), Some(rest)) =
        (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return (path.to_owned(), BTreeMap::new());
    };
    let owner = format!("{namespace}/{name}");
    let (uid, revoked) = uid.split_once(REVOKED).unwrap_or((uid, NOBODY));
    let found = [(tags::CLUSTER, cluster), (tags::UID, uid), (tags::REVOKED, revoked), (tags::OWNER, &owner)];
    let found = found.into_iter().filter(|(_, value)| *value != NOBODY);
    (format!("/{rest}"), found.map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
}

/// Those of the tags that a path keeps.
pub(in crate::aws) fn kept(tags: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    decode(&encode("/", tags)).1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::names::{Identity, Ownership};

    fn identity(uid: &str) -> Identity {
        let text = ToOwned::to_owned;
        Identity { cluster_id: text("cluster"), uid: text(uid), namespace: text("team-a"), name: text("reports.v1") }
    }

    #[test]
    fn invariant_4_a_path_proves_what_tags_would() {
        let ours = identity("uid-1");
        for path in ["/", "/k8s/", "/a/b/"] {
            let whole = encode(path, &ours.tags());
            let (found, owned) = decode(&whole);
            assert_eq!((found.as_str(), &owned), (path, &ours.tags()), "{whole}");
            assert_eq!(ours.ownership(&owned), Ownership::Ours);
            assert_eq!(identity("uid-2").ownership(&owned), Ownership::Predecessor);
        }
        let revoked = "0123456789abcdef+1800000000+now+01234567".to_owned();
        let marked: BTreeMap<_, _> = ours.tags().into_iter().chain([(tags::REVOKED.to_owned(), revoked)]).collect();
        assert_eq!(decode(&encode("/k8s/", &marked)), ("/k8s/".to_owned(), marked));
        let retained = BTreeMap::from_iter(ours.tags().into_iter().filter(|(key, _)| key != tags::UID));
        let (_, owned) = decode(&encode("/", &retained));
        assert_eq!(owned, retained);
        assert_eq!(ours.ownership(&owned), Ownership::Predecessor);
        for foreign in [
            "/",
            "/k8s/",
            "/s3access/",
            "/s3access/cluster/uid-1/team-a/",
            "/x/s3access/cluster/uid-1/team-a/reports.v1/",
        ] {
            assert_eq!(decode(foreign), (foreign.to_owned(), BTreeMap::new()));
        }
    }
}
