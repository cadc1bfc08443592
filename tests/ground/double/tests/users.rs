//! Users, tags, boundaries, keys.

use jiff::SignedDuration;

use super::*;
use crate::double::{Status, limits};

#[test]
fn names_are_unique_without_regard_to_case_and_keep_their_case() {
    let mut bench = Bench::new();
    bench.user("Reports");
    assert_eq!(bench.refusal(create_user("rePorts")), Code::EntityAlreadyExists);
    let Response::User(user) = bench.must(Request::GetUser { user_name: "REPORTS".into() }) else { panic!() };
    assert_eq!(user.name, "Reports");
    assert_eq!(user.arn, "arn:aws:iam::123456789012:user/Reports");
}

#[test]
fn names_and_paths_follow_the_pattern() {
    let mut bench = Bench::new();
    for name in ["", "a b", "ü", "a/b", &"x".repeat(65)] {
        assert_eq!(bench.refusal(create_user(name)), Code::ValidationError, "{name}");
    }
    bench.user(&"x".repeat(64));
    bench.user("a_b+c=d,e.f@g-h");
    for path in ["", "k8s", "/k8s", "k8s/", "/a b/", &format!("/{}/", "x".repeat(511))] {
        let mut request = create_user("u");
        if let Request::CreateUser { path: asked, .. } = &mut request {
            *asked = Some((*path).to_owned());
        }
        assert_eq!(bench.refusal(request), Code::ValidationError, "{path}");
    }
}

#[test]
fn an_account_holds_so_many_users_and_no_more() {
    let mut bench = Bench::with(Settings { users_per_account: 3, ..Settings::default() });
    for name in ["a", "b", "c"] {
        bench.user(name);
    }
    assert_eq!(bench.refusal(create_user("d")), Code::LimitExceeded);
    assert_eq!(bench.refusal(create_user("A")), Code::EntityAlreadyExists);
}

#[test]
fn tags_are_limited_in_number_length_and_characters() {
    let mut bench = Bench::new();
    bench.user("u");
    let mut tag = |list: Vec<Tag>| bench.call(Request::TagUser { user_name: "u".into(), tags: list });
    let many: Vec<Tag> = (0..50).map(|number| Tag::new(format!("k{number}"), "v")).collect();
    assert!(tag(many).is_ok());
    assert!(tag(tags(&[("K0", "replaces k0")])).is_ok());
    assert_eq!(code(tag(tags(&[("one-more", "")]))), Code::LimitExceeded);
    assert_eq!(code(tag(tags(&[("", "v")]))), Code::ValidationError);
    assert_eq!(code(tag(tags(&[(&"k".repeat(129), "v")]))), Code::ValidationError);
    assert_eq!(code(tag(tags(&[("k1", &"v".repeat(257))]))), Code::ValidationError);
    assert_eq!(code(tag(tags(&[("k1", "a*b")]))), Code::ValidationError);
    assert_eq!(code(tag(tags(&[("aws:k", "v")]))), Code::InvalidInput);
    assert_eq!(code(tag(tags(&[("k1", "v"), ("K1", "w")]))), Code::InvalidInput);
    let user = bench.iam().state().user("u").unwrap();
    assert_eq!(user.tags.len(), limits::TAGS);
    assert_eq!(user.tags["k0"], Tag::new("K0", "replaces k0"));
}

#[test]
fn a_boundary_must_exist_and_holds_its_policy() {
    let mut bench = Bench::new();
    let absent = format!("arn:aws:iam::{ACCOUNT}:policy/absent");
    let bounded = |arn: &str| Request::CreateUser {
        user_name: "u".into(),
        path: None,
        permissions_boundary: Some(arn.into()),
        tags: Vec::new(),
    };
    assert_eq!(bench.refusal(bounded(&absent)), Code::NoSuchEntity);
    let arn = bench.policy("boundary", ALL_OF_S3);
    bench.must(bounded(&arn));
    assert_eq!(bench.refusal(Request::DeletePolicy { policy_arn: arn.clone() }), Code::DeleteConflict);
    bench.must(Request::DeleteUserPermissionsBoundary { user_name: "u".into() });
    assert_eq!(bench.refusal(Request::DeleteUserPermissionsBoundary { user_name: "u".into() }), Code::NoSuchEntity);
    bench.must(Request::PutUserPermissionsBoundary { user_name: "U".into(), permissions_boundary: arn.clone() });
    bench.must(Request::DeleteUser { user_name: "u".into() });
    bench.must(Request::DeletePolicy { policy_arn: arn });
}

