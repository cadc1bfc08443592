//! The policies: ours made, kept and removed; others attached, and only those detached that the operator attached.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Action, Part, Plan};
use crate::api::{self, Reason, tags};
use crate::core::adoption::Adoption;
use crate::core::desired::{Desired, DesiredPolicy, Owner};
use crate::core::names::{self, Ownership};
use crate::core::observed::{ManagedPolicy, Observed, PolicyState, User};
use crate::core::policy::{Document, cut_off};

/// IAM's limit on the versions of a managed policy.
const VERSIONS_LIMIT: usize = 5;

pub(super) fn plan_policies(desired: &Desired, observed: &Observed, user: &User, plan: &mut Plan) {
    if let Some(message) = adopted_beyond(desired, user) {
        plan.block(Part::Policy, Reason::NotPermittedByClass, message);
        return;
    }
    let policy = policy_of(desired, user);
    if !record_policy(desired, policy.as_ref(), observed, user, plan) {
        return;
    }
    match &policy {
        Some(DesiredPolicy::Managed { arn, document }) => {
            if !plan_managed(desired, observed, arn, document, plan) {
                return;
            }
            attach(user, arn, plan);
        }
        Some(DesiredPolicy::Inline { name, document }) => {
            let found = user.inline.get(name).filter(|found| found.means_the_same(document));
            plan.actions.extend(
                found.is_none().then(|| Action::PutInlinePolicy { name: name.clone(), document: document.clone() }),
            );
        }
        None => {}
    }
    for arn in &desired.attached {
        attach(user, arn, plan);
    }
    for arn in &user.attached {
        if names::recorded(user.tags.get(tags::ATTACHED), arn)
            && !desired.attached.contains(arn)
            && !is_own(policy.as_ref(), arn)
        {
            plan.actions.push(Action::DetachPolicy(arn.clone()));
        }
    }
    remove_previous(desired, observed, user, plan);
}

/// The policy; where AWS has found a key and the class has the user suspended, one that ends its sessions, too.
fn policy_of(desired: &Desired, user: &User) -> Option<DesiredPolicy> {
    let policy = desired.policy_of(Some(&user.tags))?;
    let inactive = desired.inactive_with(Some(user), Timestamp::MIN).filter(|_| desired.sessions.is_some());
    let suspends = inactive.is_some_and(|inactive| inactive.reason == Reason::Compromised);
    Some(if suspends { policy.with(cut_off()) } else { policy })
}

/// What hung on the user when it was adopted by force and is no part of the class: whoever gets its key has all of that.
fn adopted_beyond(desired: &Desired, user: &User) -> Option<String> {
    let class = desired.class.name()?;
    if Adoption::of(&user.tags) == Adoption::None {
        return None;
    }
    let own: BTreeSet<String> =
        user.policy_records().filter_map(|record| desired.owner.recorded_policy_arn(record)).collect();
    let policies = user.attached.iter().filter(|arn| {
        !own.contains(*arn) && !names::recorded(user.tags.get(tags::ATTACHED), arn) && !desired.class.allows_policy(arn)
    });
    let beyond: Vec<&str> = policies.map(String::as_str).chain(user.beside.iter().map(String::as_str)).collect();
    (!beyond.is_empty()).then(|| {
        format!(
            "IAM user {} was adopted with {}, which S3AccessClass {class:?} does not allow: remove them from the user, or allow the policies in allowedManagedPolicyArns",
            desired.owner.user_name,
            beyond.join(", ")
        )
    })
}

