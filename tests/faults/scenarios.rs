//! What happens to S3AccessUsers in their lives: each is run once without a fault, and then once for each fault.

use ground::double::{Operation, Request, Response, Settings, Status, Tag};
use jiff::SignedDuration;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use s3_access_operator::api::{S3AccessUser, annotations};
use s3_access_operator::core::conditions::says_settled;
use serde_json::{Value, json};

use crate::class_scenarios;
use crate::ending_scenarios;
use crate::outside::{Outside, State};
use crate::quarantine_scenarios;
use crate::revocation_scenarios;
use crate::session_scenarios;
use crate::simulation::{RESYNC, Simulation};
use crate::{term_scenarios, unused_scenarios, window_scenarios, withdrawal_scenarios};

/// Something that happens.
pub struct Scenario {
    pub name: &'static str,
    /// What was there before; no fault strikes meanwhile.
    pub before: fn(&mut Simulation),
    /// What happens while faults strike.
    pub act: fn(&mut Simulation),
    /// What it has come to, beside what every end has to be.
    pub end: End,
}

/// What a scenario comes to.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// The S3AccessUser is Ready, with one key, which works.
    Ready,
    /// The same, and the key is the operator's, and the workload's Secret holds a session of it that works.
    Sessions,
    /// As Ready, and the key is another one than before.
    Replaced,
    /// The user is there, and its key does not work.
    Suspended,
    /// The same, since its time is over.
    Expired,
    /// The same, since AWS has found it in public.
    Compromised,
    /// The same, since nobody uses it.
    Unused,
    /// Nothing is left, neither in IAM nor in Kubernetes.
    Gone,
    /// It is not Ready, for that reason, and keys are as before.
    Refused(&'static str),
    /// It is Ready, and a stranger's key works beside its own.
    Beside,
    /// It is not Ready, for that reason: its key is kept and does not work, and no policy is left.
    Expelled(&'static str),
}

pub const USER: &str = "reports-app";
pub const SECRET: &str = "reports-s3";
pub const NAME: &str = "reports";
pub const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// Longer than two overlaps and the grace after them.
pub const ROTATION: SignedDuration = SignedDuration::from_hours(2);

/// A small valid spec, with another field.
pub fn spec(extra: Value) -> Value {
    let mut spec = json!({
        "userName": USER,
        "access": [{ "bucket": "team-a-reports", "level": "ReadWrite" }],
        "accessKey": { "rotation": { "interval": "720h", "overlap": "10m" } },
    });
    for (key, value) in extra.as_object().unwrap() {
        spec[key] = value.clone();
    }
    spec
}

/// A spec with something in every field that reaches IAM or the Secret.
pub fn rich() -> Value {
    spec(json!({
        "path": "/k8s/",
        "policy": { "type": "Inline", "name": "own" },
        "managedPolicyArns": ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"],
        "permissionsBoundaryArn": "arn:aws:iam::aws:policy/AmazonS3FullAccess",
        "tags": { "team": "a" },
        "secret": { "labels": { "app": "reports" }, "annotations": { "note": "mine" } },
    }))
}

impl Simulation {
    pub fn create(&mut self, spec: &Value) {
        self.outside.with(|state| state.cluster.create_user(state.now, NAME, spec));
    }

    pub fn created(&mut self) {
        self.create(&spec(json!({})));
        self.run(HOUR);
    }

    pub fn edit(&mut self, edit: impl FnOnce(&mut S3AccessUser)) {
        self.outside.with(|state| state.cluster.edit_user(NAME, edit));
    }

    pub fn respec(&mut self, spec: &Value) {
        self.edit(|user| user.spec = serde_json::from_value(spec.clone()).unwrap());
    }

    pub fn annotate(&mut self, name: &str, value: &str) {
        self.edit(|user| {
            user.metadata.annotations.get_or_insert_default().insert(name.to_owned(), value.to_owned());
        });
    }

    /// The way that the message of a paused S3AccessUser tells.
    pub fn unpause(&mut self) {
        self.edit(|user| drop(user.annotations_mut().remove(annotations::PAUSED)));
    }

    /// With two leaders, one of which may be frozen for as long, it is told at the end alone.
    fn is_told_to_be_settled(&self) {
        let settled = self.outside.with(|state| {
            let user = &state.cluster.users[NAME];
            user.status.as_ref().is_some_and(|status| says_settled(status, user.metadata.generation))
        });
        assert!(settled || self.is_race(), "it is not told to be settled");
    }

    pub fn rotate(&mut self) {
        let now = self.outside.now().to_string();
        self.annotate(annotations::ROTATE, &now);
    }

    pub fn delete(&mut self) {
        self.outside.with(|state| state.cluster.delete_user(state.now, NAME));
    }

    pub fn by_hand(&mut self, request: &Request) -> Response {
        self.outside.with(|state| state.by_hand(request))
    }

    pub fn edit_secret(&mut self, edit: impl FnOnce(&mut Secret)) {
        self.outside.with(|state| state.cluster.edit_secret(SECRET, edit));
    }

    /// The id and the secret half of the key in the Secret.
    pub fn key(&self) -> (String, String) {
        self.outside.with(|state| key_of(state))
    }
}

fn key_of(state: &State) -> (String, String) {
    let data = state.cluster.secrets[SECRET].data.clone().unwrap();
    let text = |key: &str| String::from_utf8(data[key].0.clone()).unwrap();
    (text("AWS_ACCESS_KEY_ID"), text("AWS_SECRET_ACCESS_KEY"))
}

/// It is asked for, and cannot be had.
pub fn refused(simulation: &mut Simulation) {
    simulation.create(&spec(json!({})));
    simulation.run(SignedDuration::from_secs(5));
}

pub fn user_name() -> String {
    USER.to_owned()
}

/// Somebody makes a key by hand.
pub fn strangers_key(state: &mut State) {
    if let Response::NewAccessKey(created) = state.by_hand(&Request::CreateAccessKey { user_name: user_name() }) {
        state.strangers.insert(created.key.id);
    }
}

macro_rules! update {
    ($name:literal => $end:ident, $to:expr) => {
        update!($name => $end, json!({}), $to)
    };
    ($name:literal, $to:expr) => {
        update!($name => Ready, json!({}), $to)
    };
    ($name:literal, $from:expr, $to:expr) => {
        update!($name => Ready, $from, $to)
    };
    ($name:literal => $end:ident, $from:expr, $to:expr) => {
        Scenario {
            name: $name,
            before: |simulation| {
                simulation.create(&spec($from));
                simulation.run(HOUR);
            },
            act: |simulation| {
                simulation.respec(&spec($to));
                simulation.run(HOUR);
            },
            end: End::$end,
        }
    };
}

/// Something that is done by hand to a settled user, and put right at the next reconcile.
macro_rules! by_hand {
    ($name:literal, $end:ident, $hand:expr) => {
        Scenario {
            name: $name,
            before: Simulation::created,
            act: |simulation| {
                let hand: fn(&mut Simulation) = $hand;
                hand(simulation);
                // A sweep later at most, it is found.
                simulation.run(RESYNC + HOUR);
            },
            end: End::$end,
        }
    };
}

#[test]
fn a_new_key_that_waits_long_for_its_trial_is_not_given_up() {
    let start = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut simulation = Simulation::new(Outside::new(Settings::default(), start));
    simulation.created();
    simulation.rotate();
    simulation.run(SignedDuration::from_secs(1));
    let keys = |simulation: &Simulation| {
        simulation.outside.with(|state| state.aws.history().count(Operation::CreateAccessKey))
    };
    assert_eq!(keys(&simulation), 2, "the rotation has begun");
    // Thousands of others have their turns first, but for less than it takes for its overlap to be cut short.
    simulation.outside.pass(SignedDuration::from_mins(50));
    simulation.run(ROTATION);
    assert_eq!(keys(&simulation), 2);
}

#[test]
fn a_replaced_key_that_is_still_used_is_kept_for_one_overlap_more_and_the_status_says_so() {
    let start = "2026-01-01T00:00:00Z".parse().unwrap();
    let mut simulation = Simulation::new(Outside::new(Settings::default(), start));
    simulation.created();
    let (id, secret) = simulation.key();
    simulation.rotate();
    simulation.run(SignedDuration::from_mins(4));
    let used_at = simulation.outside.now();
    simulation.outside.with(|state| state.used(&id));
    let retiring = |simulation: &Simulation| {
        simulation.outside.with(|state| state.cluster.users[NAME].status.clone().unwrap().retiring_key)
    };
    let regular = retiring(&simulation).unwrap();
    assert_eq!((regular.id.as_str(), regular.message), (id.as_str(), None));
    simulation.run(SignedDuration::from_mins(7));
    let extended = retiring(&simulation).unwrap();
    assert_eq!(extended.retire_at.0, used_at + SignedDuration::from_mins(10), "one overlap after the use");
    assert!(extended.message.unwrap().contains("restart what still uses it"));
    assert!(simulation.outside.with(|state| state.accepts(&id, &secret)));
    simulation.run(ROTATION);
    assert_eq!(retiring(&simulation), None);
    assert!(!simulation.outside.with(|state| state.accepts(&id, &secret)));
}

/// All of them.
pub fn all() -> Vec<&'static Scenario> {
    let others = [
        ending_scenarios::ALL,
        class_scenarios::ALL,
        withdrawal_scenarios::ALL,
        revocation_scenarios::ALL,
        term_scenarios::ALL,
        quarantine_scenarios::ALL,
        unused_scenarios::ALL,
        session_scenarios::ALL,
        window_scenarios::ALL,
    ];
    LIVES.iter().chain(others.into_iter().flatten()).collect()
}

