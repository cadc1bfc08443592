#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use super::*;
use crate::api::annotations;
use crate::api::{S3AccessClass, S3AccessUserSpec};
use crate::core::iam::Account;
use crate::core::names::Cluster;
use crate::core::observed::PolicyVersion;
use crate::core::rotation::later;

const OWN: &str = "arn:aws:iam::123456789012:policy/own";
const SHARED: &str = "arn:aws:iam::123456789012:policy/shared-x";
const FORCED: &str = "arn:aws:iam::123456789012:policy/forced";
const INSIDE: &str = "arn:aws:s3:::team-a.x/*";
const OUTSIDE: &str = "arn:aws:s3:::team-b.x/*";

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn class(extra: Value) -> Class {
    let mut spec = json!({
        "allowedBuckets": ["{namespace}.*"], "allowStatements": true,
        "allowedManagedPolicyArns": ["arn:aws:iam::123456789012:policy/shared-*"],
    });
    extra.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
    Class::of(&S3AccessClass::new("tenants", serde_json::from_value(spec).unwrap()), "team-a", &BTreeMap::new())
}

fn expelling() -> Class {
    class(json!({ "allowedNamespaces": { "names": ["team-b"] } }))
}

fn user() -> S3AccessUser {
    let mut user = S3AccessUser::new("reports", S3AccessUserSpec::default());
    (user.metadata.namespace, user.metadata.uid) = (Some("team-a".to_owned()), Some("uid".to_owned()));
    user
}

fn deleted() -> S3AccessUser {
    let mut user = user();
    user.metadata.deletion_timestamp = Some(Time(now()));
    user
}

fn owner() -> Owner {
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    Owner::of(&user(), &account, &Cluster { id: "id".to_owned(), name: "prod".to_owned() }, &Class::none())
}

fn document(resources: &[&str]) -> Document {
    Document::new(vec![json!({ "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": resources })])
}

fn managed(resources: &[&str]) -> ManagedPolicy {
    ManagedPolicy { tags: owner().identity.tags(), document: document(resources), versions: Vec::new() }
}

fn key(id: &str, created_at: &str) -> AccessKey {
    AccessKey { id: id.to_owned(), active: true, created_at: created_at.parse().unwrap() }
}

/// A user with a working key, its own policy on these resources, and one attached for the spec.
fn holdings(resources: &[&str]) -> Holdings {
    let mut tags = owner().identity.tags();
    tags.insert(tags::ATTACHED.to_owned(), names::record([SHARED]));
    Holdings {
        tags,
        boundary: None,
        uses: BTreeMap::new(),
        keys: Some(vec![key("AKIA1", "2026-05-01T00:00:00Z")]),
        attached: Some(BTreeSet::from([OWN, SHARED, "arn:aws:iam::aws:policy/ByHand"].map(str::to_owned))),
        inline: BTreeMap::new(),
        managed: BTreeMap::from([(OWN.to_owned(), Some(managed(resources)))]),
    }
}

fn taken(class: &Class, found: &Holdings) -> Vec<Action> {
    curtail(Bounds { class, user: &user(), course: Course::CarriedOut, minted_at: None }, &owner(), found, now())
}

/// The same, where the spec is not carried out.
fn hindered(class: &Class, found: &Holdings) -> Vec<Action> {
    curtail(Bounds { class, user: &user(), course: Course::Hindered, minted_at: None }, &owner(), found, now())
}

fn detached(arn: &str) -> Action {
    Action::DetachPolicy(arn.to_owned())
}

fn deactivated(id: &str) -> Action {
    Action::SetKeyStatus { id: id.to_owned(), active: false }
}

#[test]
fn invariant_12_what_fits_is_left_alone() {
    assert_eq!(taken(&class(json!({})), &holdings(&[INSIDE])), []);
    assert_eq!(taken(&Class::none(), &holdings(&[OUTSIDE])), [], "without a class nothing is taken back");
}

