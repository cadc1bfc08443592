//! Systems that speak IAM's API and are less than AWS: each is found out by a trial before it serves anybody, and what is lacking
//! is told by name. Whatever they do, no key is left behind.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use futures::future::join_all;
use ground::double::{Config, DoubleServer, Operation, Quirk, Settings};
use kube::api::DeleteParams;
use s3_access_operator::api::{Capability, annotations};
use serde_json::{Value, json};

use crate::scene::Scene;

/// What becomes of whoever asks for access on a system.
enum Then {
    /// It is served.
    Served,
    /// It is refused for that reason, with those words, and so is everybody in the class.
    Refused(&'static str, &'static str),
    /// The class says for that reason and with those words why it could not be tried.
    Untried(&'static str, &'static str),
}

struct Case {
    name: &'static str,
    ownership: &'static str,
    quirks: &'static [Quirk],
    codeless: &'static [(Operation, u16)],
    then: Then,
    lacks: &'static [Capability],
}

const fn case(name: &'static str, quirks: &'static [Quirk], then: Then) -> Case {
    Case { name, ownership: "Tags", quirks, codeless: &[], then, lacks: &[] }
}

/// SeaweedFS 4.44.
pub const SEAWEEDFS: &[Quirk] = &[
    Quirk::TagsDropped,
    Quirk::PathsDropped,
    Quirk::DatesMissing,
    Quirk::MultipartRefused,
    Quirk::KeysDeletedWithUser,
];
const NOT_KEPT: Then = Then::Refused("OwnershipNotKept", "GetUser does not show");

fn cases() -> Vec<Case> {
    vec![
        Case { lacks: &[Capability::Ownership], ..case("tags", &[Quirk::TagsDropped], NOT_KEPT) },
        Case { ownership: "Path", ..case("tags-by-path", &[Quirk::TagsDropped], Then::Served) },
        Case { ownership: "Path", lacks: &[Capability::Ownership], ..case("paths", &[Quirk::PathsDropped], NOT_KEPT) },
        Case { lacks: &[Capability::KeyDates], ..case("dates", &[Quirk::DatesMissing], Then::Served) },
        case("order", &[Quirk::MetadataFirst], Then::Served),
        Case { ownership: "Path", ..case("order-by-path", &[Quirk::MetadataFirst], Then::Served) },
        Case {
            lacks: &[Capability::UnknownKeyRefused],
            ..case(
                "every-key",
                &[Quirk::EveryKeyAccepted],
                Then::Refused("SystemUnfit", "nobody can tell whether a key works"),
            )
        },
        case("denied", &[Quirk::UnknownKeysDenied], Then::Served),
        Case {
            lacks: &[Capability::InactiveKeyRefused],
            ..case(
                "inactive",
                &[Quirk::InactiveKeysAccepted],
                Then::Refused("SystemUnfit", "takes an access key that is Inactive"),
            )
        },
        Case {
            lacks: &[Capability::PolicyKept],
            ..case(
                "altered",
                &[Quirk::PoliciesAltered],
                Then::Refused("SystemUnfit", "GetUserPolicy shows another policy"),
            )
        },
        Case {
            lacks: &[Capability::PolicyKept],
            ..case("multipart", &[Quirk::MultipartRefused], Then::Refused("SystemUnfit", "MalformedPolicyDocument"))
        },
        Case {
            lacks: &[Capability::DeletionGuarded],
            ..case("unguarded", &[Quirk::KeysDeletedWithUser], Then::Served)
        },
        Case {
            codeless: &[(Operation::TagUser, 405)],
            lacks: &[Capability::Ownership],
            ..case("no-tag-user", &[], Then::Refused("OwnershipNotKept", "TagUser"))
        },
        Case {
            codeless: &[(Operation::CreateAccessKey, 501)],
            ..case("no-keys", &[], Then::Untried("Failed", "CreateAccessKey"))
        },
        Case {
            codeless: &[(Operation::GetUserPolicy, 503)],
            ..case("no-policies", &[], Then::Untried("Throttled", "GetUserPolicy"))
        },
        Case {
            codeless: &[(Operation::GetCallerIdentity, 405)],
            ..case("nameless", &[], Then::Untried("Failed", "GetCallerIdentity"))
        },
        Case { lacks: &[Capability::Ownership], ..case("seaweedfs", SEAWEEDFS, NOT_KEPT) },
        Case { ownership: "Path", lacks: &[Capability::Ownership], ..case("seaweedfs-by-path", SEAWEEDFS, NOT_KEPT) },
    ]
}

