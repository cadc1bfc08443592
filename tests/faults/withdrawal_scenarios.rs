//! A tenant who has access and will not let go of it: what its class takes back is gone all the same.

use crate::class_scenarios::{one_bucket, set, settled, shut_out};
use crate::scenarios::{End, HOUR, Scenario};
use crate::simulation::Simulation;
use k8s_openapi::ByteString;

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
