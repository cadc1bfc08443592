#![allow(clippy::panic, reason = "a test fails by panicking")]

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::core::drift::as_wanted;
use crate::core::iam::AccessKey;
use crate::core::observed::PolicyState;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const SHARED: &str = "arn:aws:iam::123456789012:policy/shared";

fn desired() -> Desired {
    Desired::by_spec(&json!({
        "access": [{ "bucket": "reports", "level": "ReadOnly" }], "managedPolicyArns": [SHARED],
    }))
}

fn owner() -> Owner {
    Owner { deleted_at: Some(NOW), ..desired().owner }
}

fn well() -> Observed {
    let key = AccessKey { id: "KEY".to_owned(), active: true, created_at: NOW };
    as_wanted(&desired(), Observed::nothing(), vec![key])
}

fn after(owner: &Owner, observed: &Observed, passed: SignedDuration) -> Plan {
    teardown(owner, observed, later(NOW, passed), &Waits::default())
}

fn names(plan: &Plan) -> Vec<&'static str> {
    plan.actions.iter().map(Action::name).collect()
}

fn user_of(observed: &mut Observed) -> &mut User {
    match &mut observed.user {
        UserState::Present(user) => user,
        other => panic!("{other:?}"),
    }
}

#[test]
fn invariant_10_keys_go_first_and_a_policy_once_it_is_attached_nowhere() {
    let found = after(&owner(), &well(), SignedDuration::ZERO);
    assert_eq!(names(&found), ["DeleteAccessKey", "DetachPolicy", "DetachPolicy", "DeletePolicy", "DeleteUser"]);
    let retained = Owner { retain: true, ..owner() };
    assert_eq!(
        names(&after(&retained, &well(), SignedDuration::ZERO)),
        ["DeleteAccessKey", "UntagUser", "RemoveFinalizer"]
    );
    let mut conflict = well();
    conflict.leftovers = true;
    assert!(names(&after(&owner(), &conflict, SignedDuration::ZERO)).contains(&"ClearLeftovers"));
    let mut strangers = well();
    user_of(&mut strangers)
        .tags
        .insert(tags::ADOPTED_AT.to_owned(), later(NOW, SignedDuration::from_secs(1)).to_string());
    let blocked = after(&owner(), &strangers, SignedDuration::ZERO);
    assert!(matches!(&blocked.parts.user, Progress::Blocked(Reason::DeleteBlocked, why) if why.contains("KEY")));
    assert!(blocked.actions.is_empty(), "{blocked:?}");
    assert!(after(&owner(), &Observed { finalizer: false, ..well() }, SignedDuration::ZERO).actions.is_empty());
}

#[test]
fn a_user_that_iam_does_not_know_is_looked_for_until_the_replicas_agree() {
    let waits = Waits::default();
    let mut of_before = well();
    user_of(&mut of_before).tags.remove(tags::UID);
    of_before.policies.clear();
    for user in [UserState::Missing, UserState::Unread, of_before.user] {
        let observed = Observed { user, finalizer: true, ..Observed::nothing() };
        let early = after(&owner(), &observed, waits.before_loss() - SignedDuration::from_secs(1));
        assert!(early.actions.is_empty() && early.wake_at.is_some(), "{early:?}");
        assert_eq!(names(&after(&owner(), &observed, waits.before_loss())), ["RemoveFinalizer"]);
        let undated = Owner { deleted_at: None, ..owner() };
        assert_eq!(names(&after(&undated, &observed, SignedDuration::ZERO)), ["RemoveFinalizer"]);
        let elsewhere = Observed { account_elsewhere: Some("999999999999".to_owned()), ..observed };
        let held = after(&owner(), &elsewhere, SignedDuration::from_hours(1));
        assert!(matches!(held.parts.user, Progress::Blocked(Reason::AccountMismatch, _)), "{held:?}");
        assert!(held.actions.is_empty(), "it would be forgotten there: {held:?}");
    }
    let gone = Observed { user: UserState::Deleted, finalizer: true, ..Observed::nothing() };
    assert_eq!(names(&after(&owner(), &gone, SignedDuration::ZERO)), ["RemoveFinalizer"]);
}

