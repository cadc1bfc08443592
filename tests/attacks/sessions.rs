//! A tenant whose class requires sessions: no field, Secret or status leaves it a key that works, a session that lasts longer,
//! or a way to the key of its sessions.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use s3_access_operator::api::{S3AccessClass, S3AccessUser};
use s3_access_operator::core::class::Class;
use s3_access_operator::core::curtail::{Bounds, Holdings, curtail};
use s3_access_operator::core::desired::{Desired, DesiredPolicy, Owner};
use s3_access_operator::core::drift::as_wanted;
use s3_access_operator::core::iam::{AccessKey, AccessKeyId, Account};
use s3_access_operator::core::names::Cluster;
use s3_access_operator::core::observed::{HeldKey, Minted, Observed, OurSecret, Place, SecretState};
use s3_access_operator::core::plan::{Action, Effect, SecretRecord, Waits, plan};
use s3_access_operator::core::policy::cut_off;
use s3_access_operator::core::secret_data::{Credentials, SessionToken, Target, render};
use s3_access_operator::core::sessions::{HeldSession, LONGEST};
use s3_access_operator::kubernetes::secret::{Content, Record, find_session, is_key_of, wanted, wanted_key};
use serde_json::{Value, json};

use crate::judge::{credentials, holding, tenant};

const UID: &str = "8c2f4a7e-1111-4222-8333-944455556666";
const WORKLOADS: &str = "AKIAWORKLOADS";
const OPERATORS: &str = "AKIAOPERATORS";

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn class() -> Class {
    let spec = json!({
        "allowedBuckets": ["*"], "requireSession": true, "allowedSecretLabels": ["*"], "allowedSecretAnnotations": ["*"],
        "allowStatements": true, "allowedNames": ["*"], "allowForceAdoption": true,
    });
    let class = S3AccessClass::new("tenants", serde_json::from_value(spec).unwrap());
    Class::of(&class, "team-a", &BTreeMap::new())
}

/// What the operator reads of it; `None`: it takes no such spec.
fn user(spec: &Value, status: &Value) -> Option<S3AccessUser> {
    let object = json!({ "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser",
        "metadata": { "name": "reports", "namespace": "team-a", "uid": UID, "finalizers": ["s3access.dev/iam"] },
        "spec": spec, "status": status });
    serde_json::from_value(object).ok()
}

fn account() -> (Account, Cluster) {
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    (account, Cluster { id: "cluster".to_owned(), name: "prod".to_owned() })
}

fn desired(user: &S3AccessUser) -> Option<Desired> {
    let (account, cluster) = account();
    Desired::of(user, &account, &cluster, &class()).ok()
}

/// A Secret of another text, with that key; an empty id stands for none.
fn of_key(id: &str) -> OurSecret {
    let key = HeldKey { id: AccessKeyId::of_iam(id), created_at: Some(now()), account_id: None };
    OurSecret { up_to_date: false, ..holding(Some(key).filter(|_| !id.is_empty())) }
}

/// What a tenant may have brought about before: what its Secrets hold and claim to hold, and what keeps them from being
/// written.
fn worlds(desired: &Desired) -> Vec<(&'static str, Observed)> {
    let key =
        |id: &str| AccessKey { id: id.to_owned(), active: true, created_at: now() - SignedDuration::from_hours(9) };
    let state = |secret: OurSecret| SecretState::Ours(secret);
    let previous = || Some(AccessKeyId::of_iam(WORKLOADS));
    let session = HeldSession::issued(AccessKeyId::of_iam(OPERATORS), now(), Timestamp::MAX);
    let with_key = |session: SecretState, renamed: &[(&str, &str)]| Observed {
        secret: state(OurSecret { previous: previous(), rotated_at: Some(now()), ..of_key(OPERATORS) }),
        session: Some(session),
        renamed: renamed.iter().map(|(name, id)| (Place::Workload((*name).to_owned()), of_key(id))).collect(),
        ..Observed::nothing()
    };
    let without = |session: SecretState| Observed { session: Some(session), ..Observed::nothing() };
    let worlds = [
        ("the key of before", without(state(of_key(WORKLOADS)))),
        ("the key of before, in a Secret that nobody can write", {
            without(state(OurSecret { immutable: true, ..of_key(WORKLOADS) }))
        }),
        (
            "the key of before, in its overlap",
            with_key(state(OurSecret { session: Some(Box::new(session)), ..of_key("") }), &[]),
        ),
        ("a Secret that claims to hold the operator's key", with_key(state(of_key(OPERATORS)), &[])),
        ("an earlier Secret that claims to", with_key(state(of_key("")), &[("old", OPERATORS)])),
        ("an earlier Secret with the key of before", with_key(state(of_key("")), &[("old", WORKLOADS)])),
        ("a Secret that is not the operator's", with_key(SecretState::Foreign { other_user: None }, &[])),
        ("no Secret", with_key(SecretState::Missing, &[])),
    ];
    let keys = || vec![key(WORKLOADS), key(OPERATORS)];
    worlds.into_iter().map(|(what, observed)| (what, as_wanted(desired, observed, keys()))).collect()
}

