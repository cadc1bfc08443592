//! Managed and inline policies: grammar, sizes, versions, attachments.

use super::*;
use crate::double::{Document, limits};

fn grammar(text: &str) -> Result<Document, Code> {
    Document::parse(text, "aws").map_err(|error| error.code)
}

/// A policy of one statement, and white space around it.
fn statement(body: &str) -> String {
    format!("{{\"Version\": \"2012-10-17\",\n \"Statement\": {{{body}}}}}")
}

#[test]
fn the_grammar_refuses_what_iam_refuses() {
    let good = r#""Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::b/*""#;
    assert!(grammar(&statement(good)).is_ok());
    assert!(grammar(&statement(r#""Effect":"Deny","NotAction":["s3:*"],"NotResource":["*"]"#)).is_ok());
    let bad = [
        "",
        "[]",
        "{}",
        "not json",
        r#"{"Version":"2012-10-17","Statement":[]}"#,
        r#"{"Version":"2020-01-01","Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#,
        r#"{"Version":"2012-10-17","Extra":1,"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#,
    ];
    let bad_statements = [
        r#""Action":"s3:*","Resource":"*""#,
        r#""Effect":"allow","Action":"s3:*","Resource":"*""#,
        r#""Effect":"Allow","Resource":"*""#,
        r#""Effect":"Allow","Action":"s3:*""#,
        r#""Effect":"Allow","Action":[],"Resource":"*""#,
        r#""Effect":"Allow","Action":"s3:*","NotAction":"s3:*","Resource":"*""#,
        r#""Effect":"Allow","Action":"GetObject","Resource":"*""#,
        r#""Effect":"Allow","Action":"s3:","Resource":"*""#,
        r#""Effect":"Allow","Action":"s3:*","Resource":"bucket/*""#,
        r#""Effect":"Allow","Action":"s3:*","Resource":"arn:aws-cn:s3:::b""#,
        r#""Effect":"Allow","Action":7,"Resource":"*""#,
        r#""Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"*""#,
        r#""Sid":"with space","Effect":"Allow","Action":"s3:*","Resource":"*""#,
        r#""Effect":"Allow","Action":"s3:*","Resource":"*","Condition":{"StringIs":{"s3:prefix":"x"}}"#,
        r#""Effect":"Allow","Action":"s3:*","Resource":"*","Surplus":true"#,
    ];
    for text in bad.into_iter().map(str::to_owned).chain(bad_statements.into_iter().map(statement)) {
        assert_eq!(grammar(&text), Err(Code::MalformedPolicyDocument), "{text}");
    }
    let twice = r#"{"Statement":[{"Sid":"A","Effect":"Allow","Action":"*","Resource":"*"},
                                 {"Sid":"A","Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    assert_eq!(grammar(twice), Err(Code::MalformedPolicyDocument));
    assert_eq!(grammar(&statement("\"Sid\":\"ā\"")), Err(Code::ValidationError));
}

#[test]
fn a_partition_takes_only_its_own_arns() {
    let mut bench = Bench::of_partition("aws-cn", Settings::default());
    let foreign = statement(r#""Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::b""#);
    assert_eq!(bench.refusal(create_policy("p", &foreign)), Code::MalformedPolicyDocument);
    let arn = bench.policy("p", &foreign.replace("arn:aws:", "arn:aws-cn:"));
    assert_eq!(arn, "arn:aws-cn:iam::123456789012:policy/p");
}

#[test]
fn a_document_comes_back_as_another_text_of_the_same_meaning() {
    let mut bench = Bench::new();
    let text = r#"{"Version":"2012-10-17","Statement":[
        {"Sid":"A","Effect":"Allow","Action":["s3:GetObject","s3:PutObject"],"Resource":["arn:aws:s3:::b/*"]},
        {"Sid":"B","Effect":"Allow","Action":"s3:ListBucket","Resource":"arn:aws:s3:::b"}]}"#;
    let arn = bench.policy("p", text);
    let request = Request::GetPolicyVersion { policy_arn: arn, version_id: "v1".into() };
    let Response::PolicyVersion(version) = bench.must(request) else { panic!() };
    let shown = version.document.unwrap();
    assert_ne!(shown, text);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["Statement"][0]["Sid"], "B");
    assert_eq!(shown["Statement"][1]["Action"], serde_json::json!(["s3:PutObject", "s3:GetObject"]));
    assert_eq!(shown["Statement"][1]["Resource"], "arn:aws:s3:::b/*");
}

/// A policy of exactly so many characters that count, and some white space.
fn sized(characters: usize) -> String {
    let empty = statement(r#""Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::""#);
    let counted = empty.chars().filter(|letter| !letter.is_whitespace()).count();
    let bucket = "x".repeat(characters - counted);
    statement(&format!(r#""Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::{bucket}""#))
}

#[test]
fn sizes_are_counted_without_white_space() {
    let mut bench = Bench::new();
    bench.policy("fits", &sized(limits::MANAGED_POLICY_CHARACTERS));
    let over = sized(limits::MANAGED_POLICY_CHARACTERS + 1);
    assert_eq!(bench.refusal(create_policy("over", &over)), Code::LimitExceeded);

    bench.user("u");
    let put = |name: &str, size: usize| Request::PutUserPolicy {
        user_name: "u".into(),
        policy_name: name.into(),
        policy_document: sized(size),
    };
    bench.must(put("a", 1_000));
    bench.must(put("b", 1_048));
    assert_eq!(bench.refusal(put("c", 200)), Code::LimitExceeded);
    assert_eq!(bench.refusal(put("a", 1_001)), Code::LimitExceeded);
    bench.must(put("a", 500));
    bench.must(put("b", 1_548));
}

#[test]
fn a_policy_has_five_versions_and_one_in_force() {
    let mut bench = Bench::new();
    let arn = bench.policy("p", ALL_OF_S3);
    let add = |set_as_default| Request::CreatePolicyVersion {
        policy_arn: arn.clone(),
        policy_document: ALL_OF_S3.into(),
        set_as_default,
    };
    let delete = |id: &str| Request::DeletePolicyVersion { policy_arn: arn.clone(), version_id: id.into() };
    for _ in 0..4 {
        bench.must(add(true));
    }
    assert_eq!(bench.refusal(add(true)), Code::LimitExceeded);
    assert_eq!(bench.refusal(delete("v5")), Code::DeleteConflict);
    assert_eq!(bench.refusal(delete("v9")), Code::NoSuchEntity);
    assert_eq!(bench.refusal(delete("5")), Code::ValidationError);
    bench.must(delete("v1"));
    let Response::PolicyVersion(version) = bench.must(add(false)) else { panic!() };
    assert_eq!((version.version_id.as_str(), version.is_default), ("v6", false));
    bench.must(Request::SetDefaultPolicyVersion { policy_arn: arn.clone(), version_id: "v2".into() });
    assert_eq!(bench.refusal(delete("v2")), Code::DeleteConflict);
    assert_eq!(bench.refusal(Request::DeletePolicy { policy_arn: arn.clone() }), Code::DeleteConflict);
    for id in ["v3", "v4", "v5", "v6"] {
        bench.must(delete(id));
    }
    bench.must(Request::DeletePolicy { policy_arn: arn });
    bench.policy("P", ALL_OF_S3);
}

#[test]
fn ten_policies_are_attached_to_a_user_at_most() {
    let mut bench = Bench::new();
    bench.user("u");
    let attach = |arn: &str| Request::AttachUserPolicy { user_name: "u".into(), policy_arn: arn.into() };
    let detach = |arn: &str| Request::DetachUserPolicy { user_name: "u".into(), policy_arn: arn.into() };
    let arns: Vec<String> = (0..11).map(|number| bench.policy(&format!("p{number}"), ALL_OF_S3)).collect();
    for arn in &arns[..10] {
        bench.must(attach(arn));
        bench.must(attach(arn));
    }
    assert_eq!(bench.refusal(attach(&arns[10])), Code::LimitExceeded);
    assert_eq!(bench.refusal(attach("arn:aws:iam::123456789012:policy/absent")), Code::NoSuchEntity);
    assert_eq!(bench.refusal(attach("this is not an ARN at all")), Code::ValidationError);
    assert_eq!(bench.refusal(detach(&arns[10])), Code::NoSuchEntity);
    assert_eq!(bench.refusal(Request::DeletePolicy { policy_arn: arns[0].clone() }), Code::DeleteConflict);
    bench.must(detach(&arns[0]));
    bench.must(Request::DeletePolicy { policy_arn: arns[0].clone() });
    bench.must(attach("arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"));
    let owned_by_aws = Request::DeletePolicy { policy_arn: "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess".into() };
    assert_eq!(bench.refusal(owned_by_aws), Code::AccessDenied);
}

#[test]
fn policy_names_are_unique_over_paths_and_case() {
    let mut bench = Bench::new();
    bench.policy("Reports", ALL_OF_S3);
    let Request::CreatePolicy { policy_document, description, tags, .. } = create_policy("x", ALL_OF_S3) else {
        panic!()
    };
    let elsewhere = Request::CreatePolicy {
        policy_name: "reports".into(),
        path: Some("/k8s/".into()),
        policy_document,
        description,
        tags,
    };
    assert_eq!(bench.refusal(elsewhere), Code::EntityAlreadyExists);
}
