//! A tenant whose key was suspended since nobody uses it: no field, annotation, Secret or status has one of its keys work, but
//! the one annotation that asks for it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use s3_access_operator::api::{S3AccessClass, S3AccessUser};
use s3_access_operator::core::class::Class;
use s3_access_operator::core::curtail::{Bounds, Holdings, curtail};
use s3_access_operator::core::desired::{Desired, Owner};
use s3_access_operator::core::drift::as_wanted;
use s3_access_operator::core::iam::{AccessKey, AccessKeyId, Account};
use s3_access_operator::core::names::Cluster;
use s3_access_operator::core::observed::{HeldKey, Minted, Observed, OurSecret, SecretState};
use s3_access_operator::core::plan::{Action, Effect, Waits, plan};
use serde_json::{Value, json};

use crate::judge::{holding, tenant};

const UID: &str = "8c2f4a7e-1111-4222-8333-944455556666";
const KEY: &str = "AKIAUNUSED";

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn record() -> String {
    format!("off+{}+", (now() - SignedDuration::from_hours(1)).as_second())
}

fn class() -> Class {
    let spec = json!({
        "allowedBuckets": ["*"], "suspendUnusedAfter": "720h", "allowedTagKeys": ["*"], "allowedSecretAnnotations": ["*"],
        "allowStatements": true, "allowedNames": ["*"],
    });
    let class = S3AccessClass::new("tenants", serde_json::from_value(spec).unwrap());
    Class::of(&class, "team-a", &BTreeMap::new())
}

/// What a tenant writes: annotations, a spec, and a status if it could.
fn writings() -> Vec<(&'static str, Value, Value, Value)> {
    let annotated = |what, annotations: Value| (what, annotations, tenant(json!({})), Value::Null);
    let specified = |what, spec: Value| (what, json!({}), tenant(spec), Value::Null);
    let told = |what, status: Value| (what, json!({}), tenant(json!({})), status);
    let recent = json!({ "at": "2027-01-15T00:00:00Z", "service": "s3", "reportedAt": "2027-01-15T00:00:00Z" });
    vec![
        annotated("nothing", json!({})),
        annotated("a rotation", json!({ "s3access.dev/rotate": "1" })),
        annotated("a revocation", json!({ "s3access.dev/revoke": "1" })),
        annotated("a revocation that keeps working", json!({ "s3access.dev/revoke": "keep-working-1" })),
        annotated("a record of its own", json!({ "s3access.dev/unused": "on+1900000000+" })),
        annotated("resume in another case", json!({ "s3access.dev/Resume": "1" })),
        annotated("the Secret's annotations", json!({ "s3access.dev/access-key-created-at": "2030-01-01T00:00:00Z" })),
        annotated("abandon", json!({ "s3access.dev/abandon": "true" })),
        specified("a short interval", json!({ "accessKey": { "rotation": { "interval": "2h", "overlap": "1h" } } })),
        specified("a status", json!({ "accessKey": { "status": "Active" } })),
        specified("sessions in its place", json!({ "accessKey": { "mode": "Session" } })),
        specified("no suspension", json!({ "suspend": false })),
        specified("a tag", json!({ "tags": { "S3access.dev/unused": "on+1900000000+" } })),
        specified("another tag", json!({ "tags": { "unused": "on" } })),
        specified("another bucket", json!({ "access": [{ "bucket": "other", "level": "Admin" }] })),
        specified("an end", json!({ "expiresAt": "2037-01-01T00:00:00Z" })),
        specified("another Secret", json!({ "secret": { "name": "other" } })),
        specified("an annotated Secret", json!({ "secret": { "annotations": { "a.example/unused": "on" } } })),
        specified("an inline policy", json!({ "policy": { "type": "Inline" } })),
        told("that it is used", json!({ "accessKeyId": KEY, "lastUsed": recent })),
        told("a revocation of before", {
            let at = "2027-01-15T00:00:00Z";
            json!({ "revocation": { "request": "0", "revokedAt": at, "accessKeyIds": [KEY] } })
        }),
        told(
            "another key",
            json!({ "accessKeyId": "AKIAOTHER", "retiringKey": { "id": KEY, "retireAt": "2037-01-01T00:00:00Z" } }),
        ),
    ]
}