/// Writes down which policy is ours before it is made, and which one is to go before the new one takes its place in
/// the record. Returns false where an older removal has to end first.
fn record_policy(
    desired: &Desired,
    policy: Option<&DesiredPolicy>,
    observed: &Observed,
    user: &User,
    plan: &mut Plan,
) -> bool {
    let wanted = policy.map(DesiredPolicy::record);
    let recorded = user.tags.get(tags::POLICY);
    if recorded == wanted.as_ref() {
        return true;
    }
    match (recorded, user.tags.get(tags::PREVIOUS_POLICY)) {
        (Some(recorded), None) => {
            let mut update = BTreeMap::from([(tags::PREVIOUS_POLICY.to_owned(), recorded.clone())]);
            match wanted {
                Some(wanted) => {
                    update.insert(tags::POLICY.to_owned(), wanted);
                    plan.actions.push(Action::TagUser(update));
                }
                None => {
                    plan.actions.push(Action::TagUser(update));
                    plan.actions.push(Action::UntagUser(vec![tags::POLICY.to_owned()]));
                }
            }
            true
        }
        (None, _) => {
            plan.actions
                .extend(wanted.map(|wanted| Action::TagUser(BTreeMap::from([(tags::POLICY.to_owned(), wanted)]))));
            true
        }
        (Some(_), Some(previous)) if wanted.as_ref() == Some(previous) => {
            // Changed back before the removal ended: the two swap places.
            let update = BTreeMap::from([
                (tags::POLICY.to_owned(), previous.clone()),
                (tags::PREVIOUS_POLICY.to_owned(), recorded.cloned().unwrap_or_default()),
            ]);
            plan.actions.push(Action::TagUser(update));
            true
        }
        (Some(_), Some(previous)) => {
            plan.actions.extend(removal(&desired.owner, observed, user, previous, &desired.attached));
            plan.actions.push(Action::UntagUser(vec![tags::PREVIOUS_POLICY.to_owned()]));
            false
        }
    }
}

/// Returns false where the policy of that name is somebody else's.
fn plan_managed(desired: &Desired, observed: &Observed, arn: &str, document: &Document, plan: &mut Plan) -> bool {
    let policy = match observed.policies.get(arn) {
        None | Some(PolicyState::Missing | PolicyState::Deleted) => {
            plan.actions.push(Action::CreatePolicy { arn: arn.to_owned(), document: document.clone() });
            return true;
        }
        Some(PolicyState::Present(policy)) => policy,
    };
    let identity = &desired.owner.identity;
    match (identity.ownership(&policy.tags), desired.owner.adoption) {
        (Ownership::Ours, _) => {}
        (Ownership::Predecessor, api::Adoption::IfOwnedByTag | api::Adoption::Force) => {
            plan.actions.push(Action::TagPolicy { arn: arn.to_owned(), tags: identity.tags() });
        }
        _ => {
            let message = format!(
                "policy {arn} was not made for this S3AccessUser: choose another spec.policy.name, or name the policy in spec.managedPolicyArns to attach it as it is"
            );
            plan.block(Part::Policy, Reason::ForeignUser, message);
            return false;
        }
    }
    if !policy.document.means_the_same(document) {
        plan.actions.extend(
            version_to_prune(policy).map(|version| Action::DeletePolicyVersion { arn: arn.to_owned(), version }),
        );
        plan.actions.push(Action::CreatePolicyVersion { arn: arn.to_owned(), document: document.clone() });
    }
    true
}

/// The oldest version that is not in force, where there is no room for another.
pub(crate) fn version_to_prune(policy: &ManagedPolicy) -> Option<String> {
    if policy.versions.len() < VERSIONS_LIMIT {
        return None;
    }
    let prunable = policy.versions.iter().filter(|version| !version.is_default);
    // IAM's dates are of whole seconds, and its list begins with the newest: of those of one second the lowest number is the
    // oldest.
    let number = |id: &str| id.trim_start_matches('v').parse::<u32>().unwrap_or_default();
    prunable.min_by_key(|version| (version.created_at, number(&version.id))).map(|version| version.id.clone())
}

/// The policy of somebody else that the action names, and the field that has its ARN.
pub fn named_policy<'a>(desired: &Desired, action: &'a Action) -> Option<(&'static str, &'a str)> {
    match action {
        Action::AttachPolicy(arn) if desired.attached.contains(arn) => Some(("spec.managedPolicyArns", arn)),
        Action::CreateUser { boundary: Some(arn), .. } | Action::PutBoundary(arn) => {
            Some(("spec.permissionsBoundaryArn, or the class's permissionsBoundaryArn", arn))
        }
        _ => None,
    }
}

fn attach(user: &User, arn: &str, plan: &mut Plan) {
    if !user.attached.contains(arn) {
        plan.actions.push(Action::AttachPolicy(arn.to_owned()));
    }
}

