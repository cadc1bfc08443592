//! What policies let callers do, in IAM and in S3.

use super::*;
use crate::double::{Access, Context, Status};

/// A user `u` with an inline policy of these statements, and its key.
fn user_with(bench: &mut Bench, statements: &str) -> Credentials {
    bench.user("u");
    grant(bench, statements);
    credentials(&bench.key("u"))
}

fn grant(bench: &mut Bench, statements: &str) {
    bench.must(Request::PutUserPolicy {
        user_name: "u".into(),
        policy_name: "inline".into(),
        policy_document: format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#),
    });
}

fn access(bench: &mut Bench, key: &Credentials, action: &str, resource: &str, context: &Context) -> Access {
    bench.world.authorize(bench.now, key, action, resource, context)
}

#[test]
fn a_denial_wins_over_an_allowance_and_nothing_is_allowed_by_default() {
    let mut bench = Bench::new();
    let key = user_with(
        &mut bench,
        r#"{"Effect":"Allow","Action":"s3:*Object","Resource":"arn:aws:s3:::b/*"},
           {"Effect":"Deny","Action":"S3:deleteobject","Resource":"*"}"#,
    );
    let none = Context::new();
    for (action, resource, expected) in [
        ("s3:GetObject", "arn:aws:s3:::b/x", Access::Allowed),
        ("s3:getobject", "arn:aws:s3:::b/x", Access::Allowed),
        ("s3:GetObject", "arn:aws:s3:::B/x", Access::Denied),
        ("s3:GetObject", "arn:aws:s3:::other/x", Access::Denied),
        ("s3:ListBucket", "arn:aws:s3:::b", Access::Denied),
        ("s3:DeleteObject", "arn:aws:s3:::b/x", Access::Denied),
    ] {
        assert_eq!(access(&mut bench, &key, action, resource, &none), expected, "{action} {resource}");
    }
}

#[test]
fn not_action_and_not_resource_turn_a_statement_around() {
    let mut bench = Bench::new();
    let key =
        user_with(&mut bench, r#"{"Effect":"Allow","NotAction":"s3:Delete*","NotResource":"arn:aws:s3:::secret/*"}"#);
    let none = Context::new();
    assert_eq!(access(&mut bench, &key, "s3:GetObject", "arn:aws:s3:::b/x", &none), Access::Allowed);
    assert_eq!(access(&mut bench, &key, "s3:DeleteObject", "arn:aws:s3:::b/x", &none), Access::Denied);
    assert_eq!(access(&mut bench, &key, "s3:GetObject", "arn:aws:s3:::secret/x", &none), Access::Denied);
}

#[test]
fn a_condition_on_the_prefix_limits_listing() {
    let mut bench = Bench::new();
    let key = user_with(
        &mut bench,
        r#"{"Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::b",
            "Condition":{"StringLike":{"s3:prefix":["2026/*","${aws:username}/*"]}}}"#,
    );
    for (prefix, expected) in
        [("2026/05", Access::Allowed), ("u/x", Access::Allowed), ("2025/", Access::Denied), ("", Access::Denied)]
    {
        let context = Context::new().with("s3:prefix", prefix);
        assert_eq!(access(&mut bench, &key, "s3:ListBucket", "arn:aws:s3:::b", &context), expected, "{prefix}");
    }
    assert_eq!(access(&mut bench, &key, "s3:ListBucket", "arn:aws:s3:::b", &Context::new()), Access::Denied);
}