#[test]
fn invariant_12_a_policy_is_cut_down_to_what_fits() {
    let narrowed = Action::CreatePolicyVersion { arn: OWN.to_owned(), document: document(&[INSIDE]) };
    assert_eq!(taken(&class(json!({})), &holdings(&[INSIDE, OUTSIDE])), std::slice::from_ref(&narrowed));
    assert_eq!(taken(&class(json!({})), &holdings(&[OUTSIDE])), [detached(OWN)], "nothing of it fits");

    let mut full = holdings(&[INSIDE, OUTSIDE]);
    let version = |n: i64| PolicyVersion {
        id: format!("v{n}"),
        is_default: n == 5,
        created_at: Timestamp::from_second(n).unwrap(),
    };
    full.managed.get_mut(OWN).unwrap().as_mut().unwrap().versions = (1..=5).map(version).collect();
    let room = Action::DeletePolicyVersion { arn: OWN.to_owned(), version: "v1".to_owned() };
    assert_eq!(taken(&class(json!({})), &full), [room, narrowed]);

    let mut foreign = holdings(&[INSIDE, OUTSIDE]);
    foreign.managed.get_mut(OWN).unwrap().as_mut().unwrap().tags.clear();
    assert_eq!(taken(&class(json!({})), &foreign), [detached(OWN)], "a policy without our tags is not written");

    let mut inline = holdings(&[INSIDE]);
    inline.inline.insert("own".to_owned(), Some(document(&[OUTSIDE])));
    inline.inline.insert("two".to_owned(), Some(document(&[INSIDE, OUTSIDE])));
    let put = Action::PutInlinePolicy { name: "two".to_owned(), document: document(&[INSIDE]) };
    assert_eq!(taken(&class(json!({})), &inline), [Action::DeleteInlinePolicy { name: "own".to_owned() }, put]);
}

#[test]
fn invariant_12_who_is_shut_out_keeps_nothing_whatever_could_not_be_read() {
    let all = taken(&expelling(), &holdings(&[INSIDE]));
    assert_eq!(all, [deactivated("AKIA1"), detached(OWN), detached(SHARED)]);
    let blind = |change: fn(&mut Holdings)| {
        let mut found = holdings(&[INSIDE]);
        change(&mut found);
        taken(&expelling(), &found)
    };
    assert_eq!(blind(|found| found.keys = None), [detached(OWN), detached(SHARED)], "the keys could not be listed");
    assert_eq!(blind(|found| found.attached = None), [deactivated("AKIA1"), detached(OWN)], "nor the policies");
    let unread = blind(|found| found.managed = BTreeMap::from([(OWN.to_owned(), None)]));
    assert_eq!(unread, all, "nor what one says");
}

#[test]
fn invariant_12_a_spec_that_is_not_carried_out_keeps_no_key_without_a_grant() {
    let strict = class(json!({ "allowedManagedPolicyArns": [] }));
    assert_eq!(hindered(&strict, &holdings(&[OUTSIDE])), [detached(OWN), detached(SHARED), deactivated("AKIA1")]);
    assert_eq!(hindered(&class(json!({})), &holdings(&[OUTSIDE])), [detached(OWN)], "the other policy is left");
    assert_eq!(hindered(&strict, &holdings(&[INSIDE])), [detached(SHARED)], "its own policy is left");
    let mut adopted = holdings(&[OUTSIDE]);
    adopted.tags.insert(tags::ADOPTED_AT.to_owned(), "2026-01-01T00:00:00Z".to_owned());
    let off = AccessKey { active: false, ..key("AKIA2", "2026-05-02T00:00:00Z") };
    adopted.keys.as_mut().unwrap().extend([off, key("THEIRS", "2025-01-01T00:00:00Z")]);
    assert_eq!(hindered(&strict, &adopted), [detached(OWN), detached(SHARED), deactivated("AKIA1")]);
    let mut bare = holdings(&[INSIDE]);
    (bare.attached, bare.managed) = (Some(BTreeSet::new()), BTreeMap::new());
    assert_eq!(hindered(&strict, &bare), [], "nothing was granted, and so nothing taken");
}

#[test]
fn a_policy_exceeds_the_class_where_something_of_it_would_go() {
    for (resources, beyond) in [(&[INSIDE] as &[&str], false), (&[INSIDE, OUTSIDE], true), (&[OUTSIDE], true)] {
        assert_eq!(exceeds(&class(json!({})), &user(), &document(resources)), beyond, "{resources:?}");
        assert!(!exceeds(&Class::none(), &user(), &document(resources)), "{resources:?}");
    }
}

