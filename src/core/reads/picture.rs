//! The picture that comes of a level: what is read live, and the rest as it was left and as the spec wants it.

use std::collections::BTreeMap;

use super::Reads;
use super::known::Known;
use crate::api::{S3AccessUser, tags};
use crate::core::conditions::says_settled;
use crate::core::desired::Desired;
use crate::core::drift::as_wanted;
use crate::core::iam::AccessKey;
use crate::core::observed::Observed;

/// The picture before anything is read: the CR, and what this process knows.
pub fn unread(user: &S3AccessUser, known: &Known) -> Observed {
    let status = user.status.as_ref();
    Observed {
        finalizer: user.is_finalized(),
        announced_settled: status.is_some_and(|status| says_settled(status, user.metadata.generation)),
        retiring_hint: status.and_then(|status| status.retiring_key.as_ref()).map(|key| key.id.clone()),
        minted: known.minted.as_ref().map(|minted| minted.0.clone()),
        revoked: known.revoked.as_deref().map(ToOwned::to_owned),
        unused: known.unused.as_deref().map(ToOwned::to_owned),
        quarantine: known.quarantine.iter().map(ToString::to_string).collect(),
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
pub fn picture(
    reads: Reads,
    desired: &Desired,
    observed: Observed,
    keys: Option<Vec<AccessKey>>,
    known: &Known,
) -> Option<Observed> {
    let keys = match reads {
        Reads::Nothing { .. } | Reads::Everything => return None,
        Reads::Secret => return Some(observed),
        Reads::Probe => known.awaited.as_ref()?.keys.clone(),
        Reads::Keys | Reads::UserAndKeys => keys?,
    };
    Some(as_wanted(desired, observed, keys))
}
