#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;
use crate::api::{S3AccessClass, tags};
use crate::core::class::Class;
use crate::core::drift::as_wanted;
use crate::core::ends::inactive::Inactive;
use crate::core::iam::{AccessKey, AccessKeyId};
use crate::core::observed::{HeldKey, Minted, OurSecret, Place, SecretState, UserState};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn desired(extra: Value) -> Desired {
    let mut spec = json!({ "access": [{ "bucket": "reports", "level": "ReadOnly" }] });
    extra.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
    Desired::by_spec(&spec)
}

fn planned(desired: &Desired, observed: &Observed) -> Plan {
    plan(desired, observed, NOW, &Waits::default())
}

fn key(id: &str, active: bool, hours: i64) -> AccessKey {
    AccessKey { id: id.to_owned(), active, created_at: later(NOW, SignedDuration::from_hours(hours)) }
}

fn held(account_id: Option<&str>) -> SecretState {
    let account_id = account_id.map(str::to_owned);
    let key = HeldKey { id: AccessKeyId::of_iam("CURRENT"), created_at: Some(NOW), account_id };
    SecretState::Ours(OurSecret::intact("1".to_owned(), Some(key)))
}

/// All is as it should be, with these keys.
fn well(desired: &Desired, keys: Vec<AccessKey>) -> Observed {
    as_wanted(desired, Observed { secret: held(None), ..Observed::nothing() }, keys)
}

