//! What IAM and a Secret may show the decision, and what the decision makes of it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use s3_access_operator::core::class::Class;
use s3_access_operator::core::desired::Desired;
use s3_access_operator::core::iam::AccessKey;
use s3_access_operator::core::iam::AccessKeyId;
use s3_access_operator::core::observed::{HeldKey, Minted, Observed, OurSecret, Probes, SecretState, User, UserState};
use s3_access_operator::core::plan::Effect;
use s3_access_operator::core::plan::{Action, Waits, plan, teardown};
use serde_json::json;

use super::{desired, is_plausible, user_of};
use crate::judge::{holding, on_a_worker};

/// A settled operator needs less; one that goes on for ever never gets there.
const ROUNDS: usize = 60;

pub fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// What would be the answer of a world in which everything works.
fn effect(action: &Action, number: usize) -> Effect {
    match action {
        Action::CreateUser { .. } => Effect::UserCreated("arn:aws:iam::123456789012:user/tenants/reports".to_owned()),
        Action::CreateAccessKey => Effect::KeyCreated(Minted { id: format!("AKIA{number:016}"), created_at: now() }),
        Action::ProbeKey { .. } => Effect::Probed(true),
        Action::ReadLastUsed { .. } => Effect::LastUsed(None),
        Action::WriteSecret { .. } => {
            Effect::SecretWritten { uid: "secret".to_owned(), resource_version: number.to_string() }
        }
        _ => Effect::Done,
    }
}

/// The keys that an action is about.
fn key_of(action: &Action) -> Option<String> {
    match action {
        Action::SetKeyStatus { id, .. }
        | Action::DeleteKey { id, .. }
        | Action::ProbeKey { id }
        | Action::ReadLastUsed { id } => Some(id.to_string()),
        _ => None,
    }
}

/// Plans and acts from there on, until nothing is left to do.
fn act(desired: &Desired, observed: &mut Observed, deleted: bool) -> Result<(), String> {
    for round in 0..ROUNDS {
        let now = now() + SignedDuration::from_secs(i64::try_from(round).unwrap() * 5);
        let waits = Waits::default();
        let plan = if deleted {
            teardown(&desired.owner, observed, now, &waits)
        } else {
            plan(desired, observed, now, &waits)
        };
        if plan.actions.is_empty() {
            return Ok(());
        }
        for (number, action) in plan.actions.iter().enumerate() {
            if let Some(id) = key_of(action).filter(|id| !is_plausible(id)) {
                return Err(format!("AWS: it would be called with key {id:?}"));
            }
            observed.record(&desired.owner, action, &effect(action, round * 100 + number), now);
        }
    }
    Err("no end: it plans for ever".to_owned())
}

/// From nothing to a settled user, and to nothing again.
pub fn live_through(desired: &Desired) -> Result<(), String> {
    let mut observed = Observed::nothing();
    observed.user = UserState::Missing;
    act(desired, &mut observed, false)?;
    act(desired, &mut observed, true)
}

/// Any time that there is: AWS's and the Secret's are others' words.
fn time() -> impl Strategy<Value = Timestamp> {
    prop_oneof![
        Just(Timestamp::MIN),
        Just(Timestamp::MAX),
        (-100_000..100_000_i64).prop_map(|seconds| now() + SignedDuration::from_secs(seconds)),
        (-377_705_023_201..253_402_207_200_i64).prop_map(|seconds| Timestamp::from_second(seconds).unwrap()),
    ]
}

fn maybe<T: std::fmt::Debug>(strategy: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(strategy)
}

/// Ids of keys are few, so that they meet.
fn id() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["AKIA1", "AKIA2", "AKIA3"]).prop_map(str::to_owned)
}

fn written_id() -> impl Strategy<Value = AccessKeyId> {
    id().prop_map(|id| AccessKeyId::of_iam(&id))
}

fn tags() -> impl Strategy<Value = BTreeMap<String, String>> {
    let names =
        ["policy", "previous-policy", "attached", "tag-keys", "boundary", "adopted-at", "owner", "uid", "cluster"];
    let name = prop::sample::select(names.to_vec()).prop_map(|name| format!("s3access.dev/{name}"));
    let ours = any::<bool>().prop_map(|ours| {
        let own = [("cluster", "cluster"), ("uid", "uid"), ("owner", "team-a/reports")];
        own.iter()
            .filter(|_| ours)
            .map(|(name, value)| (format!("s3access.dev/{name}"), (*value).to_owned()))
            .collect::<Vec<_>>()
    });
    (prop::collection::btree_map(name, super::mutation::text(), 0..5), ours).prop_map(|(mut tags, ours)| {
        tags.extend(ours);
        tags
    })
}

fn user() -> impl Strategy<Value = User> {
    let key = (id(), any::<bool>(), time()).prop_map(|(id, active, created_at)| AccessKey { id, active, created_at });
    (tags(), prop::collection::vec(key, 0..3), maybe(super::mutation::text()), super::mutation::text()).prop_map(
        |(tags, keys, boundary, path)| User {
            arn: "arn:aws:iam::123456789012:user/reports".to_owned(),
            path,
            tags,
            boundary,
            keys,
            attached: ["arn:aws:iam::aws:policy/AmazonS3FullAccess".to_owned()].into(),
            inline: BTreeMap::new(),
            beside: Default::default(),
        },
    )
}

fn secret() -> impl Strategy<Value = SecretState> {
    let key =
        (written_id(), maybe(time()), prop::sample::select(vec![None, Some("123456789012"), Some("999999999999")]));
    let key =
        key.prop_map(|(id, created_at, account)| HeldKey { id, created_at, account_id: account.map(str::to_owned) });
    let record = (maybe(written_id()), maybe(time()), maybe(super::mutation::text()), maybe(written_id()));
    (maybe(key), any::<(bool, bool, bool)>(), record).prop_map(
        |(key, (annotated, up_to_date, immutable), (previous, rotated_at, rotate_handled, orphan_to_delete))| {
            SecretState::Ours(OurSecret {
                annotated,
                previous,
                rotated_at,
                rotate_handled,
                orphan_to_delete,
                up_to_date,
                immutable,
                ..holding(key)
            })
        },
    )
}

/// A state of the world that no honest history need have led to.
pub fn world() -> impl Strategy<Value = Observed> {
    let minted = (id(), time()).prop_map(|(id, created_at)| Minted { id, created_at });
    let probes = (0..5_u32, time(), time()).prop_map(|(successes, since, last)| Probes { successes, since, last });
    let known = (maybe(minted), prop::collection::btree_map(id(), probes, 0..3), maybe((id(), maybe(time()))));
    let flags = any::<(bool, bool, bool)>();
    (user(), secret(), known, flags, maybe(super::mutation::text())).prop_map(
        |(user, secret, (minted, probes, last_used), (finalizer, settled, leftovers), hint)| Observed {
            finalizer,
            announced_settled: settled,
            retiring_hint: hint,
            user: UserState::Present(Box::new(user)),
            secret,
            minted,
            probes,
            last_used,
            leftovers,
            ..Observed::nothing()
        },
    )
}

/// Decides about it, for a user that goes on and for one that is deleted.
pub fn try_world(world: Observed) -> Result<(), String> {
    on_a_worker(move || {
        let spec =
            crate::judge::tenant(json!({ "accessKey": { "rotation": { "interval": "720h", "overlap": "1h" } } }));
        let desired = desired(&user_of(&spec).unwrap(), &Class::none()).unwrap();
        act(&desired, &mut world.clone(), false)?;
        act(&desired, &mut world.clone(), true)
    })?
}