/// What happens to an S3AccessUser and to what is made for it.
const LIVES: &[Scenario] = &[
    Scenario { name: "create", before: |_| {}, act: Simulation::created, end: End::Ready },
    Scenario {
        name: "create-rich",
        before: |_| {},
        act: |simulation| {
            simulation.create(&rich());
            simulation.run(HOUR);
        },
        end: End::Ready,
    },
    update!("update-access", json!({ "access": [{ "bucket": "team-a-logs", "level": "ReadOnly" }] })),
    update!("update-policy-to-inline", json!({ "policy": { "type": "Inline" } })),
    update!("update-policy-to-managed", json!({ "policy": { "type": "Inline", "name": "own" } }), json!({})),
    update!("update-policy-name", json!({ "policy": { "name": "other" } })),
    update!("update-path", json!({ "path": "/k8s/" })),
    update!(
        "update-managed-policies",
        json!({ "managedPolicyArns": ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"] })
    ),
    update!(
        "update-no-managed-policies",
        json!({ "managedPolicyArns": ["arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"] }),
        json!({})
    ),
    update!("update-boundary", json!({ "permissionsBoundaryArn": "arn:aws:iam::aws:policy/AmazonS3FullAccess" })),
    update!(
        "update-no-boundary",
        json!({ "permissionsBoundaryArn": "arn:aws:iam::aws:policy/AmazonS3FullAccess" }),
        json!({})
    ),
    update!(
        "update-tags",
        json!({ "tags": { "team": "a", "old": "1" } }),
        json!({ "tags": { "team": "b", "new": "1" } })
    ),
    update!("update-secret-name", json!({ "secret": { "name": "other" } })),
    update!("update-secret-format", json!({ "secret": { "format": "velero" } })),
    update!("update-secret-keys", json!({ "secret": { "keys": { "AWS_ACCESS_KEY_ID": "id" } } })),
    update!(
        "update-secret-labels",
        json!({ "secret": { "labels": { "a": "1" } } }),
        json!({ "secret": { "annotations": { "b": "2" } } })
    ),
    Scenario {
        name: "update-interval",
        before: |simulation| {
            simulation.created();
            simulation.run(SignedDuration::from_hours(100));
        },
        act: |simulation| {
            // By the new interval, the key is due already.
            simulation.respec(&spec(json!({ "accessKey": { "rotation": { "interval": "60h", "overlap": "10m" } } })));
            simulation.run(ROTATION);
        },
        end: End::Replaced,
    },
    update!("suspend" => Suspended, json!({ "suspend": true })),
    update!("deactivate" => Suspended, json!({ "accessKey": { "status": "Inactive" } })),
    update!("resume", json!({ "suspend": true }), json!({})),
    Scenario {
        name: "rotate-on-demand",
        before: Simulation::created,
        act: |simulation| {
            simulation.rotate();
            simulation.run(ROTATION);
        },
        end: End::Replaced,
    },
    Scenario {
        name: "rotate-in-a-swept-account",
        before: |simulation| {
            simulation.outside.with(|state| state.swept = true);
            simulation.created();
        },
        act: |simulation| {
            simulation.rotate();
            simulation.run(ROTATION);
        },
        end: End::Replaced,
    },
    Scenario {
        name: "rotate-by-interval",
        before: |simulation| {
            simulation.created();
            simulation.run(SignedDuration::from_hours(718));
        },
        act: |simulation| simulation.run(ROTATION * 2),
        end: End::Replaced,
    },
    Scenario {
        name: "rotate-twice",
        before: |simulation| {
            simulation.created();
            simulation.rotate();
            simulation.run(SignedDuration::from_mins(3));
        },
        act: |simulation| {
            simulation.rotate();
            simulation.run(ROTATION * 2);
        },
        end: End::Replaced,
    },
    Scenario {
        name: "rotate-old-key-in-use",
        before: Simulation::created,
        act: |simulation| {
            let (id, _) = simulation.key();
            simulation.rotate();
            simulation.run(SignedDuration::from_mins(4));
            simulation.outside.with(|state| state.used(&id));
            simulation.run(ROTATION);
        },
        end: End::Replaced,
    },
    Scenario {
        name: "rotate-suspend-resume",
        before: Simulation::created,
        act: |simulation| {
            simulation.rotate();
            simulation.run(SignedDuration::from_secs(3));
            simulation.respec(&spec(json!({ "suspend": true })));
            simulation.run(ROTATION);
            simulation.respec(&spec(json!({})));
            simulation.run(ROTATION);
        },
        end: End::Replaced,
    },
    Scenario {
        name: "rotate-amid-a-pause-of-days",
        before: Simulation::created,
        act: |simulation| {
            let (id, secret) = simulation.key();
            simulation.rotate();
            simulation.run(SignedDuration::from_secs(3));
            simulation.annotate(annotations::PAUSED, "true");
            simulation.run(SignedDuration::from_hours(48));
            simulation.unpause();
            simulation.run(SignedDuration::from_mins(8));
            let works = simulation.outside.with(|state| state.accepts(&id, &secret));
            assert!(works || simulation.is_race(), "the replaced key has no overlap");
            simulation.run(ROTATION);
        },
        end: End::Replaced,
    },
    Scenario {
        name: "pause-and-go-on",
        before: Simulation::created,
        act: |simulation| {
            simulation.run(HOUR);
            simulation.annotate(annotations::PAUSED, "true");
            simulation.run(HOUR);
            simulation.unpause();
            simulation.run(HOUR);
            simulation.is_told_to_be_settled();
        },
        end: End::Ready,
    },
    Scenario {
        name: "rotate-while-secret-is-edited",
        before: Simulation::created,
        act: |simulation| {
            simulation.rotate();
            simulation.run(SignedDuration::from_secs(3));
            if simulation.outside.with(|state| state.cluster.secrets.contains_key(SECRET)) {
                simulation.edit_secret(|secret| {
                    secret.metadata.labels.get_or_insert_default().insert("theirs".to_owned(), "1".to_owned());
                });
            }
            simulation.run(ROTATION);
        },
        end: End::Replaced,
    },
    by_hand!("secret-deleted", Replaced, |simulation| {
        simulation.outside.with(|state| state.cluster.secrets.remove(SECRET));
    }),
    by_hand!("secret-emptied", Replaced, |simulation| simulation.edit_secret(|secret| secret.data = None)),
    by_hand!("secret-altered", Replaced, |simulation| simulation.edit_secret(|secret| {
        secret.data.get_or_insert_default().insert("AWS_SECRET_ACCESS_KEY".to_owned(), ByteString(b"altered".to_vec()));
        secret.data.get_or_insert_default().insert("credentials".to_owned(), ByteString(b"altered".to_vec()));
    })),
    by_hand!("secret-stripped", Ready, |simulation| simulation.edit_secret(|secret| {
        (secret.metadata.annotations, secret.metadata.labels) = (None, None);
    })),
    by_hand!("key-deactivated", Ready, |simulation| {
        let (access_key_id, _) = simulation.key();
        simulation.by_hand(&Request::UpdateAccessKey {
            user_name: user_name(),
            access_key_id,
            status: Status::Inactive,
        });
    }),
    by_hand!("key-deleted", Replaced, |simulation| {
        let (access_key_id, _) = simulation.key();
        simulation.by_hand(&Request::DeleteAccessKey { user_name: user_name(), access_key_id });
    }),
    by_hand!("key-added", Ready, |simulation| {
        simulation.by_hand(&Request::CreateAccessKey { user_name: user_name() });
    }),
    by_hand!("policy-detached", Ready, |simulation| {
        let policy_arn = format!("arn:aws:iam::{}:policy/{USER}", crate::outside::ACCOUNT);
        simulation.by_hand(&Request::DetachUserPolicy { user_name: user_name(), policy_arn });
    }),
    by_hand!("policy-rewritten", Ready, |simulation| {
        let policy_document =
            r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
        simulation.by_hand(&Request::CreatePolicyVersion {
            policy_arn: format!("arn:aws:iam::{}:policy/{USER}", crate::outside::ACCOUNT),
            policy_document: policy_document.to_owned(),
            set_as_default: true,
        });
    }),
    by_hand!("tags-changed", Ready, |simulation| {
        let tags = vec![Tag::new("s3access.dev/owner", "somebody/else"), Tag::new("theirs", "1")];
        simulation.by_hand(&Request::TagUser { user_name: user_name(), tags });
    }),
    by_hand!("user-deleted", Replaced, |simulation| {
        let (access_key_id, _) = simulation.key();
        let policy_arn = format!("arn:aws:iam::{}:policy/{USER}", crate::outside::ACCOUNT);
        simulation.by_hand(&Request::DeleteAccessKey { user_name: user_name(), access_key_id });
        simulation.by_hand(&Request::DetachUserPolicy { user_name: user_name(), policy_arn });
        simulation.by_hand(&Request::DeleteUser { user_name: user_name() });
    }),
];
