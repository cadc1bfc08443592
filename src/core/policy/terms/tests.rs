#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::core::ends::inactive::EndedBy;
use crate::core::policy::PROVABLE;

const VPC: &str = "vpc-0a1b2c3d4e5f67890";
const VPCE: &str = "vpce-0a1b2c3d4e5f67890";

fn terms(conditions: Value) -> Terms {
    Terms::of(&serde_json::from_value(conditions).unwrap(), "spec.conditions").unwrap()
}

fn until(time: &str) -> Option<Expiry> {
    Some(Expiry::at(time.parse().unwrap(), EndedBy::Spec))
}

fn allow(condition: &Value) -> Value {
    let mut statement = json!({ "Sid": "One", "Effect": "Allow", "Action": "s3:GetObject", "Resource": "*" });
    if !condition.is_null() {
        statement["Condition"] = condition.clone();
    }
    statement
}

fn conditions(bound: &[Value]) -> Vec<Value> {
    bound.iter().map(|statement| statement["Condition"].clone()).collect()
}

#[test]
fn a_statement_is_put_under_all_terms_once_for_each_kind_of_place() {
    let all = terms(json!({
        "sourceIps": ["203.0.113.7/24"], "sourceVpcs": [VPC], "sourceVpcEndpoints": [VPCE], "secureTransport": true,
    }))
    .until(until("2027-01-31T00:00:00.9Z"));
    let bound = all.bound(&allow(&json!({ "StringLike": { "s3:prefix": "a/*" } }))).unwrap();
    let with = |operator: &str, key: &str, value: &str| {
        let mut condition = json!({
            "StringLike": { "s3:prefix": "a/*" }, "Bool": { "aws:SecureTransport": "true" },
            "DateLessThan": { "aws:CurrentTime": "2027-01-31T00:00:00Z" },
        });
        condition[operator] = json!({ key: [value] });
        condition
    };
    let wanted = [
        with("IpAddress", "aws:SourceIp", "203.0.113.0/24"),
        with("StringEquals", "aws:SourceVpc", VPC),
        with("StringEquals", "aws:SourceVpce", VPCE),
    ];
    assert_eq!(conditions(&bound), wanted);
    let sids: Vec<&Value> = bound.iter().filter_map(|statement| statement.get("Sid")).collect();
    assert_eq!(sids, ["One"], "IAM wants each Sid once");
    assert!(bound.iter().all(|statement| all.hold(statement)), "{bound:?}");
    let denial = json!({ "Effect": "Deny", "Action": "*", "Resource": "*" });
    assert_eq!(all.bound(&denial), Ok(vec![denial.clone()]));
    assert!(all.hold(&denial) && !Terms::default().bind() && all.bind());
    assert_eq!(Terms::default().bound(&allow(&Value::Null)), Ok(vec![allow(&Value::Null)]));
}