/// A system that misbehaves, and its class.
pub struct System {
    server: DoubleServer,
    pub class: String,
}

impl System {
    async fn start(scene: &Scene, case: &Case) -> Self {
        let settings = Settings {
            quirks: case.quirks.iter().copied().collect(),
            codeless: case.codeless.iter().copied().collect(),
            ..Settings::default()
        };
        Self::with(scene, case.name, case.ownership, settings).await
    }

    pub async fn with(scene: &Scene, name: &str, ownership: &str, settings: Settings) -> Self {
        let server = DoubleServer::start(Config { settings, ..Config::default() }).await.unwrap();
        let (endpoint, admin) = (server.endpoint(), server.admin());
        let secret = scene.credentials(name, &admin.access_key_id, &admin.secret_access_key).await;
        let spec = json!({
            "provider": "s3-compatible", "ownership": ownership, "region": "us-east-1", "allowedBuckets": ["*"],
            "credentialsSecretRef": { "name": secret }, "endpoints": { "iam": endpoint, "s3": endpoint },
        });
        let class = scene.class(name, spec).await;
        Self { server, class }
    }

    /// The ids of all keys there are, and whether they are active.
    fn keys(&self) -> Vec<(String, bool)> {
        let active = |status| status == ground::double::Status::Active;
        self.server.with(|world| {
            let users = world.account(&self.server.account().id).unwrap().state().users().cloned().collect::<Vec<_>>();
            users.iter().flat_map(|user| user.keys.clone()).map(|key| (key.id, active(key.status))).collect()
        })
    }

    fn is_empty(&self) -> Result<()> {
        let (users, buckets) = self.server.with(|world| {
            let users: Vec<String> = world
                .account(&self.server.account().id)
                .unwrap()
                .state()
                .users()
                .map(|user| user.name.clone())
                .collect();
            (users, world.bucket_names())
        });
        ensure!(users.is_empty() && buckets.is_empty(), "{users:?} {buckets:?}");
        Ok(())
    }

    fn change(&self, change: impl FnOnce(&mut Settings)) {
        let account = self.server.account().id.clone();
        self.server.with(|world| change(world.account_mut(&account).unwrap().settings_mut()));
    }
}

fn grant(class: &str, extra: Value) -> Value {
    let mut spec = json!({
        "className": class, "access": [{ "bucket": "reports", "level": "ReadWrite" }], "policy": { "type": "Inline" },
    });
    extra.as_object().unwrap().iter().for_each(|(field, value)| spec[field] = value.clone());
    spec
}

async fn bears_out(scene: &Scene, case: &Case) {
    let Case { name, then, .. } = case;
    let system = System::start(scene, case).await;
    scene.create(name, grant(&system.class, json!({}))).await;
    if let Then::Untried(reason, words) = then {
        let class = scene.class_is(&system.class, reason).await;
        let message = &class.status.unwrap().conditions[0].message;
        assert!(message.contains(words), "{name}: {message}");
        assert_eq!(system.keys(), [], "{name}: no key is made for anybody");
        system.change(|settings| settings.codeless = BTreeMap::new());
        scene.ready(name).await;
    } else {
        let found = scene.tried(&system.class).await.trials;
        let lacks: Vec<Capability> = found.iter().filter(|trial| !trial.works).map(|trial| trial.name).collect();
        assert_eq!(lacks, case.lacks, "{name}");
        match then {
            Then::Refused(reason, words) => {
                let class = scene.class_is(&system.class, reason).await;
                let (_, message) = scene.refused(name, reason).await;
                assert!(message.contains(words), "{name}: {message}");
                assert!(class.status.unwrap().conditions[0].message.contains(words), "{name}");
                scene.see("nothing to be left of the trial", async || system.is_empty()).await;
            }
            _ => {
                scene.ready(name).await;
                assert_eq!(system.keys().len(), 1, "{name}: nothing is left of the trial");
            }
        }
    }
    scene.delete(name).await;
    scene.see("nothing to be left", async || system.is_empty()).await;
}

#[tokio::test]
async fn a_system_that_is_less_than_aws_serves_as_far_as_keys_are_safe_there_and_no_key_is_left() {
    let scene = Scene::new("lesser").await;
    join_all(cases().iter().map(|case| bears_out(&scene, case))).await;
}

