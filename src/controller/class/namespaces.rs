//! The Namespaces as the classes go by them: labels, annotations, and which names hold which.

use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::Namespace;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use serde_json::json;

use crate::api::{S3AccessClass, S3AccessClassSpec};
use crate::core::class::{Class, Overlap, kept, named_by};
use crate::core::names;

/// Hexadecimal digits of what tells one state of the Namespaces from another.
const DIGEST: usize = 16;

/// The metadata of the Namespaces.
pub struct Namespaces {
    store: Store<PartialObjectMeta<Namespace>>,
    changes: Changes,
    names: Mutex<(u64, Arc<BTreeSet<String>>)>,
    digests: Mutex<HashMap<String, Digest>>,
}

/// Counts what happens to the Namespaces, so that what was made of them is known to be old.
#[derive(Clone, Debug, Default)]
pub struct Changes(Arc<AtomicU64>);

/// Of one class: which one it is, of which generation, after how many changes, and the digest.
type Digest = ((Option<String>, Option<i64>, u64), String);

impl Changes {
    /// Something has happened, or is about to.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn so_far(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

impl Namespaces {
    /// What the store has. Each change is counted before it is there and after.
    pub fn of(store: Store<PartialObjectMeta<Namespace>>, changes: Changes) -> Self {
        Self { store, changes, names: Mutex::new((u64::MAX, Arc::default())), digests: Mutex::default() }
    }

    /// The class as it applies to a namespace.
    pub fn class_in(&self, class: &S3AccessClass, namespace: &str) -> Class {
        let found = self.metadata_of(namespace);
        let class_here = Class::of(class, namespace, found.labels()).annotated(found.annotations());
        class_here.beside(self.neighbours(&class.spec, namespace))
    }

    /// What of the cluster, beside the class's own words, decides what it allows in a namespace.
    pub fn hash_for<H: Hasher>(&self, class: &S3AccessClassSpec, namespace: &str, hasher: &mut H) {
        if !goes_by_metadata(class) && Overlap::of(class) == Overlap::None {
            return;
        }
        let found = self.metadata_of(namespace);
        if selects(class) {
            found.labels().hash(hasher);
        }
        let from = class.allowed_buckets_from.as_ref();
        from.map(|from| named_by(from, found.labels(), found.annotations())).hash(hasher);
        self.neighbours(class, namespace).hash(hasher);
    }

    /// Tells one state of what a class goes by in all Namespaces from another, also after a restart; `None` where it goes by
    /// nothing there.
    pub fn digest_for(&self, class: &S3AccessClass) -> Option<String> {
        let spec = &class.spec;
        let overlaps = Overlap::of(spec) != Overlap::None;
        if !goes_by_metadata(spec) && !overlaps {
            return None;
        }
        let state = (class.uid(), class.metadata.generation, self.changes.so_far());
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, digest)) = digests.get(&class.name_any()).filter(|(of, _)| *of == state) {
            return Some(digest.clone());
        }
        let mut parts = Vec::new();
        for name in self.names().iter() {
            let found = self.metadata_of(name);
            let from = spec.allowed_buckets_from.as_ref();
            let named = from.and_then(|from| named_by(from, found.labels(), found.annotations()));
            let labels = selects(spec).then(|| json!(found.labels()).to_string());
            if overlaps || labels.is_some() || named.is_some() {
                parts.extend([name.clone(), named.cloned().unwrap_or_default(), labels.unwrap_or_default()]);
            }
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let digest = names::digest(&parts, DIGEST);
        digests.insert(class.name_any(), (state, digest.clone()));
        Some(digest)
    }

    /// The namespaces whose buckets the class's patterns would reach from this one: with names that hold this one's, whichever
    /// class may serve them, or none for now.
    fn neighbours(&self, class: &S3AccessClassSpec, namespace: &str) -> Vec<String> {
        let overlap = Overlap::of(class);
        if overlap == Overlap::None {
            return Vec::new();
        }
        let names = self.names();
        let near: Box<dyn Iterator<Item = &String>> = match overlap {
            Overlap::Within => Box::new(names.iter().filter(|name| name.contains(namespace))),
            _ => Box::new(names.range(namespace.to_owned()..).take_while(|name| name.starts_with(namespace))),
        };
        near.filter(|name| *name != namespace).cloned().collect()
    }