fn user_of(observed: &mut Observed) -> &mut User {
    match &mut observed.user {
        UserState::Present(user) => user,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_as_it_should_be_is_left_alone() {
    let found = planned(&desired(json!({})), &well(&desired(json!({})), vec![key("CURRENT", true, -1_000)]));
    assert!(found.rests(), "{found:?}");
}

/// To IAM they are one key: to remove the one would remove the other.
#[test]
fn a_tag_whose_key_changes_its_case_is_not_removed() {
    let tagged = |key: &str, value: &str| desired(json!({ "tags": { key: value } }));
    let before = well(&tagged("team", "a"), vec![key("CURRENT", true, -1_000)]);
    for (value, keys) in [("a", vec![tags::TAG_KEYS]), ("b", vec!["Team", tags::TAG_KEYS])] {
        let actions = planned(&tagged("Team", value), &before).actions;
        let [Action::TagUser(written)] = actions.as_slice() else { panic!("{actions:?}") };
        assert_eq!(written.keys().map(String::as_str).collect::<BTreeSet<_>>(), keys.into_iter().collect());
        let mut after = before.clone();
        let found = &mut user_of(&mut after).tags;
        found.extend(written.clone());
        // IAM has the key in the one case or in the other.
        if let Some(value) = found.remove("Team") {
            found.insert("team".to_owned(), value);
        }
        assert!(planned(&tagged("Team", value), &after).rests());
        let gone = planned(&desired(json!({})), &after).actions;
        assert!(gone.contains(&Action::UntagUser(vec!["team".to_owned()])), "{gone:?}");
    }
}

#[test]
fn invariant_12_what_the_class_does_not_allow_is_not_begun_and_its_keys_go_first() {
    let beyond = Desired { violation: Some("why".to_owned()), ..desired(json!({})) };
    let expelled = Desired { inactive: Some(Inactive::expelled()), ..beyond.clone() };
    let refused = Progress::Blocked(Reason::NotPermittedByClass, "why".to_owned());
    for desired in [&beyond, &expelled] {
        let found = planned(desired, &Observed::nothing());
        assert_eq!((found.actions.len(), &found.parts.policy), (0, &refused), "nothing was begun");
    }
    let mut observed = well(&beyond, vec![key("THEIRS", true, -1), key("OFF", false, 1), key("CURRENT", true, 2)]);
    user_of(&mut observed).tags.insert(tags::ADOPTED_AT.to_owned(), NOW.to_string());
    let off = Action::SetKeyStatus { id: "CURRENT".to_owned(), active: false };
    let found = planned(&expelled, &observed);
    assert_eq!((found.actions.as_slice(), &found.parts.policy), (std::slice::from_ref(&off), &refused));
    let found = planned(&beyond, &observed);
    assert!(!found.actions.contains(&off), "what is left of the spec goes on: {found:?}");
    assert_eq!(found.parts.policy, refused);
    user_of(&mut observed).tags.insert(tags::CLUSTER.to_owned(), "another".to_owned());
    let found = planned(&expelled, &observed);
    assert_eq!((found.actions.as_slice(), &found.parts.policy), (&[] as &[_], &refused), "no proof that it is ours");
}

/// The class says one thing of the spec, and another of what hung on an adopted user: that is told first.
#[test]
fn what_an_adopted_user_has_beside_is_told_before_what_the_spec_asks_beyond() {
    let class = S3AccessClass::new("tenants", serde_json::from_value(json!({ "allowedBuckets": ["*"] })).unwrap());
    let class = Class::of(&class, "team-a", &BTreeMap::new());
    let beyond = Desired { violation: Some("why".to_owned()), class, ..desired(json!({})) };
    let mut observed = well(&beyond, vec![key("CURRENT", true, 2)]);
    let user = user_of(&mut observed);
    user.tags.insert(tags::ADOPTED_AT.to_owned(), NOW.to_string());
    user.beside = BTreeSet::from(["group admins".to_owned()]);
    let found = planned(&beyond, &observed);
    let Progress::Blocked(_, message) = &found.parts.policy else { panic!("{found:?}") };
    assert!(message.contains("group admins"), "{message}");
    assert!(found.actions.is_empty() && found.parts.key == Progress::Pending, "no key is put to use: {found:?}");
}

#[test]
fn an_adopted_users_policies_must_be_its_own_those_of_the_spec_or_of_the_class() {
    let class =
        json!({ "allowedBuckets": ["*"], "allowedManagedPolicyArns": ["arn:aws:iam::123456789012:policy/shared-*"] });
    let class = S3AccessClass::new("tenants", serde_json::from_value(class).unwrap());
    let class = Class::of(&class, "team-a", &BTreeMap::new());
    let asked = desired(json!({ "managedPolicyArns": ["arn:aws:iam::123456789012:policy/asked"] }));
    let bound = Desired { class, ..asked.clone() };
    let beyond = |desired: &Desired, adopted: bool, more: &str| {
        let mut observed = well(desired, vec![key("CURRENT", true, 2)]);
        let user = user_of(&mut observed);
        user.attached.insert(format!("arn:aws:iam::123456789012:policy/{more}"));
        user.tags.extend(adopted.then(|| (tags::ADOPTED_AT.to_owned(), NOW.to_string())));
        matches!(planned(desired, &observed).parts.policy, Progress::Blocked(Reason::NotPermittedByClass, _))
    };
    assert!(beyond(&bound, true, "admin"));
    for fits in [beyond(&bound, true, "shared-x"), beyond(&bound, true, "asked")] {
        assert!(!fits, "its own, that of the spec and those of the class are no surprise");
    }
    assert!(!beyond(&bound, false, "admin"), "what others attach to a user of ours is not for us to judge");
    assert!(!beyond(&asked, true, "admin"), "without a class nothing is bounded");
}

#[test]
fn a_policy_that_the_spec_asks_for_no_more_is_detached_and_the_own_one_is_not() {
    const SHARED: &str = "arn:aws:iam::123456789012:policy/shared";
    let (asked, plain) = (desired(json!({ "managedPolicyArns": [SHARED] })), desired(json!({})));
    let named = desired(json!({ "policy": { "name": "shared" } }));
    let detached = |desired: &Desired, before: &Desired, recorded: bool| {
        let mut observed = well(before, vec![key("CURRENT", true, 0)]);
        let user = user_of(&mut observed);
        user.attached.insert(SHARED.to_owned());
        user.tags.remove(tags::ATTACHED);
        user.tags.extend(recorded.then(|| (tags::ATTACHED.to_owned(), crate::core::names::record([SHARED]))));
        planned(desired, &observed).actions.contains(&Action::DetachPolicy(SHARED.to_owned()))
    };
    assert!(detached(&plain, &plain, true));
    assert!(!detached(&plain, &plain, false), "somebody else has attached it");
    assert!(!detached(&asked, &asked, true));
    assert!(!detached(&named, &named, true), "it is the operator's own by now");
}

#[test]
fn a_policy_that_changes_its_name_goes_once_its_successor_is_there() {
    let named = |name: &str| desired(json!({ "policy": { "name": name } }));
    let inline = desired(json!({ "policy": { "name": "new", "type": "Inline" } }));
    let trace = |desired: &Desired, mut observed: Observed| {
        let mut rounds = Vec::new();
        for _ in 0..6 {
            let next = planned(desired, &observed);
            if !next.actions.iter().any(|action| action.part() != Part::AccessKey) {
                break;
            }
            let done = next.actions.iter().map(Action::name).collect::<Vec<_>>().join(" ");
            next.actions.iter().for_each(|action| observed.record(&desired.owner, action, &Effect::Done, NOW));
            rounds.push(done);
        }
        rounds
    };
    let observed = |desired: &Desired| well(desired, vec![key("CURRENT", true, 0)]);
    let gone = "DetachPolicy DeletePolicy UntagUser";
    assert_eq!(trace(&named("new"), observed(&named("old"))), ["TagUser CreatePolicy AttachPolicy", gone]);
    assert_eq!(trace(&inline, observed(&named("old"))), ["TagUser PutUserPolicy", gone]);

    let mut halfway = observed(&named("new"));
    user_of(&mut halfway).tags.insert(tags::PREVIOUS_POLICY.to_owned(), "managed:/old".to_owned());
    assert_eq!(trace(&named("old"), halfway.clone()), ["TagUser CreatePolicy AttachPolicy", gone], "changed back");
    assert_eq!(
        trace(&named("third"), halfway)[..2],
        ["UntagUser", "TagUser CreatePolicy AttachPolicy"],
        "one at a time"
    );

    let mut foreign = observed(&named("old"));
    for policy in foreign.policies.values_mut() {
        let crate::core::observed::PolicyState::Present(policy) = policy else { panic!("it is there") };
        policy.tags.clear();
    }
    assert_eq!(trace(&named("new"), foreign)[1], "DetachPolicy UntagUser", "without our tags it is not deleted");
}

#[test]
fn no_key_is_made_before_user_and_policy_are_as_they_should_be() {
    let (desired, mut observed) = (desired(json!({})), well(&desired(json!({})), Vec::new()));
    observed.secret = SecretState::Missing;
    let made = planned(&desired, &observed);
    assert!(made.actions.contains(&Action::CreateAccessKey), "{made:?}");
    assert_eq!((&made.parts.user, &made.parts.policy), (&Progress::Synced, &Progress::Synced));
    observed.policies.clear();
    let found = planned(&desired, &observed);
    assert!(matches!(found.actions.as_slice(), [Action::CreatePolicy { .. }]), "{found:?}");
    assert_eq!((&found.parts.user, &found.parts.policy), (&Progress::Synced, &Progress::Pending));
    user_of(&mut observed).path = "/elsewhere/".to_owned();
    let found = planned(&desired, &observed);
    assert_eq!((&found.parts.user, &found.parts.policy), (&Progress::Pending, &Progress::Pending));
}

#[test]
fn nothing_is_begun_in_another_account_than_where_it_was_made() {
    let desired = desired(json!({}));
    let (own, other) = (Some("123456789012"), Some("999999999999"));
    let well = well(&desired, vec![key("CURRENT", true, 0)]);
    for (status, secret, user, blocked) in [
        (None, held(None), UserState::Missing, false),
        (None, held(own), UserState::Missing, false),
        (None, held(other), UserState::Missing, true),
        (other, SecretState::Missing, UserState::Missing, true),
        (other, held(own), UserState::Missing, true),
        (other, held(other), well.user.clone(), false),
    ] {
        let account_elsewhere = status.map(str::to_owned);
        let observed = Observed { account_elsewhere, secret, user, finalizer: true, ..Observed::nothing() };
        let found = planned(&desired, &observed);
        let is = matches!(&found.parts.user, Progress::Blocked(Reason::AccountMismatch, why) if why.contains("999999999999"));
        assert_eq!((is, found.actions.is_empty()), (blocked, blocked), "{observed:?}");
    }
}

#[test]
fn what_is_waited_for_is_told_and_looked_at_again_soon() {
    let desired = desired(json!({}));
    let mut observed = well(&desired, Vec::new());
    let SecretState::Ours(secret) = &mut observed.secret else { panic!("it is ours") };
    secret.rotated_at = Some(NOW);
    let found = planned(&desired, &observed);
    assert!(matches!(found.parts.key, Progress::Waiting(Reason::WaitingForKey, _)), "{found:?}");
    assert_eq!(found.wake_at, Some(later(NOW, Waits::default().probe_interval)));
}

#[test]
fn each_user_of_another_is_refused_and_one_that_nobody_claims_is_taken_by_force() {
    let force = Desired {
        owner: Owner { adoption: crate::api::Adoption::Force, ..desired(json!({})).owner },
        ..desired(json!({}))
    };
    let never =
        Desired { owner: Owner { adoption: crate::api::Adoption::Never, ..force.owner.clone() }, ..force.clone() };
    let found = |desired: &Desired, tag: Option<&str>| {
        let mut observed = well(desired, Vec::new());
        observed.finalizer = false;
        let tags = tag.map(|tag| (tag.to_owned(), "another".to_owned()));
        user_of(&mut observed).tags = tags.into_iter().collect();
        planned(desired, &observed)
    };
    let taken = found(&force, None);
    assert!(matches!(taken.actions.as_slice(), [Action::AddFinalizer, Action::TagUser(_)]), "{taken:?}");
    for tag in [tags::CLUSTER, tags::UID, tags::OWNER] {
        let refused = found(&force, Some(tag));
        let Progress::Blocked(Reason::ForeignUser, why) = &refused.parts.user else { panic!("{tag}: {refused:?}") };
        assert!(refused.actions.is_empty() && why.contains("remove the user's tags s3access.dev/cluster"), "{why}");
    }
    assert!(matches!(found(&never, None).parts.user, Progress::Blocked(Reason::ForeignUser, _)));

    let mut earlier = well(&never, Vec::new());
    user_of(&mut earlier).tags.insert(tags::UID.to_owned(), "earlier".to_owned());
    let Progress::Blocked(_, why) = planned(&never, &earlier).parts.user else { panic!("it is an earlier one's") };
    assert!(why.contains("set spec.adoption to IfOwnedByTag"), "{why}");
    let again = planned(&desired(json!({})), &earlier);
    assert!(matches!(again.actions.as_slice(), [Action::TagUser(_)]), "{again:?}");
}

#[test]
fn a_secret_of_another_is_waited_for_or_refused_and_no_key_is_made() {
    let desired = desired(json!({}));
    for (other_user, reason) in
        [(None, Reason::ForeignSecret), (Some("another"), Reason::SecretNameTaken), (Some("reports"), Reason::Creating)]
    {
        let mut observed = well(&desired, Vec::new());
        observed.secret = SecretState::Foreign { other_user: other_user.map(str::to_owned) };
        let found = planned(&desired, &observed);
        let (Progress::Waiting(told, _) | Progress::Blocked(told, _)) = found.parts.secret else { panic!("{found:?}") };
        assert_eq!((told, found.actions.len()), (reason, 0), "{other_user:?}");
    }
}

/// Whatever is to be done about it: nothing is made that could not be delivered, the key in it stays, and it is told.
#[test]
fn an_immutable_secret_is_not_written_and_costs_no_key() {
    let due = json!({ "accessKey": { "rotation": { "interval": "720h" } } });
    let frozen = |spec: &Value, change: &dyn Fn(&mut OurSecret)| {
        let desired = desired(spec.clone());
        let mut observed = well(&desired, vec![key("CURRENT", true, -1_000)]);
        let SecretState::Ours(secret) = &mut observed.secret else { panic!("it is ours") };
        secret.immutable = true;
        change(secret);
        (desired, observed)
    };
    let told = |(desired, observed): &(Desired, Observed)| {
        let plan = planned(desired, observed);
        (plan.actions, matches!(plan.parts.secret, Progress::Blocked(Reason::SecretImmutable, _)))
    };
    assert_eq!(told(&frozen(&json!({}), &|_| {})), (vec![], false), "nothing is to be written");
    assert_eq!(told(&frozen(&due, &|_| {})), (vec![], true), "a rotation");
    assert_eq!(told(&frozen(&json!({}), &|secret| secret.up_to_date = false)), (vec![], true), "another label");
    assert_eq!(told(&frozen(&json!({}), &|secret| secret.key = None)), (vec![], true), "there is no key in it");

    let mut minted = frozen(&due, &|_| {});
    minted.1.minted = Some(Minted { id: "NEW".to_owned(), created_at: NOW });
    user_of(&mut minted.1).keys.push(key("NEW", true, 0));
    let given_up = Action::DeleteKey { id: "NEW".to_owned(), why: WhyDelete::Unusable };
    assert_eq!(told(&minted), (vec![given_up.clone()], true), "it was made before");
    let suspended = Desired { inactive: Some(Inactive::suspended()), ..minted.0.clone() };
    let off = Action::SetKeyStatus { id: "CURRENT".to_owned(), active: false };
    let off_too = Action::SetKeyStatus { id: "NEW".to_owned(), active: false };
    let mut stopped = (suspended, minted.1);
    assert_eq!(told(&stopped), (vec![off, off_too], false), "taking access away waits for nothing");
    user_of(&mut stopped.1).keys.iter_mut().for_each(|key| key.active = false);
    assert_eq!(told(&stopped), (vec![given_up], true));
    let mut orphan = frozen(&json!({}), &|_| {});
    user_of(&mut orphan.1).keys.push(key("LOST", true, -1));
    let removed = Action::DeleteKey { id: "LOST".to_owned(), why: WhyDelete::Orphan };
    assert_eq!(told(&orphan), (vec![removed], false), "nobody can put it to use any more");
}

#[test]
fn a_secret_is_written_again_where_it_was_altered_and_an_earlier_one_goes_after_it() {
    let desired = desired(json!({}));
    let names = |up_to_date, renamed: bool| {
        let mut observed = well(&desired, vec![key("CURRENT", true, -1_000)]);
        let SecretState::Ours(secret) = &mut observed.secret else { panic!("it is ours") };
        secret.up_to_date = up_to_date;
        let earlier = OurSecret { key: secret.key.clone(), ..OurSecret::intact("1".to_owned(), None) };
        observed.renamed.extend(renamed.then(|| (Place::Workload("earlier".to_owned()), earlier)));
        planned(&desired, &observed).actions.iter().map(Action::name).collect::<Vec<_>>()
    };
    assert_eq!(names(false, true), ["WriteSecret"]);
    assert_eq!(names(true, true), ["DeleteSecret"]);
}

#[test]
fn a_boundary_is_only_removed_where_the_operator_set_it() {
    const BOUNDARY: &str = "arn:aws:iam::123456789012:policy/boundary";
    let (plain, under) = (desired(json!({})), desired(json!({ "permissionsBoundaryArn": BOUNDARY })));
    let names = |desired: &Desired, boundary: Option<&str>, record: Option<&str>| {
        let mut observed = well(&plain, vec![key("CURRENT", true, 0)]);
        let user = user_of(&mut observed);
        user.boundary = boundary.map(str::to_owned);
        user.tags.extend(record.map(|arn| (tags::BOUNDARY.to_owned(), crate::core::names::record([arn]))));
        let found = planned(desired, &observed);
        found.actions.iter().filter(|action| action.part() == Part::User).map(Action::name).collect::<Vec<_>>()
    };
    assert_eq!(names(&plain, Some(BOUNDARY), Some(BOUNDARY)), ["DeleteUserPermissionsBoundary"]);
    assert!(names(&plain, Some(BOUNDARY), None).is_empty(), "somebody else did");
    assert_eq!(names(&plain, None, Some(BOUNDARY)), ["UntagUser"]);
    assert_eq!(names(&under, None, None), ["TagUser", "PutUserPermissionsBoundary"]);
    assert!(names(&under, Some(BOUNDARY), Some(BOUNDARY)).is_empty());
}
