//! What a bulk read of an account proves. It shows of each user all but its access keys, and of each managed policy all
//! but its tags, so that one call stands for the reads of a thousand reconciles.
//!
//! Nothing is decided on it but whether to reconcile: what differs is read live before anything is written. The judge is
//! the plan itself, over the picture as the bulk read has it, so that no difference that a reconcile would put right is
//! missed, but for these, which only a reconcile that reads everything finds: the tags of a managed policy, and versions of
//! it that are not in force.

mod coverage;

use std::collections::{BTreeMap, BTreeSet};

use crate::api::tags;
use crate::core::desired::{Desired, DesiredPolicy};
use crate::core::ends::quarantine;
use crate::core::iam::AccessKey;
use crate::core::observed::{ManagedPolicy, Observed, PolicyState, User, UserState};
use crate::core::plan::leaves_alone;
use crate::core::policy::Document;

pub use coverage::Coverage;

/// A user as the bulk read shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct UserDetail {
    /// Its name.
    pub name: String,
    /// Its ARN.
    pub arn: String,
    /// Its path.
    pub path: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// The ARN of its permissions boundary.
    pub boundary: Option<String>,
    /// The ARNs of its attached managed policies.
    pub attached: BTreeSet<String>,
    /// Its inline policies.
    pub inline: BTreeMap<String, Document>,
}

/// A customer managed policy as the bulk read shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyDetail {
    /// Its ARN.
    pub arn: String,
    /// The default version's document.
    pub document: Document,
}

/// What the bulk read says of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A reconcile would find something to do.
    Differs,
    /// All is as it should be, provided that the managed policy of that ARN is, too.
    Agrees {
        /// The ARN of the policy that the operator made for the user.
        policy: Option<String>,
    },
}

/// Judges a user.
pub fn screen_user(desired: &Desired, found: &UserDetail) -> Verdict {
    if !found.name.eq_ignore_ascii_case(&desired.owner.user_name) || !quarantine::policies(&found.attached).is_empty() {
        return Verdict::Differs;
    }
    // A managed policy is held against what the status tells, since the tags of its user are on another page.
    if desired.cut_of(Some(&found.tags)) != desired.cut_of(None) {
        return Verdict::Differs;
    }
    let user = User {
        arn: found.arn.clone(),
        path: found.path.clone(),
        tags: found.tags.clone(),
        boundary: found.boundary.clone(),
        keys: Vec::new(),
        attached: found.attached.clone(),
        inline: found.inline.clone(),
        beside: BTreeSet::new(),
    };
    let (policies, arn) = policies_as_wanted(desired, &user.tags);
    let user = UserState::Present(Box::new(user));
    let observed = Observed { finalizer: true, user, policies, ..Observed::nothing() };
    if leaves_alone(desired, &observed) { Verdict::Agrees { policy: arn } } else { Verdict::Differs }
}

/// Judges the policy that the operator made for a user, wherever it is.
pub fn screen_policy(desired: &Desired, found: &PolicyDetail) -> bool {
    let wanted = desired.policy_of(None);
    matches!(&wanted, Some(DesiredPolicy::Managed { document, .. }) if document.means_the_same(&found.document))
}

/// The picture in which user and policies are as the spec wants them, and the access keys are those. Keys that a user had
/// before it was adopted would be taken for ours in it: the plan then wants what no level of reads that goes by it permits.
pub fn as_wanted(desired: &Desired, observed: Observed, keys: Vec<AccessKey>) -> Observed {
    let mut tags = desired.user_tags(None);
    let records = [(tags::REVOKED, &observed.revoked), (tags::UNUSED, &observed.unused)];
    tags.extend(records.into_iter().filter_map(|(tag, record)| Some((tag.to_owned(), record.clone()?))));
    let (policies, arn) = policies_as_wanted(desired, &tags);
    let inline = match desired.policy_of(Some(&tags)) {
        Some(DesiredPolicy::Inline { name, document }) => BTreeMap::from([(name, document)]),
        _ => BTreeMap::new(),
    };
    let user = User {
        arn: desired.owner.user_arn(),
        path: desired.owner.path.clone(),
        tags,
        boundary: desired.boundary.clone(),
        keys,
        attached: desired.attached.iter().cloned().chain(arn).chain(observed.quarantine.iter().cloned()).collect(),
        inline,
        beside: BTreeSet::new(),
    };
    Observed { finalizer: true, user: UserState::Present(Box::new(user)), policies, ..observed }
}

/// The managed policy that the operator made, where the user's tags say that it is, with what it should say.
fn policies_as_wanted(
    desired: &Desired,
    tags: &BTreeMap<String, String>,
) -> (BTreeMap<String, PolicyState>, Option<String>) {
    let Some(DesiredPolicy::Managed { arn, document }) = desired.policy_of(Some(tags)) else {
        return (BTreeMap::new(), None);
    };
    let policy = ManagedPolicy { tags: desired.owner.identity.tags(), document, versions: Vec::new() };
    (BTreeMap::from([(arn.clone(), PolicyState::Present(policy))]), Some(arn))
}

#[cfg(test)]
mod tests;
