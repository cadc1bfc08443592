//! Of the events of a watch, those that are changes: of ten thousand objects no more is kept for that than two numbers each.

use std::collections::HashMap;

use kube::runtime::watcher::Event;

use crate::controller::queue::Key;

/// Tells changes from what was seen before, also when a list brings all of it again. What a list shows is told when it is
/// whole: before, the cache has each object as it was.
pub struct ChangeFilter<K> {
    /// Of its UID: a digest is as good, and smaller.
    uid: fn(&K) -> u64,
    /// What of an object matters.
    digest: fn(&K) -> u64,
    /// Whom it concerns.
    key: KeyOf<K>,
    /// By UID.
    seen: Seen,
    /// What a list under way has brought so far.
    listed: Seen,
    /// Whom that concerns.
    changed: Vec<Key>,
}

type KeyOf<K> = Box<dyn Fn(&K) -> Option<Key> + Send>;
type Seen = HashMap<u64, (u64, Option<Key>)>;

impl<K> ChangeFilter<K> {
    /// Objects whose digest has changed, and those that are gone.
    pub fn new(uid: fn(&K) -> u64, digest: fn(&K) -> u64, key: impl Fn(&K) -> Option<Key> + Send + 'static) -> Self {
        Self { uid, digest, key: Box::new(key), seen: Seen::new(), listed: Seen::new(), changed: Vec::new() }
    }

    /// Whom the event concerns.
    pub fn of(&mut self, event: &Event<K>) -> Vec<Key> {
        let uid = self.uid;
        match event {
            Event::Init => (self.listed, self.changed) = (Seen::new(), Vec::new()),
            Event::InitApply(object) => {
                let (uid, digest) = (uid(object), (self.digest)(object));
                // One that is known shares its key.
                let known = self.seen.get(&uid);
                let key = known.map_or_else(|| (self.key)(object), |(_, key)| key.clone());
                if known.is_none_or(|(before, _)| *before != digest) {
                    self.changed.extend(key.clone());
                }
                self.listed.insert(uid, (digest, key));
            }
            Event::InitDone => {
                let mut before = std::mem::replace(&mut self.seen, std::mem::take(&mut self.listed));
                before.retain(|uid, _| !self.seen.contains_key(uid));
                let gone = before.into_values().filter_map(|(_, key)| key);
                return std::mem::take(&mut self.changed).into_iter().chain(gone).collect();
            }
            Event::Apply(object) => {
                let (digest, key) = ((self.digest)(object), (self.key)(object));
                let before = self.seen.insert(uid(object), (digest, key.clone()));
                let is_change = before.is_none_or(|(before, _)| before != digest);
                return key.filter(|_| is_change).into_iter().collect();
            }
            Event::Delete(object) => {
                let before = self.seen.remove(&uid(object));
                return before.map_or_else(|| (self.key)(object), |(_, key)| key).into_iter().collect();
            }
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use k8s_openapi::api::core::v1::Secret;
    use kube::core::PartialObjectMeta;
    use serde_json::json;

    use super::*;
    use crate::core::schedule::fnv;

    type Object = PartialObjectMeta<Secret>;

    fn object(uid: &str, generation: i64) -> Object {
        let meta = json!({ "namespace": "team-a", "name": uid, "uid": uid, "generation": generation });
        serde_json::from_value(json!({ "metadata": meta })).unwrap()
    }

    fn changes() -> ChangeFilter<Object> {
        let digest = |object: &Object| u64::try_from(object.metadata.generation.unwrap()).unwrap();
        let uid = |object: &Object| fnv(object.metadata.uid.as_deref().unwrap());
        ChangeFilter::new(uid, digest, |object| Some(Key::of(&object.metadata)))
    }

    fn told(changes: &mut ChangeFilter<Object>, event: &Event<Object>) -> Vec<String> {
        changes.of(event).iter().map(|key| key.uid().to_owned()).collect()
    }

    #[test]
    fn only_what_has_changed_is_a_change() {
        let mut changes = changes();
        for (uid, generation, is_change) in [("a", 1, true), ("a", 1, false), ("b", 1, true), ("a", 2, true)] {
            let told = told(&mut changes, &Event::Apply(object(uid, generation)));
            assert_eq!(!told.is_empty(), is_change, "{uid} {generation}");
        }
    }

    #[test]
    fn what_a_list_shows_is_told_when_the_list_is_whole() {
        let mut changes = changes();
        changes.of(&Event::Apply(object("a", 1)));
        changes.of(&Event::Apply(object("b", 1)));
        changes.of(&Event::Apply(object("d", 1)));
        for event in [Event::Init, Event::InitApply(object("a", 1)), Event::InitApply(object("b", 2))] {
            assert_eq!(told(&mut changes, &event), [""; 0], "the cache has them as they were before");
        }
        changes.of(&Event::InitApply(object("c", 1)));
        assert_eq!(told(&mut changes, &Event::InitDone), ["b", "c", "d"], "changed, new, and gone");
        assert_eq!(changes.seen.len(), 3);
        assert_eq!(told(&mut changes, &Event::Apply(object("d", 1))), ["d"], "it is there again");
    }

    #[test]
    fn a_list_that_begins_anew_is_another_list() {
        let mut changes = changes();
        for event in [Event::Init, Event::InitApply(object("a", 1)), Event::Init, Event::InitApply(object("b", 1))] {
            changes.of(&event);
        }
        assert_eq!(told(&mut changes, &Event::InitDone), ["b"]);
    }

    #[test]
    fn the_end_of_an_object_is_a_change() {
        let mut changes = changes();
        changes.of(&Event::Apply(object("a", 1)));
        assert_eq!(told(&mut changes, &Event::Delete(object("a", 1))), ["a"]);
        assert!(changes.seen.is_empty());
    }
}