#[test]
fn a_boundary_has_to_allow_what_policies_allow() {
    let mut bench = Bench::new();
    let key = user_with(&mut bench, r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#);
    let boundary = bench.policy("boundary", ALL_OF_S3);
    let put = Request::PutUserPermissionsBoundary { user_name: "u".into(), permissions_boundary: boundary };
    assert!(bench.call_as(&key, Request::GetUser { user_name: "u".into() }).is_ok());
    bench.must(put);
    assert_eq!(code(bench.call_as(&key, Request::GetUser { user_name: "u".into() })), Code::AccessDenied);
    assert_eq!(access(&mut bench, &key, "s3:GetObject", "arn:aws:s3:::b/x", &Context::new()), Access::Allowed);
    bench.must(Request::DeleteUserPolicy { user_name: "u".into(), policy_name: "inline".into() });
    assert_eq!(access(&mut bench, &key, "s3:GetObject", "arn:aws:s3:::b/x", &Context::new()), Access::Denied);
}

#[test]
fn tags_in_the_request_and_on_the_resource_are_looked_at() {
    let mut bench = Bench::new();
    let key = user_with(
        &mut bench,
        r#"{"Effect":"Allow","Action":["iam:CreateUser","iam:TagUser"],"Resource":"arn:aws:iam::123456789012:user/k8s/*",
            "Condition":{"StringEquals":{"aws:RequestTag/owner":"cluster-1"},
                         "ForAllValues:StringEquals":{"aws:TagKeys":["owner","team"]}}},
           {"Effect":"Allow","Action":["iam:DeleteUser","iam:CreateAccessKey"],"Resource":"*",
            "Condition":{"StringEquals":{"iam:ResourceTag/owner":"cluster-1"}}}"#,
    );
    let create = |name: &str, path: &str, list: &[(&str, &str)]| Request::CreateUser {
        user_name: name.into(),
        path: Some(path.into()),
        permissions_boundary: None,
        tags: tags(list),
    };
    let mine = [("owner", "cluster-1")];
    assert!(bench.call_as(&key, create("a", "/k8s/", &mine)).is_ok());
    assert_eq!(code(bench.call_as(&key, create("b", "/", &mine))), Code::AccessDenied);
    assert_eq!(code(bench.call_as(&key, create("b", "/k8s/", &[("owner", "other")]))), Code::AccessDenied);
    assert_eq!(code(bench.call_as(&key, create("b", "/k8s/", &[]))), Code::AccessDenied);
    let surplus = [("owner", "cluster-1"), ("admin", "true")];
    assert_eq!(code(bench.call_as(&key, create("b", "/k8s/", &surplus))), Code::AccessDenied);
    bench.user("stranger");
    let delete = |name: &str| Request::DeleteUser { user_name: name.into() };
    assert_eq!(code(bench.call_as(&key, delete("stranger"))), Code::AccessDenied);
    assert!(bench.call_as(&key, delete("a")).is_ok());
}

/// A boundary `b`, and a caller that may do anything to users under it, and these actions without a condition.
fn bounded_caller(bench: &mut Bench, others: &str) -> (Credentials, String) {
    let boundary = bench.policy("b", ALL_OF_S3);
    let key = user_with(
        bench,
        &format!(
            r#"{{"Effect":"Allow","Action":["iam:*"],"Resource":"*",
                 "Condition":{{"ArnEquals":{{"iam:PermissionsBoundary":"{boundary}"}}}}}},
               {{"Effect":"Allow","Action":[{others}],"Resource":"*"}}"#
        ),
    );
    (key, boundary)
}

