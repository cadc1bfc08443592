//! AWS has found a key in public, and has attached its policy of that to the user; what the class says becomes of it, and nothing
//! but that.

use ground::double::{Page, Request, Response};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::class_scenarios::{class, set, settled};
use crate::scenarios::{End, HOUR, Scenario, user_name};
use crate::simulation::{RESYNC, Simulation};
use crate::withdrawal_scenarios::no_key_works;

/// Here nobody listens for the alarm in between: it is found at the next resync, or at the one after that where a crash comes in
/// between.
const HEARD: SignedDuration = SignedDuration::from_secs(2 * RESYNC.as_secs() + HOUR.as_secs());
const POLICY: &str = "arn:aws:iam::aws:policy/AWSCompromisedKeyQuarantineV3";

fn responding(response: &str) -> Value {
    class(json!({ "onCompromise": response }))
}

/// A settled user of a class with that response.
fn in_a_class(simulation: &mut Simulation, response: &str) {
    settled(simulation);
    set(simulation, Some(&responding(response)));
    simulation.run(HOUR);
}

impl Simulation {
    fn alarm(&mut self) {
        // The keys that are there may be ended from now on.
        self.outside.with(|state| state.revoked_at = Some(state.now));
        self.by_hand(&Request::AttachUserPolicy { user_name: user_name(), policy_arn: POLICY.to_owned() });
    }

    fn all_clear(&mut self) {
        self.by_hand(&Request::DetachUserPolicy { user_name: user_name(), policy_arn: POLICY.to_owned() });
    }

    /// The policy is AWS's to attach and a person's to detach.
    fn is_under_quarantine(&mut self) {
        let attached = self.by_hand(&Request::ListAttachedUserPolicies {
            user_name: user_name(),
            path_prefix: None,
            page: Page::default(),
        });
        let Response::AttachedPolicies(attached) = attached else { panic!("no policies: {attached:?}") };
        assert!(attached.items.iter().any(|policy| policy.arn == POLICY), "{attached:?}");
    }
}

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "quarantine-is-reported",
        before: |simulation| in_a_class(simulation, "Report"),
        act: |simulation| {
            simulation.outside.with(|state| state.revoked_at = None);
            simulation.by_hand(&Request::AttachUserPolicy { user_name: user_name(), policy_arn: POLICY.to_owned() });
            simulation.run(HEARD);
            simulation.is_under_quarantine();
        },
        end: End::Ready,
    },
    Scenario {
        name: "quarantine-revokes-once",
        before: |simulation| in_a_class(simulation, "Revoke"),
        act: |simulation| {
            let old = simulation.keys();
            simulation.alarm();
            simulation.run(HEARD);
            simulation.are_dead(old);
            simulation.is_under_quarantine();
        },
        end: End::Replaced,
    },
    Scenario {
        name: "quarantine-again-revokes-again",
        before: |simulation| {
            in_a_class(simulation, "Revoke");
            simulation.alarm();
            simulation.run(HEARD);
            simulation.all_clear();
            simulation.run(HEARD);
        },
        act: |simulation| {
            let old = simulation.keys();
            simulation.alarm();
            simulation.run(HEARD);
            simulation.are_dead(old);
        },
        end: End::Replaced,
    },
    Scenario {
        name: "quarantine-revokes-while-paused",
        before: |simulation| {
            in_a_class(simulation, "Revoke");
            simulation.annotate("s3access.dev/paused", "true");
            simulation.run(HOUR);
        },
        act: |simulation| {
            let old = simulation.keys();
            simulation.alarm();
            simulation.run(HEARD);
            simulation.are_dead(old);
            simulation.annotate("s3access.dev/paused", "false");
            simulation.run(HOUR);
        },
        end: End::Replaced,
    },
    Scenario {
        name: "quarantine-suspends",
        before: |simulation| in_a_class(simulation, "Suspend"),
        act: |simulation| {
            simulation.alarm();
            simulation.run(HEARD);
            no_key_works(simulation);
            simulation.is_under_quarantine();
        },
        end: End::Compromised,
    },
    Scenario {
        name: "quarantine-ends-and-the-key-works-again",
        before: |simulation| {
            in_a_class(simulation, "Suspend");
            simulation.alarm();
            simulation.run(HEARD);
        },
        act: |simulation| {
            simulation.all_clear();
            simulation.run(HEARD);
        },
        end: End::Ready,
    },
];
