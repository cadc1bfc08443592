//! Which Secrets each S3AccessUser controls, by name, and their versions: all that is kept of what the watch of Secrets shows.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;

use super::secret::user_of;

/// So many Secrets of one user are told at once, and read: whoever makes more has the others read later.
const TOLD: usize = 8;

/// Each name with the resource version that was seen last, by a digest of the user's namespace and UID.
type ByUser = HashMap<u64, Vec<(Box<str>, u64)>>;

/// The names of Secrets, by their controller, which is of the same namespace. A hint for live reads, and no proof of anything.
#[derive(Debug, Default)]
pub struct SecretNames {
    state: Mutex<State>,
    /// Seeded anew in each process: tenants write the UIDs, and must not find two of one digest.
    digests: RandomState,
}

#[derive(Debug, Default)]
struct State {
    names: ByUser,
    /// What a list under way has brought so far; the names of before hold until it is whole.
    listed: ByUser,
}

impl SecretNames {
    /// Follows the watch.
    pub fn follow(&self, event: &Event<PartialObjectMeta<Secret>>) {
        let (secret, mut state) = (secret_of(event), self.state.lock().unwrap_or_else(PoisonError::into_inner));
        let user = secret.and_then(|secret| Some((self.digest_of(secret)?, secret)));
        match (event, user) {
            (Event::Init, _) => state.listed = ByUser::new(),
            (Event::InitDone, _) => state.names = std::mem::take(&mut state.listed),
            (Event::InitApply(_), Some((user, secret))) => add(&mut state.listed, user, secret),
            (Event::Apply(_), Some((user, secret))) => add(&mut state.names, user, secret),
            (Event::Delete(_), Some((user, secret))) => remove(&mut state.names, user, secret),
            (Event::InitApply(_) | Event::Apply(_) | Event::Delete(_), None) => {}
        }
    }

    /// The names of the Secrets that the user controls, of many the first few.
    pub fn of(&self, namespace: &str, uid: &str) -> Vec<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let names = state.names.get(&self.digest(namespace, uid)).into_iter().flatten();
        names.take(TOLD).map(|(name, _)| name.to_string()).collect()
    }

    /// The resource version of that Secret as the watch has it; `None` where it shows no such Secret of the user.
    pub fn version(&self, namespace: &str, uid: &str, name: &str) -> Option<u64> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = state.names.get(&self.digest(namespace, uid))?.iter();
        names.find(|(known, _)| **known == *name).map(|(_, version)| *version)
    }

    fn digest_of(&self, secret: &PartialObjectMeta<Secret>) -> Option<u64> {
        Some(self.digest(&secret.namespace().unwrap_or_default(), &user_of(&secret.metadata)?.uid))
    }

    fn digest(&self, namespace: &str, uid: &str) -> u64 {
        self.digests.hash_one((namespace, uid))
    }
}

fn secret_of(event: &Event<PartialObjectMeta<Secret>>) -> Option<&PartialObjectMeta<Secret>> {
    match event {
        Event::InitApply(secret) | Event::Apply(secret) | Event::Delete(secret) => Some(secret),
        Event::Init | Event::InitDone => None,
    }
}

fn add(names: &mut ByUser, user: u64, secret: &PartialObjectMeta<Secret>) {
    let (of_user, name) = (names.entry(user).or_insert_with(|| Vec::with_capacity(1)), secret.name_any());
    let version = secret.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default();
    match of_user.iter_mut().find(|(known, _)| **known == *name) {
        Some(known) => known.1 = version,
        None => of_user.push((name.into(), version)),
    }
}

