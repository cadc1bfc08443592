//! A key that works from some places and for some time: it comes under that, and ends, whatever strikes meanwhile.

use ground::double::{Access, Context, Credentials, Settings};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use s3_access_operator::api::annotations;
use serde_json::{Value, json};

use crate::class_scenarios::{class, set, settled};
use crate::outside::Outside;
use crate::scenarios::{End, HOUR, ROTATION, SECRET, Scenario, spec};
use crate::simulation::Simulation;
use crate::withdrawal_scenarios::no_key_works;

/// Three hours after the start.
const END: &str = "2026-01-01T03:00:00Z";
const OFFICE: &str = "10.0.0.0/8";

fn until(time: &str) -> Value {
    spec(json!({ "expiresAt": time }))
}

/// A user with an hour of its time behind it.
fn ending(simulation: &mut Simulation) {
    simulation.create(&until(END));
    simulation.run(HOUR);
}

fn office() -> Value {
    class(json!({ "requiredConditions": { "sourceIps": [OFFICE] } }))
}

/// Whether IAM lets the key in the Secret have an object, from that address.
fn reads_from(simulation: &Simulation, address: &str) -> bool {
    let (access_key_id, secret_access_key) = simulation.key();
    let credentials = Credentials { access_key_id, secret_access_key, session_token: None };
    let context = Context::new().with("aws:SourceIp", address);
    let object = "arn:aws:s3:::team-a-reports/x";
    let asked = |state: &mut crate::outside::State| {
        state.aws.authorize(state.now, &credentials, "s3:GetObject", object, &context)
    };
    simulation.outside.with(asked) == Access::Allowed
}

/// The key in the Secret works from the office alone.
fn from_the_office_alone(simulation: &Simulation) {
    assert!(reads_from(simulation, "10.1.2.3") && !reads_from(simulation, "192.0.2.1"));
}

/// Something keeps the spec from being carried out, until so many minutes later.
macro_rules! hindered {
    ($name:literal, $minutes:literal => $end:expr, $hinders:expr) => {
        Scenario {
            name: $name,
            before: |simulation| {
                ending(simulation);
                let hinders: fn(&mut Simulation) = $hinders;
                hinders(simulation);
                simulation.run(SignedDuration::from_mins(10));
            },
            act: |simulation| {
                simulation.run(SignedDuration::from_mins($minutes));
                no_key_works(simulation);
            },
            end: $end,
        }
    };
}

fn paused(simulation: &mut Simulation) {
    simulation.annotate(annotations::PAUSED, "true");
}

/// One that goes on being tried would take the suite long.
#[test]
fn a_key_ends_in_time_whose_secret_is_not_to_be_had() {
    let start = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut simulation = Simulation::new(Outside::new(Settings::default(), start));
    ending(&mut simulation);
    let theirs = ObjectMeta { name: Some("theirs".to_owned()), ..ObjectMeta::default() };
    let theirs = Secret { metadata: theirs, ..Secret::default() };
    simulation.outside.with(|state| state.cluster.put_secret(theirs));
    simulation.respec(&spec(json!({ "expiresAt": END, "secret": { "name": "theirs" } })));
    simulation.run(HOUR * 3);
    no_key_works(&mut simulation);
}

pub const ALL: &[Scenario] = &[
    Scenario { name: "expires", before: ending, act: |simulation| simulation.run(HOUR * 3), end: End::Expired },
    Scenario {
        name: "expires-while-down",
        before: |simulation| {
            ending(simulation);
            assert!(reads_from(simulation, "192.0.2.1"));
            simulation.while_down(|outside| outside.pass(HOUR * 3));
            assert!(!reads_from(simulation, "192.0.2.1"), "IAM sees to it by itself");
        },
        act: |simulation| simulation.run(HOUR),
        end: End::Expired,
    },
    Scenario {
        name: "expires-in-a-rotation-and-extended",
        before: |simulation| {
            ending(simulation);
            simulation.run(SignedDuration::from_mins(118));
            simulation.rotate();
            simulation.run(SignedDuration::from_secs(3));
        },
        act: |simulation| {
            simulation.run(ROTATION);
            no_key_works(simulation);
            simulation.respec(&until("2026-06-01T00:00:00Z"));
            simulation.run(ROTATION);
        },
        end: End::Replaced,
    },
    Scenario {
        name: "expired-at-the-start-and-extended",
        before: |simulation| {
            simulation.outside.pass(HOUR * 4);
            simulation.create(&until(END));
            simulation.run(HOUR);
            let made = simulation.outside.with(|state| state.cluster.secrets.contains_key(SECRET));
            assert!(!made, "no key was made");
        },
        act: |simulation| {
            simulation.respec(&until("2026-06-01T00:00:00Z"));
            simulation.run(HOUR);
        },
        end: End::Ready,
    },
    Scenario {
        name: "expiry-extended",
        before: |simulation| {
            ending(simulation);
            simulation.run(HOUR * 3);
        },
        act: |simulation| {
            let key = simulation.key();
            simulation.respec(&until("2026-06-01T00:00:00Z"));
            simulation.run(HOUR);
            assert!(simulation.key() == key && reads_from(simulation, "192.0.2.1"), "the very key works again");
        },
        end: End::Ready,
    },
    hindered!("expires-paused", 180 => End::Refused("Expired"), paused),
    hindered!("expires-with-a-wrong-spec", 180 => End::Refused("Expired"), |simulation| {
        let rotation = json!({ "rotation": { "interval": "1h", "overlap": "2h" } });
        simulation.respec(&spec(json!({ "expiresAt": END, "accessKey": rotation })));
    }),
    Scenario {
        name: "class-sets-a-lifetime",
        before: settled,
        act: |simulation| {
            set(simulation, Some(&class(json!({ "maxLifetime": "90m" }))));
            simulation.run(HOUR);
        },
        end: End::Expired,
    },
    Scenario {
        name: "class-sets-a-lifetime-that-is-over",
        before: |simulation| {
            settled(simulation);
            paused(simulation);
            set(simulation, Some(&class(json!({ "maxLifetime": "30m" }))));
        },
        act: |simulation| {
            simulation.run(HOUR);
            no_key_works(simulation);
        },
        end: End::Refused("Expired"),
    },
    Scenario {
        name: "class-requires-conditions",
        before: settled,
        act: |simulation| {
            set(simulation, Some(&office()));
            simulation.run(HOUR);
            from_the_office_alone(simulation);
        },
        end: End::Ready,
    },
    Scenario {
        name: "class-requires-conditions-of-who-is-paused",
        before: |simulation| {
            settled(simulation);
            paused(simulation);
            simulation.while_down(|outside| outside.with(|state| state.cluster.set_class(Some(&office()))));
        },
        act: |simulation| {
            simulation.run(HOUR);
            from_the_office_alone(simulation);
        },
        end: End::Refused("Paused"),
    },
    Scenario {
        name: "class-requires-conditions-and-takes-them-back",
        before: |simulation| {
            set(simulation, Some(&office()));
            simulation.create(&spec(json!({ "conditions": { "sourceIps": ["10.1.0.0/16", "192.0.2.0/24"] } })));
            simulation.run(HOUR);
            from_the_office_alone(simulation);
        },
        act: |simulation| {
            set(simulation, Some(&class(json!({}))));
            simulation.run(HOUR);
            assert!(reads_from(simulation, "10.1.2.3") && reads_from(simulation, "192.0.2.1"));
        },
        end: End::Ready,
    },
];
