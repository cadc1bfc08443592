//! The picture that comes of a level: what is read live, and the rest as it was left and as the spec wants it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::Reads;
use super::known::Known;
use crate::api::{S3AccessUser, tags};
use crate::core::adoption::Adoption;
use crate::core::conditions::says_settled;
use crate::core::desired::{Desired, Owner};
use crate::core::drift::as_wanted;
use crate::core::iam::AccessKey;
use crate::core::names::Ownership;
use crate::core::observed::{Observed, User, policy_records};
use crate::core::policy::Document;

/// The picture before anything is read: the CR, and what this process knows.
pub fn unread(user: &S3AccessUser, known: &Known) -> Observed {
    let status = user.status.as_ref();
    Observed {
        finalizer: user.is_finalized(),
        announced_settled: status.is_some_and(|status| says_settled(status, user.metadata.generation)),
        retiring_hint: status.and_then(|status| status.retiring_key.as_ref()).map(|key| key.id.clone()),
        minted: known.minted.as_ref().map(|minted| minted.0.clone()),
        revoked: known.revoked().map(ToOwned::to_owned),
        unused: known.unused().map(ToOwned::to_owned),
        deletion_seen: known.deletion_seen(),
        quarantine: known.quarantine().iter().map(ToString::to_string).collect(),
        probes: known.probes.iter().cloned().collect(),
        ..Observed::nothing()
    }
}

/// The IAM user itself, apart from what hangs on it.
#[derive(Clone, Copy, Debug)]
pub struct Itself<'a> {
    /// Its ARN.
    pub arn: &'a str,
    /// Its path.
    pub path: &'a str,
    /// Its tags.
    pub tags: &'a BTreeMap<String, String>,
    /// The ARN of its permissions boundary.
    pub boundary: Option<&'a String>,
}

impl Itself<'_> {
    /// Whether it is exactly as it should be; what was revoked or is unused is nothing that a spec could tell.
    pub fn is_as_wanted(&self, desired: &Desired) -> bool {
        let owner = &desired.owner;
        let found = self.tags.iter().filter(|(tag, _)| ![tags::REVOKED, tags::UNUSED].contains(&tag.as_str()));
        self.arn == owner.user_arn()
            && self.path == owner.path
            && self.boundary == desired.boundary.as_ref()
            && found.eq(&desired.user_tags(None))
    }
}

/// The picture at a level short of everything, with the Secrets in `observed`, and the access keys where that level reads
/// them and found a user that they are of. `None`: the level says too little.
pub fn assumed(
    reads: Reads,
    desired: &Desired,
    observed: Observed,
    keys: Option<Vec<AccessKey>>,
    known: &Known,
) -> Option<Observed> {
    let keys = match reads {
        Reads::Nothing { .. } | Reads::Recorded | Reads::Everything => return None,
        Reads::Secret => return Some(observed),
        Reads::Probe => known.left.as_ref()?.keys.clone(),
        Reads::Keys | Reads::User | Reads::UserAndKeys => keys?,
    };
    Some(as_wanted(desired, observed, keys))
}

/// The access keys that the status names, for a deletion to begin with.
pub fn named_keys(user: &S3AccessUser) -> Vec<AccessKey> {
    let status = user.status.as_ref();
    let retiring = status.and_then(|status| status.retiring_key.as_ref()).map(|key| &key.id);
    let named = status.and_then(|status| status.access_key_id.as_ref()).into_iter().chain(retiring);
    named.map(|id| AccessKey { id: id.clone(), active: true, created_at: Timestamp::MIN }).collect()
}

/// What hangs on a user that is being deleted, as far as its tags record it and the spec names it; `None` where they do not tell,
/// or the user was there before: then some of it is not ours.
pub fn by_record(owner: &Owner, user: &S3AccessUser, itself: Itself<'_>) -> Option<User> {
    let ours = owner.identity.ownership(itself.tags) == Ownership::Ours && Adoption::of(itself.tags) == Adoption::None;
    let records: Vec<&str> = policy_records(itself.tags).collect();
    if !ours || records.is_empty() {
        return None;
    }
    let made = records.iter().filter_map(|record| owner.recorded_policy_arn(record));
    let inline = records.iter().filter_map(|record| record.strip_prefix("inline:"));
    Some(User {
        arn: itself.arn.to_owned(),
        path: itself.path.to_owned(),
        tags: itself.tags.clone(),
        boundary: itself.boundary.cloned(),
        keys: Vec::new(),
        attached: made.chain(user.spec.managed_policy_arns.iter().cloned()).collect(),
        inline: inline.map(|name| (name.to_owned(), Document::new(Vec::new()))).collect(),
        beside: Default::default(),
    })
}
