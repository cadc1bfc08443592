//! After a start, nothing is known: status and Secret stand in for it.

use super::*;
use crate::core::conditions::Conditions;
use crate::core::ends::inactive::Inactive;
use crate::core::rotation::{DEFAULT_OVERLAP, Rotation};
use crate::core::sessions::HeldSession;

#[test]
fn what_was_taken_over_from_the_status_holds_no_longer_than_the_status_says_so() {
    let (user, secret) = (user(json!({})), secret("1"));
    let of = |enforced_revision, by_status| {
        let current = Current {
            user: &user,
            fingerprint: Fingerprint::of(&user, 7),
            secret: Some(&secret),
            session: None,
            alone: true,
            by_status,
            resync: (SignedDuration::from_hours(10), NOW),
            retain: false,
            swept: true,
        };
        Facts::of(&Known { enforced_revision, ..known() }, &current).done
    };
    assert_eq!(of(None, Some(at(5))), Done::ByStatus(at(5)));
    assert_eq!(of(None, None), Done::No);
    assert_eq!(of(Some(7), None), Done::Settled(at(100)));
}

#[test]
fn after_a_start_status_and_secret_stand_in_for_what_is_known() {
    let synced = || Progress::Synced;
    let parts = Parts { user: synced(), policy: synced(), key: synced(), secret: synced() };
    let conditions = json!(Conditions { earlier: &[], generation: Some(1), now: NOW }.of_parts(&parts));
    let status = |key: &str| json!({ "observedGeneration": 1, "conditions": conditions, "accessKeyId": key });
    let spec = json!({ "access": [{ "bucket": "reports", "level": "ReadOnly" }],
        "accessKey": { "rotation": { "interval": "72h", "overlap": "24h" } } });
    let desired = Desired::by_spec(&spec);
    let done = |user: &S3AccessUser, secret: &SecretState| done_by_status(user, &desired, (secret, None));
    let well = user(json!({ "spec": spec, "status": status("AKIA") }));
    let due = later(NOW, DEFAULT_OVERLAP * 3);
    assert_eq!(done(&well, &secret("1")), Some(due), "the key is due");
    let other = user(json!({ "spec": spec, "status": status("ANOTHER") }));
    let mut retiring = well.clone();
    retiring.status.as_mut().unwrap().retiring_key =
        serde_json::from_value(json!({ "id": "OLD", "retireAt": "2026-01-01T00:00:00Z" })).ok();
    let mut edited = well.clone();
    edited.metadata.generation = Some(2);
    for user in [other, retiring, edited] {
        assert_eq!(done(&user, &secret("1")), None);
    }
    assert_eq!(done(&well, &SecretState::Missing), None);
    let asked = Some("now".to_owned());
    let rotation = Rotation { requested: asked.clone(), ..desired.rotation.clone() };
    let rotated = Desired { rotation, ..desired.clone() };
    assert_eq!(done_by_status(&well, &rotated, (&secret("1"), None)), None, "a rotation is asked for");
    let SecretState::Ours(ours) = secret("1") else { unreachable!("it is ours") };
    let handled = SecretState::Ours(OurSecret { rotate_handled: asked, ..ours });
    assert_eq!(done_by_status(&well, &rotated, (&handled, None)), Some(due));
    let suspended = Desired { inactive: Some(Inactive::suspended()), ..desired.clone() };
    assert_eq!(done_by_status(&well, &suspended, (&secret("1"), None)), None);
    let held = HeldSession { key: AccessKeyId::of_iam("AKIA"), issued_at: NOW, expires_at: at(16 * 3_600) };
    let session = SecretState::Ours(OurSecret {
        session: Some(Box::new(held.clone())),
        ..OurSecret::intact("1".to_owned(), None)
    });
    let done = |session: &SecretState| done_by_status(&well, &desired, (&secret("1"), Some(session)));
    assert_eq!(done(&session), Some(held.renew_at("uid")), "the session is due before the key");
    for lost in [SecretState::Missing, SecretState::Ours(OurSecret::intact("1".to_owned(), None))] {
        assert_eq!(done(&lost), None, "{lost:?}");
    }
}

#[test]
fn a_key_is_alone_where_the_status_tells_of_no_other() {
    let told = |status: serde_json::Value| is_alone_by_status(&user(json!({ "status": status })));
    let revoked = |ids: &[&str]| json!({ "request": "0", "revokedAt": "2026-01-01T00:00:00Z", "accessKeyIds": ids });
    assert!(told(json!({})) && told(json!({ "revocation": revoked(&[]) })));
    assert!(!told(json!({ "revocation": revoked(&["AKIA1"]) })));
    assert!(!told(json!({ "retiringKey": { "id": "AKIA1", "retireAt": "2026-01-01T00:00:00Z" } })));
    assert!(!is_alone_by_status(&user(json!({}))));
}

#[test]
fn a_secret_that_is_as_the_status_names_it_need_not_be_read() {
    let at_one = |version: &str| version == "1";
    let told = |change: serde_json::Value, annotations: serde_json::Value| {
        let mut status = json!({ "accessKeyId": "AKIA", "accessKeyCreatedAt": NOW.to_string(), "secretVersion": named_version("1", 7), "accountId": "1" });
        for (field, value) in change.as_object().unwrap() {
            status[field] = value.clone();
        }
        let mut user = user(json!({ "status": status }));
        user.metadata.annotations = serde_json::from_value(annotations).unwrap();
        secret_by_status(&user, at_one, || Some(7))
    };
    let state = told(json!({}), json!({})).unwrap();
    let ours = state.ours().unwrap();
    assert!(ours.up_to_date && ours.resource_version == "1");
    assert_eq!(ours.key.as_ref().map(|key| (&*key.id, key.created_at)), Some(("AKIA", Some(NOW))));
    for change in [
        json!({ "secretVersion": named_version("2", 7) }),
        json!({ "secretVersion": named_version("1", 8) }),
        json!({ "secretVersion": "1" }),
        json!({ "secretVersion": null }),
        json!({ "accessKeyId": null }),
        json!({ "accessKeyCreatedAt": null }),
        json!({ "sessionExpiresAt": "2026-01-01T00:00:00Z" }),
    ] {
        assert_eq!(told(change.clone(), json!({})), None, "{change}");
    }
    let asked = json!({ annotations::ROTATE: "now" });
    assert_eq!(told(json!({}), asked), None, "whether the key answers to it, the Secret alone tells");
    assert_eq!(secret_by_status(&user(json!({})), at_one, || Some(7)), None);
}

#[test]
fn a_status_names_a_secret_anew_where_that_is_made_of_something_else_and_not_where_others_have_touched_it() {
    let named = named_version("1", 7);
    assert!(is_made_of(Some(&named), Some(7)) && is_made_of(Some(&named_version("2", 7)), Some(7)));
    assert!(!is_made_of(Some(&named), Some(8)) && !is_made_of(None, Some(7)) && !is_made_of(Some("7"), Some(7)));
    assert!(is_made_of(Some(&named), None) && is_made_of(None, None), "there is nothing to name");
}
