//! How S3AccessUsers end, and what their names meet when they begin anew.

use ground::double::{Request, Tag};
use jiff::SignedDuration;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use crate::cluster::NAMESPACE;
use crate::outside::CLUSTER_ID;
use crate::restarts;
use crate::scenarios::{End, HOUR, NAME, SECRET, Scenario, refused, rich, spec, strangers_key, user_name};
use crate::simulation::Simulation;

/// The CR is deleted right before the effect of that number.
macro_rules! delete_during_create {
    ($name:literal, $effect:literal) => {
        Scenario {
            name: $name,
            before: |_| {},
            act: |simulation| {
                simulation.create(&spec(json!({})));
                let outside = simulation.outside.clone();
                simulation.boundary.at($effect, move || {
                    outside.with(|state| state.cluster.delete_user(state.now, NAME));
                });
                simulation.run(HOUR);
                // Where a fault has kept the number from being reached.
                simulation.delete();
                simulation.run(HOUR);
            },
            end: End::Gone,
        }
    };
}

pub const ALL: &[Scenario] = &[
    Scenario {
        name: "delete",
        before: Simulation::created,
        act: |simulation| {
            simulation.delete();
            simulation.run(HOUR);
        },
        end: End::Gone,
    },
    Scenario {
        name: "delete-rich",
        before: |simulation| {
            simulation.create(&rich());
            simulation.run(HOUR);
        },
        act: |simulation| {
            simulation.delete();
            simulation.run(HOUR);
        },
        end: End::Gone,
    },
    Scenario {
        name: "delete-with-leftovers",
        before: |simulation| {
            simulation.created();
            simulation
                .by_hand(&Request::CreateLoginProfile { user_name: user_name(), password: "Abc-12345".to_owned() });
            simulation.by_hand(&Request::CreateGroup { group_name: "people".to_owned(), path: None });
            let group_name = "people".to_owned();
            simulation.by_hand(&Request::AddUserToGroup { user_name: user_name(), group_name });
            simulation.by_hand(&Request::PutUserPolicy {
                user_name: user_name(),
                policy_name: "theirs".to_owned(),
                policy_document:
                    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#
                        .to_owned(),
            });
        },
        act: |simulation| {
            simulation.delete();
            simulation.run(HOUR);
        },
        end: End::Gone,
    },
    Scenario {
        name: "delete-in-a-rotation",
        before: |simulation| {
            simulation.created();
            simulation.rotate();
            simulation.run(SignedDuration::from_secs(3));
        },
        act: |simulation| {
            simulation.delete();
            simulation.run(HOUR);
        },
        end: End::Gone,
    },
    delete_during_create!("delete-during-create-1", 2),
    delete_during_create!("delete-during-create-2", 5),
    delete_during_create!("delete-during-create-3", 8),
    Scenario {
        name: "retain-and-recreate",
        before: |simulation| {
            simulation.create(&spec(json!({ "deletionPolicy": "Retain" })));
            simulation.run(HOUR);
        },
        act: |simulation| {
            simulation.delete();
            simulation.run(HOUR);
            if !simulation.outside.with(|state| state.cluster.users.contains_key(NAME)) {
                simulation.create(&spec(json!({})));
            }
            simulation.run(HOUR);
        },
        end: End::Ready,
    },
    Scenario {
        name: "adopt-a-predecessor",
        before: |simulation| {
            simulation.created();
            simulation.while_down(|outside| outside.with(|state| state.cluster.force_delete_user(NAME)));
        },
        act: Simulation::created,
        end: End::Ready,
    },
    Scenario {
        name: "adopt-with-both-slots-taken",
        before: |simulation| {
            simulation.created();
            simulation.rotate();
            simulation.run(SignedDuration::from_mins(3));
            simulation.while_down(|outside| outside.with(|state| state.cluster.force_delete_user(NAME)));
        },
        act: Simulation::created,
        end: End::Ready,
    },
    Scenario {
        name: "strangers-user",
        before: |simulation| {
            simulation.by_hand(&Request::CreateUser {
                user_name: user_name(),
                path: None,
                permissions_boundary: None,
                tags: vec![Tag::new("team", "theirs")],
            });
            simulation.outside.with(strangers_key);
        },
        act: refused,
        end: End::Refused("ForeignUser"),
    },
    Scenario {
        name: "strangers-keys",
        before: |simulation| {
            let adopted_at = (simulation.outside.now() + HOUR).to_string();
            let tags =
                [("cluster", CLUSTER_ID), ("owner", "team-a/reports"), ("uid", "old"), ("adopted-at", &adopted_at)];
            simulation.by_hand(&Request::CreateUser {
                user_name: user_name(),
                path: None,
                permissions_boundary: None,
                tags: tags.map(|(name, value)| Tag::new(format!("s3access.dev/{name}"), value)).to_vec(),
            });
            simulation.outside.with(strangers_key);
            simulation.outside.with(strangers_key);
            simulation.run(HOUR * 2);
        },
        act: refused,
        end: End::Refused("ForeignAccessKeys"),
    },
    Scenario {
        name: "strangers-secret",
        before: |simulation| {
            let mut secret = Secret::default();
            (secret.metadata.name, secret.metadata.namespace) = (Some(SECRET.to_owned()), Some(NAMESPACE.to_owned()));
            secret.data = Some([("theirs".to_owned(), ByteString(b"1".to_vec()))].into());
            simulation.outside.with(|state| state.cluster.put_secret(secret));
        },
        act: refused,
        end: End::Refused("ForeignSecret"),
    },
    restarts::FIRST_KEY,
    restarts::ROTATED,
    restarts::LOST,
    restarts::NAMED_IN_THE_OVERLAP,
];
