//! The credential report.

use super::*;
use crate::double::{CredentialReport, Distortion, LastUsed, Status};

fn generate(bench: &mut Bench) -> &'static str {
    let Response::CredentialReportState { state, .. } = bench.must(Request::GenerateCredentialReport {}) else {
        panic!("no state")
    };
    state
}

fn refused(bench: &mut Bench) -> Code {
    bench.refusal(Request::GetCredentialReport {})
}

fn given(bench: &mut Bench) -> (String, Timestamp) {
    let Response::CredentialReport { content, generated } = bench.must(Request::GetCredentialReport {}) else {
        panic!("no report")
    };
    (String::from_utf8(content).unwrap(), generated)
}

/// A new report.
fn report(bench: &mut Bench) -> String {
    assert_eq!(generate(bench), "STARTED");
    bench.pass(2);
    given(bench).0
}

/// What a report has in some columns of a user's row.
fn row(report: &str, user: &str, columns: &[&str]) -> Vec<String> {
    let mut lines = report.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let line: Vec<&str> = lines.map(|line| line.split(',').collect::<Vec<_>>()).find(|line| line[0] == user).unwrap();
    assert_eq!(names.len(), line.len());
    columns.iter().map(|column| line[names.iter().position(|name| name == column).unwrap()].to_owned()).collect()
}

#[test]
fn a_report_is_asked_for_waited_for_and_given_for_four_hours() {
    let mut bench = Bench::new();
    assert_eq!(refused(&mut bench), Code::ReportNotPresent);
    let asked = bench.now;
    assert_eq!([generate(&mut bench), generate(&mut bench)], ["STARTED", "INPROGRESS"]);
    assert_eq!(refused(&mut bench), Code::ReportInProgress);
    bench.user("too-late");
    bench.pass(2);
    let (first, generated) = given(&mut bench);
    assert_eq!(generated.duration_since(asked).as_secs(), 2);
    assert!(!first.contains("too-late"), "it shows the account as it was when the report was asked for");
    bench.pass(4 * 3_600);
    assert_eq!(generate(&mut bench), "COMPLETE");
    assert_eq!(given(&mut bench), (first, generated), "the same one, whatever has happened since");
    bench.pass(1);
    assert_eq!(refused(&mut bench), Code::ReportExpired);
    assert!(report(&mut bench).contains("too-late"));
    assert_eq!(bench.world.history().writes(), 1, "of which no report is one");
}

#[test]
fn a_report_has_a_row_of_the_root_and_one_of_each_user_by_name() {
    let mut bench = Bench::new();
    ["b", "A", "c,d"].into_iter().for_each(|name| bench.user(name));
    bench.must(Request::CreateLoginProfile { user_name: "A".into(), password: "Correct-horse-1".into() });
    let text = report(&mut bench);
    let lines: Vec<&str> = text.split('\n').collect();
    assert_eq!(
        lines,
        [
            "user,arn,user_creation_time,password_enabled,password_last_used,password_last_changed,\
             password_next_rotation,mfa_active,access_key_1_active,access_key_1_last_rotated,\
             access_key_1_last_used_date,access_key_1_last_used_region,access_key_1_last_used_service,\
             access_key_2_active,access_key_2_last_rotated,access_key_2_last_used_date,access_key_2_last_used_region,\
             access_key_2_last_used_service,cert_1_active,cert_1_last_rotated,cert_2_active,cert_2_last_rotated",
            "<root_account>,arn:aws:iam::123456789012:root,1970-01-01T00:00:00Z,false,N/A,N/A,not_supported,false,\
             true,1970-01-01T00:00:00Z,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A",
            "A,arn:aws:iam::123456789012:user/A,2026-01-01T00:00:00Z,true,no_information,2026-01-01T00:00:00Z,N/A,\
             false,false,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A",
            "b,arn:aws:iam::123456789012:user/b,2026-01-01T00:00:00Z,false,N/A,N/A,N/A,\
             false,false,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A",
            "\"c,d\",\"arn:aws:iam::123456789012:user/c,d\",2026-01-01T00:00:00Z,false,N/A,N/A,N/A,\
             false,false,N/A,N/A,N/A,N/A,false,N/A,N/A,N/A,N/A,false,N/A,false,N/A",
        ]
    );
}

const KEYS: [&str; 10] = [
    "access_key_1_active",
    "access_key_1_last_rotated",
    "access_key_1_last_used_date",
    "access_key_1_last_used_region",
    "access_key_1_last_used_service",
    "access_key_2_active",
    "access_key_2_last_rotated",
    "access_key_2_last_used_date",
    "access_key_2_last_used_region",
    "access_key_2_last_used_service",
];

