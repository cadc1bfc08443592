//! Signatures, roles, accounts and partitions.

use aws_sdk_iam::error::ProvideErrorMetadata;
use ground::double::{Account, Clock, Config, Credentials, DoubleServer, Settings};
use jiff::SignedDuration;

use super::raw::{self, Request};
use super::{EVERYTHING, admin, credentials, iam, user_who_may};

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn a_request_without_a_signature_is_refused() {
    let double = DoubleServer::start(Config::default()).await.unwrap();
    let request = Request::post("/", FORM, b"Action=ListUsers&Version=2010-05-08");
    let answer = raw::send(&double.endpoint(), request).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("<Code>MissingAuthenticationToken</Code>"), "{}", answer.text());
}

#[tokio::test]
async fn an_unknown_call_is_refused() {
    let double = DoubleServer::start(Config::default()).await.unwrap();
    let mut request = Request::post("/", FORM, b"Action=LaunchRocket&Version=2010-05-08");
    request.sign(&double.endpoint(), &double.admin(), "iam", double.region());
    let answer = raw::send(&double.endpoint(), request).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("<Code>InvalidAction</Code>"), "{}", answer.text());
}

#[tokio::test]
async fn a_body_that_was_changed_after_signing_is_refused() {
    let double = DoubleServer::start(Config::default()).await.unwrap();
    let mut request = Request::post("/", FORM, b"Action=ListUsers&Version=2010-05-08");
    request.sign(&double.endpoint(), &double.admin(), "iam", double.region());
    request.body = b"Action=ListUsers&Version=2010-05-08&MaxItems=1".to_vec();
    let answer = raw::send(&double.endpoint(), request).await;
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("<Code>SignatureDoesNotMatch</Code>"), "{}", answer.text());
}

#[tokio::test]
async fn a_signature_for_another_service_is_refused() {
    let double = DoubleServer::start(Config::default()).await.unwrap();
    let mut request = Request::post("/", FORM, b"Action=ListUsers&Version=2010-05-08");
    request.sign(&double.endpoint(), &double.admin(), "sts", double.region());
    let answer = raw::send(&double.endpoint(), request).await;
    assert!(answer.text().contains("Credential should be scoped to correct service"), "{}", answer.text());
}

#[tokio::test]
async fn clocks_that_differ_by_more_than_five_minutes_are_told_so() {
    let double = DoubleServer::start(Config::default()).await.unwrap();
    for (minutes, words) in [(6, Some("Signature expired")), (-6, Some("Signature not yet current")), (4, None)] {
        double.set_clock(Clock::Ahead(SignedDuration::from_mins(minutes)));
        let result = admin(&double).list_users().send().await;
        match words {
            None => drop(result.unwrap()),
            Some(words) => {
                let error = result.unwrap_err();
                assert_eq!(error.code(), Some("SignatureDoesNotMatch"));
                assert!(error.message().unwrap().starts_with(words), "{error:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_role_of_another_account_is_assumed_by_the_sdk() {
    let double = DoubleServer::start(Config::default()).await.unwrap();
    let role = double.with(|world| {
        let other = Account { id: "210987654321".into(), partition: "aws".into() };
        world.add_account(other, Settings { seed: 9, ..Settings::default() });
        let other = world.account_mut("210987654321").unwrap();
        other.put_role("k8s", &["arn:aws:iam::123456789012:root"], Some("external"), &[EVERYTHING]).unwrap()
    });
    let operator = user_who_may(&double, "operator", EVERYTHING).await;
    let sts = aws_sdk_sts::Client::new(&double.sdk_config(&operator));
    let assume = || sts.assume_role().role_arn(&role).role_session_name("operator");
    assert_eq!(assume().send().await.unwrap_err().code(), Some("AccessDenied"));
    let assumed = assume().external_id("external").send().await.unwrap().credentials.unwrap();
    let session = Credentials {
        access_key_id: assumed.access_key_id,
        secret_access_key: assumed.secret_access_key,
        session_token: Some(assumed.session_token),
    };
    let created = iam(&double, &session, 1).create_user().user_name("there").send().await.unwrap();
    assert_eq!(created.user.unwrap().arn(), "arn:aws:iam::210987654321:user/there");
    let identity = aws_sdk_sts::Client::new(&double.sdk_config(&session)).get_caller_identity().send().await.unwrap();
    assert_eq!(identity.arn(), Some("arn:aws:sts::210987654321:assumed-role/k8s/operator"));
}

#[tokio::test]
async fn an_account_of_china_has_its_own_partition() {
    let account = Account { id: "123456789012".into(), partition: "aws-cn".into() };
    let double = DoubleServer::start(Config { account, ..Config::default() }).await.unwrap();
    let iam = admin(&double);
    let user = iam.create_user().user_name("u").send().await.unwrap().user.unwrap();
    assert_eq!(user.arn(), "arn:aws-cn:iam::123456789012:user/u");
    let key = iam.create_access_key().user_name("u").send().await.unwrap().access_key.unwrap();
    let identity =
        aws_sdk_sts::Client::new(&double.sdk_config(&credentials(&key))).get_caller_identity().send().await.unwrap();
    assert_eq!(identity.arn(), Some(user.arn()));
    let policy =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b"}}"#;
    let create = |document: &str| iam.create_policy().policy_name("p").policy_document(document).send();
    assert_eq!(create(policy).await.unwrap_err().code(), Some("MalformedPolicyDocument"));
    create(&policy.replace("arn:aws:", "arn:aws-cn:")).await.unwrap();
}

#[tokio::test]
async fn a_session_of_a_users_key_is_had_by_the_sdk() {
    let double = DoubleServer::start(Config::default()).await.unwrap();
    let user = user_who_may(&double, "u", EVERYTHING).await;
    let sts = aws_sdk_sts::Client::new(&double.sdk_config(&user));
    let issued = sts.get_session_token().duration_seconds(900).send().await.unwrap().credentials.unwrap();
    assert_eq!(issued.expiration.secs() - double.now().as_second(), 900);
    let session = Credentials {
        access_key_id: issued.access_key_id,
        secret_access_key: issued.secret_access_key,
        session_token: Some(issued.session_token),
    };
    let sts = aws_sdk_sts::Client::new(&double.sdk_config(&session));
    let identity = sts.get_caller_identity().send().await.unwrap();
    assert_eq!(identity.arn(), Some("arn:aws:iam::123456789012:user/u"));
    assert_eq!(sts.get_session_token().send().await.unwrap_err().code(), Some("AccessDenied"));
    let refused = iam(&double, &session, 1).list_users().send().await.unwrap_err();
    assert_eq!(refused.code(), Some("InvalidClientTokenId"));
}
