#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::core::ends::revocation::{self, Request, Revocation};
use crate::core::observed::{HeldKey, OurSecret, SecretState};
use crate::core::plan::{Plan, Progress, Waits, plan, policies_to_read};
use crate::core::reads::Reads;
use crate::core::reads::known::Known;
use crate::core::reads::picture::assumed;

const KEY: &str = "AKIAEXAMPLE";
const OTHERS: &str = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess";
const BOUNDARY: &str = "arn:aws:iam::123456789012:policy/limit";

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn long_ago() -> Timestamp {
    now() - SignedDuration::from_hours(1_000)
}

/// Specs of every kind of thing that IAM keeps of a user.
fn specs() -> Vec<Value> {
    let access = json!([{ "bucket": "reports", "level": "ReadOnly" }, { "bucket": "logs", "level": "WriteOnly" }]);
    vec![
        json!({ "access": access }),
        json!({ "access": access, "policy": { "type": "Inline" } }),
        json!({ "access": access, "path": "/k8s/", "tags": { "team": "a" }, "permissionsBoundaryArn": BOUNDARY }),
        json!({ "managedPolicyArns": [OTHERS] }),
        json!({ "access": access, "policy": { "type": "Inline", "name": "own" }, "managedPolicyArns": [OTHERS] }),
    ]
}

/// One user in IAM, its policy and its keys.
#[derive(Clone, Debug)]
struct InIam {
    user: Option<UserDetail>,
    policy: Option<PolicyDetail>,
    keys: Vec<AccessKey>,
}

/// As the operator has made it.
fn made(desired: &Desired) -> InIam {
    let policy = desired.policy.clone();
    let (mut attached, mut inline, mut detail) = (desired.attached.clone(), BTreeMap::new(), None);
    match policy {
        Some(DesiredPolicy::Managed { arn, document }) => {
            attached.insert(arn.clone());
            detail = Some(PolicyDetail { arn, document });
        }
        Some(DesiredPolicy::Inline { name, document }) => {
            inline.insert(name, document);
        }
        None => {}
    }
    let user = UserDetail {
        name: desired.owner.user_name.clone(),
        arn: desired.owner.user_arn(),
        path: desired.owner.path.clone(),
        tags: desired.user_tags(None),
        boundary: desired.boundary.clone(),
        attached,
        inline,
    };
    let keys = vec![AccessKey { id: KEY.to_owned(), active: true, created_at: long_ago() }];
    InIam { user: Some(user), policy: detail, keys }
}

fn other_document() -> Document {
    Document::new(vec![json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "*" })])
}

/// Everything that somebody may do to it by hand, of what a bulk read and the list of keys show.
#[derive(Clone, Copy, Debug)]
enum Hand {
    DeletesUser,
    MovesUser,
    RemovesTag(usize),
    ChangesTag(usize),
    AddsTag,
    SetsBoundary,
    RemovesBoundary,
    Attaches,
    Detaches(usize),
    AddsInline,
    ChangesInline,
    RemovesInline,
    ChangesPolicy,
    DeletesPolicy,
    DeletesKeys,
    DeactivatesKey,
    AddsKey,
}

impl Hand {
    fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            Just(Self::DeletesUser),
            Just(Self::MovesUser),
            (0_usize..8).prop_map(Self::RemovesTag),
            (0_usize..8).prop_map(Self::ChangesTag),
            Just(Self::AddsTag),
            Just(Self::SetsBoundary),
            Just(Self::RemovesBoundary),
            Just(Self::Attaches),
            (0_usize..2).prop_map(Self::Detaches),
            Just(Self::AddsInline),
            Just(Self::ChangesInline),
            Just(Self::RemovesInline),
            Just(Self::ChangesPolicy),
            Just(Self::DeletesPolicy),
            Just(Self::DeletesKeys),
            Just(Self::DeactivatesKey),
            Just(Self::AddsKey),
        ]
    }

    fn touches(self, found: &mut InIam) {
        match self {
            Self::DeletesUser => found.user = None,
            Self::ChangesPolicy => {
                if let Some(policy) = &mut found.policy {
                    policy.document = other_document();
                }
            }
            Self::DeletesPolicy => found.policy = None,
            Self::DeletesKeys => found.keys.clear(),
            Self::DeactivatesKey => found.keys.iter_mut().for_each(|key| key.active = false),
            Self::AddsKey => {
                found.keys.push(AccessKey { id: "AKIAOTHER".to_owned(), active: true, created_at: long_ago() });
            }
            _ => {
                if let Some(user) = &mut found.user {
                    self.touches_user(user);
                }
            }
        }
    }

    fn touches_user(self, user: &mut UserDetail) {
        match self {
            Self::MovesUser => user.path = "/elsewhere/".to_owned(),
            Self::RemovesTag(number) => {
                let key = user.tags.keys().nth(number).cloned();
                key.map(|key| user.tags.remove(&key));
            }
            Self::ChangesTag(number) => {
                if let Some(value) = user.tags.values_mut().nth(number) {
                    value.push('x');
                }
            }
            Self::AddsTag => {
                user.tags.insert("their".to_owned(), "tag".to_owned());
            }
            Self::SetsBoundary => user.boundary = Some(OTHERS.to_owned()),
            Self::RemovesBoundary => user.boundary = None,
            Self::Attaches => {
                user.attached.insert("arn:aws:iam::aws:policy/Theirs".to_owned());
            }
            Self::Detaches(number) => {
                let arn = user.attached.iter().nth(number).cloned();
                arn.map(|arn| user.attached.remove(&arn));
            }
            Self::AddsInline => {
                user.inline.insert("theirs".to_owned(), other_document());
            }
            Self::ChangesInline => user.inline.values_mut().for_each(|document| *document = other_document()),
            Self::RemovesInline => user.inline.clear(),
            _ => {}
        }
    }
}

