//! Why and when a key's use ends before anybody replaces it: its time is over, it is suspended or shut out, AWS has found it in
//! public, nobody uses it, or it is revoked.

pub mod inactive;
pub mod quarantine;
pub mod revocation;
pub mod unused;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::api::tags;
use revocation::Revocation;

/// What orders the records of one user under that tag.
fn order(tag: &str, record: &str) -> Option<(Timestamp, bool)> {
    if tag == tags::REVOKED { Some((Revocation::read(record)?.at, false)) } else { unused::order(record) }
}

/// Of two records of one user under that tag the later: a replica of IAM may show an earlier one, or none.
pub fn newest<'a>(tag: &str, one: Option<&'a str>, other: Option<&'a str>) -> Option<&'a str> {
    [one, other].into_iter().max_by_key(|record| order(tag, (*record)?)).flatten()
}

/// Has the tags tell of the later of what they tell and that record.
pub fn carry(found: &mut BTreeMap<String, String>, tag: &str, record: Option<&str>) {
    let newest = newest(tag, found.get(tag).map(String::as_str), record).map(ToOwned::to_owned);
    found.extend(newest.map(|record| (tag.to_owned(), record)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_record_is_believed_whichever_replica_shows_it() {
        for (tag, old, new) in [
            (tags::REVOKED, "-+-+1+now+", "-+-+2+now+"),
            (tags::UNUSED, "on+2+x", "off+2+"),
            (tags::UNUSED, "off+1+", "on+2+"),
        ] {
            for (one, other) in [(old, new), (new, old)] {
                assert_eq!(newest(tag, Some(one), Some(other)), Some(new), "{tag}");
                let mut found = BTreeMap::from([(tag.to_owned(), one.to_owned())]);
                carry(&mut found, tag, Some(other));
                assert_eq!(found, BTreeMap::from([(tag.to_owned(), new.to_owned())]));
            }
            for unread in [None, Some(""), Some("by hand")] {
                assert_eq!(newest(tag, Some(old), unread), Some(old), "{tag}");
                assert_eq!(newest(tag, unread, Some(old)), Some(old), "{tag}");
            }
            assert_eq!(newest(tag, None, None), None);
        }
    }
}