#[test]
fn a_statements_own_condition_on_the_same_key_is_met_as_well() {
    let office = || terms(json!({ "sourceIps": ["10.0.0.0/8", "2001:db8::/32"], "secureTransport": true }));
    let of = |own: Value| office().until(until("2027-01-01T00:00:00Z")).bound(&allow(&own));
    let left = |own: Value, operator: &str| of(own).unwrap()[0]["Condition"][operator].clone();
    for (own, wanted) in [
        (json!({ "aws:SourceIp": "0.0.0.0/0" }), json!({ "aws:SourceIp": ["10.0.0.0/8"] })),
        (json!({ "AWS:SOURCEIP": ["10.1.0.0/16", "192.168.0.0/16"] }), json!({ "aws:SourceIp": ["10.1.0.0/16"] })),
        (json!({ "aws:SourceIp": "10.1.2.3" }), json!({ "aws:SourceIp": ["10.1.2.3/32"] })),
        (
            json!({ "aws:SourceIp": "10.0.0.0/8", "aws:sourceip": "10.2.0.0/16" }),
            json!({ "aws:SourceIp": ["10.2.0.0/16"] }),
        ),
        (
            json!({ "aws:VpcSourceIp": "10.0.0.0/8" }),
            json!({
                "aws:VpcSourceIp": "10.0.0.0/8", "aws:SourceIp": ["10.0.0.0/8", "2001:db8::/32"],
            }),
        ),
    ] {
        assert_eq!(left(json!({ "IpAddress": own }), "IpAddress"), wanted);
    }
    for (own, wanted) in
        [("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"), ("2028-01-01T00:00:00+01:00", "2027-01-01T00:00:00Z")]
    {
        let own = json!({ "DateLessThan": { "aws:currenttime": own } });
        assert_eq!(left(own, "DateLessThan"), json!({ "aws:CurrentTime": wanted }));
    }
    for beside in ["IpAddressIfExists", "ForAnyValue:IpAddress", "ForAllValues:IpAddress", "NotIpAddress"] {
        let own = json!({ beside: { "aws:SourceIp": "0.0.0.0/0" } });
        assert_eq!(left(own.clone(), beside), own[beside], "another operator narrows by itself");
        assert_eq!(left(own, "IpAddress"), json!({ "aws:SourceIp": ["10.0.0.0/8", "2001:db8::/32"] }));
    }
    for own in [
        json!({ "IpAddress": { "aws:SourceIp": "192.168.0.0/16" } }),
        json!({ "IpAddress": { "aws:SourceIp": [] } }),
        json!({ "IpAddress": { "aws:SourceIp": "${aws:PrincipalTag/net}" } }),
        json!({ "IpAddress": { "aws:SourceIp": ["10.0.0.0/8", "anywhere"] } }),
        json!({ "Bool": { "aws:SecureTransport": false } }),
        json!({ "Bool": { "aws:SecureTransport": "perhaps" } }),
        json!({ "DateLessThan": { "aws:CurrentTime": "2027" } }),
        json!({ "DateLessThan": "2027" }),
    ] {
        let told = of(own.clone()).unwrap_err();
        assert!(told.starts_with(".Condition "), "{own}: {told}");
    }
}

#[test]
fn what_is_in_force_is_under_the_terms_only_where_it_says_so_in_their_very_words() {
    let all = terms(json!({ "sourceIps": ["10.0.0.0/9", "10.128.0.0/9"], "secureTransport": true }))
        .until(until("2027-01-01T00:00:00Z"));
    let base = json!({
        "IpAddress": { "aws:SourceIp": ["10.0.0.0/8"] }, "Bool": { "aws:SecureTransport": true },
        "DateLessThan": { "aws:CurrentTime": "2026-12-31T00:00:00Z" },
    });
    assert!(all.hold(&allow(&base)), "the two halves are one");
    let mut odd_case = base.clone();
    odd_case["IpAddress"] = json!({ "AWS:sourceIp": "10.3.0.0/16" });
    assert!(all.hold(&allow(&odd_case)));
    for (operator, keys) in [
        ("IpAddress", Value::Null),
        ("IpAddress", json!({ "aws:SourceIp": ["10.0.0.0/8", "0.0.0.0/0"] })),
        ("IpAddress", json!({ "aws:SourceIp": "10.0.0.0/7" })),
        ("IpAddress", json!({ "aws:SourceIp": [] })),
        ("IpAddress", json!({ "aws:SourceIp": "10.0.0.0/8", "aws:sourceip": "0.0.0.0/0" })),
        ("Bool", json!({ "aws:SecureTransport": ["true", "false"] })),
        ("Bool", json!({ "aws:SecureTransport": [] })),
        ("DateLessThan", json!({ "aws:CurrentTime": "2027-01-01T00:00:01Z" })),
        ("DateLessThan", json!({ "aws:CurrentTime": ["2026-01-01T00:00:00Z", "9999-01-01T00:00:00Z"] })),
        ("DateLessThan", json!({ "aws:CurrentTime": "2026-01-01" })),
        ("DateLessThan", json!({ "aws:EpochTime": "0" })),
    ] {
        let mut condition = base.clone();
        condition[operator] = keys;
        assert!(!all.hold(&allow(&condition)), "{condition}");
        let rebound = all.bound(&allow(&condition));
        assert!(rebound.is_err() || rebound.unwrap().iter().all(|statement| all.hold(statement)), "{condition}");
    }
    for instead in ["IpAddressIfExists", "ForAllValues:IpAddress", "ipaddress", "StringLike"] {
        let mut condition = base.clone();
        let keys = condition.as_object_mut().unwrap().remove("IpAddress").unwrap();
        condition[instead] = keys;
        assert!(!all.hold(&allow(&condition)), "{condition}");
    }
    assert!(!all.hold(&json!({ "Effect": "Allow", "NotAction": "s3:GetObject", "Resource": "*" })));
}

