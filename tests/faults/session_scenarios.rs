//! Sessions in the place of the key: each of these is the life of one, or the way there and back.

use ground::double::{Page, Request, Response, Status};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::class_scenarios::{class, set};
use crate::scenarios::{End, HOUR, SECRET, Scenario, spec, user_name};
use crate::simulation::Simulation;

/// Longer than two overlaps and the grace after them.
const ROTATION: SignedDuration = SignedDuration::from_hours(26);

/// With sessions of twelve hours; the key's overlap is as long then.
fn sessions(extra: Value) -> Value {
    let mut access_key = json!({
        "mode": "Session", "duration": "12h", "rotation": { "interval": "720h", "overlap": "10m" },
    });
    for (field, value) in extra.as_object().unwrap() {
        access_key[field] = value.clone();
    }
    spec(json!({ "accessKey": access_key }))
}

fn with_sessions(simulation: &mut Simulation) {
    simulation.create(&sessions(json!({})));
    simulation.run(HOUR);
}

fn kept_key(simulation: &Simulation) -> String {
    simulation.outside.with(|state| {
        let mut names = state.cluster.secrets.keys();
        names.find(|name| name.starts_with("session-key-")).cloned().unwrap()
    })
}

fn no_session_works(simulation: &mut Simulation) {
    let works = simulation.outside.with(|state| {
        let secret = state.cluster.secrets[SECRET].clone();
        state.accepts_session(&secret)
    });
    assert!(!works, "it is not cut");
    let keys = simulation.by_hand(&Request::ListAccessKeys { user_name: user_name(), page: Page::default() });
    let Response::AccessKeys(keys) = keys else { panic!("no keys: {keys:?}") };
    assert!(keys.items.iter().all(|key| key.status == Status::Inactive), "{keys:?}");
}

/// The session that the workload has works no more once it is revoked, in whatever way; the key of it may go on for a while.
fn revoked(simulation: &mut Simulation, value: &str) {
    // The bulk read compares its policy, which no pass reads without need.
    simulation.outside.with(|state| state.swept = true);
    simulation.run(SignedDuration::from_secs(1));
    let leaked = simulation.outside.with(|state| state.cluster.secrets[SECRET].clone());
    simulation.revoke(value);
    simulation.run(HOUR);
    let works = simulation.outside.with(|state| state.accepts_session(&leaked));
    assert!(simulation.is_race() || !works, "a session from before the revocation works");
}

/// The class requires sessions from now on.
fn required(simulation: &mut Simulation) {
    set(simulation, Some(&class(json!({ "requireSession": true }))));
}

macro_rules! becomes {
    ($name:literal => $end:ident, $from:expr, $to:expr, $time:expr) => {
        Scenario {
            name: $name,
            before: |simulation| {
                simulation.create(&$from);
                simulation.run(HOUR);
            },
            act: |simulation| {
                simulation.respec(&$to);
                simulation.run($time);
            },
            end: End::$end,
        }
    };
}

macro_rules! by_hand {
    ($name:literal, $hand:expr) => {
        Scenario {
            name: $name,
            before: with_sessions,
            act: |simulation| {
                let hand: fn(&mut Simulation) = $hand;
                hand(simulation);
                simulation.run(HOUR);
            },
            end: End::Sessions,
        }
    };
}

pub const ALL: &[Scenario] = &[
    Scenario { name: "session-create", before: |_| {}, act: with_sessions, end: End::Sessions },
    Scenario {
        name: "session-renewals",
        before: with_sessions,
        act: |simulation| simulation.run(HOUR * 6),
        end: End::Sessions,
    },
    Scenario {
        name: "session-renewal-after-an-outage",
        before: |simulation| {
            with_sessions(simulation);
            simulation.outside.pass(HOUR * 13);
        },
        act: |simulation| simulation.run(HOUR),
        end: End::Sessions,
    },
    becomes!("session-from-static" => Sessions, spec(json!({})), sessions(json!({})), ROTATION),
    becomes!("session-to-static" => Ready, sessions(json!({})), spec(json!({})), HOUR * 13),
    Scenario {
        name: "session-to-static-and-back",
        before: with_sessions,
        act: |simulation| {
            simulation.respec(&spec(json!({})));
            simulation.run(SignedDuration::from_secs(3));
            simulation.respec(&sessions(json!({})));
            simulation.run(ROTATION);
        },
        end: End::Sessions,
    },
    Scenario {
        name: "session-rotate",
        before: with_sessions,
        act: |simulation| {
            simulation.rotate();
            simulation.run(ROTATION);
        },
        end: End::Sessions,
    },
    becomes!("session-resume" => Sessions, sessions(json!({ "status": "Inactive" })), sessions(json!({})), HOUR),
    Scenario {
        name: "session-suspend-cuts-at-once",
        before: with_sessions,
        act: |simulation| {
            simulation.respec(&sessions(json!({ "status": "Inactive" })));
            simulation.run(SignedDuration::from_mins(10));
            no_session_works(simulation);
            simulation.run(HOUR);
        },
        end: End::Suspended,
    },
    by_hand!("session-secret-deleted", |simulation| {
        simulation.outside.with(|state| state.cluster.secrets.remove(SECRET));
    }),
    by_hand!("session-secret-stripped", |simulation| simulation.edit_secret(|secret| {
        (secret.metadata.annotations, secret.metadata.labels) = (None, None);
    })),
    by_hand!("session-key-lost", |simulation| {
        let name = kept_key(simulation);
        simulation.outside.with(|state| state.cluster.secrets.remove(&name));
    }),
    by_hand!("session-key-deleted-in-iam", |simulation| {
        let keys = simulation.by_hand(&Request::ListAccessKeys { user_name: user_name(), page: Page::default() });
        let Response::AccessKeys(keys) = keys else { panic!("no keys: {keys:?}") };
        let access_key_id = keys.items[0].id.clone();
        simulation.by_hand(&Request::DeleteAccessKey { user_name: user_name(), access_key_id });
    }),
    by_hand!("session-revoke", |simulation| revoked(simulation, "1")),
    by_hand!("session-revoke-and-keep-working", |simulation| revoked(simulation, "keep-working-1")),
    Scenario {
        name: "session-delete",
        before: with_sessions,
        act: |simulation| {
            simulation.delete();
            simulation.run(HOUR);
        },
        end: End::Gone,
    },
    Scenario {
        name: "session-required",
        before: |simulation| {
            set(simulation, Some(&class(json!({}))));
            simulation.create(&spec(json!({})));
            simulation.run(HOUR);
        },
        act: |simulation| {
            required(simulation);
            simulation.run(HOUR);
            simulation.respec(&sessions(json!({})));
            simulation.run(HOUR);
        },
        end: End::Sessions,
    },
    Scenario {
        name: "session-required-in-the-midst-of-the-way",
        before: |simulation| {
            set(simulation, Some(&class(json!({}))));
            simulation.create(&spec(json!({})));
            simulation.run(HOUR);
        },
        act: |simulation| {
            simulation.respec(&sessions(json!({})));
            simulation.run(SignedDuration::from_secs(3));
            required(simulation);
            simulation.run(ROTATION);
        },
        end: End::Sessions,
    },
    Scenario {
        name: "session-shut-out",
        before: |simulation| {
            set(simulation, Some(&class(json!({}))));
            with_sessions(simulation);
        },
        act: |simulation| {
            set(simulation, Some(&class(json!({ "allowedNamespaces": { "names": ["another"] } }))));
            simulation.run(HOUR);
            no_session_works(simulation);
            set(simulation, Some(&class(json!({}))));
            simulation.run(HOUR);
        },
        end: End::Sessions,
    },
];