    /// All names, sorted: put in order once after each change, however many ask.
    fn names(&self) -> Arc<BTreeSet<String>> {
        let now = self.changes.so_far();
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.0 != now {
            *names = (now, Arc::new(self.store.state().iter().map(|found| found.name_any()).collect()));
        }
        names.1.clone()
    }

    /// Of a namespace that is not there, nothing.
    fn metadata_of(&self, namespace: &str) -> Arc<PartialObjectMeta<Namespace>> {
        self.store.get(&ObjectRef::new(namespace)).unwrap_or_default()
    }

    /// Forgets what was made of a class that is gone.
    pub fn forget(&self, class: &str) {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner).remove(class);
    }
}

/// Leaves of a Namespace what a class may go by.
pub fn trim(namespace: &mut PartialObjectMeta<Namespace>) {
    namespace.managed_fields_mut().clear();
    namespace.annotations_mut().values_mut().for_each(|value| *value = kept(value));
}

/// Whether a namespace's labels decide whether it may use the class.
fn selects(class: &S3AccessClassSpec) -> bool {
    class.allowed_namespaces.as_ref().is_some_and(|allowed| allowed.selector.is_some())
}

/// Whether a namespace's labels or annotations decide what its users may have.
pub fn goes_by_metadata(class: &S3AccessClassSpec) -> bool {
    selects(class) || class.allowed_buckets_from.is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::hash::DefaultHasher;
    use std::time::{Duration, Instant};

    use kube::runtime::reflector::{self, store::Writer};
    use kube::runtime::watcher::Event;
    use serde_json::Value;

    use super::*;

    type Meta = PartialObjectMeta<Namespace>;

    fn namespace(name: &str, labels: &Value, annotations: &Value) -> Meta {
        let metadata = json!({ "name": name, "labels": labels, "annotations": annotations });
        let mut found = serde_json::from_value(json!({ "metadata": metadata })).unwrap();
        trim(&mut found);
        found
    }

    fn plain(name: &str) -> Meta {
        namespace(name, &json!({}), &json!({}))
    }

    /// Namespaces, and what changes them as the watch does.
    struct Cluster {
        namespaces: Namespaces,
        writer: Writer<Meta>,
        changes: Changes,
    }

    impl Cluster {
        fn of(all: Vec<Meta>) -> Self {
            let (store, mut writer) = reflector::store();
            writer.apply_watcher_event(&Event::Init);
            all.into_iter().for_each(|found| writer.apply_watcher_event(&Event::InitApply(found)));
            writer.apply_watcher_event(&Event::InitDone);
            let changes = Changes::default();
            Self { namespaces: Namespaces::of(store, changes.clone()), writer, changes }
        }

        fn sees(&mut self, event: &Event<Meta>) {
            self.changes.count();
            self.writer.apply_watcher_event(event);
            self.changes.count();
        }

        fn revision(&self, class: &S3AccessClass, namespace: &str) -> u64 {
            let mut hasher = DefaultHasher::new();
            self.namespaces.hash_for(&class.spec, namespace, &mut hasher);
            hasher.finish()
        }
    }

    fn class(spec: Value) -> S3AccessClass {
        let mut class = S3AccessClass::new("tenants", serde_json::from_value(spec.clone()).unwrap());
        class.metadata.uid = Some(spec.to_string());
        class
    }

    #[test]
    fn neighbours_are_those_that_there_are_whichever_class_serves_them() {
        let mut cluster = Cluster::of(["team", "team-a", "team-a-b", "team-ab", "x-team-a"].map(plain).to_vec());
        let near = |cluster: &Cluster, class: &S3AccessClass| cluster.namespaces.neighbours(&class.spec, "team-a");
        let beginning = class(json!({ "allowedBuckets": ["{namespace}-*"] }));
        let within = class(json!({ "allowedBuckets": ["*-{namespace}"] }));
        assert_eq!(near(&cluster, &beginning), ["team-a-b", "team-ab"]);
        assert_eq!(near(&cluster, &within), ["team-a-b", "team-ab", "x-team-a"]);
        assert!(near(&cluster, &class(json!({ "allowedBuckets": ["{namespace}.*"] }))).is_empty());
        let named = json!({ "names": ["team-a"] });
        let of_some = class(json!({ "allowedBuckets": ["{namespace}-*"], "allowedNamespaces": named }));
        assert_eq!(near(&cluster, &of_some), ["team-a-b", "team-ab"]);
        let gold = json!({ "selector": { "matchLabels": { "tier": "gold" } } });
        let selecting = class(json!({ "allowedBuckets": ["{namespace}-*"], "allowedNamespaces": gold }));
        assert_eq!(near(&cluster, &selecting), ["team-a-b", "team-ab"]);

        let before = (cluster.revision(&beginning, "team-a"), cluster.revision(&beginning, "team"));
        cluster.sees(&Event::Apply(namespace("team-a-c", &json!({ "tier": "gold" }), &json!({}))));
        assert_eq!(near(&cluster, &beginning), ["team-a-b", "team-a-c", "team-ab"]);
        assert!(before.0 != cluster.revision(&beginning, "team-a") && before.1 != cluster.revision(&beginning, "team"));
        cluster.sees(&Event::Delete(plain("team-a-c")));
        assert_eq!(before.0, cluster.revision(&beginning, "team-a"));
        assert!(!cluster.namespaces.class_in(&beginning, "team-a").allows_bucket("team-a-b-data"));
    }

    #[test]
    fn a_class_notices_what_it_goes_by_and_nothing_else() {
        let by = |from: Value| class(json!({ "allowedBuckets": ["shared"], "allowedBucketsFrom": from }));
        let (annotation, label) = (by(json!({ "namespaceAnnotation": "a/b" })), by(json!({ "namespaceLabel": "a/b" })));
        let deaf = class(json!({ "allowedBuckets": ["{namespace}.*"] }));
        let selecting = class(
            json!({ "allowedBuckets": ["x"], "allowedNamespaces": { "selector": { "matchLabels": { "t": "1" } } } }),
        );
        let state = |labels: Value, annotations: Value| {
            let cluster = Cluster::of(vec![namespace("team-a", &labels, &annotations), plain("team-b")]);
            [&annotation, &label, &deaf, &selecting]
                .map(|class| (cluster.revision(class, "team-a"), cluster.namespaces.digest_for(class)))
        };
        let before = state(json!({ "a/b": "x" }), json!({ "a/b": "x" }));
        assert_eq!(before, state(json!({ "a/b": "x" }), json!({ "a/b": "x", "other": "y" })), "also after a restart");
        assert_eq!(before[2].1, None);
        for (labels, annotations, changed) in [
            (json!({ "a/b": "x" }), json!({ "a/b": "y" }), [true, false, false, false]),
            (json!({ "a/b": "y" }), json!({ "a/b": "x" }), [false, true, false, true]),
            (json!({ "a/b": "x", "t": "1" }), json!({ "a/b": "x" }), [false, false, false, true]),
        ] {
            let after = state(labels, annotations);
            for (index, changed) in changed.into_iter().enumerate() {
                assert_eq!(before[index].0 != after[index].0, changed, "{index}");
                assert_eq!(before[index].1 != after[index].1, changed, "{index}");
            }
        }
    }

    #[test]
    fn invariant_11_of_a_namespace_little_is_kept() {
        let state = json!({ "cattle.io/status": format!("{{{}}}", "\"x\": 1, ".repeat(10_000)), "a/b": "team-a-*, x" });
        let found = namespace("team-a", &json!({}), &state);
        assert_eq!(found.annotations()["a/b"], "team-a-*, x");
        assert!(found.annotations()["cattle.io/status"].len() < 300);
    }

    /// Measured, since each reconcile asks: 100,000 users in 10,000 namespaces.
    #[test]
    fn ten_thousand_namespaces_cost_little() {
        let cluster = Cluster::of((0..10_000).map(|n| plain(&format!("team-{n}"))).collect());
        let class = class(
            json!({ "allowedBuckets": ["{namespace}-*"], "allowedBucketsFrom": { "namespaceAnnotation": "a/b" } }),
        );
        let started = Instant::now();
        (0..10_000).for_each(|n| _ = std::hint::black_box(cluster.revision(&class, &format!("team-{n}"))));
        let revisions = started.elapsed();
        (0..10_000).for_each(|n| {
            assert!(cluster.namespaces.class_in(&class, &format!("team-{n}")).allows_bucket(&format!("team-{n}-x")))
        });
        let classes = started.elapsed() - revisions;
        (0..1_000).for_each(|_| drop(cluster.namespaces.digest_for(&class)));
        let digests = started.elapsed() - revisions - classes;
        println!(
            "10,000 namespaces: {revisions:?} for all revisions, {classes:?} for all classes, {digests:?} for 1,000 digests"
        );
        assert!(started.elapsed() < Duration::from_secs(10), "{revisions:?} {classes:?} {digests:?}");
    }
}