#[test]
fn two_sets_of_places_meet_where_a_request_can_be_in_both() {
    let [own, other] = ["vpc-00000001", "vpc-00000002"];
    let class = terms(json!({ "sourceIps": ["10.0.0.0/8"], "sourceVpcs": [own, other] }));
    let met = |spec: Value| conditions(&class.clone().and(terms(spec)).bound(&allow(&Value::Null)).unwrap());
    let ips = |net: &str| json!({ "IpAddress": { "aws:SourceIp": [net] } });
    assert_eq!(met(json!({ "sourceIps": ["10.1.0.0/16"] })), [ips("10.1.0.0/16")]);
    assert_eq!(met(json!({ "sourceIps": ["0.0.0.0/0"] })), [ips("10.0.0.0/8")], "no more than the class");
    let in_own = json!({ "StringEquals": { "aws:SourceVpc": [own] } });
    assert_eq!(met(json!({ "sourceIps": ["10.1.0.0/16"], "sourceVpcs": [own] })), [ips("10.1.0.0/16"), in_own]);
    let through = json!({ "StringEquals": { "aws:SourceVpc": [own, other], "aws:SourceVpce": [VPCE] } });
    assert_eq!(met(json!({ "sourceVpcEndpoints": [VPCE] })), [through], "an endpoint is in some VPC");
    for apart in [json!({ "sourceIps": ["192.168.0.0/16"] }), json!({ "sourceVpcs": [VPC] })] {
        let none = class.clone().and(terms(apart));
        assert!(none.is_unmeetable() && none.bound(&allow(&Value::Null)) == Ok(Vec::new()));
        assert!(!none.hold(&allow(&Value::Null)), "and nothing in force is left");
    }
}

#[test]
fn what_s3_does_with_a_key_for_the_user_has_no_place_of_the_users() {
    let office =
        terms(json!({ "sourceIps": ["10.0.0.0/8"], "secureTransport": true })).until(until("2027-01-01T00:00:00Z"));
    let via = |action: Value, condition: Value| json!({ "Effect": "Allow", "Action": action, "Resource": "*", "Condition": condition });
    let s3 = json!({ "StringLike": { "kms:ViaService": "s3.*.amazonaws.com" } });
    let bound = office.bound(&via(json!(["kms:Decrypt", "KMS:GenerateDataKey"]), s3.clone())).unwrap();
    let time = json!({ "aws:CurrentTime": "2027-01-01T00:00:00Z" });
    assert_eq!(conditions(&bound), [json!({ "StringLike": s3["StringLike"], "DateLessThan": time })]);
    assert!(office.hold(&bound[0]));
    for (action, condition) in [
        (json!(["kms:Decrypt", "s3:GetObject"]), s3.clone()),
        (json!(["*"]), s3.clone()),
        (json!([]), s3.clone()),
        (json!("kms:Decrypt"), json!({ "StringLike": { "kms:ViaService": ["s3.*", "*"] } })),
        (json!("kms:Decrypt"), json!({ "StringLikeIfExists": { "kms:ViaService": "s3.*" } })),
        (json!("kms:Decrypt"), json!({ "StringNotLike": { "kms:ViaService": "s3.*" } })),
        (json!("kms:Decrypt"), json!({ "StringLike": { "kms:ViaService": "s3.*", "KMS:viaservice": "*" } })),
        (json!("kms:Decrypt"), json!({ "StringLike": { "kms:ViaService": [] } })),
    ] {
        let bound = office.bound(&via(action, condition.clone())).unwrap();
        assert!(bound.iter().all(|statement| statement["Condition"]["IpAddress"].is_object()), "{condition}");
    }
    assert!(!Terms::unmeetable().hold(&via(json!("kms:Decrypt"), s3)));
}

