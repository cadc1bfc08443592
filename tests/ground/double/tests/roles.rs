//! Roles of this and of other accounts.

use super::*;
use crate::double::Access;
use crate::double::Context;

const OTHER: &str = "210987654321";

fn assume(arn: &str, external_id: Option<&str>) -> Request {
    Request::AssumeRole {
        role_arn: arn.into(),
        role_session_name: "operator".into(),
        external_id: external_id.map(str::to_owned),
        duration_seconds: Some(900),
    }
}

/// A user of the first account that may assume roles, and a role of the second that trusts that account.
fn two_accounts() -> (Bench, Caller, String) {
    let mut bench = Bench::new();
    let other = Account { id: OTHER.into(), partition: "aws".into() };
    bench.world.add_account(other, Settings { seed: 7, ..Settings::default() });
    let everything = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"iam:*","Resource":"*"}}"#;
    let other = bench.world.account_mut(OTHER).unwrap();
    let role = other.put_role("k8s", &["arn:aws:iam::123456789012:root"], Some("xyz"), &[everything]).unwrap();
    bench.user("operator");
    (bench, Caller::user(ACCOUNT, "operator"), role)
}

fn allow_assuming(bench: &mut Bench) {
    let document =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}}"#;
    bench.must(Request::PutUserPolicy {
        user_name: "operator".into(),
        policy_name: "assume".into(),
        policy_document: document.into(),
    });
}

#[test]
fn a_role_of_another_account_is_assumed_with_both_sides_leave_and_the_external_id() {
    let (mut bench, operator, role) = two_accounts();
    assert_eq!(code(bench.call_as(&operator, assume(&role, Some("xyz")))), Code::AccessDenied);
    allow_assuming(&mut bench);
    assert_eq!(code(bench.call_as(&operator, assume(&role, None))), Code::AccessDenied);
    assert_eq!(code(bench.call_as(&operator, assume(&role, Some("abc")))), Code::AccessDenied);
    assert_eq!(code(bench.call(assume(&role, Some("xyz")))), Code::AccessDenied);
    assert_eq!(code(bench.call_as(&operator, assume("arn:aws:iam::210987654321:role/no", None))), Code::AccessDenied);
    let Ok(Response::AssumedRole(assumed)) = bench.call_as(&operator, assume(&role, Some("xyz"))) else { panic!() };
    assert_eq!(assumed.arn, "arn:aws:sts::210987654321:assumed-role/k8s/operator");

    let session = Credentials {
        access_key_id: assumed.access_key_id,
        secret_access_key: assumed.secret_access_key,
        session_token: Some(assumed.session_token),
    };
    let Ok(Response::User(user)) = bench.call_as(&session, create_user("there")) else { panic!() };
    assert_eq!(user.arn, "arn:aws:iam::210987654321:user/there");
    assert_eq!(bench.refusal(Request::GetUser { user_name: "there".into() }), Code::NoSuchEntity);
    let object = "arn:aws:s3:::b/x";
    let denied = bench.world.authorize(bench.now, &session, "s3:GetObject", object, &Context::new());
    assert_eq!(denied, Access::Denied);

    let without_token = Credentials { session_token: None, ..session.clone() };
    assert_eq!(code(bench.call_as(&without_token, Request::GetCallerIdentity {})), Code::InvalidClientTokenId);
    bench.pass(900);
    assert_eq!(code(bench.call_as(&session, Request::GetCallerIdentity {})), Code::ExpiredToken);
}

#[test]
fn sessions_have_a_name_and_a_duration_within_bounds() {
    let (mut bench, operator, role) = two_accounts();
    allow_assuming(&mut bench);
    for (name, seconds) in [("a b", 900), ("ok", 899), ("ok", 43_201)] {
        let request = Request::AssumeRole {
            role_arn: role.clone(),
            role_session_name: name.into(),
            external_id: Some("xyz".into()),
            duration_seconds: Some(seconds),
        };
        assert_eq!(code(bench.call_as(&operator, request)), Code::ValidationError);
    }
}