#[test]
fn a_policy_that_could_not_be_read_is_no_proof_of_anything() {
    let mut found = holdings(&[INSIDE]);
    found.managed.insert(OWN.to_owned(), None);
    found.inline.insert("own".to_owned(), None);
    assert_eq!(taken(&class(json!({})), &found), []);
}

#[test]
fn invariant_12_what_was_attached_for_the_spec_goes_with_its_permission() {
    assert_eq!(taken(&class(json!({ "allowedManagedPolicyArns": [] })), &holdings(&[INSIDE])), [detached(SHARED)]);
}

#[test]
fn invariant_12_a_key_that_is_allowed_no_more_is_taken_from_the_grants() {
    let [first, second] = ["a", "b"].map(|id| format!("arn:aws:kms:eu-west-1:123456789012:key/{id}"));
    let keys = json!({ "allowedBuckets": ["*"], "allowedKmsKeyArns": ["*"], "accountId": "123456789012" });
    let access = json!([{ "bucket": "team-a.x", "level": "ReadWrite", "kmsKeyArns": [first, second] }]);
    let spec: S3AccessUserSpec = serde_json::from_value(json!({ "access": access })).unwrap();
    let wide = class(keys);
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    let granted = crate::core::policy::compile(&spec, &account, &wide, &crate::core::policy::Terms::default())
        .unwrap()
        .0
        .unwrap();
    let mut found = holdings(&[INSIDE]);
    found.managed.get_mut(OWN).unwrap().as_mut().unwrap().document = granted.clone();
    let of =
        |document: &Document| document.statements().into_iter().find(|found| found["Sid"] == "KeysToWrite").cloned();
    let before = of(&granted).unwrap();
    for statements in [true, false] {
        let allowing = |keys: &[&str]| class(json!({ "allowedKmsKeyArns": keys, "allowStatements": statements }));
        assert_eq!(taken(&allowing(&["arn:aws:kms:*"]), &found), [], "what fits stays");
        for (keys, left) in [(&["*:key/b"] as &[&str], Some(&second)), (&[], None)] {
            let actions = taken(&allowing(keys), &found);
            let [Action::CreatePolicyVersion { document, .. }] = actions.as_slice() else { panic!("{actions:?}") };
            let after = of(document);
            assert_eq!(after.as_ref().map(|found| &found["Resource"]), left.map(|key| json!([key])).as_ref());
            assert!(after.is_none_or(|after| after["Condition"] == before["Condition"]), "its conditions stay");
            assert_eq!(document.statements().len() + usize::from(left.is_none()), granted.statements().len());
        }
    }
}

#[test]
fn invariant_12_a_boundary_that_the_class_forces_is_set() {
    let forcing = class(json!({ "permissionsBoundaryArn": FORCED }));
    assert_eq!(taken(&forcing, &holdings(&[INSIDE])), [Action::PutBoundary(FORCED.to_owned())]);
    let under = Holdings { boundary: Some(FORCED.to_owned()), ..holdings(&[INSIDE]) };
    assert_eq!(taken(&forcing, &under), []);
}

