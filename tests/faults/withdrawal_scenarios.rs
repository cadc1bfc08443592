//! A tenant who has access and will not let go of it: what its class takes back is gone all the same.

use ground::double::{Page, Request, Response, Status};
use jiff::SignedDuration;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Value, json};

use crate::class_scenarios::{class, one_bucket, set, settled, shut_out};
use crate::scenarios::{End, HOUR, ROTATION, SECRET, Scenario, spec, user_name};
use crate::simulation::Simulation;

fn without_finalizer(simulation: &mut Simulation) {
    simulation.edit(|user| user.metadata.finalizers = None);
}

fn of_another_account(simulation: &mut Simulation) {
    simulation.edit_secret(|secret| {
        let noted = ("s3access.dev/account-id".to_owned(), "999999999999".to_owned());
        secret.metadata.annotations.get_or_insert_default().extend([noted]);
    });
}

fn bulky(simulation: &mut Simulation) {
    simulation.edit_secret(|secret| {
        secret.data.get_or_insert_default().insert("AWS_ACCESS_KEY_ID".to_owned(), ByteString(vec![b'A'; 120_000]));
        secret.metadata.annotations.get_or_insert_default().remove("s3access.dev/access-key-digest");
    });
}

fn paused(simulation: &mut Simulation) {
    simulation.annotate("s3access.dev/paused", "true");
}

pub fn no_key_works(simulation: &mut Simulation) {
    all_keys_are(Status::Inactive, simulation);
}

fn all_keys_are(status: Status, simulation: &mut Simulation) {
    let keys = simulation.by_hand(&Request::ListAccessKeys { user_name: user_name(), page: Page::default() });
    let Response::AccessKeys(keys) = keys else { panic!("no keys: {keys:?}") };
    let now = simulation.outside.now();
    assert!(keys.items.iter().all(|key| key.status == status), "at {now}: {keys:?}");
}

/// A user of a class that lets no key become older than three hours.
fn aging(simulation: &mut Simulation) {
    set(simulation, Some(&class(json!({ "rotation": { "maxInterval": "3h" } }))));
    simulation.create(&aging_spec(SECRET));
    simulation.run(HOUR);
}

fn aging_spec(secret: &str) -> Value {
    spec(json!({
        "accessKey": { "rotation": { "interval": "2h", "overlap": "10m" } }, "secret": { "name": secret },
    }))
}

/// The tenant does something while the operator is down, and the class becomes another.
macro_rules! holds_on {
    ($name:literal => $end:expr, $does:expr, $class:expr) => {
        Scenario {
            name: $name,
            before: |simulation| {
                settled(simulation);
                $does(simulation);
                simulation.while_down(|outside| outside.with(|state| state.cluster.set_class(Some(&$class))));
            },
            act: |simulation| simulation.run(HOUR),
            end: $end,
        }
    };
}

/// The tenant does something, and the S3AccessUser is deleted.
macro_rules! leaves {
    ($name:literal, $does:expr) => {
        Scenario {
            name: $name,
            before: |simulation| {
                settled(simulation);
                $does(simulation);
            },
            act: |simulation| {
                simulation.delete();
                simulation.run(HOUR);
            },
            end: End::Gone,
        }
    };
}

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "finalizer-removed",
        before: |simulation| {
            settled(simulation);
            without_finalizer(simulation);
        },
        act: |simulation| {
            simulation.run(HOUR);
            simulation.delete();
            simulation.run(HOUR);
        },
        end: End::Gone,
    },
    holds_on!("finalizer-removed-class-shrinks" => End::Refused("NotPermittedByClass"), without_finalizer, one_bucket()),
    holds_on!("finalizer-removed-class-shuts-out" => End::Expelled("NotPermittedByClass"), without_finalizer, shut_out()),
    holds_on!("account-noted-class-shuts-out" => End::Expelled("NotPermittedByClass"), of_another_account, shut_out()),
    Scenario {
        name: "finalizer-refused-class-shuts-out",
        before: |simulation| {
            settled(simulation);
            without_finalizer(simulation);
            simulation.while_down(|outside| {
                outside.with(|state| {
                    state.cluster.refuses_finalizers = true;
                    state.cluster.set_class(Some(&shut_out()));
                });
            });
        },
        act: |simulation| {
            simulation.run(HOUR);
            no_key_works(simulation);
            simulation.outside.with(|state| state.cluster.refuses_finalizers = false);
            simulation.run(HOUR);
        },
        end: End::Expelled("NotPermittedByClass"),
    },
    Scenario {
        name: "rotation-held-up-for-ever",
        before: |simulation| {
            aging(simulation);
            let theirs = ObjectMeta { name: Some("theirs".to_owned()), ..ObjectMeta::default() };
            simulation.outside.with(|state| {
                state.cluster.put_secret(Secret { metadata: theirs, ..Secret::default() });
            });
            simulation.respec(&aging_spec("theirs"));
            simulation.run(HOUR * 3);
        },
        act: |simulation| {
            // From its making on: three hours, two overlaps, one more; and the pauses between reconciles.
            simulation.run(SignedDuration::from_mins(20 + 60 + 30) - HOUR);
            no_key_works(simulation);
            simulation.outside.with(|state| state.cluster.secrets.remove("theirs"));
            simulation.respec(&aging_spec(SECRET));
            simulation.run(HOUR);
            // From here on, it is at rest for long.
            set(simulation, Some(&class(json!({}))));
            simulation.respec(&spec(json!({ "secret": { "name": SECRET } })));
            simulation.run(ROTATION);
        },
        end: End::Replaced,
    },
    Scenario {
        name: "too-old-for-a-class-that-bounds-it-only-now",
        before: |simulation| {
            settled(simulation);
            simulation.run(HOUR * 24);
        },
        act: |simulation| {
            set(simulation, Some(&class(json!({ "rotation": { "maxInterval": "3h" } }))));
            // Until the replaced key's overlap is over; with two leaders, time passes faster than that.
            for _ in 0..10 {
                simulation.run(HOUR / 60);
                if !simulation.is_race() {
                    all_keys_are(Status::Active, simulation);
                }
            }
            set(simulation, Some(&class(json!({}))));
            simulation.run(HOUR * 48);
        },
        end: End::Replaced,
    },
    leaves!("bulky-secret-delete", bulky),
    leaves!("account-noted-delete", of_another_account),
    leaves!("paused-delete", paused),
    Scenario {
        name: "paused-class-shrinks-delete",
        before: |simulation| {
            settled(simulation);
            paused(simulation);
            set(simulation, Some(&one_bucket()));
        },
        act: |simulation| {
            simulation.delete();
            simulation.run(HOUR);
        },
        end: End::Gone,
    },
];