fn remove(names: &mut ByUser, user: u64, secret: &PartialObjectMeta<Secret>) {
    if let Some(of_user) = names.get_mut(&user) {
        of_user.retain(|(known, _)| **known != *secret.name_any());
        if of_user.is_empty() {
            names.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
    use serde_json::json;

    use super::*;

    fn secret(name: &str, uid: &str) -> PartialObjectMeta<Secret> {
        let reference = json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser", "name": "reports", "uid": uid, "controller": true,
        });
        let meta = json!({ "namespace": "team-a", "name": name, "ownerReferences": [reference] });
        serde_json::from_value(json!({ "metadata": meta })).unwrap()
    }

    fn changed(change: impl FnOnce(&mut ObjectMeta)) -> PartialObjectMeta<Secret> {
        let mut secret = secret("b", "one");
        change(&mut secret.metadata);
        secret
    }

    #[test]
    fn a_secret_counts_for_the_user_of_its_own_namespace_alone() {
        let names = SecretNames::default();
        names.follow(&Event::Apply(secret("a", "one")));
        let theirs =
            |name: &str| changed(|meta| (meta.namespace, meta.name) = (Some("team-b".into()), Some(name.into())));
        names.follow(&Event::Apply(theirs("b")));
        names.follow(&Event::Delete(theirs("a")));
        assert_eq!(names.of("team-a", "one"), ["a"]);
        assert!(names.version("team-a", "one", "a").is_some() && names.version("team-a", "one", "b").is_none());
    }

    #[test]
    fn what_can_be_no_user_controls_nothing() {
        let names = SecretNames::default();
        let reference =
            |change: fn(&mut OwnerReference)| changed(|meta| change(&mut meta.owner_references.as_mut().unwrap()[0]));
        for stray in [
            reference(|owner| owner.uid = "x".repeat(1_000_000)),
            reference(|owner| owner.name = "x".repeat(1_000_000)),
            reference(|owner| owner.kind = "ConfigMap".to_owned()),
            reference(|owner| owner.api_version = "v1".to_owned()),
            reference(|owner| owner.controller = None),
            changed(|meta| meta.owner_references = None),
        ] {
            names.follow(&Event::Apply(stray));
        }
        assert!(names.state.lock().unwrap().names.is_empty());
    }

    #[test]
    fn of_many_secrets_a_few_are_told_at_once() {
        let names = SecretNames::default();
        for number in 0..500 {
            names.follow(&Event::Apply(secret(&format!("s{number}"), "one")));
        }
        assert_eq!(names.of("team-a", "one").len(), TOLD);
        assert!(names.version("team-a", "one", "s499").is_some());
    }

    #[test]
    fn names_follow_the_watch() {
        let names = SecretNames::default();
        let of = |uid| names.of("team-a", uid);
        for name in ["a", "b", "a"] {
            names.follow(&Event::Apply(secret(name, "one")));
        }
        names.follow(&Event::Apply(secret("c", "two")));
        assert_eq!(
            (of("one"), of("two"), of("three")),
            (vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned()], vec![])
        );
        names.follow(&Event::Delete(secret("a", "one")));
        names.follow(&Event::Delete(secret("c", "two")));
        assert_eq!((of("one"), of("two")), (vec!["b".to_owned()], vec![]));
    }

    #[test]
    fn versions_follow_the_watch() {
        let names = SecretNames::default();
        for version in ["7", "9"] {
            let mut seen = secret("a", "one");
            seen.metadata.resource_version = Some(version.to_owned());
            names.follow(&Event::Apply(seen));
        }
        assert_eq!(
            [("one", "a"), ("one", "b"), ("two", "a")].map(|(uid, name)| names.version("team-a", uid, name)),
            [Some(9), None, None]
        );
    }

    #[test]
    fn a_new_list_replaces_what_was_known_once_it_is_whole() {
        let names = SecretNames::default();
        names.follow(&Event::Apply(secret("gone", "one")));
        names.follow(&Event::Init);
        names.follow(&Event::InitApply(secret("a", "two")));
        let counts = || ["one", "two"].map(|uid| names.of("team-a", uid).len());
        assert_eq!(counts(), [1, 0]);
        names.follow(&Event::InitDone);
        assert_eq!(counts(), [0, 1]);
    }
}