#[test]
fn invariant_12_a_key_that_nothing_replaces_stops_working_in_the_end() {
    let aging = class(json!({ "rotation": { "maxInterval": "240h" } }));
    let mut found = holdings(&[INSIDE]);
    // 240 hours, twice the overlap of 24, and one.
    let (old, young) = ("2026-05-19T22:59:59Z", "2026-05-20T00:00:00Z");
    found.keys = Some(vec![key("OLD", old), key("YOUNG", young)]);
    assert_eq!(hindered(&aging, &found), [deactivated("OLD")]);
    let replaced_late = Holdings {
        keys: Some(vec![key("OLD", "2026-05-01T00:00:00Z"), key("YOUNG", "2026-05-31T00:00:00Z")]),
        ..found.clone()
    };
    assert_eq!(hindered(&aging, &replaced_late), [], "it was too old before, and what replaces it is on its way");
    assert_eq!(taken(&aging, &found), [], "a spec that is carried out has it replaced without a gap");
    found.keys.as_mut().unwrap()[0].active = false;
    assert_eq!(hindered(&aging, &found), []);

    let user = user();
    let unlisted = Holdings { keys: Some(vec![key("OLD", "2026-05-01T00:00:00Z")]), ..found.clone() };
    let minted = Bounds { class: &aging, user: &user, course: Course::Hindered, minted_at: Some(now()) };
    assert_eq!(curtail(minted, &owner(), &unlisted, now()), [], "IAM may not list yet what is on its way");
    assert_eq!(hindered(&aging, &unlisted), [deactivated("OLD")]);
    let bounds = Bounds { class: &aging, user: &user, course: Course::CarriedOut, minted_at: None };
    let first_end = |keys: &[AccessKey], tags: &BTreeMap<String, String>| bounds.first_end(tags, keys, now());
    let ends = |created_at: &str| Some(later(created_at.parse().unwrap(), SignedDuration::from_hours(289)));
    let keys = [key("OLD", old), key("YOUNG", young)];
    assert_eq!(first_end(&keys, &found.tags), ends(old));
    assert_eq!(first_end(&found.keys.unwrap(), &found.tags), ends(young), "an inactive one has ended");
    assert_eq!(first_end(&[], &found.tags), ends("2026-06-01T00:00:00Z"), "one may be made now");
    found.tags.insert(tags::ADOPTED_AT.to_owned(), "2026-05-19T23:59:59Z".to_owned());
    assert_eq!(first_end(&keys, &found.tags), ends(young), "a stranger's key is none of ours");
    assert_eq!(class(json!({})).longest_life(&user.spec), None);
}

/// Whoever writes a spec that is refused keeps no replaced key by that.
#[test]
fn invariant_2_a_replaced_key_ends_in_time_though_nothing_is_planned() {
    let (none, mut user, mut found) = (Class::none(), user(), holdings(&[INSIDE]));
    found.keys = Some(vec![key("OLD", "2026-05-01T00:00:00Z"), key("NEW", "2026-05-30T00:00:00Z")]);
    let mut ends = |id: &str, retire_at: &str, course| {
        let retiring = json!({ "retiringKey": { "id": id, "retireAt": retire_at } });
        user.status = Some(serde_json::from_value(retiring).unwrap());
        let bounds = Bounds { class: &none, user: &user, course, minted_at: None };
        let ends_at = bounds.first_end(&found.tags, found.keys.as_ref().unwrap(), now());
        (curtail(bounds, &owner(), &found, now()), ends_at.map(|at| at.to_string()))
    };
    let (over, later) = ("2026-06-01T00:00:00Z", "2026-06-01T00:00:01Z");
    assert_eq!(ends("OLD", over, Course::Refused), (vec![deactivated("OLD")], Some(over.to_owned())));
    assert_eq!(ends("OLD", later, Course::Refused), (vec![], Some(later.to_owned())), "its overlap is not over");
    assert_eq!(ends("NEW", over, Course::Refused), (vec![], None), "no other key has followed it");
    for course in [Course::CarriedOut, Course::Hindered] {
        assert_eq!(ends("OLD", over, course), (vec![], None), "the plan ends it");
    }
}

#[test]
fn invariant_12_what_is_in_force_comes_under_what_the_class_requires() {
    let office =
        class(json!({ "requiredConditions": { "sourceIps": ["10.0.0.0/8"], "sourceVpcs": ["vpc-00000001"] } }));
    let statement = |condition: Value| {
        let mut statement = document(&[INSIDE]).statements()[0].clone();
        statement["Condition"] = condition;
        statement
    };
    let of = |statements: Vec<Value>| {
        let mut found = holdings(&[INSIDE]);
        found.managed.get_mut(OWN).unwrap().as_mut().unwrap().document = Document::new(statements);
        found.attached.as_mut().unwrap().remove(SHARED);
        taken(&office, &found)
    };
    let [ips, vpcs] = [
        json!({ "IpAddress": { "aws:SourceIp": ["10.0.0.0/8"] } }),
        json!({ "StringEquals": { "aws:SourceVpc": ["vpc-00000001"] } }),
    ]
    .map(statement);
    let narrowed = vec![Action::CreatePolicyVersion {
        arn: OWN.to_owned(),
        document: Document::new(vec![ips.clone(), vpcs.clone()]),
    }];
    assert_eq!(of(document(&[INSIDE]).statements().into_iter().cloned().collect()), narrowed);
    assert_eq!(of(vec![statement(json!({ "IpAddressIfExists": { "aws:SourceIp": "10.0.0.0/8" } }))]).len(), 1);
    assert_eq!(of(vec![ips, vpcs]), [], "it is under them already");
    let elsewhere = statement(json!({
        "IpAddress": { "aws:SourceIp": "192.168.0.0/16" }, "StringEquals": { "aws:SourceVpc": "${aws:username}" },
    }));
    assert_eq!(of(vec![elsewhere]), [detached(OWN)], "what cannot be put under them goes");
    assert_eq!(taken(&office, &holdings(&[INSIDE])).last(), Some(&detached(SHARED)), "and what nobody can bind");
}