fn secret(desired: &Desired) -> OurSecret {
    OurSecret::intact(
        "1".to_owned(),
        Some(HeldKey {
            id: crate::core::iam::AccessKeyId::of_iam(KEY),
            created_at: Some(long_ago()),
            account_id: Some(desired.owner.account.id.clone()),
        }),
    )
}

fn without_iam(desired: &Desired) -> Observed {
    let secret = SecretState::Ours(secret(desired));
    Observed { finalizer: true, announced_settled: true, secret, ..Observed::nothing() }
}

/// What a reconcile would do that reads all of it one by one.
fn planned(desired: &Desired, found: &InIam) -> Plan {
    let tags = found.user.as_ref().map(|user| user.tags.clone()).unwrap_or_default();
    let user = found.user.clone().map_or(UserState::Missing, |user| {
        UserState::Present(Box::new(User {
            arn: user.arn,
            path: user.path,
            tags: user.tags,
            boundary: user.boundary,
            keys: found.keys.clone(),
            attached: user.attached,
            inline: user.inline,
            beside: BTreeSet::new(),
        }))
    });
    let state = |arn: &String| match found.policy.as_ref().filter(|policy| policy.arn == *arn) {
        None => PolicyState::Missing,
        Some(policy) => PolicyState::Present(ManagedPolicy {
            tags: desired.owner.identity.tags(),
            document: policy.document.clone(),
            versions: Vec::new(),
        }),
    };
    let policies = policies_to_read(&desired.owner, Some(desired), &tags);
    let policies = policies.into_iter().map(|arn| (arn.clone(), state(&arn))).collect();
    plan(desired, &Observed { user, policies, ..without_iam(desired) }, now(), &Waits::default())
}

/// The plan of a reconcile that reads the access keys alone, where it may be left at that.
fn by_keys(desired: &Desired, keys: Vec<AccessKey>) -> Option<Plan> {
    let observed = assumed(Reads::Keys, desired, without_iam(desired), Some(keys), &Known::default())?;
    let plan = plan(desired, &observed, now(), &Waits::default());
    Reads::Keys.suffices(&plan).then_some(plan)
}

/// Whether the sweep and the list of keys call for no reconcile.
fn let_be(desired: &Desired, found: &InIam) -> bool {
    let agrees = match found.user.as_ref().map(|user| screen_user(desired, user)) {
        Some(Verdict::Agrees { policy: None }) => true,
        Some(Verdict::Agrees { policy: Some(arn) }) => {
            found.policy.as_ref().is_some_and(|policy| policy.arn == arn && screen_policy(desired, policy))
        }
        _ => false,
    };
    agrees && by_keys(desired, found.keys.clone()).is_some()
}

#[test]
fn what_the_operator_has_made_is_let_be() {
    for spec in specs() {
        let desired = Desired::by_spec(&spec);
        assert!(let_be(&desired, &made(&desired)), "{spec}");
    }
}

