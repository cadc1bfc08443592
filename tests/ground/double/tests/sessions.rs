//! Sessions of users' keys.

use super::*;
use crate::double::Access;
use crate::double::Context;
use crate::double::SessionCredentials;

const OBJECT: &str = "arn:aws:s3:::b/x";

fn policy(bench: &mut Bench, document: &str) {
    bench.must(Request::PutUserPolicy {
        user_name: "u".into(),
        policy_name: "own".into(),
        policy_document: document.into(),
    });
}

fn asked(duration_seconds: Option<u32>) -> Request {
    Request::GetSessionToken { duration_seconds }
}

fn session(response: Result<Response, CallError>) -> (Credentials, jiff::Timestamp) {
    let Ok(Response::SessionToken(found)) = response else { panic!("{response:?}") };
    let SessionCredentials { access_key_id, secret_access_key, session_token, expiration } = found;
    (Credentials { access_key_id, secret_access_key, session_token: Some(session_token) }, expiration)
}

/// A user that may read all of S3, its key, and a session of that.
fn user_with_session() -> (Bench, Credentials, Credentials) {
    let mut bench = Bench::new();
    bench.user("u");
    policy(&mut bench, r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#);
    let key = credentials(&bench.key("u"));
    let (session, _) = session(bench.call_as(&key, asked(Some(900))));
    (bench, key, session)
}

fn access(bench: &mut Bench, credentials: &Credentials) -> Access {
    bench.world.authorize(bench.now, credentials, "s3:GetObject", OBJECT, &Context::new())
}

#[test]
fn a_session_has_its_users_rights_in_s3_and_none_in_iam() {
    let (mut bench, _, session) = user_with_session();
    assert!(session.access_key_id.starts_with("ASIA"), "{session:?}");
    assert_eq!(access(&mut bench, &session), Access::Allowed);
    let without_token = Credentials { session_token: None, ..session.clone() };
    assert_eq!(access(&mut bench, &without_token), Access::InvalidAccessKeyId);
    policy(&mut bench, r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:*","Resource":"*"}}"#);
    assert_eq!(access(&mut bench, &session), Access::Denied, "they are the user's as they are now");
    let get = Request::GetUser { user_name: "u".into() };
    assert_eq!(code(bench.call_as(&session, get)), Code::InvalidClientTokenId);
    let Ok(Response::CallerIdentity(who)) = bench.call_as(&session, Request::GetCallerIdentity {}) else { panic!() };
    assert_eq!(who.arn, "arn:aws:iam::123456789012:user/u");
    assert_eq!(code(bench.call_as(&session, asked(None))), Code::AccessDenied, "no session of a session");
}

#[test]
fn a_session_ends_by_itself_and_with_its_user_and_by_a_denial_and_not_with_its_key() {
    let (mut bench, key, old) = user_with_session();
    bench.must(Request::DeleteAccessKey { user_name: "u".into(), access_key_id: key.access_key_id.clone() });
    assert_eq!(access(&mut bench, &key), Access::InvalidAccessKeyId);
    assert_eq!(access(&mut bench, &old), Access::Allowed, "it outlives the key");
    bench.pass(60);
    let cut = bench.now;
    let another = credentials(&bench.key("u"));
    let (new, _) = session(bench.call_as(&another, asked(Some(900))));
    policy(
        &mut bench,
        &format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"s3:*","Resource":"*"}},
            {{"Effect":"Deny","Action":"*","Resource":"*","Condition":{{"DateLessThan":{{"aws:TokenIssueTime":"{cut}"}}}}}}]}}"#
        ),
    );
    let found = [&old, &new, &another].map(|credentials| access(&mut bench, credentials));
    assert_eq!(found, [Access::Denied, Access::Allowed, Access::Allowed], "a key has no time of issue");
    bench.pass(840);
    assert_eq!(access(&mut bench, &old), Access::ExpiredToken);
    bench.must(Request::DeleteUserPolicy { user_name: "u".into(), policy_name: "own".into() });
    bench.must(Request::DeleteAccessKey { user_name: "u".into(), access_key_id: another.access_key_id });
    bench.must(Request::DeleteUser { user_name: "u".into() });
    assert_eq!(access(&mut bench, &new), Access::InvalidAccessKeyId);
}

#[test]
fn sessions_last_as_long_as_asked_within_bounds_or_as_the_test_has_it() {
    let (mut bench, key, _) = user_with_session();
    for seconds in [899, 129_601] {
        assert_eq!(code(bench.call_as(&key, asked(Some(seconds)))), Code::ValidationError, "{seconds}");
    }
    let life = |bench: &mut Bench, asked_for: Option<u32>| {
        let (_, expires) = session(bench.call_as(&key, asked(asked_for)));
        expires.duration_since(bench.now).as_secs()
    };
    assert_eq!((life(&mut bench, None), life(&mut bench, Some(129_600))), (43_200, 129_600));
    bench.iam_mut().settings_mut().session_life = Some(jiff::SignedDuration::from_secs(20));
    assert_eq!(life(&mut bench, Some(129_600)), 20);
}