/// A fast clock, or an API server whose own is slow.
#[test]
fn a_deletion_that_seems_to_be_old_when_it_is_first_seen_is_looked_at_for_as_long() {
    let loss = Waits::default().before_loss();
    let seen = later(NOW, loss);
    let missing = |user| Observed { user, finalizer: true, deletion_seen: Some(seen), ..Observed::nothing() };
    let early = after(&owner(), &missing(UserState::Missing), loss * 2 - SignedDuration::from_secs(1));
    assert!(early.actions.is_empty() && early.wake_at.is_some(), "{early:?}");
    assert_eq!(names(&after(&owner(), &missing(UserState::Missing), loss * 2)), ["RemoveFinalizer"]);
    assert_eq!(names(&after(&owner(), &missing(UserState::Deleted), loss)), ["RemoveFinalizer"], "it is known");
    let slow = Observed { deletion_seen: Some(Timestamp::MIN), ..missing(UserState::Missing) };
    assert!(after(&owner(), &slow, SignedDuration::ZERO).actions.is_empty(), "nor is a slow clock's time believed");
}

#[test]
fn a_policy_that_iam_does_not_show_is_looked_for_after_the_keys_and_before_its_user_is_deleted() {
    let loss = Waits::default().before_loss();
    let mut unseen = well();
    unseen.policies.values_mut().for_each(|state| *state = PolicyState::Missing);
    let early = after(&owner(), &unseen, loss - SignedDuration::from_secs(1));
    assert_eq!(names(&early), ["DeleteAccessKey"], "taking access away waits for nothing");
    user_of(&mut unseen).keys.clear();
    let early = after(&owner(), &unseen, loss - SignedDuration::from_secs(1));
    assert!(early.actions.is_empty() && early.wake_at.is_some(), "{early:?}");
    assert!(
        matches!(&early.parts.user, Progress::Waiting(Reason::Deleting, why) if why.contains(&owner().policy_arn()))
    );
    let rest = ["DetachPolicy", "DetachPolicy", "DeleteUser"];
    assert_eq!(names(&after(&owner(), &unseen, loss)), rest, "it always ends");
    let retained = Owner { retain: true, ..owner() };
    assert_eq!(names(&after(&retained, &unseen, SignedDuration::ZERO)), ["UntagUser", "RemoveFinalizer"]);
    let mut deleted = unseen.clone();
    deleted.policies.values_mut().for_each(|state| *state = PolicyState::Deleted);
    assert_eq!(names(&after(&owner(), &deleted, SignedDuration::ZERO)), rest, "by this very pass");
    unseen.policies.clear();
    user_of(&mut unseen).tags.insert(tags::POLICY.to_owned(), "inline:own".to_owned());
    assert_eq!(names(&after(&owner(), &unseen, SignedDuration::ZERO)), rest, "there is no managed one");
}

#[test]
fn invariant_4_what_is_not_ours_is_let_be_and_a_policy_of_ours_is_found_without_its_user() {
    let mut foreign = well();
    user_of(&mut foreign).tags.clear();
    let agreed = Waits::default().before_loss();
    assert_eq!(names(&after(&owner(), &foreign, agreed)), ["DeletePolicy"], "its own tags say so");
    let retained = Owner { retain: true, ..owner() };
    assert_eq!(names(&after(&retained, &foreign, agreed)), ["RemoveFinalizer"]);
    for policy in foreign.policies.values_mut() {
        let PolicyState::Present(policy) = policy else { panic!("it is there") };
        policy.tags.clear();
    }
    assert_eq!(names(&after(&owner(), &foreign, agreed)), ["RemoveFinalizer"]);
}