#[test]
fn inactive_keys_count_toward_the_quota_of_two() {
    let mut bench = Bench::new();
    bench.user("u");
    let first = bench.key("u");
    bench.key("U");
    let status =
        |id: &str, status| Request::UpdateAccessKey { user_name: "u".into(), access_key_id: id.into(), status };
    bench.must(status(&first.id, Status::Inactive));
    assert_eq!(bench.refusal(Request::CreateAccessKey { user_name: "u".into() }), Code::LimitExceeded);
    assert_eq!(bench.refusal(status("AKIAUNKNOWN", Status::Active)), Code::NoSuchEntity);
    let delete = Request::DeleteAccessKey { user_name: "u".into(), access_key_id: first.id };
    bench.must(delete.clone());
    assert_eq!(bench.refusal(delete), Code::NoSuchEntity);
    bench.key("u");
}

#[test]
fn racing_callers_get_past_the_quota_if_told_so() {
    let race = Some(SignedDuration::from_secs(2));
    let mut bench = Bench::with(Settings { key_quota_race: race, ..Settings::default() });
    bench.user("u");
    for _ in 0..8 {
        bench.key("u");
    }
    bench.pass(2);
    assert_eq!(bench.refusal(Request::CreateAccessKey { user_name: "u".into() }), Code::LimitExceeded);
}

#[test]
fn a_rename_keeps_all_that_hangs_on_the_user() {
    let mut bench = Bench::new();
    bench.user("old");
    let key = bench.key("old");
    let arn = bench.policy("p", ALL_OF_S3);
    bench.must(Request::AttachUserPolicy { user_name: "old".into(), policy_arn: arn.clone() });
    bench.user("taken");
    let rename = |to: &str| Request::UpdateUser {
        user_name: "old".into(),
        new_user_name: Some(to.into()),
        new_path: Some("/k8s/".into()),
    };
    assert_eq!(bench.refusal(rename("Taken")), Code::EntityAlreadyExists);
    bench.must(rename("New"));
    assert_eq!(bench.refusal(Request::GetUser { user_name: "old".into() }), Code::NoSuchEntity);
    let state = bench.iam().state();
    assert_eq!(state.user("new").unwrap().arn, "arn:aws:iam::123456789012:user/k8s/New");
    assert_eq!(state.key(&key.id).unwrap().0.name, "New");
    assert!(state.policy(&arn).unwrap().attached_to.contains("new"));
}

#[test]
fn last_use_is_shown_late_and_never_invented() {
    let mut bench = Bench::new();
    bench.user("u");
    let key = bench.key("u");
    let shown = |bench: &mut Bench| {
        let request = Request::GetAccessKeyLastUsed { access_key_id: key.id.clone() };
        let Response::AccessKeyLastUsed { last_used, .. } = bench.must(request) else { panic!() };
        last_used
    };
    assert_eq!(shown(&mut bench), None);
    let used_at = bench.now;
    bench.call_as(&credentials(&key), Request::GetCallerIdentity {}).unwrap();
    assert_eq!(shown(&mut bench), None);
    bench.pass(300);
    assert_eq!(shown(&mut bench).map(|used| (used.at, used.service)), Some((used_at, "sts".into())));
    assert_eq!(
        bench.refusal(Request::GetAccessKeyLastUsed { access_key_id: "AKIAUNKNOWN".into() }),
        Code::AccessDenied
    );
}

#[test]
fn lists_are_paged_and_a_marker_survives_changes() {
    let mut bench = Bench::new();
    for number in 0..25 {
        bench.user(&format!("u{number:02}"));
    }
    let mut names = Vec::new();
    let mut marker = None;
    loop {
        let request = Request::ListUsers { path_prefix: None, page: page(10, marker) };
        let Response::Users(listing) = bench.must(request) else { panic!() };
        names.extend(listing.items.iter().map(|user| user.name.clone()));
        marker = listing.marker;
        if marker.is_none() {
            break;
        }
        // The user that the marker points at goes away between two pages.
        let last = names.last().unwrap().clone();
        bench.must(Request::DeleteUser { user_name: last });
    }
    assert_eq!(names.len(), 25);
    let bad = Request::ListUsers { path_prefix: None, page: page(1001, None) };
    assert_eq!(bench.refusal(bad), Code::ValidationError);
    let bad = Request::ListUsers { path_prefix: None, page: page(1, Some("xyz".into())) };
    assert_eq!(bench.refusal(bad), Code::ValidationError);
}