fn user((_, annotations, spec, status): &(&str, Value, Value, Value)) -> Option<S3AccessUser> {
    let created = "2026-01-01T00:00:00Z";
    let metadata = json!({ "name": "reports", "namespace": "team-a", "uid": UID, "finalizers": ["s3access.dev/iam"],
        "annotations": annotations, "creationTimestamp": created });
    let (version, kind) = ("s3access.dev/v1alpha1", "S3AccessUser");
    serde_json::from_value(
        json!({ "apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec, "status": status }),
    )
    .ok()
}

fn account() -> (Account, Cluster) {
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    (account, Cluster { id: "cluster".to_owned(), name: "prod".to_owned() })
}

/// What a tenant may have made of its Secret.
fn worlds(desired: &Desired, active: bool) -> Vec<(&'static str, Observed)> {
    let key = AccessKey { id: KEY.to_owned(), active, created_at: now() - SignedDuration::from_hours(2_000) };
    let held = HeldKey { id: AccessKeyId::of_iam(KEY), created_at: Some(key.created_at), account_id: None };
    let ours = holding(Some(held));
    let secrets = [
        ("its Secret", SecretState::Ours(ours.clone())),
        ("an edited Secret", SecretState::Ours(OurSecret { up_to_date: false, annotated: false, ..ours.clone() })),
        ("an emptied Secret", SecretState::Ours(OurSecret { key: None, ..ours })),
        ("no Secret", SecretState::Missing),
        ("another's Secret", SecretState::Foreign { other_user: None }),
    ];
    let observed = |secret| Observed { secret, unused: Some(record()), ..Observed::nothing() };
    secrets.map(|(what, secret)| (what, as_wanted(desired, observed(secret), vec![key.clone()]))).into()
}

/// Lets the operator act for two days; whether a key is made or put to use.
fn gives_a_key(desired: &Desired, observed: &mut Observed) -> bool {
    let mut at = now();
    for step in 0..96_i64 {
        for action in plan(desired, observed, at, &Waits::default()).actions {
            let version = format!("v{step}");
            let effect = match &action {
                Action::CreateAccessKey => Effect::KeyCreated(Minted { id: format!("AKIANEW{step}"), created_at: at }),
                Action::ProbeKey { .. } => Effect::Probed(true),
                Action::ReadLastUsed { .. } => Effect::LastUsed(None),
                Action::WriteSecret { .. } => {
                    Effect::SecretWritten { uid: "new".to_owned(), resource_version: version }
                }
                _ => Effect::Done,
            };
            observed.record(&desired.owner, &action, &effect, at);
        }
        if observed.user().is_some_and(|user| user.keys.iter().any(|key| key.active)) {
            return true;
        }
        at += SignedDuration::from_mins(30);
    }
    false
}

#[test]
fn invariant_7_a_suspended_key_comes_back_for_one_annotation_and_for_nothing_else() {
    let (account, cluster) = account();
    let (mut tried, mut back) = (0, 0);
    for writing in writings() {
        let Some(user) = user(&writing) else { continue };
        let Ok(desired) = Desired::of(&user, &account, &cluster, &class()) else { continue };
        for active in [false, true] {
            for (world, mut observed) in worlds(&desired, active) {
                let what = format!("{}, with {world}, active: {active}", writing.0);
                assert!(!gives_a_key(&desired, &mut observed), "{what}");
                tried += 1;
            }
        }
        let mut asking = user.clone();
        let annotations = asking.metadata.annotations.get_or_insert_default();
        annotations.insert("s3access.dev/resume".to_owned(), "1".to_owned());
        let desired = Desired::of(&asking, &account, &cluster, &class()).unwrap();
        let (_, mut observed) = worlds(&desired, false).swap_remove(0);
        back += usize::from(gives_a_key(&desired, &mut observed));
    }
    assert!(tried >= 180, "{tried}");
    assert!(back >= 15, "{back} come back for the asking");
}

/// Whoever is paused, or has a spec that is refused, is held to it, too.
#[test]
fn invariant_12_a_spec_that_is_not_carried_out_keeps_no_unused_key() {
    let (account, cluster) = account();
    let (limit, mut tried) = (SignedDuration::from_hours(720), 0);
    // The key of sessions is the operator's, who uses it.
    for writing in writings().into_iter().filter(|writing| writing.2["accessKey"]["mode"] != "Session") {
        let Some(user) = user(&writing) else { continue };
        let owner = Owner::of(&user, &account, &cluster, &class());
        let key = |hours| AccessKey {
            id: KEY.to_owned(),
            active: true,
            created_at: now() - SignedDuration::from_hours(hours),
        };
        let mut found = Holdings {
            tags: owner.identity.tags(),
            keys: Some(vec![key(limit.as_hours() + 1)]),
            uses: BTreeMap::from([(KEY.to_owned(), None)]),
            ..Holdings::default()
        };
        for hindered in [false, true] {
            let bounds = Bounds { class: &class(), user: &user, hindered, minted_at: None };
            let mut left = found.clone();
            for _ in 0..2 {
                curtail(bounds, &owner, &left, now()).iter().for_each(|action| left.record(action));
            }
            assert!(left.keys.iter().flatten().all(|key| !key.active), "{}, hindered: {hindered}", writing.0);
            tried += 1;
        }
        // What AWS tells of no key proves nothing.
        found.uses.clear();
        let bounds = Bounds { class: &class(), user: &user, hindered: false, minted_at: None };
        let asked = curtail(bounds, &owner, &found, now());
        let revokes = writing.0.contains("revocation");
        assert!(revokes || asked.iter().all(|action| !matches!(action, Action::SetKeyStatus { .. })), "{}", writing.0);
    }
    assert!(tried >= 40, "{tried}");
}
