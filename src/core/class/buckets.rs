//! Which buckets a class allows in one namespace: those of its own patterns, those that the Namespace names for it, less
//! what is the bucket of a namespace with a longer name.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pattern::{Effort, Pattern};
use super::{Class, admits};
use crate::api::{BucketsFrom, S3AccessClassSpec, limits};

/// In a pattern: the namespace's name.
pub(super) const NAMESPACE: &str = "{namespace}";
/// In the pattern of a label: its value.
const LABEL: &str = "{label}";
/// Of so many patterns of other namespaces a resource with wildcards is proven to keep clear; of more, nothing is proven.
const PROVABLE: usize = 1_000;
/// Characters that are shown of what is no pattern.
const SHOWN: usize = 64;

/// What a Namespace names for a class.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Listed {
    /// The patterns.
    patterns: Vec<String>,
    /// Where they stand, and why there are none of them.
    told: Option<String>,
}

impl Listed {
    /// What the labels name, where the class goes by one.
    pub(super) fn by_label(spec: &S3AccessClassSpec, namespace: &str, labels: &BTreeMap<String, String>) -> Self {
        let Some(from) = &spec.allowed_buckets_from else { return Self::default() };
        let Some(key) = &from.namespace_label else { return Self::default() };
        let value = labels.get(key).map(String::as_str).filter(|value| !value.is_empty());
        let listed = value.map(|value| {
            let literal =
                value.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte));
            let pattern = from.pattern.as_deref().unwrap_or(LABEL).replace(LABEL, value);
            if literal && is_pattern(&pattern) { Ok(vec![pattern]) } else { Err(shown(value)) }
        });
        Self::of(format!("label {key:?} of namespace {namespace:?}"), listed)
    }

    /// What the annotations name, where the class goes by one; else what is there stays.
    fn by_annotation(self, spec: &S3AccessClassSpec, namespace: &str, annotations: &BTreeMap<String, String>) -> Self {
        let Some(key) = spec.allowed_buckets_from.as_ref().and_then(|from| from.namespace_annotation.as_ref()) else {
            return self;
        };
        let listed = annotations.get(key).map(|value| parse(value));
        Self::of(format!("annotation {key:?} of namespace {namespace:?}"), listed)
    }

    fn of(place: String, listed: Option<Result<Vec<String>, String>>) -> Self {
        match listed.unwrap_or_else(|| Ok(Vec::new())) {
            Ok(patterns) => Self { patterns, told: Some(format!("named by the {place}")) },
            Err(found) => Self {
                patterns: Vec::new(),
                told: Some(format!(
                    "named by the {place}, which holds {found:?} and so allows nothing: write at most {} patterns of at most {} of a-z, 0-9, . - * ? and {NAMESPACE}, separated by commas or spaces",
                    limits::PATTERNS,
                    limits::BUCKET_PATTERN
                )),
            },
        }
    }
}

/// The patterns of an annotation's value, separated by commas or ASCII whitespace.
///
/// # Errors
/// What of it is none, as far as it is shown: one such entry makes the whole value nobody's word.
fn parse(value: &str) -> Result<Vec<String>, String> {
    if value.len() > limits::BUCKET_LIST {
        return Err(format!("({}-bytes)", value.len()));
    }
    let entries = value.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|entry| !entry.is_empty());
    let entries: Vec<&str> = entries.collect();
    if entries.len() > limits::PATTERNS {
        return Err(format!("({}-patterns)", entries.len()));
    }
    match entries.iter().find(|entry| !is_pattern(entry)) {
        Some(entry) => Err(shown(entry)),
        None => Ok(entries.into_iter().map(str::to_owned).collect()),
    }
}

/// What is to be kept of an annotation of a Namespace, for any class that may go by it: a list of patterns as it is, and of
/// all else no more than shows that it is none.
pub fn kept(value: &str) -> String {
    match parse(value) {
        Ok(_) => value.to_owned(),
        // Not one of a pattern's characters, so that what is left is not taken for a pattern.
        Err(found) => format!("…{found}"),
    }
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

fn is_pattern(text: &str) -> bool {
    let plain = text.replace(NAMESPACE, "");
    let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-*?".contains(&byte);
    !text.is_empty() && text.len() <= limits::BUCKET_PATTERN && plain.bytes().all(known)
}

/// Which namespaces' buckets the patterns of a class may reach from another namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Overlap {
    /// None.
    None,
    /// Those whose names begin with the other's: `{namespace}-*`.
    Beginning,
    /// Those whose names hold the other's anywhere: `*-{namespace}`.
    Within,
}

