//! Reads that are behind, keys that spread slowly.

use super::*;
use crate::double::{Access, Context, Lag};

fn lagging(reads: Lag, credentials: Lag, seed: u64) -> Bench {
    Bench::with(Settings { seed, reads, credentials, ..Settings::default() })
}

/// How many of a hundred reads find the user.
fn sightings(bench: &mut Bench) -> usize {
    (0..100).filter(|_| bench.call(Request::GetUser { user_name: "u".into() }).is_ok()).count()
}

#[test]
fn a_new_user_flickers_until_every_replica_has_it() {
    let mut bench = lagging(Lag::up_to_seconds(60), Lag::NONE, 1);
    bench.user("u");
    assert_eq!(bench.refusal(create_user("u")), Code::EntityAlreadyExists);
    bench.pass(30);
    let seen = sightings(&mut bench);
    assert!((20..80).contains(&seen), "{seen}");
    bench.pass(30);
    assert_eq!(sightings(&mut bench), 100);
}

#[test]
fn a_deleted_user_lingers_and_then_is_gone() {
    let mut bench = lagging(Lag::up_to_seconds(60), Lag::NONE, 2);
    bench.user("u");
    bench.pass(120);
    bench.must(Request::DeleteUser { user_name: "u".into() });
    assert_eq!(bench.refusal(Request::DeleteUser { user_name: "u".into() }), Code::NoSuchEntity);
    bench.pass(10);
    assert!(sightings(&mut bench) > 0);
    bench.pass(50);
    assert_eq!(sightings(&mut bench), 0);
}

#[test]
fn a_share_of_the_reads_can_be_fresh() {
    let mut bench = lagging(Lag { stale_percent: 30, ..Lag::up_to_seconds(60) }, Lag::NONE, 3);
    bench.user("u");
    let seen = sightings(&mut bench);
    assert!((50..90).contains(&seen), "{seen}");
}

#[test]
fn a_new_key_is_unknown_for_a_while_and_a_revoked_one_works_for_a_while() {
    let mut bench = lagging(Lag::NONE, Lag::up_to_seconds(20), 4);
    bench.user("u");
    bench.must(Request::PutUserPolicy {
        user_name: "u".into(),
        policy_name: "p".into(),
        policy_document: ALL_OF_S3.into(),
    });
    bench.pass(60);
    let key = credentials(&bench.key("u"));
    let probe = |bench: &mut Bench| {
        (0..50)
            .filter(|_| {
                let access =
                    bench.world.authorize(bench.now, &key, "s3:GetObject", "arn:aws:s3:::b/x", &Context::new());
                assert!(matches!(access, Access::Allowed | Access::InvalidAccessKeyId));
                access == Access::Allowed
            })
            .count()
    };
    assert!(probe(&mut bench) < 25);
    bench.pass(20);
    assert_eq!(probe(&mut bench), 50);
    let access_key_id = key.access_key_id.clone();
    bench.must(Request::DeleteAccessKey { user_name: "u".into(), access_key_id });
    assert!(probe(&mut bench) > 25);
    bench.pass(20);
    assert_eq!(probe(&mut bench), 0);
}

#[test]
fn one_seed_makes_one_world() {
    let run = |seed| {
        let mut bench = Bench::with(Settings::hostile(seed));
        bench.user("u");
        let key = bench.key("u");
        bench.pass(5);
        let seen: Vec<bool> = (0..50).map(|_| bench.call(Request::GetUser { user_name: "u".into() }).is_ok()).collect();
        (key.id, key.secret, seen)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).0, run(6).0);
}
