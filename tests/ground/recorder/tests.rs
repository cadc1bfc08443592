//! What the recorder lets through and writes down, and what a replay tells.

use std::collections::BTreeMap;

use aws_credential_types::Credentials;
use jiff::{SignedDuration, Timestamp};

use super::{ADMIN, Exchange, Kind, Recorder, Said, Service, Upstream, replay};
use crate::double::{Config, DoubleServer};
use crate::moto::{Account, Partition};

const PATH: &str = "/ours/";

async fn recorded() -> (DoubleServer, Recorder, Account) {
    let double = DoubleServer::start(Config::default()).await.unwrap();
    let admin = double.admin();
    let service = Service { url: double.endpoint(), region: double.region().to_owned() };
    let upstream = Upstream {
        iam: service.clone(),
        sts: service,
        admin: Credentials::from_keys(&admin.access_key_id, &admin.secret_access_key, None),
        account: double.account().id.clone(),
        caller: "arn:aws:iam::123456789012:root".to_owned(),
        path: PATH.to_owned(),
    };
    let recorder = Recorder::start(upstream).await.unwrap();
    recorder.begin();
    let account = Account {
        endpoint: recorder.endpoint().to_owned(),
        partition: Partition::Aws,
        access_key_id: admin.access_key_id,
        secret_access_key: admin.secret_access_key,
    };
    (double, recorder, account)
}

#[tokio::test]
async fn calls_pass_with_the_callers_own_key_and_no_secret_is_written_down() {
    let (_double, recorder, admin) = recorded().await;
    let everything = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iam:*","Resource":"*"}]}"#;
    let user = admin.create_identity_inline("one", everything).await.unwrap();
    user.iam().list_access_keys().user_name("one").send().await.unwrap();
    assert_eq!(recorder.calls(), 4);
    let exchanges = recorder.exchanges();
    let callers: Vec<&str> = exchanges.iter().map(|exchange| exchange.caller.as_str()).collect();
    assert_eq!(callers, [ADMIN, ADMIN, ADMIN, "AKIAACCEPTANCE000001"]);
    let text = serde_json::to_string(&exchanges).unwrap();
    for secret in [&user.secret_access_key, &user.access_key_id, &admin.secret_access_key, &admin.access_key_id] {
        assert!(!text.contains(secret.as_str()), "{text}");
    }
    let outcome = replay(&exchanges, "aws", PATH).await.unwrap();
    assert_eq!((outcome.compared, outcome.differences), (4, Vec::new()));
}

/// The recorder opens no door to whoever knows a key's id.
#[tokio::test]
async fn a_wrong_signature_is_refused_by_the_server_itself() {
    let (double, recorder, admin) = recorded().await;
    let thief = Account { secret_access_key: "guessed".to_owned(), ..admin };
    let refused = thief.iam().list_users().send().await.unwrap_err().into_service_error();
    assert_eq!(refused.meta().code(), Some("SignatureDoesNotMatch"));
    assert_eq!(double.with(|world| world.history().calls().count()), 1, "the server was asked");
    assert_eq!(recorder.exchanges()[0].said.status, 403);
}

fn call(number: usize, seconds: i64, action: &str, said: Said) -> Exchange {
    Exchange {
        number,
        step: "a step".to_owned(),
        caller: ADMIN.to_owned(),
        action: action.to_owned(),
        parameters: BTreeMap::from([("UserName".to_owned(), "one".to_owned())]),
        at: Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds),
        said,
    }
}

fn refused(status: u16, code: &str, message: &str) -> Said {
    Said { status, code: Some(code.to_owned()), message: Some(message.to_owned()), elements: BTreeMap::new() }
}

/// What the double says to CreateUser, element by element.
fn created() -> Said {
    let user = |name: &str| format!("CreateUserResponse/CreateUserResult/User/{name}");
    let elements = [
        ("Arn", "arn:aws:iam::123456789012:user/one"),
        ("CreateDate", "<time>"),
        ("Path", "/"),
        ("UserId", "<id AIDA>"),
        ("UserName", "one"),
    ];
    let elements = elements.map(|(name, value)| (user(name), value.to_owned()));
    Said { status: 200, elements: elements.into(), ..Said::default() }
}

fn unknown() -> Said {
    refused(404, "NoSuchEntity", "The user with name one cannot be found.")
}

#[tokio::test]
async fn what_was_so_within_a_minute_is_late_and_no_difference() {
    let calls = [call(1, 0, "CreateUser", created()), call(2, 40, "GetUser", unknown())];
    let outcome = replay(&calls, "aws", PATH).await.unwrap();
    assert_eq!((outcome.late, outcome.differences), (1, Vec::new()));
    let calls = [call(1, 0, "CreateUser", created()), call(2, 100, "GetUser", unknown())];
    let outcome = replay(&calls, "aws", PATH).await.unwrap();
    assert_eq!((outcome.late, outcome.differences.len()), (0, 1));
    assert_eq!(outcome.differences[0].double, "200");
}

#[tokio::test]
async fn a_call_that_only_the_server_refuses_is_one_difference_and_has_no_consequence() {
    let planted = refused(409, "ConcurrentModification", "planted");
    let calls = [call(1, 0, "CreateUser", planted), call(2, 1, "CreateUser", created())];
    let outcome = replay(&calls, "aws", PATH).await.unwrap();
    let [difference] = outcome.differences.as_slice() else { panic!("{outcome:?}") };
    assert_eq!((difference.number, difference.kind), (1, Kind::Answer));
    assert_eq!(difference.server, "409 ConcurrentModification: planted");
}

#[tokio::test]
async fn messages_and_elements_are_compared_and_later_is_not() {
    let mut other = created();
    other.elements.insert("CreateUserResponse/CreateUserResult/User/Tags".to_owned(), String::new());
    let calls = [
        call(1, 0, "CreateUser", other),
        call(2, 1, "CreateUser", refused(409, "EntityAlreadyExists", "There is one.")),
        call(3, 2, "GetUser", refused(400, "Throttling", "Rate exceeded")),
        call(4, 3, "GetUser", refused(500, "ServiceFailure", "Oh")),
    ];
    let outcome = replay(&calls, "aws", PATH).await.unwrap();
    let kinds: Vec<Kind> = outcome.differences.iter().map(|difference| difference.kind).collect();
    assert_eq!((kinds, outcome.throttled, outcome.unknown), (vec![Kind::Content, Kind::Words], 1, 1));
}

#[tokio::test]
async fn a_policy_that_the_server_deletes_with_its_versions_is_one_difference_and_gone_here_too() {
    const DOCUMENT: &str =
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#;
    let named = ("PolicyName", "many");
    let found = ("PolicyArn", "arn:aws:iam::123456789012:policy/many");
    let written = ("PolicyDocument", DOCUMENT);
    let calls = [
        (1, "CreatePolicy", [named, written]),
        (2, "CreatePolicyVersion", [found, written]),
        (3, "DeletePolicy", [found, found]),
        (4, "CreatePolicy", [named, written]),
    ];
    let calls = calls.map(|(number, action, parameters)| Exchange {
        parameters: parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        ..call(number, number as i64, action, Said { status: 200, ..Said::default() })
    });
    let outcome = replay(&calls, "aws", PATH).await.unwrap();
    let answers = outcome.differences.iter().filter(|difference| difference.kind == Kind::Answer);
    assert_eq!(answers.map(|difference| difference.number).collect::<Vec<_>>(), [3], "{outcome:?}");
}