impl Overlap {
    /// Of all patterns of a class.
    pub fn of(spec: &S3AccessClassSpec) -> Self {
        spec.allowed_buckets.iter().map(|pattern| Self::of_pattern(pattern)).max().unwrap_or(Self::None)
    }

    fn of_pattern(pattern: &str) -> Self {
        let wild = |text: &str| text.contains(['*', '?']);
        match pattern.split_once(NAMESPACE) {
            Some((before, _)) if wild(before) => Self::Within,
            // No name of a namespace has a period, so that one ends where the period stands.
            Some((_, after)) if wild(after) && !after.starts_with('.') => Self::Beginning,
            _ => Self::None,
        }
    }
}

/// The namespaces whose buckets the class's patterns would reach from here.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Neighbours {
    names: Vec<String>,
    /// Their patterns, each with the place of its namespace; `None`: too many to prove anything of.
    patterns: Option<Vec<(usize, Pattern)>>,
}

/// The patterns of a class for a namespace: those that are the same for every namespace or that it names, then the others.
pub(super) struct Bounds {
    all: Vec<Pattern>,
    open: usize,
}

impl Class {
    /// The same, with what the annotations of the namespace name.
    #[must_use]
    pub fn annotated(self, annotations: &BTreeMap<String, String>) -> Self {
        let listed = self.listed.clone().by_annotation(&self.spec, &self.namespace, annotations);
        Self { listed, ..self }
    }

    /// The same, beside the other namespaces of the cluster whose names hold this one's: see [`Overlap`].
    #[must_use]
    pub fn beside(self, names: Vec<String>) -> Self {
        let own: Vec<&String> = self.spec.allowed_buckets.iter().filter(|text| text.contains(NAMESPACE)).collect();
        let patterns = (names.len().saturating_mul(own.len()) <= PROVABLE).then(|| {
            let of = |(place, name): (usize, &String)| -> Vec<(usize, Pattern)> {
                let texts = own.iter().map(|text| text.replace(NAMESPACE, name));
                texts.flat_map(|text| Pattern::buckets(&text)).map(|pattern| (place, pattern)).collect()
            };
            names.iter().enumerate().flat_map(of).collect()
        });
        Self { neighbours: Arc::new(Neighbours { names, patterns }), ..self }
    }

    /// Whether a bucket may be granted.
    pub fn allows_bucket(&self, bucket: &str) -> bool {
        self.refuses_bucket(bucket).is_none()
    }

    /// Why a bucket may not be granted, where it may not.
    pub fn refuses_bucket(&self, bucket: &str) -> Option<String> {
        let matches = |text: &str| Pattern::new(&text.replace(NAMESPACE, &self.namespace)).matches(bucket);
        if self.open().any(matches) {
            return None;
        }
        if !self.own().any(matches) {
            let listed = self.listed.told.as_ref().map_or_else(String::new, |told| format!(", nor {told}"));
            return Some(format!("it is not one of allowedBuckets{listed}"));
        }
        // What holds for a namespace holds its name.
        let near = self.neighbours.names.iter().filter(|name| bucket.contains(name.as_str()));
        let theirs =
            |name: &&String| self.own().any(|text| Pattern::new(&text.replace(NAMESPACE, name)).matches(bucket));
        near.max_by_key(|name| if theirs(name) { name.len() } else { 0 })
            .filter(theirs)
            .map(|name| self.is_theirs(name))
    }

    /// The patterns, ready for [`Self::refuses_buckets`].
    pub(super) fn bounds(&self) -> Bounds {
        let expanded = |text: &str| Pattern::buckets(&text.replace(NAMESPACE, &self.namespace));
        let mut all: Vec<Pattern> = self.open().flat_map(expanded).collect();
        let open = all.len();
        all.extend(self.own().flat_map(expanded));
        Bounds { all, open }
    }