#[test]
fn invariant_12_access_ends_in_time_whatever_else_is_wrong() {
    let lifetime = class(json!({ "maxLifetime": "240h" }));
    let with = |created_at: &str, expires_at: Option<&str>| {
        let mut user = user();
        user.metadata.creation_timestamp = Some(Time(created_at.parse().unwrap()));
        user.spec.expires_at = expires_at.map(|at| Time(at.parse().unwrap()));
        user
    };
    let mut found = holdings(&[INSIDE]);
    (found.attached, found.managed) = (None, BTreeMap::new());
    for (class, user, over) in [
        (&lifetime, with("2026-05-22T00:00:00Z", None), true),
        (&lifetime, with("2026-05-22T00:00:01Z", None), false),
        (&lifetime, with("2026-05-22T00:00:00Z", Some("9999-01-01T00:00:00Z")), true),
        (&lifetime, with("2026-05-30T00:00:00Z", Some("2026-06-01T00:00:00Z")), true),
        (&Class::none(), with("2026-05-30T00:00:00Z", Some("2026-06-01T00:00:00.5Z")), true),
        (&Class::none(), with("2026-05-30T00:00:00Z", Some("2026-06-01T00:00:01Z")), false),
    ] {
        for course in [Course::CarriedOut, Course::Hindered, Course::Refused] {
            let bounds = Bounds { class, user: &user, course, minted_at: None };
            let wanted = if over { vec![deactivated("AKIA1")] } else { Vec::new() };
            assert_eq!(curtail(bounds, &owner(), &found, now()), wanted, "{user:?}");
            let ends_at = bounds.first_end(&found.tags, found.keys.as_ref().unwrap(), now());
            assert_eq!(ends_at.is_some_and(|at| at <= now()), over, "{user:?}");
            assert_eq!(bounds.first_end(&found.tags, &[], now()).is_none(), over, "what has ended ends no more");
        }
    }
}

#[test]
fn invariant_4_nothing_is_taken_without_proof_of_ownership() {
    for change in [tags::CLUSTER, tags::UID] {
        let mut found = holdings(&[OUTSIDE]);
        found.tags.insert(change.to_owned(), "another".to_owned());
        assert_eq!(taken(&expelling(), &found), [], "{change}");
        let (class, user) = (expelling(), deleted());
        let deleting = Bounds { class: &class, user: &user, course: Course::CarriedOut, minted_at: None };
        assert_eq!(curtail(deleting, &owner(), &found, now()), [], "{change}");
    }
}

#[test]
fn invariant_10_a_deletion_begins_with_the_keys_and_leaves_those_of_strangers() {
    let mut found = holdings(&[INSIDE]);
    found.keys = Some(vec![key("THEIRS", "2025-01-01T00:00:00Z"), key("OURS", "2026-05-01T00:00:00Z")]);
    found.tags.insert(tags::ADOPTED_AT.to_owned(), "2026-01-01T00:00:00Z".to_owned());
    let (bounding, user) = (class(json!({})), deleted());
    let deleting = Bounds { class: &bounding, user: &user, course: Course::CarriedOut, minted_at: None };
    let gone = Action::DeleteKey { id: "OURS".to_owned(), why: WhyDelete::Teardown };
    assert_eq!(curtail(deleting, &owner(), &found, now()), std::slice::from_ref(&gone));
    let shrunk = Bounds { class: &expelling(), ..deleting };
    let shrunk_actions = curtail(shrunk, &owner(), &found, now());
    assert_eq!(shrunk_actions, [gone.clone(), detached(OWN), detached(SHARED)], "strangers' keys keep nothing of it");
    found.tags.remove(tags::ADOPTED_AT);
    let all_ours = curtail(shrunk, &owner(), &found, now());
    assert!(all_ours.iter().all(|action| matches!(action, Action::DeleteKey { .. })), "{all_ours:?}");
    found.tags.insert(tags::ADOPTED_AT.to_owned(), "2026-01-01T00:00:00Z".to_owned());
    assert_eq!(taken(&expelling(), &found)[0], deactivated("OURS"));
}

