//! Two replicas as pods: one leads, and the other takes over.

use std::time::Instant;

use anyhow::ensure;
use ground::double::Operation;
use serde_json::json;

use crate::world::{NAMESPACE, World};

pub async fn invariant_5_a_leader_that_is_killed_while_it_rotates_leaves_one_key_to_the_next(world: &World) {
    world.namespace("switch").await;
    let rotation = json!({ "rotation": { "interval": "2160h", "overlap": "2s" } });
    let access = json!([{ "bucket": "switch-data", "level": "ReadOnly" }]);
    let user = world.user("switch", "app", json!({ "access": access, "accessKey": rotation })).await;
    let old = world.only_key(&user, "app-s3", "").await;
    let name = user.status.as_ref().unwrap().user_name.clone().unwrap();
    let minted = || {
        let calls = |world: &ground::double::World| {
            let made = world.history().calls().filter(|call| call.operation == Operation::CreateAccessKey);
            made.filter(|call| call.target == name).count()
        };
        world.double.with(|world| calls(world))
    };
    assert_eq!(minted(), 1);
    let leader = world.see("one to lead", async || world.leader().await).await;
    world.rotate("switch", "app", "now").await;
    // The new key is made, and not yet proven: the Secret still holds the old one.
    world
        .see("a second key to be made", async || {
            ensure!(minted() == 2, "{} keys were made", minted());
            Ok(())
        })
        .await;
    // No grace: SIGKILL at once.
    let gone = ["delete", "pod", "-n", NAMESPACE, &leader, "--grace-period=0", "--force", "--wait=false"];
    world.kubectl(&gone).await.unwrap();
    let killed = Instant::now();
    let next = world
        .see("another to lead", async || {
            let next = world.leader().await?;
            ensure!(next != leader, "{next} leads");
            Ok(next)
        })
        .await;
    println!("{next} leads {:.1?} after {leader} was killed", killed.elapsed());
    let key = world.only_key(&user, "app-s3", &old).await;
    // The second was lost with the process, or had reached the Secret; a third replaces one that was lost.
    assert!((2..=3).contains(&minted()), "{} keys were made", minted());
    world
        .see("two replicas again", async || {
            let pods = world.operators().await.len();
            ensure!(pods == 2, "{pods} pods");
            Ok(())
        })
        .await;
    assert_eq!(world.only_key(&user, "app-s3", &old).await, key);
}