#[tokio::test]
async fn a_prefix_is_refused_where_the_system_does_not_keep_anybody_to_it() {
    let scene = Scene::new("prefixless").await;
    let settings = Settings { conditions_ignored: true, ..Settings::default() };
    let system = System::with(&scene, "s", "Tags", settings).await;
    let narrow = json!({ "access": [{ "bucket": "reports", "level": "ReadOnly", "prefixes": ["2026/"] }] });
    scene.create("narrow", grant(&system.class, narrow)).await;
    scene.create("whole", grant(&system.class, json!({}))).await;
    let (_, message) = scene.refused("narrow", "SystemUnfit").await;
    assert!(message.contains("does not keep a user to it"), "{message}");
    scene.ready("whole").await;
    assert_eq!(system.keys().len(), 1);
}

/// Whatever the trial has shown, a server may come to drop what it is told: then no key is made, and what was made for it is
/// taken back.
#[tokio::test]
async fn a_system_that_comes_to_drop_ownership_gets_no_key_of_anybody_new() {
    let scene = Scene::new("comes").await;
    let system = System::with(&scene, "s", "Tags", Settings::default()).await;
    scene.create("first", grant(&system.class, json!({}))).await;
    scene.ready("first").await;
    system.change(|settings| settings.quirks = BTreeSet::from([Quirk::TagsDropped]));
    scene.create("second", grant(&system.class, json!({}))).await;
    let (_, message) = scene.refused("second", "OwnershipNotKept").await;
    assert!(message.contains("CreateUser") && message.contains("the user was deleted again"), "{message}");
    assert_eq!(system.keys().len(), 1, "only the first one's");
    scene.delete("second").await;
    scene.delete("first").await;
    scene.see("nothing to be left", async || system.is_empty()).await;
}

#[tokio::test]
async fn whatever_cannot_be_read_the_keys_of_a_deleted_user_go_first() {
    let scene = Scene::new("broken").await;
    let broken =
        [Operation::GetUserPolicy, Operation::ListUserPolicies, Operation::DeleteUserPolicy, Operation::DeleteUser];
    for (ownership, status) in [("Tags", 503), ("Path", 405)] {
        let name = ownership.to_lowercase();
        let system = System::with(&scene, &name, ownership, Settings::default()).await;
        scene.create(&name, grant(&system.class, json!({}))).await;
        scene.ready(&name).await;
        system.change(|settings| settings.codeless = broken.iter().map(|call| (*call, status)).collect());
        scene.users().delete(&name, &DeleteParams::default()).await.unwrap();
        scene
            .see("its key to be out of use", async || {
                let keys = system.keys();
                ensure!(keys.iter().all(|(_, active)| !active), "{keys:?}");
                Ok(())
            })
            .await;
        assert!(scene.users().get_opt(&name).await.unwrap().is_some(), "the rest waits for the server");
        system.change(|settings| settings.codeless = BTreeMap::new());
        scene.gone(&name).await;
        system.is_empty().unwrap();
    }
}

/// After a restart, this process has seen neither key before.
#[tokio::test]
async fn a_replaced_key_keeps_its_overlap_through_a_restart_where_keys_have_no_dates() {
    let mut scene = Scene::new("undated").await;
    let settings = Settings { quirks: BTreeSet::from([Quirk::DatesMissing]), ..Settings::default() };
    let system = System::with(&scene, "s", "Tags", settings).await;
    scene.create("reports", grant(&system.class, json!({ "rotation": { "overlap": "1h" } }))).await;
    let old = scene.ready("reports").await.status.unwrap().access_key_id.unwrap();
    scene.patch("reports", json!({ "metadata": { "annotations": { annotations::ROTATE: "now" } } })).await;
    scene.secret_holds_another_key("reports-s3", &old).await;
    let replaced = scene.ready("reports").await.status.unwrap().retiring_key.unwrap();
    assert_eq!(replaced.id, old);
    scene.kill9().await;
    scene.start(&[]).await;
    let narrower = json!([{ "bucket": "reports", "level": "ReadOnly" }]);
    scene.patch("reports", json!({ "spec": { "access": narrower } })).await;
    let status = scene.ready("reports").await.status.unwrap();
    assert_eq!(status.retiring_key.as_ref(), Some(&replaced));
    assert!(system.keys().contains(&(old, true)));
}
