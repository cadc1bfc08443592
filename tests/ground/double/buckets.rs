//! S3, as far as a consumer of a key needs it to see what its policies allow.

use std::collections::BTreeMap;
use std::ops::Bound;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// Buckets of all accounts by name: names are unique in a partition.
#[derive(Debug, Clone, Default)]
pub(super) struct Buckets(BTreeMap<String, Bucket>);

/// A bucket.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    /// The id of the account that owns it. Without bucket policies nobody else gets in.
    pub(super) owner: String,
    pub(super) created: Timestamp,
    pub(super) objects: BTreeMap<String, Object>,
}

/// An object.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) body: Vec<u8>,
    pub(super) content_type: String,
    pub(super) etag: String,
    pub(super) modified: Timestamp,
}

impl Object {
    pub(super) fn new(body: &[u8], content_type: &str, now: Timestamp) -> Self {
        // Clients take an ETag as it is; this one changes with the content, as a real one does.
        let etag = format!("\"{}\"", hex::encode(&Sha256::digest(body)[..16]));
        Self { body: body.to_vec(), content_type: content_type.to_owned(), etag, modified: now }
    }
}

/// A page of ListObjectsV2.
#[derive(Debug, Default)]
pub(super) struct Objects<'a> {
    pub(super) objects: Vec<(&'a String, &'a Object)>,
    /// What keys have in common up to the delimiter.
    pub(super) common_prefixes: Vec<String>,
    /// The last key or common prefix of the page, if the list goes on.
    pub(super) next: Option<String>,
}

impl Bucket {
    /// Lists keys that begin with a prefix, and folds those that go on after a delimiter.
    pub(super) fn list(&self, prefix: &str, delimiter: &str, after: &str, limit: usize) -> Objects<'_> {
        let mut page = Objects::default();
        let mut last = String::new();
        let keys = self
            .objects
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        for (key, object) in keys {
            let folded = fold(key, prefix, delimiter);
            let entry = folded.as_ref().unwrap_or(key);
            let is_seen = entry.as_str() <= after || (!last.is_empty() && *entry == last);
            if is_seen {
                continue;
            }
            if page.objects.len() + page.common_prefixes.len() == limit {
                page.next = Some(last);
                break;
            }
            last.clone_from(entry);
            match folded {
                Some(common) => page.common_prefixes.push(common),
                None => page.objects.push((key, object)),
            }
        }
        page
    }
}

/// The part of a key up to the first delimiter after the prefix.
fn fold(key: &str, prefix: &str, delimiter: &str) -> Option<String> {
    if delimiter.is_empty() {
        return None;
    }
    let end = key[prefix.len()..].find(delimiter)? + prefix.len() + delimiter.len();
    Some(key[..end].to_owned())
}

impl Buckets {
    pub(super) fn get(&self, name: &str) -> Option<&Bucket> {
        self.0.get(name)
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut Bucket> {
        self.0.get_mut(name)
    }

    pub(super) fn create(&mut self, name: &str, owner: &str, now: Timestamp) {
        let bucket = Bucket { owner: owner.to_owned(), created: now, objects: BTreeMap::new() };
        self.0.insert(name.to_owned(), bucket);
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// The buckets of an account.
    pub(super) fn of<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = (&'a String, &'a Bucket)> {
        self.0.iter().filter(move |(_, bucket)| bucket.owner == owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(keys: &[&str]) -> Bucket {
        let object = Object::new(b"x", "text/plain", Timestamp::UNIX_EPOCH);
        let objects = keys.iter().map(|key| ((*key).to_owned(), object.clone())).collect();
        Bucket { owner: String::new(), created: Timestamp::UNIX_EPOCH, objects }
    }

    fn names(page: &Objects<'_>) -> (Vec<String>, Vec<String>, Option<String>) {
        (page.objects.iter().map(|(key, _)| (*key).clone()).collect(), page.common_prefixes.clone(), page.next.clone())
    }

    #[test]
    fn keys_are_folded_at_the_delimiter_and_paged() {
        let bucket = bucket(&["a", "b/1", "b/2", "c/1", "d"]);
        let text = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&bucket.list("", "/", "", 10)), (text(&["a", "d"]), text(&["b/", "c/"]), None));
        assert_eq!(names(&bucket.list("b/", "/", "", 10)), (text(&["b/1", "b/2"]), text(&[]), None));
        assert_eq!(names(&bucket.list("", "/", "", 2)), (text(&["a"]), text(&["b/"]), Some("b/".into())));
        assert_eq!(names(&bucket.list("", "/", "b/", 2)), (text(&["d"]), text(&["c/"]), None));
        assert_eq!(names(&bucket.list("", "", "b/1", 2)), (text(&["b/2", "c/1"]), text(&[]), Some("c/1".into())));
    }
}