#[test]
fn what_is_no_place_is_refused_with_the_field_and_what_to_write() {
    let told = |conditions: Value| {
        Terms::of(&serde_json::from_value(conditions).unwrap(), "spec.conditions").unwrap_err().message
    };
    for text in
        ["10.0.0.0", "10.0.0.0/33", "256.0.0.0/8", "10.0.0.0/8 ", "::/129", "anywhere/0", "/8", "", "010.0.0.0/8"]
    {
        let told = told(json!({ "sourceIps": ["10.0.0.0/8", text] }));
        assert!(told.starts_with(&format!("spec.conditions.sourceIps: {text:?} is not a CIDR")), "{told}");
    }
    for text in ["vpc-", "vpce-00000001", "vpc-0000000G", "VPC-00000001", "vpc-00000001*", "vpc-000000000000000000"] {
        let told = told(json!({ "sourceVpcs": [text] }));
        assert!(told.starts_with(&format!("spec.conditions.sourceVpcs: {text:?} is not an id")), "{told}");
    }
    assert!(told(json!({ "sourceVpcEndpoints": [VPC] })).contains("vpce-"));
    let many: Vec<String> = (0..=limits::SOURCE_IPS).map(|n| format!("10.0.{n}.0/24")).collect();
    assert!(told(json!({ "sourceIps": many })).contains("at most 32"));
    let long = told(json!({ "sourceIps": ["9".repeat(10_000)] }));
    assert!(long.len() < 300, "{long}");
}

#[test]
fn each_condition_that_is_tried_holds_once_and_fails_once() {
    for provable in PROVABLE {
        for tls in [true, false] {
            let address = Some("192.0.2.1".parse().unwrap());
            let request = Request { address, vpc: None, tls, time: "2026-01-01T00:00:00Z".parse().unwrap() };
            let (holds, fails) = provable.conditions(tls);
            assert!(allows(&holds, &request) && !allows(&fails, &request), "{provable:?}");
        }
    }
    let all = terms(json!({ "sourceIps": ["10.0.0.0/8"], "sourceVpcs": [VPC], "secureTransport": true }));
    let keys = all.until(until("2027-01-31T00:00:00Z")).keys();
    assert!(PROVABLE.iter().all(|provable| keys.contains(provable.key())) && keys.contains("aws:SourceVpc"));
    assert!(Terms::default().keys().is_empty());
}

#[test]
fn terms_are_told_to_people() {
    let all = json!({ "sourceIps": ["10.0.0.0/8", "192.0.2.0/24"], "sourceVpcs": [VPC], "secureTransport": true });
    let told = terms(all).and(terms(json!({ "sourceVpcEndpoints": [VPCE], "sourceIps": ["10.1.0.0/16"] })));
    let told = told.until(until("2027-01-31T00:00:00Z")).to_string();
    assert_eq!(told, format!("from 10.1.0.0/16, or from {VPC} through {VPCE}; over TLS; until 2027-01-31T00:00:00Z"));
    assert_eq!((Terms::default().to_string().as_str(), Terms::unmeetable().to_string().as_str()), ("", "from nowhere"));
}

/// A request, as far as conditions see it.
#[derive(Clone, Debug)]
struct Request {
    address: Option<std::net::IpAddr>,
    vpc: Option<String>,
    tls: bool,
    time: jiff::Timestamp,
}

/// IAM's decision on a condition, for the operators that stand here; the keys are the same in either case.
fn allows(condition: &Value, request: &Request) -> bool {
    condition.as_object().into_iter().flatten().all(|(operator, keys)| {
        keys.as_object().unwrap().iter().all(|(key, values)| {
            let list = values.as_array().cloned().unwrap_or_else(|| vec![values.clone()]);
            let texts: Vec<&str> = list.iter().map(|value| value.as_str().unwrap()).collect();
            let matches = |text: &&str| match (operator.trim_end_matches("IfExists"), key.to_ascii_lowercase().as_str())
            {
                ("IpAddress", "aws:sourceip") => {
                    request.address.is_some_and(|address| text.parse::<IpNet>().unwrap().contains(&address))
                }
                ("StringEquals", "aws:sourcevpc") => request.vpc.as_deref() == Some(*text),
                ("Bool", _) => request.tls.to_string() == *text,
                ("DateLessThan", _) => request.time < text.parse().unwrap(),
                other => panic!("{other:?}"),
            };
            let absent = match key.to_ascii_lowercase().as_str() {
                "aws:sourceip" => request.address.is_none(),
                "aws:sourcevpc" => request.vpc.is_none(),
                _ => false,
            };
            texts.iter().any(matches) || (absent && operator.ends_with("IfExists"))
        })
    })
}

