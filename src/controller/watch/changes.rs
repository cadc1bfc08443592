//! Of the events of a watch, those that are changes: of ten thousand objects no more is kept for that than two numbers each.

use std::collections::HashMap;

use kube::Resource;
use kube::runtime::watcher::Event;

/// Tells changes from what was seen before, also when a list brings all of it again.
pub struct ChangeFilter<K> {
    /// What of an object matters.
    digest: fn(&K) -> u64,
    /// Whether an object's end is a change.
    ends: bool,
    /// By UID.
    seen: HashMap<Box<str>, u64>,
    /// What a list under way has brought so far.
    listed: HashMap<Box<str>, u64>,
}

impl<K: Resource> ChangeFilter<K> {
    /// Objects whose digest has changed; with `ends`, those that are gone, too.
    pub fn new(ends: bool, digest: fn(&K) -> u64) -> Self {
        Self { digest, ends, seen: HashMap::new(), listed: HashMap::new() }
    }

    /// The object, if it has changed.
    pub fn of(&mut self, event: Event<K>) -> Option<K> {
        let uid = |object: &K| Box::<str>::from(object.meta().uid.as_deref().unwrap_or_default());
        match event {
            Event::Init => {
                self.listed = HashMap::new();
                None
            }
            Event::InitApply(object) => {
                let (uid, digest) = (uid(&object), (self.digest)(&object));
                let is_change = self.seen.get(&uid) != Some(&digest);
                self.listed.insert(uid, digest);
                is_change.then_some(object)
            }
            Event::InitDone => {
                self.seen = std::mem::take(&mut self.listed);
                None
            }
            Event::Apply(object) => {
                let digest = (self.digest)(&object);
                (self.seen.insert(uid(&object), digest) != Some(digest)).then_some(object)
            }
            Event::Delete(object) => {
                self.seen.remove(&uid(&object));
                self.ends.then_some(object)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use k8s_openapi::api::core::v1::Secret;
    use kube::core::PartialObjectMeta;
    use serde_json::json;

    use super::*;

    fn object(uid: &str, generation: i64) -> PartialObjectMeta<Secret> {
        serde_json::from_value(json!({ "metadata": { "uid": uid, "generation": generation } })).unwrap()
    }

    fn news(ends: bool) -> ChangeFilter<PartialObjectMeta<Secret>> {
        ChangeFilter::new(ends, |object| u64::try_from(object.metadata.generation.unwrap()).unwrap())
    }

    #[test]
    fn only_what_has_changed_is_change() {
        let mut news = news(false);
        assert!(news.of(Event::Apply(object("a", 1))).is_some());
        assert!(news.of(Event::Apply(object("a", 1))).is_none());
        assert!(news.of(Event::Apply(object("b", 1))).is_some());
        assert!(news.of(Event::Apply(object("a", 2))).is_some());
    }

    #[test]
    fn a_list_of_what_was_known_is_no_news_and_what_it_lacks_is_forgotten() {
        let mut news = news(true);
        news.of(Event::Apply(object("a", 1)));
        news.of(Event::Apply(object("b", 1)));
        assert!(news.of(Event::Init).is_none());
        assert!(news.of(Event::InitApply(object("a", 1))).is_none());
        assert!(news.of(Event::InitApply(object("c", 1))).is_some());
        assert!(news.of(Event::InitDone).is_none());
        assert_eq!(news.seen.len(), 2);
        assert!(news.of(Event::Apply(object("b", 1))).is_some(), "it is there again");
    }

    #[test]
    fn the_end_of_an_object_is_change_where_it_matters() {
        for ends in [true, false] {
            let mut news = news(ends);
            news.of(Event::Apply(object("a", 1)));
            assert_eq!(news.of(Event::Delete(object("a", 1))).is_some(), ends);
            assert!(news.seen.is_empty());
        }
    }
}
