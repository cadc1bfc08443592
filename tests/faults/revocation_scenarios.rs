//! A key has leaked: it is taken out of use whatever else is going on, and another one takes its place.

use jiff::SignedDuration;
use s3_access_operator::api::annotations;
use serde_json::json;

use crate::scenarios::{End, HOUR, ROTATION, SECRET, Scenario, spec, user_name};
use crate::simulation::Simulation;

/// Longer than a revoked key is kept.
const KEPT: SignedDuration = SignedDuration::from_hours(8 * 24);

impl Simulation {
    /// Asks for a revocation. From then on, nobody may keep the keys that are there from being ended.
    pub fn revoke(&mut self, value: &str) {
        let now = !value.starts_with("keep-working");
        self.outside.with(|state| state.revoked_at = Some(state.now).filter(|_| now));
        self.annotate(annotations::REVOKE, value);
    }

    /// The keys that there were work no more; with two leaders, one of which may be frozen for as long, not before the end.
    pub fn are_dead(&mut self, old: Vec<(String, String)>) {
        for (id, secret) in &old {
            let works = self.outside.with(|state| state.accepts(id, secret));
            assert!(self.is_race() || !works, "revoked key {id} works");
        }
        self.outside.with(|state| state.revoked.extend(old));
    }

    pub fn keys(&self) -> Vec<(String, String)> {
        self.outside.with(|state| {
            let ours = state.users().filter(|user| user.name == user_name());
            ours.flat_map(|user| user.keys.clone()).map(|key| (key.id, key.secret)).collect()
        })
    }

    /// Revoked now, and the keys are dead within the hour; whatever the faults.
    fn revoked(&mut self, value: &str) {
        let old = self.keys();
        self.revoke(value);
        self.run(HOUR);
        self.are_dead(old);
    }
}

/// What was going on before, and how it goes on until the last of the revoked keys is deleted.
macro_rules! revoked {
    ($name:literal, $before:expr) => {
        revoked!($name, $before, |_| {})
    };
    ($name:literal, $before:expr, $after:expr) => {
        Scenario {
            name: $name,
            before: |simulation| {
                simulation.created();
                let before: fn(&mut Simulation) = $before;
                before(simulation);
            },
            act: |simulation| {
                simulation.revoked("1");
                let after: fn(&mut Simulation) = $after;
                after(simulation);
                simulation.run(HOUR);
            },
            end: End::Replaced,
        }
    };
}

pub const ALL: &[Scenario] = &[
    revoked!("revoke", |_| {}),
    revoked!("revoke-and-wait-for-its-end", |_| {}, |simulation| {
        simulation.run(KEPT);
        assert_eq!(simulation.keys().len(), 1, "the revoked key is deleted");
    }),
    revoked!("revoke-twice", |_| {}, |simulation| simulation.revoked("2")),
    revoked!("revoke-amid-a-new-key", |simulation| {
        simulation.rotate();
        simulation.run(SignedDuration::from_secs(3));
    }),
    revoked!("revoke-in-an-overlap", |simulation| {
        simulation.rotate();
        simulation.run(SignedDuration::from_mins(4));
    }),
    revoked!("revoke-while-paused", |simulation| simulation.annotate(annotations::PAUSED, "true"), |simulation| {
        simulation.annotate(annotations::PAUSED, "false")
    }),
    revoked!(
        "revoke-a-wrong-spec",
        |simulation| {
            simulation.respec(&spec(json!({ "policy": { "statements": [{ "Effect": "Perhaps" }] } })));
            simulation.run(HOUR);
        },
        |simulation| simulation.respec(&spec(json!({})))
    ),
    revoked!(
        "revoke-while-suspended",
        |simulation| {
            simulation.respec(&spec(json!({ "suspend": true })));
            simulation.run(HOUR);
        },
        |simulation| simulation.respec(&spec(json!({})))
    ),
    revoked!("revoke-with-the-secret-lost", |simulation| {
        simulation.while_down(|outside| outside.with(|state| drop(state.cluster.secrets.remove(SECRET))));
    }),
    revoked!("rotate-after-a-revocation", |_| {}, |simulation| {
        simulation.rotate();
        simulation.run(ROTATION);
    }),
    Scenario {
        name: "revoke-and-keep-working",
        before: Simulation::created,
        act: |simulation| {
            let old = simulation.keys();
            simulation.revoke("keep-working-1");
            simulation.run(HOUR);
            simulation.are_dead(old);
        },
        end: End::Replaced,
    },
    Scenario {
        name: "revoke-and-delete",
        before: Simulation::created,
        act: |simulation| {
            simulation.revoke("1");
            simulation.run(SignedDuration::from_secs(2));
            simulation.delete();
            simulation.run(HOUR);
        },
        end: End::Gone,
    },
    Scenario {
        name: "create-with-a-revocation",
        before: |_| {},
        act: |simulation| {
            simulation.create(&spec(json!({})));
            simulation.revoke("1");
            simulation.run(HOUR);
        },
        end: End::Ready,
    },
];