/// Lets the operator act for two days; the sessions that it has given.
fn carried_out(desired: &Desired, observed: &mut Observed) -> Vec<HeldSession> {
    let (mut at, mut sessions) = (now(), Vec::new());
    for step in 0..96_i64 {
        let found = plan(desired, observed, at, &Waits::default());
        for action in found.actions {
            let version = format!("v{step}");
            let effect = match &action {
                Action::CreateAccessKey => Effect::KeyCreated(Minted { id: format!("AKIANEW{step}"), created_at: at }),
                Action::ProbeKey { .. } => Effect::Probed(true),
                Action::ReadLastUsed { .. } => Effect::LastUsed(Some(at)),
                Action::WriteSecret { .. } => {
                    Effect::SecretWritten { uid: "new".to_owned(), resource_version: version }
                }
                Action::RenewSession { key_id } => {
                    assert!(!observed.is_exposed(key_id) && *key_id != *WORKLOADS, "a session of a workload's key");
                    let duration = desired.sessions.unwrap().duration;
                    let session = HeldSession::issued(AccessKeyId::of_iam(key_id), at, at + duration);
                    sessions.push(session.clone());
                    Effect::Renewed { uid: "new".to_owned(), resource_version: version, session }
                }
                Action::SetKeyStatus { id, active: true } => {
                    assert_ne!(id, WORKLOADS, "a workload's key is given back");
                    Effect::Done
                }
                _ => Effect::Done,
            };
            observed.record(&desired.owner, &action, &effect, at);
        }
        at += SignedDuration::from_mins(30);
    }
    sessions
}

/// Whatever a tenant writes as its accessKey and beside it.
fn specs() -> Vec<(&'static str, Value)> {
    let access_key = |value: Value| tenant(json!({ "accessKey": value }));
    let with = |extra: Value| {
        let mut spec = access_key(json!({ "mode": "Session" }));
        for (field, value) in extra.as_object().unwrap() {
            spec[field] = value.clone();
        }
        spec
    };
    let template = |text: &str| with(json!({ "secret": { "format": "template", "template": { "a": text } } }));
    vec![
        ("nothing", tenant(json!({}))),
        ("the key itself", access_key(json!({ "mode": "Static" }))),
        ("nothing for a mode", access_key(json!({ "mode": null }))),
        ("another case", access_key(json!({ "mode": "static" }))),
        ("the key itself for a duration", access_key(json!({ "mode": "Static", "duration": "12h" }))),
        ("a duration of ever", access_key(json!({ "mode": "Session", "duration": "87600h" }))),
        ("more than STS takes", access_key(json!({ "mode": "Session", "duration": "36h1s" }))),
        ("less than STS takes", access_key(json!({ "mode": "Session", "duration": "14m59s" }))),
        ("no duration at all", access_key(json!({ "mode": "Session", "duration": "0s" }))),
        ("the longest", access_key(json!({ "mode": "Session", "duration": "36h" }))),
        ("a long overlap", {
            access_key(json!({ "mode": "Session", "rotation": { "interval": "87600h", "overlap": "87599h" } }))
        }),
        ("suspended", access_key(json!({ "mode": "Session", "status": "Inactive" }))),
        ("the operator's own Secret", with(json!({ "secret": { "name": format!("session-key-{UID}") } }))),
        ("a Secret elsewhere", with(json!({ "secret": { "name": "s3-access-system.x" } }))),
        ("a format without tokens", with(json!({ "secret": { "format": "s3fs" } }))),
        ("a template without the token", template("{{ access_key_id }}:{{ secret_access_key }}")),
        ("a template with the token", template("{{ access_key_id }}:{{ secret_access_key }}:{{ session_token }}")),
        (
            "a template that asks for the key",
            template("{{ long_lived_key }}{{ secret_access_key }}{{ session_token }}"),
        ),
        ("the token renamed", with(json!({ "secret": { "keys": { "AWS_SESSION_TOKEN": "AWS_ACCESS_KEY_ID2" } } }))),
        ("a policy that undoes the cut", {
            with(json!({ "suspend": true, "policy": { "statements": [
                { "Sid": "S3AccessCut", "Effect": "Allow", "Action": "s3:*", "Resource": "*" }] } }))
        }),
    ]
}