    /// Why a resource, as it stands in an ARN (`<bucket>[/<key>]`), is not within the buckets, where it is not.
    pub(super) fn refuses_buckets(&self, text: &str, bounds: &Bounds, effort: &Effort) -> Option<String> {
        let Some(resource) = Pattern::of_policy(text).filter(|resource| resource.is_within(&bounds.all, effort)) else {
            return Some("it is not, in all that it may stand for, within allowedBuckets".to_owned());
        };
        let open = bounds.all.get(..bounds.open).unwrap_or_default();
        if self.neighbours.names.is_empty() || resource.is_within(open, effort) {
            return None;
        }
        let bucket = text.split('/').next().unwrap_or_default();
        if !bucket.contains(['*', '?', '$']) {
            // One bucket is told apart from those of any number of namespaces.
            return self.refuses_bucket(bucket);
        }
        let Some(patterns) = &self.neighbours.patterns else {
            return Some(format!(
                "it may be the bucket of one of {} namespaces whose names hold {:?}: name the bucket in spec.access",
                self.neighbours.names.len(),
                self.namespace
            ));
        };
        let (place, _) = patterns.iter().find(|(_, pattern)| resource.meets(pattern, effort))?;
        self.neighbours.names.get(*place).map(|name| self.is_theirs(name))
    }

    fn is_theirs(&self, name: &str) -> String {
        format!(
            "what {NAMESPACE} gives {:?} reaches there, and it is namespace {name:?}'s, whose name says more: take a bucket that is not, or have it added to allowedBuckets",
            self.namespace
        )
    }

    /// Whether every bucket is allowed.
    pub(super) fn allows_every_bucket(&self) -> bool {
        self.open().any(|text| text == "*")
    }

    /// The patterns that are the same for every namespace, and those that the Namespace names.
    fn open(&self) -> impl Iterator<Item = &str> {
        let common = self.spec.allowed_buckets.iter().filter(|text| !text.contains(NAMESPACE));
        common.chain(&self.listed.patterns).map(String::as_str)
    }

    /// The patterns that hold the namespace's name.
    fn own(&self) -> impl Iterator<Item = &str> {
        self.spec.allowed_buckets.iter().filter(|text| text.contains(NAMESPACE)).map(String::as_str)
    }
}

/// Whether the class admits a namespace of that name, with these labels.
pub(super) fn admits_namespace(spec: &S3AccessClassSpec, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
    spec.allowed_namespaces.as_ref().is_none_or(|allowed| admits(allowed, namespace, labels))
}

