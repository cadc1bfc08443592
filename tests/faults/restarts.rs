//! Scenarios in which consumers are restarted for a new key: once for each, and not for the first.

use ground::double::Settings;
use jiff::SignedDuration;
use s3_access_operator::api::{Workload, WorkloadKind};
use serde_json::{Value, json};

use crate::outside::Outside;
use crate::scenarios::{End, HOUR, ROTATION, SECRET, Scenario, spec};
use crate::simulation::{RESYNC, Simulation};

fn restarting() -> Value {
    spec(json!({ "secret": { "rolloutRestart": [
        { "kind": "Deployment", "name": "reports" },
        { "kind": "StatefulSet", "name": "not-there" },
    ] } }))
}

fn consumer() -> Workload {
    Workload { kind: WorkloadKind::Deployment, name: "reports".to_owned() }
}

impl Simulation {
    fn consumed(&mut self) {
        self.outside.with(|state| state.cluster.put_workload(state.now, &consumer()));
    }

    fn created_with_a_consumer(&mut self) {
        self.consumed();
        self.create(&restarting());
        self.run(HOUR);
    }

    fn rollouts(&self) -> usize {
        self.outside.with(|state| state.cluster.workloads[&consumer()].rollouts.len())
    }
}

pub const FIRST_KEY: Scenario = Scenario {
    name: "restart-not-for-the-first-key",
    before: Simulation::consumed,
    act: |simulation| {
        simulation.create(&restarting());
        simulation.run(HOUR);
    },
    end: End::Ready,
};

pub const ROTATED: Scenario = Scenario {
    name: "restart-for-a-rotated-key",
    before: Simulation::created_with_a_consumer,
    act: |simulation| {
        simulation.rotate();
        simulation.run(ROTATION);
    },
    end: End::Replaced,
};

pub const LOST: Scenario = Scenario {
    name: "restart-for-a-lost-key",
    before: Simulation::created_with_a_consumer,
    act: |simulation| {
        simulation.outside.with(|state| state.cluster.secrets.remove(SECRET));
        simulation.run(RESYNC + HOUR);
    },
    end: End::Replaced,
};

/// The spec names a consumer that was there before the swap, while the replaced key still works.
pub const NAMED_IN_THE_OVERLAP: Scenario = Scenario {
    name: "restart-named-in-the-overlap",
    before: |simulation| {
        simulation.consumed();
        simulation.created();
        simulation.rotate();
        // The swap is done, and the overlap is not over.
        simulation.run(SignedDuration::from_mins(5));
    },
    act: |simulation| {
        simulation.respec(&restarting());
        simulation.run(ROTATION);
    },
    end: End::Ready,
};

#[test]
fn a_consumer_is_restarted_once_for_each_key_but_the_first() {
    for (scenario, rollouts) in [(&FIRST_KEY, 0), (&ROTATED, 1), (&LOST, 1), (&NAMED_IN_THE_OVERLAP, 1)] {
        let start = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut simulation = Simulation::new(Outside::new(Settings::default(), start));
        (scenario.before)(&mut simulation);
        (scenario.act)(&mut simulation);
        assert_eq!(simulation.rollouts(), rollouts, "{}", scenario.name);
        simulation.rotate();
        simulation.run(ROTATION);
        simulation.run(ROTATION);
        assert_eq!(simulation.rollouts(), rollouts + 1, "{}: one more key", scenario.name);
    }
}
