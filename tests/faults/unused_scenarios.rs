//! A key that nobody uses is suspended, and one that somebody uses is not, though every report here says that nobody uses any.

use jiff::SignedDuration;
use s3_access_operator::api::annotations;
use serde_json::json;

use crate::class_scenarios::{class, set};
use crate::scenarios::{End, HOUR, Scenario, USER, spec};
use crate::simulation::Simulation;
use crate::withdrawal_scenarios::no_key_works;

const fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

/// The class's sixty hours, two reports after that, and one more where a crash comes in between.
const LONG: SignedDuration = hours(92);

/// With an hour of its time behind it.
fn idle(simulation: &mut Simulation) {
    simulation.outside.with(|state| state.swept = true);
    set(simulation, Some(&class(json!({ "suspendUnusedAfter": "60h" }))));
    simulation.create(&spec(json!({})));
    simulation.run(HOUR);
}

fn suspended(simulation: &mut Simulation) {
    idle(simulation);
    simulation.run(LONG);
    no_key_works(simulation);
}

/// Somebody uses its keys now.
fn used(simulation: &mut Simulation) {
    simulation.outside.with(|state| {
        let ids: Vec<String> = state.user(USER).iter().flat_map(|user| &user.keys).map(|key| key.id.clone()).collect();
        ids.iter().for_each(|id| state.used(id));
    });
}

pub const ALL: &[Scenario] = &[
    Scenario { name: "unused-is-suspended", before: idle, act: |simulation| simulation.run(LONG), end: End::Unused },
    Scenario {
        name: "unused-is-resumed",
        before: suspended,
        act: |simulation| {
            simulation.annotate(annotations::RESUME, "1");
            simulation.run(HOUR);
        },
        end: End::Ready,
    },
    Scenario {
        name: "unused-and-the-class-asks-no-more",
        before: suspended,
        act: |simulation| {
            set(simulation, Some(&class(json!({}))));
            simulation.run(HOUR);
        },
        end: End::Ready,
    },
    Scenario {
        name: "unused-while-paused",
        before: |simulation| {
            idle(simulation);
            simulation.annotate(annotations::PAUSED, "true");
            simulation.run(HOUR);
        },
        act: |simulation| {
            simulation.run(LONG);
            no_key_works(simulation);
        },
        end: End::Refused("Unused"),
    },
    Scenario {
        name: "unused-is-deleted",
        before: suspended,
        act: |simulation| {
            simulation.delete();
            simulation.run(HOUR);
        },
        end: End::Gone,
    },
    Scenario {
        name: "used-goes-on",
        before: |simulation| {
            idle(simulation);
            simulation.run(hours(50));
            used(simulation);
        },
        act: |simulation| simulation.run(hours(20)),
        end: End::Ready,
    },
    Scenario {
        name: "unused-and-rotated",
        before: |simulation| {
            idle(simulation);
            simulation.run(hours(50));
        },
        act: |simulation| {
            simulation.rotate();
            simulation.run(hours(42));
        },
        end: End::Unused,
    },
    Scenario {
        name: "used-and-rotated",
        before: |simulation| {
            idle(simulation);
            simulation.run(hours(50));
            used(simulation);
        },
        act: |simulation| {
            simulation.rotate();
            simulation.run(hours(20));
        },
        end: End::Replaced,
    },
];