/// What a class goes by, beside its own words, in the metadata of a Namespace.
pub fn named_by<'a>(
    from: &BucketsFrom,
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
) -> Option<&'a String> {
    let label = from.namespace_label.as_ref().and_then(|key| labels.get(key));
    label.or_else(|| annotations.get(from.namespace_annotation.as_ref()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::S3AccessClass;

    const KEY: &str = "example.com/buckets";

    fn class(spec: Value, namespace: &str, labels: &[(&str, &str)]) -> Class {
        let class = S3AccessClass::new("tenants", serde_json::from_value(spec).unwrap());
        Class::of(&class, namespace, &map(labels))
    }

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn annotated(value: &str) -> Class {
        let spec = json!({ "allowedBucketsFrom": { "namespaceAnnotation": KEY }, "allowedBuckets": ["shared"] });
        class(spec, "team-a", &[]).annotated(&map(&[(KEY, value)]))
    }

    #[test]
    fn invariant_7_an_annotation_adds_the_buckets_that_it_lists() {
        for value in ["team-a-data, {namespace}.*", "{namespace}.*\tteam-a-data\n", ",team-a-data,,{namespace}.*"] {
            let class = annotated(value);
            for bucket in ["shared", "team-a-data", "team-a.x"] {
                assert_eq!(class.refuses_bucket(bucket), None, "{value:?} {bucket}");
            }
            let why = class.refuses_bucket("team-b.x").unwrap();
            assert!(why.contains(KEY) && why.contains("\"team-a\""), "{why}");
        }
        for class in [annotated(""), annotated(" , "), annotated("x").annotated(&map(&[("other", "*")]))] {
            assert_eq!(class.refuses_bucket("shared"), None);
            assert!(class.refuses_bucket("team-a-data").is_some());
        }
        assert!(annotated("*").allows_every_bucket());
    }

    #[test]
    fn invariant_7_a_value_that_cannot_be_read_gives_nothing_and_is_told() {
        let long = "a".repeat(limits::BUCKET_PATTERN + 1);
        let many = "abc ".repeat(limits::PATTERNS + 1);
        let large = " ".repeat(limits::BUCKET_LIST + 1);
        for value in
            ["*, Team-A", "* team_a", "*;team-a", "* {label}", "* {namespace", "* \u{a0}", &long, &many, &large]
        {
            for value in [value.to_owned(), kept(value)] {
                let class = annotated(&value);
                let why = class.refuses_bucket("team-a-data").unwrap();
                assert!(why.contains("allows nothing") && why.contains(KEY) && why.len() < 500, "{value}: {why}");
                assert_eq!(class.refuses_bucket("shared"), None, "what the class itself allows stays");
            }
        }
        let most = format!("{} {}", "a".repeat(limits::BUCKET_PATTERN), "abc,".repeat(limits::PATTERNS - 1));
        assert_eq!(annotated(&most).refuses_bucket("abc"), None);
    }

    proptest! {
        /// What is kept of a value means what the value means, and costs little where that is nothing.
        #[test]
        fn invariant_11_of_an_annotation_only_patterns_are_kept(value in "[a-z*?{}, \n_A-Z….-]{0,200}") {
            let kept = kept(&value);
            prop_assert_eq!(parse(&value).ok(), parse(&kept).ok());
            prop_assert!(kept == value || kept.chars().count() <= SHOWN + 1);
        }
    }

    #[test]
    fn invariant_7_a_label_is_a_bucket_or_stands_in_a_pattern() {
        let labelled = |pattern: Value, value: &str| {
            let mut from = json!({ "namespaceLabel": KEY });
            from["pattern"] = pattern;
            class(json!({ "allowedBucketsFrom": from }), "team-a", &[(KEY, value)])
        };
        assert!(
            labelled(json!(null), "data").allows_bucket("data")
                && !labelled(json!(null), "data").allows_bucket("data-x")
        );
        let prefixed = labelled(json!("{label}-*"), "pay.roll");
        assert!(prefixed.allows_bucket("pay.roll-x") && !prefixed.allows_bucket("payxroll-x"));
        assert!(labelled(json!("{label}-{namespace}"), "x").allows_bucket("x-team-a"));
        for value in ["", "A", "a_b", &"a".repeat(limits::BUCKET_PATTERN), "a*", "{namespace}"] {
            for pattern in [json!("{label}*"), json!("{label}-*")] {
                let class = labelled(pattern.clone(), value);
                for bucket in ["abc", "team-a", "a-x"] {
                    assert!(!class.allows_bucket(bucket), "{value:?} in {pattern}");
                }
            }
        }
    }

    #[test]
    fn which_patterns_may_reach_another_namespaces_buckets() {
        for (pattern, overlap) in [
            ("*", Overlap::None),
            ("{namespace}", Overlap::None),
            ("{namespace}.*", Overlap::None),
            ("{namespace}.{namespace}-*", Overlap::None),
            ("x-{namespace}-data", Overlap::None),
            ("{namespace}-*", Overlap::Beginning),
            ("x.{namespace}?", Overlap::Beginning),
            ("{namespace}{namespace}*", Overlap::Beginning),
            ("*-{namespace}", Overlap::Within),
            ("?{namespace}.*", Overlap::Within),
        ] {
            assert_eq!(Overlap::of_pattern(pattern), overlap, "{pattern}");
        }
    }

    const NAMES: [&str; 6] = ["a", "b", "a-b", "b-a", "a-b-a", "ab"];

    /// The namespaces, each beside those that its patterns may reach.
    fn all(patterns: &[&str]) -> Vec<Class> {
        let spec = json!({ "allowedBuckets": patterns, "allowStatements": true });
        let overlap = Overlap::of(&serde_json::from_value(spec.clone()).unwrap());
        let of = |name: &str| {
            let near = NAMES.iter().filter(|other| match overlap {
                Overlap::None => false,
                Overlap::Beginning => **other != name && other.starts_with(name),
                Overlap::Within => **other != name && other.contains(name),
            });
            class(spec.clone(), name, &[]).beside(near.map(ToString::to_string).collect())
        };
        NAMES.iter().map(|name| of(name)).collect()
    }

    /// Every text of these letters, up to that length.
    fn texts(letters: &[&str], length: usize) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..length {
            last = last.iter().flat_map(|text| letters.iter().map(move |letter| format!("{text}{letter}"))).collect();
            all.extend(last.clone());
        }
        all
    }

    /// For every bucket, over all namespaces of a cluster: who has it is the one with the longest name.
    #[test]
    fn invariant_7_no_bucket_is_two_namespaces() {
        for patterns in [
            &["{namespace}-*"] as &[&str],
            &["{namespace}*"],
            &["*-{namespace}"],
            &["{namespace}.*"],
            &["{namespace}-?", "{namespace}-*a"],
        ] {
            let classes = all(patterns);
            let mut owned = 0;
            for bucket in texts(&["a", "b", "-", "."], 6) {
                let reach = |name: &&&str| {
                    patterns.iter().any(|text| Pattern::new(&text.replace(NAMESPACE, name)).matches(&bucket))
                };
                let longest = NAMES.iter().filter(reach).max_by_key(|name| name.len());
                let owners: Vec<&str> = classes
                    .iter()
                    .filter(|class| class.allows_bucket(&bucket))
                    .map(|class| class.namespace.as_str())
                    .collect();
                assert_eq!(owners, longest.copied().into_iter().collect::<Vec<_>>(), "{patterns:?}: {bucket}");
                owned += owners.len();
            }
            assert!(owned > 50, "{patterns:?}: {owned}");
        }
    }

    /// A resource with wildcards is no one's whose buckets it shares with another.
    #[test]
    fn invariant_7_statements_keep_clear_of_other_namespaces_buckets() {
        let allow = |resource: &str| json!({ "Effect": "Allow", "Action": "s3:GetObject", "Resource": format!("arn:aws:s3:::{resource}") });
        let buckets = texts(&["a", "b", "-"], 4);
        for patterns in [&["{namespace}-*"] as &[&str], &["{namespace}*"], &["*-{namespace}"]] {
            let classes = all(patterns);
            let mut proven = 0;
            for resource in texts(&["a", "b", "-", "*", "?"], 4).iter().filter(|text| !text.is_empty()) {
                for class in &classes {
                    if class.judge(&allow(resource), &Effort::default()).is_err() {
                        continue;
                    }
                    proven += 1;
                    let pattern = Pattern::new(resource);
                    let stray = buckets.iter().find(|bucket| pattern.matches(bucket) && !class.allows_bucket(bucket));
                    assert_eq!(stray, None, "{patterns:?}: {resource} in {}", class.namespace);
                    assert_eq!(class.judge(&allow(&format!("{resource}/x/*")), &Effort::default()), Ok(()));
                }
            }
            assert!(proven > 20, "{patterns:?}: {proven}");
        }
        let class = all(&["{namespace}-*"]).remove(0);
        let why = class.judge(&allow("a-*"), &Effort::default()).unwrap_err();
        assert!(why.contains("namespace \"a-b") && why.starts_with(".Resource"), "{why}");
        assert!(class.refuses_bucket("a-b-x").unwrap().contains("\"a-b\""));
    }

    /// Measured: a namespace whose name ten thousand others begin with.
    #[test]
    fn invariant_11_ten_thousand_neighbours_cost_a_moment() {
        let started = std::time::Instant::now();
        let spec = json!({ "allowedBuckets": ["{namespace}-*", "shared-*"], "allowStatements": true });
        let class = class(spec, "team", &[]).beside((0..10_000).map(|n| format!("team-{n}")).collect());
        for n in 0..64 {
            assert_eq!(class.refuses_bucket(&format!("team-x-{n}")), None);
            assert!(class.refuses_bucket(&format!("team-{n}-x")).is_some());
        }
        let judged = |resource: &str| {
            class.judge(
                &json!({ "Effect": "Allow", "Action": "s3:*", "Resource": format!("arn:aws:s3:::{resource}") }),
                &Effort::default(),
            )
        };
        assert!(judged("team-x*").unwrap_err().contains("10000 namespaces"));
        for resource in ["shared-*", "team-x", "team-x/*", "team-x/5-*"] {
            assert_eq!(judged(resource), Ok(()), "{resource}");
        }
        assert!(judged("team-5-x/*").unwrap_err().contains("\"team-5\""));
        assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    }
}
