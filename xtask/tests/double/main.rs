//! The double over HTTP, as clients meet it: lost answers, wrong signatures, lag, roles, and S3.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it measured"
)]

mod faults;
mod identity;
mod raw;
mod s3;
mod speed;

use aws_sdk_iam::types::AccessKey;
use aws_smithy_types::retry::RetryConfig;
use ground::double::{Credentials, DoubleServer};

/// A policy that allows everything.
const EVERYTHING: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;

/// A client of IAM that tries a call so many times.
fn iam(double: &DoubleServer, credentials: &Credentials, attempts: u32) -> aws_sdk_iam::Client {
    let config = double.sdk_config(credentials).into_builder();
    let retries =
        RetryConfig::standard().with_max_attempts(attempts).with_initial_backoff(std::time::Duration::from_millis(1));
    aws_sdk_iam::Client::new(&config.retry_config(retries).build())
}

/// The administrator's client of IAM.
fn admin(double: &DoubleServer) -> aws_sdk_iam::Client {
    iam(double, &double.admin(), 1)
}

/// A user with an inline policy, and its key.
async fn user_who_may(double: &DoubleServer, name: &str, document: &str) -> Credentials {
    let iam = admin(double);
    iam.create_user().user_name(name).send().await.unwrap();
    iam.put_user_policy().user_name(name).policy_name("may").policy_document(document).send().await.unwrap();
    let key = iam.create_access_key().user_name(name).send().await.unwrap().access_key.unwrap();
    credentials(&key)
}

fn credentials(key: &AccessKey) -> Credentials {
    Credentials {
        access_key_id: key.access_key_id().to_owned(),
        secret_access_key: key.secret_access_key().to_owned(),
        session_token: None,
    }
}
