//! What an S3AccessClass does to its users' lives: it shrinks, widens, goes and comes back, while faults strike.

use ground::double::{Request, Tag};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::scenarios::{End, HOUR, NAME, ROTATION, Scenario, USER, spec, strangers_key};
use crate::simulation::Simulation;

/// A class that allows what [`grants`] asks for, with other fields.
pub fn class(extra: Value) -> Value {
    let mut class = json!({ "allowedBuckets": ["team-a-*"], "allowedNames": ["*"] });
    for (key, value) in extra.as_object().unwrap() {
        class[key] = value.clone();
    }
    class
}

/// Two buckets, so that one may be taken back and the other one stay.
pub fn grants() -> Value {
    spec(json!({ "access": [
        { "bucket": "team-a-reports", "level": "ReadWrite" },
        { "bucket": "team-a-logs", "level": "ReadOnly" },
    ] }))
}

pub fn one_bucket() -> Value {
    class(json!({ "allowedBuckets": ["team-a-reports"] }))
}

pub fn shut_out() -> Value {
    class(json!({ "allowedNamespaces": { "names": ["team-b"] } }))
}

pub fn set(simulation: &mut Simulation, class: Option<&Value>) {
    simulation.outside.with(|state| state.cluster.set_class(class));
}

/// A settled user of the class.
pub fn settled(simulation: &mut Simulation) {
    set(simulation, Some(&class(json!({}))));
    simulation.create(&grants());
    simulation.run(HOUR);
}

/// A user that somebody made by hand, with so many keys.
fn strangers_user(simulation: &mut Simulation, keys: usize) {
    set(simulation, Some(&class(json!({ "allowForceAdoption": true }))));
    simulation.by_hand(&Request::CreateUser {
        user_name: USER.to_owned(),
        path: None,
        permissions_boundary: None,
        tags: vec![Tag::new("team", "theirs")],
    });
    for _ in 0..keys {
        simulation.outside.with(strangers_key);
    }
    simulation.run(HOUR);
}

fn adopted(simulation: &mut Simulation) {
    simulation.create(&spec(json!({ "adoption": "Force" })));
    simulation.run(HOUR);
}

macro_rules! becomes {
    ($name:literal => $end:expr, $to:expr) => {
        Scenario {
            name: $name,
            before: settled,
            act: |simulation| {
                set(simulation, Some(&$to));
                simulation.run(HOUR);
            },
            end: $end,
        }
    };
}

pub const ALL: &[Scenario] = &[
    Scenario { name: "class-create", before: |_| {}, act: settled, end: End::Ready },
    becomes!("class-shrinks" => End::Refused("NotPermittedByClass"), one_bucket()),
    becomes!("class-shuts-out" => End::Expelled("NotPermittedByClass"), shut_out()),
    becomes!(
        "class-forces-a-boundary" => End::Ready,
        class(json!({ "permissionsBoundaryArn": "arn:aws:iam::aws:policy/AmazonS3FullAccess" }))
    ),
    becomes!("class-tags" => End::Ready, class(json!({ "tags": { "team": "a" } }))),
    Scenario {
        name: "class-widens-again",
        before: |simulation| {
            settled(simulation);
            set(simulation, Some(&shut_out()));
            simulation.run(HOUR);
        },
        act: |simulation| {
            set(simulation, Some(&class(json!({}))));
            simulation.run(HOUR);
        },
        end: End::Ready,
    },
    Scenario {
        name: "class-shrinks-while-down",
        before: |simulation| {
            settled(simulation);
            simulation.while_down(|outside| outside.with(|state| state.cluster.set_class(Some(&one_bucket()))));
        },
        act: |simulation| simulation.run(HOUR),
        end: End::Refused("NotPermittedByClass"),
    },
    Scenario {
        name: "class-shuts-out-in-a-rotation",
        before: |simulation| {
            settled(simulation);
            simulation.rotate();
            simulation.run(SignedDuration::from_secs(3));
        },
        act: |simulation| {
            set(simulation, Some(&shut_out()));
            simulation.run(ROTATION);
        },
        end: End::Expelled("NotPermittedByClass"),
    },
    Scenario {
        name: "class-gone-and-back",
        before: settled,
        act: |simulation| {
            set(simulation, None);
            simulation.run(HOUR);
            set(simulation, Some(&class(json!({}))));
            simulation.run(HOUR);
        },
        end: End::Ready,
    },
    Scenario {
        name: "adopt-by-force",
        before: |simulation| strangers_user(simulation, 0),
        act: adopted,
        end: End::Ready,
    },
    Scenario {
        name: "adopt-by-force-beside-a-strangers-key",
        before: |simulation| strangers_user(simulation, 1),
        act: adopted,
        end: End::Beside,
    },
    Scenario {
        name: "delete-by-force-adopted",
        before: |simulation| {
            strangers_user(simulation, 1);
            adopted(simulation);
        },
        act: |simulation| {
            simulation.delete();
            simulation.run(HOUR);
            // It waits for whoever made the other key.
            let access_key_id = simulation.outside.with(|state| state.strangers.first().cloned().unwrap());
            simulation.by_hand(&Request::DeleteAccessKey { user_name: USER.to_owned(), access_key_id });
            simulation.run(HOUR);
        },
        end: End::Gone,
    },
    Scenario {
        name: "delete-while-the-class-is-gone",
        before: settled,
        act: |simulation| {
            set(simulation, None);
            simulation.outside.with(|state| state.cluster.delete_user(state.now, NAME));
            simulation.run(HOUR);
            set(simulation, Some(&class(json!({}))));
            simulation.run(HOUR);
        },
        end: End::Gone,
    },
];
