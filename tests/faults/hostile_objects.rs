//! Whatever a tenant puts into its Secret and its S3AccessUser, as the operator reads it: no panic, no call to AWS with
//! it, no invariant broken; and once it is taken back, all is as it was.

#[path = "../attacks/fuzz/mutation.rs"]
mod mutation;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use ground::double::Settings;
use jiff::SignedDuration;
use k8s_openapi::ByteString;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use s3_access_operator::api::{S3AccessUserSpec, S3AccessUserStatus};
use serde_json::{Value, json};

use crate::outside::Outside;
use crate::scenarios::{HOUR, NAME, SECRET, USER, spec};
use crate::simulation::Simulation;

/// What a tenant may write, beside and without deleting anything.
#[derive(Clone, Debug)]
struct Texts {
    data: BTreeMap<String, String>,
    secret_annotations: BTreeMap<String, String>,
    user_annotations: BTreeMap<String, String>,
    spec: Option<Value>,
    /// A tenant may not write it; an operator that trusts it would be wrong all the same.
    status: Option<Value>,
}

fn annotations(names: &'static [&'static str]) -> impl Strategy<Value = BTreeMap<String, String>> {
    let name = prop::sample::select(names).prop_map(|name| format!("s3access.dev/{name}"));
    let key = prop::sample::select(vec!["AKIAIOSFODNN7EXAMPLE", "AKIA2OTHER"]).prop_map(str::to_owned);
    let time = prop::sample::select(vec!["2025-12-31T00:00:00Z", "2026-01-01T02:00:00Z", "9999-12-31T23:59:59Z"]);
    let value = prop_oneof![4 => mutation::text(), 1 => key, 1 => time.prop_map(str::to_owned)];
    prop::collection::btree_map(name, value, 0..4)
}

fn status() -> Value {
    json!({ "observedGeneration": 1, "userArn": "arn:aws:iam::123456789012:user/reports-app", "userName": USER,
        "accountId": "123456789012", "partition": "aws", "policyArn": "arn:aws:iam::123456789012:policy/reports-app",
        "accessKeyId": "AKIAIOSFODNN7EXAMPLE", "accessKeyCreatedAt": "2026-01-01T00:00:00Z", "nextRotationAt": "2026-01-31T00:00:00Z",
        "retiringKey": { "id": "AKIAIOSFODNN7EXAMPLE", "retireAt": "2026-01-01T00:00:00Z" }, "binding": { "name": "reports-s3" },
        "conditions": [{ "type": "Ready", "status": "True", "reason": "Synced", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1 }] })
}

fn texts() -> impl Strategy<Value = Texts> {
    let keys =
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "credentials", "AWS_REGION", "x"].map(str::to_owned).to_vec();
    let data = prop::collection::btree_map(prop::sample::select(keys), mutation::text(), 0..4);
    let secret = annotations(&[
        "access-key-id",
        "access-key-created-at",
        "access-key-digest",
        "access-key-location",
        "account-id",
        "previous-access-key-id",
        "rotated-at",
        "rotate-handled",
        "revoked-access-key-id",
        "user-uid",
        "spec-labels",
        "spec-annotations",
    ]);
    let user = annotations(&["rotate", "paused", "x"]);
    let rich = spec(json!({
        "policy": { "statements": [{ "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::x/*" }] },
        "tags": { "team": "a" }, "secret": { "labels": { "a": "1" }, "annotations": { "b": "2" } },
    }));
    let specs = prop::option::of(mutation::harmed(vec![rich, spec(json!({}))]));
    (data, secret, user, specs, prop::option::of(mutation::harmed(vec![status()]))).prop_map(
        |(data, secret_annotations, user_annotations, spec, status)| Texts {
            data,
            secret_annotations,
            user_annotations,
            spec,
            status,
        },
    )
}