#[test]
fn the_boundary_is_a_condition_of_few_calls_and_not_of_a_new_key() {
    let mut bench = Bench::new();
    let (key, boundary) = bounded_caller(&mut bench, r#""iam:TagRole""#);
    let create = |boundary: Option<&String>| Request::CreateUser {
        user_name: "v".into(),
        path: None,
        permissions_boundary: boundary.cloned(),
        tags: Vec::new(),
    };
    assert_eq!(code(bench.call_as(&key, create(None))), Code::AccessDenied);
    assert!(bench.call_as(&key, create(Some(&boundary))).is_ok());
    let put =
        || Request::PutUserPolicy { user_name: "v".into(), policy_name: "p".into(), policy_document: ALL_OF_S3.into() };
    assert!(bench.call_as(&key, put()).is_ok());
    let mint = Request::CreateAccessKey { user_name: "v".into() };
    assert_eq!(code(bench.call_as(&key, mint)), Code::AccessDenied, "AWS sends no boundary with it");
    let other = bench.policy("c", ALL_OF_S3);
    let change =
        |arn: &str| Request::PutUserPermissionsBoundary { user_name: "v".into(), permissions_boundary: arn.to_owned() };
    assert_eq!(code(bench.call_as(&key, change(&other))), Code::AccessDenied, "the new one is judged");
    assert!(bench.call_as(&key, change(&boundary)).is_ok());
    bench.must(Request::DeleteUserPermissionsBoundary { user_name: "v".into() });
    assert_eq!(code(bench.call_as(&key, put())), Code::AccessDenied);
}

#[test]
fn a_user_that_is_made_with_tags_needs_the_right_to_tag() {
    let mut bench = Bench::new();
    let key = user_with(
        &mut bench,
        r#"{"Effect":"Allow","Action":["iam:CreateUser","iam:CreatePolicy"],"Resource":"*"},
           {"Effect":"Allow","Action":["iam:TagUser","iam:TagPolicy"],"Resource":"*",
            "Condition":{"StringEquals":{"aws:RequestTag/owner":"me"}}}"#,
    );
    let user = |tags| Request::CreateUser { user_name: "v".into(), path: None, permissions_boundary: None, tags };
    let policy = |tags| Request::CreatePolicy {
        policy_name: "p".into(),
        path: None,
        policy_document: ALL_OF_S3.into(),
        description: None,
        tags,
    };
    for others in [user(tags(&[("owner", "you")])), policy(tags(&[("owner", "you")]))] {
        assert_eq!(code(bench.call_as(&key, others)), Code::AccessDenied);
    }
    assert!(bench.call_as(&key, user(tags(&[("owner", "me")]))).is_ok());
    assert!(bench.call_as(&key, policy(tags(&[("owner", "me")]))).is_ok());
}

#[test]
fn moving_a_user_needs_the_right_on_both_places_and_the_new_one_has_no_tags() {
    let mut bench = Bench::new();
    let key = user_with(
        &mut bench,
        r#"{"Effect":"Allow","Action":"iam:UpdateUser","Resource":"*",
            "Condition":{"StringEquals":{"aws:ResourceTag/owner":"me"}}},
           {"Effect":"Allow","Action":"iam:UpdateUser","Resource":"arn:aws:iam::123456789012:user/k8s/*"}"#,
    );
    for name in ["mine", "theirs"] {
        bench.user(name);
    }
    bench.must(Request::TagUser { user_name: "mine".into(), tags: tags(&[("owner", "me")]) });
    let to = |name: &str, new_name: Option<&str>, path: &str| Request::UpdateUser {
        user_name: name.into(),
        new_user_name: new_name.map(Into::into),
        new_path: Some(path.into()),
    };
    assert_eq!(code(bench.call_as(&key, to("mine", None, "/elsewhere/"))), Code::AccessDenied);
    assert_eq!(code(bench.call_as(&key, to("theirs", None, "/k8s/"))), Code::AccessDenied);
    assert!(bench.call_as(&key, to("mine", None, "/k8s/")).is_ok());
    assert!(bench.call_as(&key, to("mine", Some("renamed"), "/k8s/")).is_ok());
}

#[test]
fn inactive_deleted_unknown_and_wrong_keys_are_told_apart() {
    let mut bench = Bench::new();
    let key = user_with(&mut bench, r#"{"Effect":"Allow","Action":"*","Resource":"*"}"#);
    let none = Context::new();
    let get = |bench: &mut Bench, key: &Credentials| access(bench, key, "s3:GetObject", "arn:aws:s3:::b/x", &none);
    assert_eq!(get(&mut bench, &key), Access::Allowed);
    let wrong = Credentials { secret_access_key: "other".into(), ..key.clone() };
    assert_eq!(get(&mut bench, &wrong), Access::SignatureDoesNotMatch);
    assert_eq!(code(bench.call_as(&wrong, Request::GetCallerIdentity {})), Code::SignatureDoesNotMatch);
    let update =
        |status| Request::UpdateAccessKey { user_name: "u".into(), access_key_id: key.access_key_id.clone(), status };
    bench.must(update(Status::Inactive));
    assert_eq!(get(&mut bench, &key), Access::InvalidAccessKeyId);
    bench.must(update(Status::Active));
    assert_eq!(get(&mut bench, &key), Access::Allowed);
    bench.must(Request::DeleteAccessKey { user_name: "u".into(), access_key_id: key.access_key_id.clone() });
    assert_eq!(get(&mut bench, &key), Access::InvalidAccessKeyId);
    assert_eq!(code(bench.call_as(&key, Request::GetCallerIdentity {})), Code::InvalidClientTokenId);
}

#[test]
fn a_user_of_no_policy_may_still_ask_who_it_is() {
    let mut bench = Bench::new();
    bench.user("u");
    let key = credentials(&bench.key("u"));
    let Ok(Response::CallerIdentity(identity)) = bench.call_as(&key, Request::GetCallerIdentity {}) else { panic!() };
    assert_eq!(identity.arn, "arn:aws:iam::123456789012:user/u");
    assert!(identity.user_id.starts_with("AIDA"));
    assert_eq!(code(bench.call_as(&key, create_user("v"))), Code::AccessDenied);
}