/// The policy that was ours under an earlier name or type goes, once its successor is in place.
fn remove_previous(desired: &Desired, observed: &Observed, user: &User, plan: &mut Plan) {
    let Some(previous) = user.tags.get(tags::PREVIOUS_POLICY) else {
        return;
    };
    if plan.actions.is_empty() {
        plan.actions.extend(removal(&desired.owner, observed, user, previous, &desired.attached));
        plan.actions.push(Action::UntagUser(vec![tags::PREVIOUS_POLICY.to_owned()]));
    }
}

/// What it takes to remove a recorded policy, as far as it is there. A managed policy is deleted only if its own tags
/// say that it is ours, and stays attached where the spec names it among the existing ones.
pub(super) fn removal(
    owner: &Owner,
    observed: &Observed,
    user: &User,
    record: &str,
    keep: &BTreeSet<String>,
) -> Vec<Action> {
    let Some(arn) = owner.recorded_policy_arn(record) else {
        let name = record.strip_prefix("inline:").filter(|name| user.inline.contains_key(*name));
        return name.into_iter().map(|name| Action::DeleteInlinePolicy { name: name.to_owned() }).collect();
    };
    if keep.contains(&arn) {
        return Vec::new();
    }
    let detach = user.attached.contains(&arn).then(|| Action::DetachPolicy(arn.clone()));
    detach.into_iter().chain(deletion(owner, observed, &arn)).collect()
}

/// Deletes a managed policy whose own tags say that it is ours.
pub(super) fn deletion(owner: &Owner, observed: &Observed, arn: &str) -> Option<Action> {
    match observed.policies.get(arn) {
        Some(PolicyState::Present(policy)) if owner.identity.ownership(&policy.tags) == Ownership::Ours => {
            Some(Action::DeletePolicy { arn: arn.to_owned() })
        }
        _ => None,
    }
}

fn is_own(policy: Option<&DesiredPolicy>, arn: &str) -> bool {
    matches!(policy, Some(DesiredPolicy::Managed { arn: own, .. }) if own == arn)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::core::drift::as_wanted;
    use crate::core::names::Identity;
    use crate::core::observed::PolicyVersion;
    use crate::core::plan::{Waits, plan};

    /// Versions of one second, as IAM lists them: the newest first, and the oldest in force.
    fn versions(numbers: &[u32]) -> ManagedPolicy {
        let version = |number: &u32| PolicyVersion {
            id: format!("v{number}"),
            is_default: Some(number) == numbers.last(),
            created_at: jiff::Timestamp::UNIX_EPOCH,
        };
        let versions = numbers.iter().map(version).collect();
        ManagedPolicy { document: Document::new(Vec::new()), versions, tags: BTreeMap::new() }
    }

    #[test]
    fn of_versions_of_one_second_the_lowest_number_goes_where_there_is_no_room() {
        assert_eq!(version_to_prune(&versions(&[11, 10, 9, 3, 2])).as_deref(), Some("v3"));
        assert_eq!(version_to_prune(&versions(&[11, 10, 9, 2])), None);
    }

    #[test]
    fn a_predecessors_policy_is_taken_over_unless_adoption_is_never() {
        let mut desired = Desired::by_spec(&json!({ "access": [{ "bucket": "reports", "level": "ReadOnly" }] }));
        let mut observed = as_wanted(&desired, Observed::nothing(), Vec::new());
        let predecessor = Identity { uid: "old".to_owned(), ..desired.owner.identity.clone() };
        for state in observed.policies.values_mut() {
            if let PolicyState::Present(policy) = state {
                policy.tags = predecessor.tags();
            }
        }
        for adoption in [api::Adoption::Never, api::Adoption::IfOwnedByTag, api::Adoption::Force] {
            desired.owner.adoption = adoption;
            let next = plan(&desired, &observed, jiff::Timestamp::UNIX_EPOCH, &Waits::default());
            let taken = matches!(next.actions.as_slice(), [Action::TagPolicy { tags, .. }] if *tags == desired.owner.identity.tags());
            assert_eq!(taken, adoption != api::Adoption::Never, "{next:?}");
        }
    }
}
