//! Rotations at times when somebody is there, whatever goes wrong then.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::scenarios::{End, HOUR, ROTATION, Scenario, USER, spec};
use crate::simulation::Simulation;

/// The last window before the first key, of midnight on Thursday the 1st of January 2026, is a week old.
const WINDOW: (&str, &str) = ("2026-01-07T09:00:00Z", "2026-01-07T16:00:00Z");
/// When that key is as old as it may be.
const DEADLINE: &str = "2026-01-08T00:00:00Z";

fn windowed() -> Value {
    let rotation = json!({ "interval": "168h", "overlap": "10m", "window": "Mon-Fri 09:00-16:00 UTC" });
    spec(json!({ "accessKey": { "rotation": rotation } }))
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

impl Simulation {
    fn run_until(&mut self, time: &str) {
        self.run(at(time).duration_since(self.outside.now()));
    }

    /// When each key of the user was made.
    fn made(&self) -> Vec<Timestamp> {
        let keys = |user: &std::sync::Arc<ground::double::User>| user.keys.iter().map(|key| key.created).collect();
        self.outside.with(|state| state.user(USER).map(keys).unwrap_or_default())
    }
}

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "rotate-in-a-window",
        before: |simulation| {
            simulation.create(&windowed());
            simulation.run_until(WINDOW.0);
            assert_eq!(simulation.made().len(), 1, "nothing is replaced before the last window opens");
        },
        act: |simulation| {
            simulation.run_until(DEADLINE);
            let made = simulation.made();
            assert!(made.iter().all(|made| *made >= at(WINDOW.0)), "a key is older than its interval: {made:?}");
            assert!(
                simulation.is_race() || made.iter().any(|made| *made < at(WINDOW.1)),
                "none is of the window: {made:?}"
            );
        },
        end: End::Replaced,
    },
    Scenario {
        name: "rotate-after-a-missed-window",
        before: |simulation| {
            simulation.create(&windowed());
            simulation.run(HOUR);
        },
        act: |simulation| {
            // The next window would come too late.
            simulation.while_down(|outside| outside.set_now(at(WINDOW.1)));
            simulation.run_until(DEADLINE);
            let made = simulation.made();
            assert!(made.iter().all(|made| *made >= at(WINDOW.1)), "a key is older than its interval: {made:?}");
        },
        end: End::Replaced,
    },
    Scenario {
        name: "rotate-on-demand-outside-the-window",
        before: |simulation| {
            simulation.create(&windowed());
            simulation.run(HOUR);
        },
        act: |simulation| {
            simulation.rotate();
            simulation.run(ROTATION);
        },
        end: End::Replaced,
    },
    Scenario {
        name: "update-window",
        before: |simulation| {
            simulation.created();
            simulation.run(SignedDuration::from_hours(6 * 24));
        },
        act: |simulation| {
            simulation.respec(&windowed());
            simulation.run_until(WINDOW.0);
            simulation.run_until(DEADLINE);
        },
        end: End::Replaced,
    },
];
