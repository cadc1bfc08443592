//! Requests and responses that are lost, errors on demand, delays, throttling.

use std::time::{Duration, Instant};

use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use ground::double::{
    Code, Config, DoubleServer, Fault, FaultKind, Lag, Operation, Outcome, Rate, Settings, Throttle, When,
};

use super::{admin, iam};

async fn with_user(config: Config) -> DoubleServer {
    let double = DoubleServer::start(config).await.unwrap();
    admin(&double).create_user().user_name("u").send().await.unwrap();
    double
}

fn keys(double: &DoubleServer) -> usize {
    double.with(|world| world.account("123456789012").unwrap().state().user("u").unwrap().keys.len())
}

fn fault(double: &DoubleServer, operation: Operation, kind: FaultKind) {
    double.with(|world| world.faults().set([Fault::new(When::Nth(operation, 0), kind)]));
}

#[tokio::test]
async fn a_lost_response_closes_the_connection_after_the_effect() {
    let double = with_user(Config::default()).await;
    fault(&double, Operation::CreateAccessKey, FaultKind::LostAfterEffect);
    let error = admin(&double).create_access_key().user_name("u").send().await.unwrap_err();
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
    assert_eq!(keys(&double), 1);
}

#[tokio::test]
async fn a_lost_request_closes_the_connection_before_the_effect() {
    let double = with_user(Config::default()).await;
    fault(&double, Operation::CreateAccessKey, FaultKind::LostBeforeEffect);
    let error = admin(&double).create_access_key().user_name("u").send().await.unwrap_err();
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
    assert_eq!(keys(&double), 0);
}

/// Why nobody may let the SDK retry CreateAccessKey: the call has no token that would make it safe.
#[tokio::test]
async fn the_retries_of_the_sdk_mint_a_key_that_nobody_knows() {
    let double = with_user(Config::default()).await;
    fault(&double, Operation::CreateAccessKey, FaultKind::LostAfterEffect);
    iam(&double, &double.admin(), 3).create_access_key().user_name("u").send().await.unwrap();
    assert_eq!(keys(&double), 2);
    let outcomes: Vec<Outcome> =
        double.with(|world| world.history().calls().skip(1).map(|call| call.outcome).collect());
    assert_eq!(outcomes, [Outcome::LostAfterEffect, Outcome::Done]);
}

#[tokio::test]
async fn errors_come_on_demand_and_the_sdk_retries_those_that_it_should() {
    let double = with_user(Config::default()).await;
    for (code, status, retried) in
        [(Code::ServiceFailure, 500, true), (Code::Throttling, 400, true), (Code::ConcurrentModification, 409, false)]
    {
        fault(&double, Operation::GetUser, FaultKind::Error(code));
        let error = admin(&double).get_user().user_name("u").send().await.unwrap_err();
        assert_eq!(error.code(), Some(code.as_str()));
        assert_eq!(error.raw_response().map(|response| response.status().as_u16()), Some(status));
        fault(&double, Operation::GetUser, FaultKind::Error(code));
        let result = iam(&double, &double.admin(), 2).get_user().user_name("u").send().await;
        assert_eq!(result.is_ok(), retried, "{code:?}");
    }
}

#[tokio::test]
async fn answers_are_delayed_without_holding_up_others() {
    let double = with_user(Config::default()).await;
    fault(&double, Operation::GetUser, FaultKind::Delay(Duration::from_millis(400)));
    let (iam, began) = (admin(&double), Instant::now());
    let slow = iam.get_user().user_name("u").send();
    let quick = async {
        iam.list_users().send().await.unwrap();
        began.elapsed()
    };
    let (slow, quick) = tokio::join!(slow, quick);
    slow.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert!(quick < Duration::from_millis(400), "{quick:?}");
}

#[tokio::test]
async fn a_bucket_throttles_one_operation_of_one_account() {
    let throttle = Throttle {
        operations: [(Operation::GetUser, Rate { burst: 2.0, per_second: 0.1 })].into(),
        ..Throttle::default()
    };
    let settings = Settings { throttle, ..Settings::default() };
    let double = with_user(Config { settings, ..Config::default() }).await;
    let iam = admin(&double);
    for _ in 0..2 {
        iam.get_user().user_name("u").send().await.unwrap();
    }
    let error = iam.get_user().user_name("u").send().await.unwrap_err();
    assert_eq!((error.code(), error.message()), (Some("Throttling"), Some("Rate exceeded")));
    iam.list_users().send().await.unwrap();
}

#[tokio::test]
async fn a_new_key_works_when_the_virtual_clock_says_so() {
    use ground::double::Clock;

    let start = "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap();
    let settings = Settings { credentials: Lag::up_to_seconds(30), ..Settings::default() };
    let double = with_user(Config { settings, clock: Clock::Virtual(start), ..Config::default() }).await;
    double.set_clock(Clock::Virtual(start + jiff::SignedDuration::from_secs(100)));
    let key = admin(&double).create_access_key().user_name("u").send().await.unwrap().access_key.unwrap();
    let config = double.sdk_config(&super::credentials(&key)).into_builder();
    let sts = aws_sdk_sts::Client::new(&config.retry_config(aws_smithy_types::retry::RetryConfig::disabled()).build());
    // With no time passed, only a replica that is not behind at all knows the key.
    let mut refused = 0;
    for _ in 0..20 {
        if let Err(error) = sts.get_caller_identity().send().await {
            assert_eq!(error.code(), Some("InvalidClientTokenId"));
            refused += 1;
        }
    }
    assert!(refused > 10, "{refused}");
    double.set_clock(Clock::Virtual(start + jiff::SignedDuration::from_secs(130)));
    for _ in 0..20 {
        sts.get_caller_identity().send().await.unwrap();
    }
}