/// What a tenant might have put into a status, if it could write one.
fn statuses() -> [Value; 2] {
    let of = |ends: &str| json!({ "sessionExpiresAt": ends, "accessKeyId": OPERATORS });
    [Value::Null, of("9999-01-01T00:00:00Z")]
}

#[test]
fn invariant_7_where_sessions_are_required_no_spec_secret_or_status_keeps_a_key_at_work() {
    let mut tried = 0;
    for (what, spec) in specs() {
        for status in statuses() {
            let Some(desired) = user(&spec, &status).and_then(|user| desired(&user)) else { continue };
            if let Some(sessions) = desired.sessions {
                assert!(sessions.required && sessions.duration <= LONGEST, "{what}");
            } else {
                assert!(desired.inactive.is_some() && desired.violation.is_some(), "{what}");
            }
            for (world, mut observed) in worlds(&desired) {
                let sessions = carried_out(&desired, &mut observed);
                let keys = &observed.user().unwrap().keys;
                let works = |id: &str| keys.iter().any(|key| key.id == id && key.active);
                assert!(!works(WORKLOADS), "{what}, {world}: {keys:?}");
                let lives = sessions.iter().map(|session| session.expires_at.duration_since(session.issued_at));
                assert!(lives.max().is_none_or(|life| life <= LONGEST), "{what}, {world}");
                if desired.inactive.is_some() {
                    assert!(sessions.is_empty() && keys.iter().all(|key| !key.active), "{what}, {world}: {keys:?}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried >= 200, "{tried}");
}

/// Neither does a spec that is not carried out.
#[test]
fn invariant_12_where_sessions_are_required_a_hindered_spec_keeps_no_key_at_work() {
    let class = class();
    for (what, spec) in specs() {
        let Some(user) = user(&spec, &Value::Null) else { continue };
        let (account, cluster) = account();
        let owner = Owner::of(&user, &account, &cluster, &class);
        let key = |id: &str| AccessKey { id: id.to_owned(), active: true, created_at: now() };
        let found = Holdings {
            tags: owner.identity.tags(),
            keys: Some(vec![key(WORKLOADS), key(OPERATORS)]),
            attached: Some(Default::default()),
            ..Holdings::default()
        };
        let bounds = Bounds { class: &class, user: &user, hindered: true, minted_at: None };
        let stopped: Vec<_> = curtail(bounds, &owner, &found, now())
            .into_iter()
            .filter(|action| matches!(action, Action::SetKeyStatus { active: false, .. }))
            .collect();
        assert_eq!(stopped.len(), 2, "{what}: {stopped:?}");
    }
}

#[test]
fn invariant_12_a_suspended_session_is_cut_whatever_the_spec_grants_and_the_status_says() {
    for (what, spec) in specs() {
        for status in statuses() {
            let mut spec = spec.clone();
            spec["suspend"] = json!(true);
            let Some(user) = user(&spec, &status) else { continue };
            let Some(desired) = desired(&user).filter(|desired| desired.sessions.is_some()) else { continue };
            let Some(DesiredPolicy::Managed { document, .. }) = &desired.policy else { panic!("{what}: no policy") };
            assert!(document.means_the_same(&cut_off()), "{what}: {}", document.text());
        }
    }
}

fn content<'a>(credentials: &'a Credentials, record: Record<'a>, target: &'a Target) -> Content<'a> {
    Content { credentials, record, account_id: "123456789012", target }
}

fn target() -> Target {
    let (region, user_arn) = ("us-east-1".to_owned(), "arn:aws:iam::123456789012:user/reports".to_owned());
    Target { region, endpoint: None, path_style: false, buckets: vec!["team-a.data".to_owned()], user_arn }
}

/// The Secret with the key is where the operator wants it, with nothing on it that a tenant chose.
#[test]
fn invariant_7_nothing_that_a_tenant_writes_reaches_the_secret_with_the_key_of_its_sessions() {
    let (key, target, record) = (credentials(OPERATORS), target(), SecretRecord::default());
    let plain = |user: &S3AccessUser| {
        let content = content(&key, Record::Key(&record), &target);
        wanted_key(user, "s3-access-system", None, content).unwrap()
    };
    let wanted = plain(&user(&tenant(json!({})), &Value::Null).unwrap());
    assert!(is_key_of(&wanted, UID) && !is_key_of(&wanted, "another"));
    assert_eq!(wanted.name_any(), format!("session-key-{UID}"));
    assert!(wanted.owner_references().is_empty() && wanted.namespace().as_deref() == Some("s3-access-system"));
    for secret in [
        json!({ "name": "mine" }),
        json!({ "format": "velero" }),
        json!({ "format": "template", "template": { "a": "{{ secret_access_key }}" } }),
        json!({ "keys": { "AWS_SECRET_ACCESS_KEY": "x" } }),
        json!({ "labels": { "replicate": "everywhere" }, "annotations": { "reflector": "true" } }),
    ] {
        let found = plain(&user(&tenant(json!({ "secret": secret })), &Value::Null).unwrap());
        assert_eq!(found, wanted, "{secret}");
    }
}

/// The record of a session, edited by whoever may write the workload's Secret.
#[test]
fn invariant_7_no_edit_of_a_secret_makes_its_session_last() {
    let user = user(&tenant(json!({ "accessKey": { "mode": "Session" } })), &Value::Null).unwrap();
    let session = HeldSession::issued(AccessKeyId::of_iam(OPERATORS), now(), now() + SignedDuration::from_hours(12));
    let token = SessionToken { token: "a/session+token==".into(), expires_at: session.expires_at };
    let issued = Credentials { token: Some(token), ..credentials("ASIASESSION") };
    let target = target();
    let secret = wanted(&user, "reports-s3", None, content(&issued, Record::Session(&session), &target)).unwrap();
    let found = |secret: &Secret| find_session(secret, now()).map(|(_, session)| session);
    assert_eq!(found(&secret), Some(session));
    let edits = [
        ("s3access.dev/session-expires-at", "9999-01-01T00:00:00Z"),
        ("s3access.dev/session-expires-at", "2027-01-16T20:00:00Z"),
        ("s3access.dev/session-issued-at", "9999-01-01T00:00:00Z"),
        ("s3access.dev/session-issued-at", "2027-01-15T07:00:00Z"),
        ("s3access.dev/session-of", WORKLOADS),
        ("s3access.dev/session-of", "../../x"),
        ("s3access.dev/session-token-location", "AWS_SESSION_TOKEN@0+99999999999999999999"),
        ("s3access.dev/access-key-location", "credentials@0+18446744073709551615"),
        ("s3access.dev/access-key-id", OPERATORS),
        ("s3access.dev/access-key-digest", "0000"),
    ];
    for (annotation, value) in edits {
        let mut edited = secret.clone();
        edited.annotations_mut().insert(annotation.to_owned(), value.to_owned());
        assert_eq!(found(&edited), None, "{annotation} {value}");
        edited.annotations_mut().remove(annotation);
        assert_eq!(found(&edited), None, "{annotation} is gone");
    }
    let mut emptied = secret;
    emptied.data = None;
    assert_eq!(found(&emptied), None);
    // Whoever knows how the digest is made cannot go beyond what STS could have answered.
    let forged = HeldSession::recorded(AccessKeyId::of_iam(OPERATORS), now(), Timestamp::MAX, now());
    assert_eq!(forged, None);
    assert!(render(&user.spec.secret, &issued, &target).is_ok());
}
