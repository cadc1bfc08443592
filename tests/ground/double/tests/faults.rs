//! Faults, throttling and the history.

use std::time::Duration;

use super::*;
use crate::double::{Fault, FaultKind, Operation, Outcome, Rate, Throttle, When};

fn create_key() -> Request {
    Request::CreateAccessKey { user_name: "u".into() }
}

fn keys(bench: &Bench) -> usize {
    bench.iam().state().user("u").unwrap().keys.len()
}

#[test]
fn a_lost_request_has_no_effect_and_a_lost_response_has_one() {
    let mut bench = Bench::new();
    bench.user("u");
    bench.world.faults().set([
        Fault::new(When::Nth(Operation::CreateAccessKey, 0), FaultKind::LostBeforeEffect),
        Fault::new(When::Nth(Operation::CreateAccessKey, 1), FaultKind::LostAfterEffect),
        Fault::new(When::Nth(Operation::CreateAccessKey, 2), FaultKind::Error(Code::ServiceFailure)),
        Fault::new(When::Nth(Operation::CreateAccessKey, 3), FaultKind::ErrorAfterEffect(Code::ServiceFailure)),
    ]);
    assert_eq!(bench.call(create_key()), Err(CallError::LostBeforeEffect));
    assert_eq!(keys(&bench), 0);
    assert_eq!(bench.call(create_key()), Err(CallError::LostAfterEffect));
    assert_eq!(keys(&bench), 1);
    assert_eq!(bench.refusal(create_key()), Code::ServiceFailure);
    assert_eq!(keys(&bench), 1);
    assert_eq!(bench.refusal(create_key()), Code::ServiceFailure);
    assert_eq!(keys(&bench), 2);
    assert_eq!(bench.refusal(create_key()), Code::LimitExceeded);
    let outcomes: Vec<Outcome> = bench.world.history().calls().skip(1).map(|call| call.outcome).collect();
    assert_eq!(
        outcomes,
        [
            Outcome::LostBeforeEffect,
            Outcome::LostAfterEffect,
            Outcome::Refused(Code::ServiceFailure),
            Outcome::FailedAfterEffect(Code::ServiceFailure),
            Outcome::Refused(Code::LimitExceeded),
        ]
    );
}

#[test]
fn faults_count_calls_from_when_they_are_set() {
    let mut bench = Bench::new();
    bench.user("u");
    bench.world.faults().set([
        Fault::new(When::Call(1), FaultKind::Error(Code::Throttling)),
        Fault::new(When::Every(Operation::TagUser), FaultKind::Error(Code::AccessDenied)),
        Fault::new(When::Nth(Operation::GetUser, 1), FaultKind::Delay(Duration::from_secs(9))),
    ]);
    let get = || Request::GetUser { user_name: "u".into() };
    let tag = || Request::TagUser { user_name: "u".into(), tags: Vec::new() };
    bench.must(get());
    assert_eq!(bench.refusal(create_user("v")), Code::Throttling);
    assert_eq!(bench.refusal(tag()), Code::AccessDenied);
    assert_eq!(bench.refusal(tag()), Code::AccessDenied);
    let reply = bench.world.call(bench.now, Caller::root(ACCOUNT), &get());
    assert_eq!(reply.delay, Duration::from_secs(9));
    assert!(reply.result.is_ok());
    bench.world.faults().clear();
    bench.must(tag());
    assert_eq!(bench.world.faults().calls(), 1);
}

#[test]
fn the_history_names_caller_target_and_counts() {
    let mut bench = Bench::new();
    bench.user("u");
    let key = credentials(&bench.key("u"));
    bench.world.history_mut().clear();
    bench.call_as(&key, Request::GetCallerIdentity {}).unwrap();
    let stranger = Credentials { access_key_id: "AKIANOBODY".into(), ..key };
    assert_eq!(code(bench.call_as(&stranger, create_user("v"))), Code::InvalidClientTokenId);
    bench.must(Request::GetUser { user_name: "u".into() });
    let history = bench.world.history();
    let seen: Vec<(u64, &str, &str)> =
        history.calls().map(|call| (call.seq, call.caller.as_str(), call.target.as_str())).collect();
    assert_eq!(
        seen,
        [
            (2, "arn:aws:iam::123456789012:user/u", ""),
            (3, "AKIANOBODY", "v"),
            (4, "arn:aws:iam::123456789012:root", "u")
        ]
    );
    assert_eq!(history.count(Operation::GetUser), 1);
    assert_eq!(history.writes(), 1);
}

#[test]
fn each_operation_of_an_account_has_a_bucket_that_refills() {
    let throttle = Throttle {
        operations: [(Operation::GetUser, Rate { burst: 3.0, per_second: 2.0 })].into(),
        ..Throttle::default()
    };
    let mut bench = Bench::with(Settings { throttle, ..Settings::default() });
    bench.user("u");
    let get = || Request::GetUser { user_name: "u".into() };
    for _ in 0..3 {
        bench.must(get());
    }
    assert_eq!(bench.refusal(get()), Code::Throttling);
    bench.user("v");
    bench.pass(1);
    bench.must(get());
    bench.must(get());
    assert_eq!(bench.refusal(get()), Code::Throttling);
}

#[test]
fn the_calls_of_an_account_have_one_bucket_and_those_of_sts_are_not_in_it() {
    let throttle = Throttle { account: Some(Rate { burst: 2.0, per_second: 1.0 }), ..Throttle::default() };
    let mut bench = Bench::with(Settings { throttle, ..Settings::default() });
    bench.user("u");
    bench.must(Request::GetUser { user_name: "u".into() });
    assert_eq!(bench.refusal(create_user("v")), Code::Throttling);
    bench.must(Request::GetCallerIdentity {});
    assert_eq!(bench.world.history().throttled(), 1);
    bench.pass(1);
    bench.must(create_user("v"));
    assert_eq!(bench.refusal(Request::GetUser { user_name: "u".into() }), Code::Throttling);
}

#[test]
fn no_secret_is_in_debug_output() {
    let mut bench = Bench::new();
    bench.user("u");
    let response = bench.must(create_key());
    let Response::NewAccessKey(new) = &response else { panic!() };
    let shown = format!("{response:?} {:?} {:?}", bench.world, credentials(&new.key));
    assert!(shown.contains(&new.key.id));
    assert!(!shown.contains(&new.key.secret));
}
