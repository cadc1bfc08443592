//! DeleteUser refuses each kind of leftover, and the account's details page through everything.

use super::*;
use crate::double::{DetailsFilter, Operation};

/// A way to hang something on the user `u`, and to take it off again.
type Leftover = (&'static str, fn(&mut Bench), fn(&mut Bench));

const USER: &str = "u";

fn user() -> String {
    USER.to_owned()
}

const SERIAL: &str = "arn:aws:iam::123456789012:mfa/phone";

const LEFTOVERS: [Leftover; 9] = [
    (
        "access key",
        |bench| drop(bench.key(USER)),
        |bench| {
            let id = bench.iam().state().user(USER).unwrap().keys[0].id.clone();
            bench.must(Request::DeleteAccessKey { user_name: user(), access_key_id: id });
        },
    ),
    (
        "login profile",
        |bench| drop(bench.must(Request::CreateLoginProfile { user_name: user(), password: "secret".into() })),
        |bench| drop(bench.must(Request::DeleteLoginProfile { user_name: user() })),
    ),
    (
        "MFA device",
        |bench| {
            bench.must(Request::CreateVirtualMFADevice { virtual_mfa_device_name: "phone".into(), path: None });
            bench.must(Request::EnableMFADevice {
                user_name: user(),
                serial_number: SERIAL.into(),
                authentication_code1: "123456".into(),
                authentication_code2: "654321".into(),
            });
            let delete = Request::DeleteVirtualMFADevice { serial_number: SERIAL.into() };
            assert_eq!(bench.refusal(delete), Code::DeleteConflict);
        },
        |bench| {
            bench.must(Request::DeactivateMFADevice { user_name: user(), serial_number: SERIAL.into() });
            bench.must(Request::DeleteVirtualMFADevice { serial_number: SERIAL.into() });
        },
    ),
    (
        "signing certificate",
        |bench| {
            bench.must(Request::UploadSigningCertificate {
                user_name: user(),
                certificate_body: "-----BEGIN CERTIFICATE-----".into(),
            });
        },
        |bench| {
            let id = bench.iam().state().user(USER).unwrap().signing_certificates[0].id.clone();
            bench.must(Request::DeleteSigningCertificate { user_name: user(), certificate_id: id });
        },
    ),
    (
        "SSH key",
        |bench| {
            let body = "ssh-rsa AAAA".to_owned();
            bench.must(Request::UploadSSHPublicKey { user_name: user(), ssh_public_key_body: body });
        },
        |bench| {
            let id = bench.iam().state().user(USER).unwrap().ssh_keys[0].id.clone();
            bench.must(Request::DeleteSSHPublicKey { user_name: user(), ssh_public_key_id: id });
        },
    ),
    (
        "service credential",
        |bench| {
            let service_name = "codecommit.amazonaws.com".to_owned();
            bench.must(Request::CreateServiceSpecificCredential { user_name: user(), service_name });
        },
        |bench| {
            let id = bench.iam().state().user(USER).unwrap().service_credentials[0].id.clone();
            let request =
                Request::DeleteServiceSpecificCredential { user_name: user(), service_specific_credential_id: id };
            bench.must(request);
        },
    ),
    (
        "group",
        |bench| {
            bench.must(Request::CreateGroup { group_name: "g".into(), path: None });
            bench.must(Request::AddUserToGroup { user_name: user(), group_name: "G".into() });
            assert_eq!(bench.refusal(Request::DeleteGroup { group_name: "g".into() }), Code::DeleteConflict);
        },
        |bench| {
            bench.must(Request::RemoveUserFromGroup { user_name: user(), group_name: "g".into() });
            bench.must(Request::DeleteGroup { group_name: "g".into() });
        },
    ),
    (
        "inline policy",
        |bench| {
            bench.must(Request::PutUserPolicy {
                user_name: user(),
                policy_name: "inline".into(),
                policy_document: ALL_OF_S3.into(),
            });
        },
        |bench| drop(bench.must(Request::DeleteUserPolicy { user_name: user(), policy_name: "inline".into() })),
    ),
    (
        "attached policy",
        |bench| {
            let arn = bench.policy("attached", ALL_OF_S3);
            bench.must(Request::AttachUserPolicy { user_name: user(), policy_arn: arn });
        },
        |bench| {
            let policy_arn = "arn:aws:iam::123456789012:policy/attached".to_owned();
            bench.must(Request::DetachUserPolicy { user_name: user(), policy_arn });
        },
    ),
];

#[test]
fn each_leftover_alone_keeps_a_user_from_being_deleted() {
    for (name, hang, take_off) in LEFTOVERS {
        let mut bench = Bench::new();
        bench.user(USER);
        hang(&mut bench);
        assert_eq!(bench.refusal(Request::DeleteUser { user_name: user() }), Code::DeleteConflict, "{name}");
        take_off(&mut bench);
        bench.must(Request::DeleteUser { user_name: user() });
        assert_eq!(bench.refusal(Request::DeleteUser { user_name: user() }), Code::NoSuchEntity);
    }
}

#[test]
fn a_user_with_every_leftover_can_be_taken_apart() {
    let mut bench = Bench::new();
    bench.user(USER);
    for (_, hang, _) in LEFTOVERS {
        hang(&mut bench);
    }
    for (_, _, take_off) in LEFTOVERS {
        assert_eq!(bench.refusal(Request::DeleteUser { user_name: user() }), Code::DeleteConflict);
        take_off(&mut bench);
    }
    bench.must(Request::DeleteUser { user_name: user() });
}

#[test]
fn details_page_through_every_type_of_entity_without_keys() {
    let mut bench = Bench::new();
    for number in 0..7 {
        bench.user(&format!("u{number}"));
        bench.policy(&format!("p{number}"), ALL_OF_S3);
        bench.must(Request::CreateGroup { group_name: format!("g{number}"), path: None });
    }
    let policy_arn = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess".to_owned();
    bench.must(Request::AttachUserPolicy { user_name: "u3".into(), policy_arn });
    bench.iam_mut().put_role("operator", &["*"], None, &[ALL_OF_S3]).unwrap();
    for (filter, expected) in [
        (vec![], (7, 7, 1, 8)),
        (vec![DetailsFilter::User], (7, 0, 0, 0)),
        (vec![DetailsFilter::User, DetailsFilter::LocalManagedPolicy], (7, 0, 0, 7)),
    ] {
        for max_items in [1, 3, 1000] {
            let mut seen = (0, 0, 0, 0);
            let mut marker = None;
            loop {
                let request =
                    Request::GetAccountAuthorizationDetails { filter: filter.clone(), page: page(max_items, marker) };
                let Response::AccountDetails(details) = bench.must(request) else { panic!() };
                seen.0 += details.users.len();
                seen.1 += details.groups.len();
                seen.2 += details.roles.len();
                seen.3 += details.policies.len();
                marker = details.marker;
                if marker.is_none() {
                    break;
                }
            }
            assert_eq!(seen, expected, "{filter:?} {max_items}");
        }
    }
}

#[test]
fn pages_may_be_shorter_than_asked_for_and_still_hold_everything() {
    let mut bench = Bench::with(Settings { short_pages: true, ..Settings::default() });
    for number in 0..50 {
        bench.user(&format!("u{number:02}"));
    }
    let (mut seen, mut short, mut marker) = (0, false, None);
    loop {
        let request = Request::GetAccountAuthorizationDetails { filter: vec![], page: page(20, marker) };
        let Response::AccountDetails(details) = bench.must(request) else { panic!() };
        seen += details.users.len();
        marker = details.marker;
        short |= marker.is_some() && details.users.len() < 20;
        if marker.is_none() {
            break;
        }
    }
    assert_eq!((seen, short), (50, true));
}

#[test]
fn every_call_has_a_name_of_its_own_that_can_be_read_back() {
    for operation in Operation::ALL {
        assert_eq!(Operation::parse(operation.as_str()), Some(*operation));
    }
    assert_eq!(Operation::parse("CreateRole"), None);
}