/// Over all combinations of what is in force: each action only removes, and after all of them nothing is left to take.
#[test]
fn invariant_12_taking_away_ends_and_only_takes() {
    let resources: [&[&str]; 4] = [&[INSIDE], &[OUTSIDE], &[INSIDE, OUTSIDE], &["*"]];
    let classes = [
        class(json!({})),
        expelling(),
        class(json!({ "allowedManagedPolicyArns": [] })),
        class(json!({ "allowStatements": false })),
    ];
    for class in &classes {
        for managed in resources {
            for inline in resources {
                let mut found = holdings(managed);
                found.inline.insert("own".to_owned(), Some(document(inline)));
                for action in taken(class, &found) {
                    match action {
                        Action::DetachPolicy(arn) => assert!(found.attached.as_mut().unwrap().remove(&arn), "{arn}"),
                        Action::DeleteInlinePolicy { name } => drop(found.inline.remove(&name).unwrap()),
                        Action::PutInlinePolicy { name, document } => {
                            let before = found.inline.insert(name, Some(document.clone())).unwrap().unwrap();
                            assert!(document.size() < before.size());
                        }
                        Action::CreatePolicyVersion { arn, document } => {
                            let policy = found.managed.get_mut(&arn).unwrap().as_mut().unwrap();
                            assert!(document.size() < policy.document.size());
                            policy.document = document;
                        }
                        Action::SetKeyStatus { active: false, .. } => found.keys.as_mut().unwrap()[0].active = false,
                        other => panic!("{other}"),
                    }
                }
                assert_eq!(taken(class, &found), []);
            }
        }
    }
}

/// The spec is not carried out, so that no plan would cut them.
#[test]
fn invariant_12_revoked_sessions_are_cut_also_of_who_is_paused() {
    let mut with_sessions = user();
    with_sessions.spec.access_key.mode = crate::api::AccessKeyMode::Session;
    let mut had_sessions = user();
    let told = json!({ "sessionExpiresAt": "2026-12-01T00:00:00Z" });
    had_sessions.status = Some(serde_json::from_value(told).unwrap());
    [with_sessions, had_sessions].into_iter().for_each(revoked_while_paused);
}

fn revoked_while_paused(mut paused: S3AccessUser) {
    paused.metadata.annotations = Some(BTreeMap::from([(annotations::REVOKE.to_owned(), "1".to_owned())]));
    let class = class(json!({}));
    let bounds = Bounds { class: &class, user: &paused, course: Course::Hindered, minted_at: None };
    let mut found = holdings(&[INSIDE]);
    let first = curtail(bounds, &owner(), &found, now());
    assert_eq!(first[0], deactivated("AKIA1"), "the key first");
    first.iter().for_each(|action| found.record(action));
    let cut = with_cut(&document(&[INSIDE]), Revocation::of(&found.tags).unwrap().cut_at());
    let wanted = Action::CreatePolicyVersion { arn: OWN.to_owned(), document: cut.clone() };
    assert_eq!(curtail(bounds, &owner(), &found, now()), [wanted]);
    found.managed.insert(OWN.to_owned(), Some(ManagedPolicy { document: cut, ..managed(&[INSIDE]) }));
    assert_eq!(curtail(bounds, &owner(), &found, now()), [], "once is enough");
    let carried_out = Bounds { course: Course::CarriedOut, ..bounds };
    found.managed.insert(OWN.to_owned(), Some(managed(&[INSIDE])));
    assert_eq!(curtail(carried_out, &owner(), &found, now()), [], "elsewhere the plan does");
}