fn nets() -> impl Strategy<Value = Vec<String>> {
    let net = (0_u32..4, 0_u32..4, prop::sample::select(vec![0_u8, 8, 9, 16, 32]))
        .prop_map(|(a, b, prefix)| format!("{}.{}.0.0/{prefix}", a + 10, b * 64));
    prop::collection::vec(net, 1..4)
}

fn vpcs() -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(vec!["vpc-00000001".to_owned(), "vpc-00000002".to_owned()], 1..=2)
}

fn asked() -> impl Strategy<Value = Value> {
    (prop::option::of(nets()), prop::option::of(vpcs()), any::<bool>()).prop_map(|(ips, vpcs, tls)| {
        json!({ "sourceIps": ips.unwrap_or_default(), "sourceVpcs": vpcs.unwrap_or_default(), "secureTransport": tls })
    })
}

fn own() -> impl Strategy<Value = Value> {
    let times = || prop::sample::select(vec!["2026-01-01T00:00:00Z", "2028-01-01T00:00:00Z"]);
    let of =
        |operator: &'static str, key: &'static str| move |values: Vec<String>| json!({ operator: { key: values } });
    prop_oneof![
        Just(json!({})),
        nets().prop_map(of("IpAddress", "aws:SourceIp")),
        nets().prop_map(of("IpAddress", "AWS:sourceip")),
        nets().prop_map(of("IpAddressIfExists", "aws:SourceIp")),
        vpcs().prop_map(of("StringEquals", "aws:SourceVpc")),
        vpcs().prop_map(of("StringEqualsIfExists", "aws:SourceVPC")),
        times().prop_map(|time| json!({ "DateLessThan": { "aws:currenttime": time } })),
        Just(json!({ "Bool": { "aws:SecureTransport": ["true", "false"] } })),
        Just(json!({ "Bool": { "aws:securetransport": "false" } })),
    ]
}

fn requests() -> impl Strategy<Value = Request> {
    let address = (0_u8..4, 0_u8..4).prop_map(|(a, b)| std::net::Ipv4Addr::new(a + 10, b * 64, 0, 0).into());
    let vpc = prop::sample::select(vec!["vpc-00000001", "vpc-00000002", "vpc-00000003"]).prop_map(str::to_owned);
    let times = ["2025-06-01T00:00:00Z", "2026-06-01T00:00:00Z", "2029-01-01T00:00:00Z"];
    // From the Internet, or through a VPC endpoint; never both.
    let place = prop_oneof![address.prop_map(|address| (Some(address), None)), vpc.prop_map(|vpc| (None, Some(vpc))),];
    (place, any::<bool>(), prop::sample::select(times.to_vec())).prop_map(|((address, vpc), tls, time)| Request {
        address,
        vpc,
        tls,
        time: time.parse().unwrap(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn invariant_7_together_they_allow_exactly_what_class_spec_and_statement_each_allow(
        class in asked(), spec in asked(), own in own(), end in prop::option::of(Just("2027-01-01T00:00:00Z")),
        request in requests(),
    ) {
        let (of_class, of_spec) = (terms(class).until(end.and_then(until)), terms(spec));
        let both = of_class.clone().and(of_spec.clone());
        let by = |terms: &Terms| {
            terms.bound(&allow(&Value::Null)).unwrap().iter().any(|bound| allows(&bound["Condition"], &request))
        };
        let wanted = by(&of_class) && by(&of_spec) && allows(&own, &request);
        let bound = both.bound(&allow(&own)).unwrap_or_default();
        let found = bound.iter().any(|statement| allows(&statement["Condition"], &request));
        prop_assert_eq!(found, wanted);
        prop_assert!(bound.iter().all(|statement| of_class.hold(statement) && both.hold(statement)));
        if of_class.hold(&allow(&own)) && allows(&own, &request) {
            prop_assert!(by(&of_class), "the guard lets nothing pass that the class does not allow");
        }
    }
}