fn simulate(principal: &str, resource: &str) -> Request {
    Request::SimulatePrincipalPolicy {
        policy_source_arn: principal.into(),
        action_names: vec!["iam:CreateUser".into(), "iam:DeleteUser".into(), "s3:GetObject".into()],
        resource_arns: vec![resource.into()],
        context_entries: vec![("aws:RequestTag/team".into(), vec!["reports".into()])],
    }
}

fn decisions(response: Response) -> Vec<&'static str> {
    let Response::Evaluations(evaluations) = response else { panic!("no evaluations: {response:?}") };
    evaluations.into_iter().map(|evaluation| evaluation.decision.simulated()).collect()
}

#[test]
fn a_simulation_says_what_the_policies_of_a_user_or_a_role_say() {
    let mut bench = Bench::new();
    let document = r#"{"Version":"2012-10-17","Statement":[
        {"Effect":"Allow","Action":"iam:CreateUser","Resource":"arn:aws:iam::*:user/a/*",
         "Condition":{"StringLike":{"aws:RequestTag/team":"*"}}},
        {"Effect":"Allow","Action":"s3:*","Resource":"*"},
        {"Effect":"Deny","Action":"iam:DeleteUser","Resource":"*"}]}"#;
    bench.user("u");
    let (user_name, policy_name) = ("u".into(), "inline".into());
    bench.must(Request::PutUserPolicy { user_name, policy_name, policy_document: document.into() });
    let role = bench.iam_mut().put_role("k8s", &["*"], None, &[document]).unwrap();
    for principal in ["arn:aws:iam::123456789012:user/u", &role] {
        let under = bench.must(simulate(principal, "arn:aws:iam::123456789012:user/a/x"));
        assert_eq!(decisions(under), ["allowed", "explicitDeny", "allowed"], "{principal}");
        let elsewhere = bench.must(simulate(principal, "arn:aws:iam::123456789012:user/x"));
        assert_eq!(decisions(elsewhere), ["implicitDeny", "explicitDeny", "allowed"], "{principal}");
    }
    let boundary = bench.policy("boundary", ALL_OF_S3);
    bench.must(Request::PutUserPermissionsBoundary { user_name: "u".into(), permissions_boundary: boundary });
    let bounded = bench.must(simulate("arn:aws:iam::123456789012:user/u", "arn:aws:iam::123456789012:user/a/x"));
    assert_eq!(decisions(bounded), ["implicitDeny", "explicitDeny", "allowed"]);
}

#[test]
fn a_simulation_needs_a_right_and_somebody_who_has_policies() {
    let mut bench = Bench::new();
    let role = bench.iam_mut().put_role("k8s", &["*"], None, &[]).unwrap();
    for (principal, refused) in [
        ("arn:aws:iam::123456789012:user/nobody", Code::NoSuchEntity),
        ("arn:aws:iam::123456789012:role/other/k8s", Code::NoSuchEntity),
        ("arn:aws:sts::123456789012:assumed-role/k8s/pod", Code::InvalidInput),
        ("arn:aws:iam::123456789012:root", Code::InvalidInput),
    ] {
        assert_eq!(bench.refusal(simulate(principal, "*")), refused, "{principal}");
    }
    bench.user("u");
    let user = Caller::user(ACCOUNT, "u");
    let role_name = "k8s".to_owned();
    assert_eq!(code(bench.call_as(&user, simulate(&role, "*"))), Code::AccessDenied);
    assert_eq!(code(bench.call_as(&user, Request::GetRole { role_name: role_name.clone() })), Code::AccessDenied);
    let document = format!(
        r#"{{"Version":"2012-10-17","Statement":{{"Effect":"Allow","Action":["iam:SimulatePrincipalPolicy","iam:GetRole"],"Resource":"{role}"}}}}"#
    );
    let (user_name, policy_name) = ("u".into(), "ask".into());
    bench.must(Request::PutUserPolicy { user_name, policy_name, policy_document: document });
    let answer = bench.call_as(&user, simulate(&role, "*")).unwrap();
    assert_eq!(decisions(answer), ["implicitDeny"; 3]);
    let Ok(Response::Role(found)) = bench.call_as(&user, Request::GetRole { role_name }) else { panic!("no role") };
    assert_eq!(found.arn, role);
    assert_eq!(bench.refusal(Request::GetRole { role_name: "other".into() }), Code::NoSuchEntity);
}