/// A user with an Inactive key that was used in S3, and an Active one that was used in SQS, in the report's order.
fn user_with_keys() -> (Bench, [AccessKey; 2]) {
    let mut bench = Bench::new();
    bench.user("u");
    let mut keys = [(); 2].map(|()| {
        bench.pass(60);
        bench.key("u")
    });
    keys.sort_by(|left, right| left.id.cmp(&right.id));
    bench.must(Request::UpdateAccessKey {
        user_name: "u".into(),
        access_key_id: keys[0].id.clone(),
        status: Status::Inactive,
    });
    let at = bench.now;
    for (key, service) in keys.iter().zip(["s3", "sqs"]) {
        let used = LastUsed { at, service: service.into(), region: "eu-north-1".into() };
        bench.iam_mut().set_last_used(&key.id, Some(used));
    }
    (bench, keys)
}

#[test]
fn keys_are_shown_by_activity_age_and_last_use() {
    for dated in [false, true] {
        let (mut bench, keys) = user_with_keys();
        bench.iam_mut().settings_mut().credential_report.inactive_keys_dated = dated;
        let text = report(&mut bench);
        let created = keys.map(|key| key.created.to_string());
        let of_inactive = if dated { created[0].as_str() } else { "N/A" };
        let used = "2026-01-01T00:02:00Z";
        let first = ["false", of_inactive, used, "N/A", "s3"];
        let second = ["true", created[1].as_str(), used, "eu-north-1", "sqs"];
        assert_eq!(row(&text, "u", &KEYS), [first, second].concat());
    }
}

#[test]
fn a_use_is_shown_as_late_as_by_get_access_key_last_used_and_can_be_set_by_hand() {
    let mut bench = Bench::new();
    bench.user("u");
    let key = bench.key("u");
    bench.call_as(&credentials(&key), Request::GetCallerIdentity {}).unwrap();
    let used = |bench: &mut Bench| row(&report(bench), "u", &["access_key_1_last_used_service"]).remove(0);
    assert_eq!(used(&mut bench), "N/A");
    bench.pass(5 * 3_600);
    assert_eq!(used(&mut bench), "sts");
    bench.iam_mut().set_last_used(&key.id, None);
    bench.pass(5 * 3_600);
    assert_eq!(used(&mut bench), "N/A");
}

#[test]
fn more_than_two_keys_are_counted_in_a_column_of_their_own() {
    let mut bench = Bench::with(Settings { key_quota_race: Some(SignedDuration::from_secs(2)), ..Settings::default() });
    bench.user("u");
    for _ in 0..3 {
        bench.key("u");
    }
    let text = report(&mut bench);
    assert_eq!(row(&text, "u", &["additional_credentials_info"]), ["1 (ListAccessKeys); 0 (ListSigningCertificates)"]);
    assert_eq!(row(&text, "<root_account>", &["additional_credentials_info"]), ["N/A"]);
}

#[test]
fn a_test_can_have_the_report_stale_cut_short_or_lying() {
    let mut bench = Bench::new();
    bench.user("u");
    let honest = report(&mut bench);
    let settings = |bench: &mut Bench, distort: fn(&str) -> Vec<u8>| {
        bench.iam_mut().settings_mut().credential_report.distortion = Distortion::new(distort);
    };
    settings(&mut bench, |text| text[..text.len() - 9].into());
    assert_eq!(given(&mut bench).0, honest[..honest.len() - 9]);
    settings(&mut bench, |text| text.replace("user/u", "user/v").into());
    assert!(given(&mut bench).0.contains("user/v"));
    bench.iam_mut().settings_mut().credential_report =
        CredentialReport { frozen: true, ..Settings::default().credential_report };
    bench.pass(30 * 24 * 3_600);
    assert_eq!(generate(&mut bench), "COMPLETE");
    assert_eq!(given(&mut bench).0, honest);
}

#[test]
fn a_report_takes_a_permission_of_its_own() {
    let mut bench = Bench::new();
    bench.user("u");
    let caller = credentials(&bench.key("u"));
    for request in [Request::GenerateCredentialReport {}, Request::GetCredentialReport {}] {
        assert_eq!(code(bench.call_as(&caller, request)), Code::AccessDenied);
    }
    bench.must(Request::PutUserPolicy {
        user_name: "u".into(),
        policy_name: "own".into(),
        policy_document: r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":
            ["iam:GenerateCredentialReport","iam:GetCredentialReport"],"Resource":"*"}}"#
            .into(),
    });
    bench.call_as(&caller, Request::GenerateCredentialReport {}).unwrap();
    bench.pass(2);
    bench.call_as(&caller, Request::GetCredentialReport {}).unwrap();
}