#[test]
fn every_single_difference_is_noticed_and_what_is_theirs_is_let_be() {
    let noticed = |spec: usize, hand: Hand| {
        let desired = Desired::by_spec(&specs()[spec]);
        let mut found = made(&desired);
        hand.touches(&mut found);
        !let_be(&desired, &found)
    };
    for (spec, hand) in [
        (0, Hand::DeletesUser),
        (0, Hand::MovesUser),
        (0, Hand::RemovesTag(0)),
        (0, Hand::ChangesTag(1)),
        (0, Hand::Detaches(0)),
        (0, Hand::ChangesPolicy),
        (0, Hand::DeletesPolicy),
        (1, Hand::ChangesInline),
        (1, Hand::RemovesInline),
        (2, Hand::SetsBoundary),
        (2, Hand::RemovesBoundary),
        (3, Hand::Detaches(0)),
        (3, Hand::DeletesKeys),
        (3, Hand::DeactivatesKey),
        (3, Hand::AddsKey),
    ] {
        assert!(noticed(spec, hand), "{spec} {hand:?}");
    }
    for (spec, hand) in [(0, Hand::AddsTag), (0, Hand::Attaches), (1, Hand::AddsInline), (0, Hand::SetsBoundary)] {
        assert!(!noticed(spec, hand), "{spec} {hand:?} is theirs to do");
    }
}

#[test]
fn a_policy_under_an_earlier_path_is_told_by_the_users_record() {
    let desired = Desired::by_spec(&specs()[2]);
    let mut found = made(&desired);
    let earlier = found.policy.as_ref().unwrap().arn.replace("/k8s/", "/");
    let user = found.user.as_mut().unwrap();
    user.attached = BTreeSet::from([earlier.clone()]);
    user.tags.insert(crate::api::tags::POLICY.to_owned(), format!("managed:/{}", desired.owner.policy_name));
    assert_eq!(screen_user(&desired, user), Verdict::Agrees { policy: Some(earlier) });
}

#[test]
fn another_users_details_prove_nothing() {
    let desired = Desired::by_spec(&specs()[0]);
    let mut user = made(&desired).user.unwrap();
    user.name = "another".to_owned();
    assert_eq!(screen_user(&desired, &user), Verdict::Differs);
}

#[test]
fn a_fresh_key_and_one_that_is_due_are_reconciled() {
    let spec = json!({
        "access": [{ "bucket": "reports", "level": "ReadOnly" }], "accessKey": { "rotation": { "interval": "2000h" } },
    });
    let desired = Desired::by_spec(&spec);
    let rests = |age: i64| {
        let keys =
            vec![AccessKey { id: KEY.to_owned(), active: true, created_at: now() - SignedDuration::from_secs(age) }];
        by_keys(&desired, keys)
    };
    assert!(rests(10).is_none(), "nobody has seen it work");
    let plan = rests(1_000 * 3_600).unwrap();
    assert_eq!(plan.wake_at, Some(now() + SignedDuration::from_hours(1_000)), "when it is due");
    assert!(rests(2_001 * 3_600).is_none(), "it is due");
}

proptest! {
    /// Whatever is done by hand: where a reconcile would have something to do or to tell, there is one; and where not, none.
    #[test]
    fn the_sweep_queues_a_user_exactly_where_a_reconcile_would_find_something(
        spec in 0_usize..5, hands in proptest::collection::vec(Hand::any(), 0..4),
    ) {
        let desired = Desired::by_spec(&specs()[spec]);
        let mut found = made(&desired);
        hands.iter().for_each(|hand| hand.touches(&mut found));
        let plan = planned(&desired, &found);
        let well = plan.actions.is_empty() && plan.parts.key == Progress::Synced && plan.parts.policy == Progress::Synced;
        prop_assert_eq!(let_be(&desired, &found), well, "{:?} {:?}", found, plan);
    }
}

#[test]
fn where_a_users_tags_tell_of_a_revocation_that_its_status_does_not_a_reconcile_looks() {
    let access = json!([{ "bucket": "reports", "level": "ReadOnly" }]);
    let mut desired = Desired::by_spec(&json!({ "access": access, "accessKey": { "mode": "Session" } }));
    let (tag, record) = revocation::of_new_user(Some(&Request::by("1")), now()).unwrap();
    let mut user = made(&desired).user.unwrap();
    let tags = BTreeMap::from([(tag.clone(), record.clone())]);
    user.tags.insert(tag, record);
    assert_eq!(screen_user(&desired, &user), Verdict::Differs);
    desired.cut_at = Revocation::of(&tags).map(|revocation| revocation.cut_at());
    let Verdict::Agrees { policy: Some(arn) } = screen_user(&desired, &user) else { panic!("it differs") };
    let uncut = made(&desired).policy.unwrap();
    assert!(!screen_policy(&desired, &uncut), "an earlier version is in force");
    let document = desired.policy_of(Some(&tags)).unwrap().document().clone();
    assert!(screen_policy(&desired, &PolicyDetail { arn, document }));
}
