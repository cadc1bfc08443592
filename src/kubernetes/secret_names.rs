//! Which Secrets each S3AccessUser controls, by name, and their versions: all that is kept of what the watch of Secrets shows.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;

use crate::core::schedule::fnv;

/// Each name with the resource version that was seen last, by a digest of the UID.
type ByUid = HashMap<u64, Vec<(Box<str>, u64)>>;

/// The names of Secrets, by the UID of their controller. A hint for live reads, and no proof of anything.
#[derive(Debug, Default)]
pub struct SecretNames(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    names: ByUid,
    /// What a list under way has brought so far; the names of before hold until it is whole.
    listed: ByUid,
}

impl SecretNames {
    /// Follows the watch.
    pub fn follow(&self, event: &Event<PartialObjectMeta<Secret>>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => state.listed = ByUid::new(),
            Event::InitApply(secret) => add(&mut state.listed, secret),
            Event::InitDone => state.names = std::mem::take(&mut state.listed),
            Event::Apply(secret) => add(&mut state.names, secret),
            Event::Delete(secret) => remove(&mut state.names, secret),
        }
    }

    /// The names of the Secrets that the user controls.
    pub fn of(&self, uid: &str) -> Vec<String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.names.get(&fnv(uid)).into_iter().flatten().map(|(name, _)| name.to_string()).collect()
    }

    /// The resource version of that Secret as the watch has it; `None` where it shows no such Secret of the user.
    pub fn version(&self, uid: &str, name: &str) -> Option<u64> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.names.get(&fnv(uid))?.iter().find(|(known, _)| **known == *name).map(|(_, version)| *version)
    }
}

fn controller(secret: &PartialObjectMeta<Secret>) -> Option<&str> {
    let references = secret.owner_references().iter();
    references.filter(|reference| reference.controller == Some(true)).map(|reference| reference.uid.as_str()).next()
}

fn add(names: &mut ByUid, secret: &PartialObjectMeta<Secret>) {
    let (Some(uid), name) = (controller(secret), secret.name_any()) else { return };
    let of_user = names.entry(fnv(uid)).or_insert_with(|| Vec::with_capacity(1));
    let version = secret.resource_version().and_then(|version| version.parse().ok()).unwrap_or_default();
    match of_user.iter_mut().find(|(known, _)| **known == *name) {
        Some(known) => known.1 = version,
        None => of_user.push((name.into(), version)),
    }
}

fn remove(names: &mut ByUid, secret: &PartialObjectMeta<Secret>) {
    let (Some(uid), name) = (controller(secret), secret.name_any()) else { return };
    if let Some(of_user) = names.get_mut(&fnv(uid)) {
        of_user.retain(|(known, _)| **known != *name);
        if of_user.is_empty() {
            names.remove(&fnv(uid));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::*;

    fn secret(name: &str, uid: &str) -> PartialObjectMeta<Secret> {
        let reference = json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser", "name": "reports", "uid": uid, "controller": true,
        });
        serde_json::from_value(json!({ "metadata": { "name": name, "ownerReferences": [reference] } })).unwrap()
    }

    #[test]
    fn names_follow_the_watch() {
        let names = SecretNames::default();
        let of = |uid| names.of(uid);
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
            (names.version("one", "a"), names.version("one", "b"), names.version("two", "a")),
            (Some(9), None, None)
        );
    }

    #[test]
    fn a_new_list_replaces_what_was_known_once_it_is_whole() {
        let names = SecretNames::default();
        names.follow(&Event::Apply(secret("gone", "one")));
        names.follow(&Event::Init);
        names.follow(&Event::InitApply(secret("a", "two")));
        assert_eq!((names.of("one").len(), names.of("two").len()), (1, 0));
        names.follow(&Event::InitDone);
        assert_eq!((names.of("one").len(), names.of("two").len()), (0, 1));
    }

    #[test]
    fn a_secret_that_nobody_controls_is_nobodys() {
        let names = SecretNames::default();
        let stray: PartialObjectMeta<Secret> = serde_json::from_value(json!({ "metadata": { "name": "x" } })).unwrap();
        names.follow(&Event::Apply(stray));
        assert!(names.0.lock().unwrap().names.is_empty());
    }
}
