//! Two replicas as pods: one leads, and the other takes over.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use s3_access_operator::api::S3AccessUser;
use serde_json::json;

use crate::world::{NAMESPACE, World};

pub async fn invariant_5_a_leader_killed_while_it_rotates_leaves_one_key_to_the_next(world: &World) {
    let ended = another_ends_the_rotation(world, "killed", "KILL").await;
    ended.is_at_rest(world).await;
}

pub async fn invariant_5_a_leader_frozen_while_it_rotates_leaves_one_key_to_the_next(world: &World) {
    let ended = another_ends_the_rotation(world, "frozen", "STOP").await;
    let frozen = ended.process;
    if signal(frozen, "CONT").is_err() {
        println!("the kubelet had ended {frozen}, which did not answer its probes");
    }
    world
        .see("the thawed process to end, since it leads no more", async || {
            ensure!(!std::path::Path::new(&format!("/proc/{frozen}")).exists(), "{frozen} runs");
            Ok(())
        })
        .await;
    ended.is_at_rest(world).await;
}

/// A rotation that one process began and another ended.
struct Ended {
    user: S3AccessUser,
    /// The one that was stopped.
    process: u32,
    /// The keys before and after.
    old: String,
    new: String,
}

impl Ended {
    /// Two replicas run again, and the key is still the same.
    async fn is_at_rest(&self, world: &World) {
        world
            .see("two replicas to be ready again", async || {
                let answer = ["get", "deployment", "-n", NAMESPACE, "-o", "jsonpath={.items[*].status.readyReplicas}"];
                let ready = world.kubectl(&answer).await?;
                ensure!(ready == "2", "{ready:?} are ready");
                Ok(())
            })
            .await;
        assert_eq!(world.only_key(&self.user, "app-s3", &self.old).await, self.new);
    }
}

/// Stops the leader when a new key is made and not yet proven, so that the Secret still holds the old one.
async fn another_ends_the_rotation(world: &World, namespace: &str, how: &str) -> Ended {
    world.namespace(namespace).await;
    let rotation = json!({ "rotation": { "interval": "2160h", "overlap": "2s" } });
    let access = json!([{ "bucket": format!("{namespace}-data"), "level": "ReadOnly" }]);
    let user = world.user(namespace, "app", json!({ "access": access, "accessKey": rotation })).await;
    let old = world.only_key(&user, "app-s3", "").await;
    let minted = || world.made_keys(&user).len();
    assert_eq!(minted(), 1);
    let leader = world.see("one to lead", async || world.leader().await).await;
    let process = process_of(&leader).unwrap();
    world.rotate(namespace, "app", "now").await;
    world
        .see("a second key to be made", async || {
            ensure!(minted() == 2, "{} keys were made", minted());
            Ok(())
        })
        .await;
    signal(process, how).unwrap();
    let stopped = Instant::now();
    let held = world.holder().await.unwrap();
    let next = world
        .see("another to lead", async || {
            let next = world.holder().await?;
            // A holder that ends in order leaves the Lease to nobody.
            ensure!(next != held && !next.is_empty(), "{next:?} leads");
            Ok(next)
        })
        .await;
    println!("{next} leads {:.1?} after {held} was stopped by SIG{how}", stopped.elapsed());
    let new = world.only_key(&user, "app-s3", &old).await;
    // The second had reached the Secret, or a third replaces it: its secret half is lost.
    assert!((2..=3).contains(&minted()), "{} keys were made", minted());
    Ended { user, process, old, new }
}

/// The operator's process in a pod: its namespace of processes is within the node's.
fn process_of(pod: &str) -> Result<u32> {
    let host = format!("HOSTNAME={pod}");
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let in_pod = environment.split(|byte| *byte == 0).any(|variable| variable == host.as_bytes());
        if in_pod && command.starts_with(b"/s3-access-operator\0") {
            return Ok(process);
        }
    }
    None.with_context(|| format!("no process of {pod}"))
}

fn signal(process: u32, name: &str) -> Result<()> {
    let status = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status()?;
    ensure!(status.success(), "kill -{name} {process} ended with {status}");
    Ok(())
}
