//! The secret key is in the Secret, and nowhere else. The operator may do what it needs, and no more.

use k8s_openapi::ByteString;
use kube::Api;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use serde_json::json;

use crate::scene::{Scene, spec};

/// Whether the text shows the secret: as it is, or in a form that anybody can undo.
pub fn shows(text: impl AsRef<[u8]>, secret: &str) -> bool {
    let text = text.as_ref();
    let (plain, decoded) = (String::from_utf8_lossy(text), percent_decode(text).decode_utf8_lossy());
    let forms = (0..3).map(|ahead| within_base64(secret, ahead)).chain([secret.to_owned()]);
    // However the list of its bytes is laid out.
    let dense: String = plain.split_whitespace().collect();
    let bytes: Vec<String> = secret.bytes().map(|byte| byte.to_string()).collect();
    dense.contains(&bytes.join(",")) || forms.into_iter().any(|form| plain.contains(&form) || decoded.contains(&form))
}

/// What of the base64 of a longer text the secret alone decides, where it begins so many bytes after a group of three.
fn within_base64(secret: &str, ahead: usize) -> String {
    let text = base64(&[&vec![0; ahead], secret.as_bytes()].concat());
    let (bits, first) = (8 * (ahead + secret.len()), (8 * ahead).div_ceil(6));
    text[first..bits / 6].to_owned()
}

fn base64(bytes: &[u8]) -> String {
    json!(ByteString(bytes.to_vec())).as_str().unwrap().to_owned()
}

#[test]
fn a_secret_is_known_in_every_form_in_which_it_may_leak() {
    let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    let bytes = secret.as_bytes();
    let mut leaks = vec![
        secret.to_owned(),
        json!({ "key": secret }).to_string(),
        format!("AKIAIOSFODNN7EXAMPLE:{secret}\n"),
        utf8_percent_encode(secret, NON_ALPHANUMERIC).to_string(),
        format!("secret={}&", secret.replace('/', "%2f").replace('+', "%2b")),
        format!("{bytes:?}"),
        format!("{bytes:#?}"),
        json!(bytes).to_string(),
    ];
    for (before, after) in [("", ""), ("a", "b"), ("ab", "bc"), ("abc", "bcd"), ("id:", "\n"), ("{\"k\":\"", "\"}")] {
        leaks.push(base64(format!("{before}{secret}{after}").as_bytes()));
    }
    for leak in leaks {
        assert!(shows(format!("TRACE {leak} end"), secret), "{leak}");
    }
    let other = "xJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEZ";
    let others =
        [other.to_owned(), base64(other.as_bytes()), format!("{:?}", other.as_bytes()), secret[..39].to_owned()];
    for harmless in others {
        assert!(!shows(&harmless, secret), "{harmless}");
    }
}

#[tokio::test]
async fn invariant_1_the_secret_key_is_in_no_log_event_or_status() {
    let mut scene = Scene::without_operator("secrecy").await;
    scene.start(&[("S3ACCESS_LOG_LEVEL", "trace")]).await;
    scene.create("reports", spec()).await;
    let first = scene.ready("reports").await;
    let secret = scene.secret("reports-s3").await["AWS_SECRET_ACCESS_KEY"].clone();
    scene.patch("reports", json!({ "spec": { "secret": { "format": "velero" } } })).await;
    let second = scene.ready("reports").await;
    let log = scene.operator().log().unwrap();
    assert!(log.contains("TRACE"), "the log is at trace level");
    assert!(!shows(&log, &secret), "the log has the secret key");
    let events: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(scene.client.clone(), &scene.namespace);
    let events = events.list(&Default::default()).await.unwrap();
    assert!(!events.items.is_empty());
    assert!(!shows(serde_json::to_string(&events.items).unwrap(), &secret));
    for user in [first, second] {
        assert!(!shows(serde_json::to_string(&user).unwrap(), &secret));
    }
    let metrics = scene.operator().get("/metrics").await.unwrap();
    assert!(!shows(metrics, &secret));
    let annotations = scene.secrets().get("reports-s3").await.unwrap().metadata.annotations.unwrap();
    assert!(!shows(format!("{annotations:?}"), &secret));
}

#[tokio::test]
async fn the_operator_may_do_no_more_than_it_needs() {
    let scene = Scene::without_operator("rbac").await;
    let account = ground::stand::OPERATOR_USER;
    for (verb, resource, allowed) in [
        ("create", "secrets", true),
        ("update", "secrets", true),
        ("patch", "s3accessusers.s3access.dev/status", true),
        ("patch", "secrets", false),
        ("deletecollection", "secrets", false),
        ("create", "s3accessusers.s3access.dev", false),
        ("delete", "s3accessusers.s3access.dev", false),
        ("list", "pods", false),
        ("get", "configmaps", false),
        ("create", "serviceaccounts/token", false),
        ("impersonate", "users", false),
        ("escalate", "clusterroles", false),
        ("list", "namespaces", true),
        ("get", "namespaces", false),
        ("patch", "s3accessclasses.s3access.dev/status", true),
        ("create", "s3accessclasses.s3access.dev", false),
        ("delete", "s3accessclasses.s3access.dev", false),
    ] {
        let namespace = format!("--namespace={}", scene.namespace);
        let user = format!("--as={account}");
        // kubectl's exit status says the same as its answer.
        let answer = scene.stand.kubernetes.kubectl(&["auth", "can-i", verb, resource, &user, &namespace]).await;
        assert_eq!(answer.is_ok_and(|answer| answer.trim() == "yes"), allowed, "{verb} {resource}");
    }
}