impl Texts {
    fn write(&self, simulation: &Simulation) {
        simulation.outside.with(|state| {
            if state.cluster.secrets.contains_key(SECRET) {
                state.cluster.edit_secret(SECRET, |secret| {
                    let bytes =
                        self.data.iter().map(|(key, text)| (key.clone(), ByteString(text.clone().into_bytes())));
                    secret.data.get_or_insert_default().extend(bytes);
                    secret.metadata.annotations.get_or_insert_default().extend(self.secret_annotations.clone());
                });
            }
            state.cluster.edit_user(NAME, |user| {
                user.metadata.annotations.get_or_insert_default().extend(self.user_annotations.clone());
                let parsed = |value: &Value| serde_json::from_str::<S3AccessUserSpec>(&value.to_string()).ok();
                if let Some(spec) = self.spec.as_ref().and_then(parsed) {
                    // The schema keeps it.
                    user.spec = S3AccessUserSpec { user_name: Some(USER.to_owned()), ..spec };
                }
                let parsed = |value: &Value| serde_json::from_str::<S3AccessUserStatus>(&value.to_string()).ok();
                if let Some(status) = self.status.as_ref().and_then(parsed) {
                    user.status = Some(status);
                }
            });
        });
    }
}

/// A settled user.
fn settled() -> Outside {
    static SETTLED: OnceLock<Outside> = OnceLock::new();
    let made = || {
        let mut simulation =
            Simulation::new(Outside::new(Settings::default(), "2026-01-01T00:00:00Z".parse().unwrap()));
        simulation.created();
        simulation.outside
    };
    SETTLED.get_or_init(made).fork()
}

/// What came of it, where it was no good.
fn live_with(texts: &Texts) -> Result<(), String> {
    let mut simulation = Simulation::new(settled());
    texts.write(&simulation);
    simulation.run(HOUR);
    // The next process meets it without a memory.
    texts.write(&simulation);
    simulation.restart();
    simulation.run(HOUR);
    simulation.outside.with(|state| {
        state.cluster.edit_user(NAME, |user| {
            user.spec = serde_json::from_value(spec(json!({}))).unwrap();
            user.metadata.annotations = None;
        });
    });
    simulation.run(SignedDuration::from_hours(24));
    simulation.outside.with(|state| {
        // Who writes over the only record of a key has the loss of it.
        let own_loss = !texts.data.is_empty() || !texts.secret_annotations.is_empty();
        state.violations.retain(|found| !own_loss || !found.starts_with("invariant 3"));
        if !state.violations.is_empty() {
            return Err(state.violations.join("\n"));
        }
        let status = state.cluster.users[NAME].status.clone().unwrap_or_default();
        let ready = status.conditions.iter().any(|found| found.type_ == "Ready" && found.status == "True");
        let keys = state.user(USER).map(|user| user.keys.clone()).unwrap_or_default();
        let held = |id: &str, secret: &str| {
            let data = state.cluster.secrets.get(SECRET).and_then(|secret| secret.data.clone()).unwrap_or_default();
            let is = |key: &str, text: &str| data.get(key).is_some_and(|value| value.0 == text.as_bytes());
            is("AWS_ACCESS_KEY_ID", id) && is("AWS_SECRET_ACCESS_KEY", secret)
        };
        match keys.as_slice() {
            [key] if ready && held(&key.id, &key.secret) && state.accepts(&key.id, &key.secret) => Ok(()),
            keys => Err(format!("{keys:?}\n{:?}", status.conditions)),
        }
    })
}

fn try_texts(texts: &Texts) -> Result<(), String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| live_with(texts)));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        Err(format!(
            "panicked: {}",
            text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
        ))
    })
}

#[test]
fn an_honest_user_lives_through_it_too() {
    let none = Texts {
        data: BTreeMap::new(),
        secret_annotations: BTreeMap::new(),
        user_annotations: BTreeMap::new(),
        spec: None,
        status: None,
    };
    assert_eq!(live_with(&none), Ok(()));
}

proptest! {
    #![proptest_config(ProptestConfig {
        // Two hours and a day of a user's life are a few hundred times as much as a decision.
        cases: u32::try_from(crate::number("ATTACKS_CASES", 1_500) / 15).unwrap(),
        max_shrink_iters: 200,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    })]

    #[test]
    fn invariant_9_no_text_of_a_tenant_does_harm(texts in texts()) {
        prop_assert_eq!(try_texts(&texts), Ok(()));
    }
}
