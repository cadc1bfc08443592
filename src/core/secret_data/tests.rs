#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;
use crate::core::iam::secret_half;

const FORMATS: [SecretFormat; 19] = [
    SecretFormat::AwsEnv,
    SecretFormat::Velero,
    SecretFormat::Cnpg,
    SecretFormat::LokiOperator,
    SecretFormat::TempoOperator,
    SecretFormat::Thanos,
    SecretFormat::MountpointCsi,
    SecretFormat::CsiS3,
    SecretFormat::Longhorn,
    SecretFormat::Rclone,
    SecretFormat::ArgoWorkflows,
    SecretFormat::Kubeflow,
    SecretFormat::Harbor,
    SecretFormat::Airflow,
    SecretFormat::Hadoop,
    SecretFormat::Trino,
    SecretFormat::Flink,
    SecretFormat::S3fs,
    SecretFormat::Cosi,
];

fn credentials(secret: &str) -> Credentials {
    Credentials {
        access_key_id: AccessKeyId::of_iam("AKIAEXAMPLE"),
        secret_access_key: SecretString::from(secret.to_owned()),
        token: None,
    }
}

fn target() -> Target {
    Target {
        region: "cn-north-1".to_owned(),
        endpoint: None,
        path_style: false,
        buckets: vec!["team-a".to_owned(), "logs".to_owned()],
        user_arn: "arn:aws-cn:iam::123456789012:user/reports".to_owned(),
    }
}

fn spec(format: SecretFormat) -> SecretSpec {
    SecretSpec { format, ..SecretSpec::default() }
}

fn text(data: &SecretData) -> String {
    data.iter().map(|(key, value)| format!("{key}={}\n", String::from_utf8_lossy(value))).collect()
}

#[test]
fn rival_16_every_format_has_the_keys_that_its_consumer_expects() {
    let all: String = FORMATS
        .iter()
        .map(|format| {
            format!("## {format:?}\n{}\n", text(&render(&spec(*format), &credentials("se/c+r=t"), &target()).unwrap()))
        })
        .collect();
    insta::assert_snapshot!(all);
}

fn session(secret: &str) -> Credentials {
    let token = SessionToken {
        token: SecretString::from("to/k+e=n".to_owned()),
        expires_at: "2026-11-28T09:00:00Z".parse().unwrap(),
    };
    Credentials { token: Some(token), ..credentials(secret) }
}

#[test]
fn every_format_of_sessions_has_the_token_and_the_others_are_refused_with_words() {
    let mut all = String::new();
    for format in FORMATS {
        match render(&spec(format), &session("se/c+r=t"), &target()) {
            Ok(data) => all += &format!("## {format:?}\n{}\n", text(&data)),
            Err(error) => {
                assert!(!SecretFormat::OF_SESSIONS.contains(&format), "{format:?}");
                let message = error.to_string();
                assert!(message.contains("use one of aws-env, velero, cnpg, rclone"), "{message}");
            }
        }
    }
    insta::assert_snapshot!(all);
    let template = |text: &str| {
        let spec = SecretSpec {
            template: BTreeMap::from([("file".to_owned(), text.to_owned())]),
            ..spec(SecretFormat::Template)
        };
        render(&spec, &session("s"), &target()).map(|data| data.text("file").unwrap().to_owned())
    };
    assert_eq!(template("{{ secret_access_key }}"), Err(RenderError::TokenMissing));
    let whole = template("{{ secret_access_key }} {{ session_token }} {{ session_expires_at }}");
    assert_eq!(whole.unwrap(), "s to/k+e=n 2026-11-28T09:00:00Z");
}

#[test]
fn admission_refuses_the_formats_that_the_operator_refuses() {
    let listed = SecretFormat::OF_SESSIONS.map(|format| format.to_string());
    let crd = serde_json::to_string(&<crate::api::S3AccessUser as kube::CustomResourceExt>::crd()).unwrap();
    let in_rule = listed.clone().map(|format| format!("'{format}'")).join(", ");
    assert!(crd.contains(&format!("in [{in_rule}]")) && crd.contains(&listed.join(", ")), "{listed:?}");
}

#[test]
fn rclone_makes_no_bucket_and_names_no_constraint_that_s3_refuses() {
    let config = |region: &str| {
        let target = Target { region: region.to_owned(), ..target() };
        let data = render(&spec(SecretFormat::Rclone), &credentials("s"), &target).unwrap();
        data.text("rclone.conf").unwrap().to_owned()
    };
    for (region, constrained) in [("us-east-1", false), ("eu-central-1", true)] {
        let config = config(region);
        assert_eq!(config.contains(&format!("location_constraint = {region}\n")), constrained, "{config}");
        assert!(config.ends_with("no_check_bucket = true\n"), "{config}");
    }
}

#[test]
fn an_endpoint_of_the_class_replaces_that_of_aws() {
    let compatible = Target { endpoint: Some("http://s3.local:9000".to_owned()), path_style: true, ..target() };
    let env = render(&spec(SecretFormat::AwsEnv), &credentials("s"), &compatible).unwrap();
    assert_eq!(env.text("AWS_ENDPOINT_URL_S3"), Some("http://s3.local:9000"));
    let airflow = render(&spec(SecretFormat::Airflow), &credentials("s"), &compatible).unwrap();
    let uri = "aws://AKIAEXAMPLE:s@/?region_name=cn-north-1&endpoint_url=http%3A%2F%2Fs3%2Elocal%3A9000";
    assert_eq!(airflow.text("AIRFLOW_CONN_AWS_DEFAULT"), Some(uri));
    let thanos = render(&spec(SecretFormat::Thanos), &credentials("s"), &compatible).unwrap();
    assert!(
        thanos
            .text("objstore.yml")
            .unwrap()
            .contains("endpoint: \"s3.local:9000\"\n  region: \"cn-north-1\"\n  insecure: true")
    );
}

#[test]
fn keys_are_renamed_and_mistakes_are_told() {
    let renaming = |from: &str, to: &str| SecretSpec {
        keys: BTreeMap::from([(from.to_owned(), to.to_owned())]),
        ..spec(SecretFormat::ArgoWorkflows)
    };
    let data = render(&renaming("accessKey", "id"), &credentials("s"), &target()).unwrap();
    assert_eq!(data.text("id"), Some("AKIAEXAMPLE"));
    assert_eq!(data.text("accessKey"), None);
    let error = render(&renaming("nope", "id"), &credentials("s"), &target()).unwrap_err();
    assert!(error.to_string().contains("accessKey, secretKey"), "{error}");
    let error = render(&renaming("accessKey", "secretKey"), &credentials("s"), &target()).unwrap_err();
    assert_eq!(error, RenderError::KeyCollision("secretKey".to_owned()));
    for bad in ["a/b", "..", "", "a b"] {
        assert!(
            matches!(
                render(&renaming("accessKey", bad), &credentials("s"), &target()),
                Err(RenderError::InvalidKey(_))
            ),
            "{bad}"
        );
    }
}

#[test]
fn formats_that_name_a_bucket_say_so_where_there_is_none() {
    for format in [SecretFormat::LokiOperator, SecretFormat::TempoOperator, SecretFormat::Thanos, SecretFormat::Cosi] {
        let error = render(&spec(format), &credentials("s"), &Target { buckets: Vec::new(), ..target() }).unwrap_err();
        assert!(error.to_string().contains("spec.access"), "{error}");
    }
}

fn templated(template: &str) -> Result<SecretData, RenderError> {
    let template = BTreeMap::from([("file".to_owned(), template.to_owned())]);
    render(&SecretSpec { template, ..spec(SecretFormat::Template) }, &credentials("SENTINEL"), &target())
}

#[test]
fn templates_render_in_a_sandbox() {
    let data = templated("{{ access_key_id }}:{{ secret_access_key }}@{{ region }} {{ buckets | join(' ') }}").unwrap();
    assert_eq!(data.text("file"), Some("AKIAEXAMPLE:SENTINEL@cn-north-1 team-a logs"));
    for attack in [
        "{{ nothing }}",
        "{{ secret_access_key.nothing.more }}",
        "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{{ secret_access_key | int }}",
        "{{ 'x' * 99999999 }}",
        "{% unclosed",
    ] {
        let error = templated(attack).unwrap_err();
        assert!(!error.to_string().contains("SENTINEL"), "{error}");
    }
}

#[test]
fn a_template_in_another_tools_form_is_told_of_this_one() {
    for (template, told) in [
        ("{{ .AccessKeyID }}", "a tag in line 1 is one of a Go template"),
        ("a\n{{- $x := .Values.key }}", "a tag in line 2 is one of a Go template"),
        ("{{ accessKeyId }}", "the variables are access_key_id, secret_access_key, session_token"),
        ("{{ secret_access_key | b64encode }}", "the filters are default, first"),
        (
            "aws_secret_access_key = ",
            "a Helm chart takes braces for its own: there, write {{`{{ secret_access_key }}`}}",
        ),
    ] {
        let message = templated(template).unwrap_err().to_string();
        assert!(message.contains(told), "{template}: {message}");
    }
}

#[test]
fn a_secret_that_kubernetes_would_not_take_is_refused() {
    let sized = |size: usize| {
        let template = [("key".to_owned(), format!("{{{{ secret_access_key }}}}{}", "x".repeat(size - 4)))].into();
        render(&SecretSpec { template, ..spec(SecretFormat::Template) }, &credentials("s"), &target()).map(drop)
    };
    assert_eq!(sized(SIZE_LIMIT), Ok(()));
    assert_eq!(sized(SIZE_LIMIT + 1), Err(RenderError::TooLarge(SIZE_LIMIT + 1)));
}

/// A key that cannot be found again would be taken for lost, and replaced, at each reconcile.
#[test]
fn invariant_2_a_template_without_the_secret_key_is_refused() {
    assert!(templated("{{ secret_access_key }}").is_ok());
    for lossy in ["{{ access_key_id }}", "{{ secret_access_key | reverse }}", "{{ secret_access_key | length }}"] {
        assert_eq!(templated(lossy).unwrap_err(), RenderError::KeyMissing, "{lossy}");
    }
}

#[test]
fn a_secret_key_in_a_url_is_found_again() {
    let secret = "ab/cd+ef";
    let data = render(&spec(SecretFormat::Airflow), &credentials(secret), &target()).unwrap();
    let location = locate(&data, &SecretString::from(secret)).unwrap();
    assert!(location.encoded && location.to_string().ends_with("+12%"), "{location}");
    assert_eq!(extract(&data, &location, secret_half).unwrap().expose_secret(), secret);
}

#[test]
fn invariant_1_debug_shows_no_value() {
    let credentials = credentials("SENTINEL");
    for format in FORMATS {
        let data = render(&spec(format), &credentials, &target()).unwrap();
        assert!(!format!("{data:?} {credentials:?}").contains("SENTINEL"), "{format:?}");
    }
}

#[test]
fn a_stripped_secret_still_shows_its_key_where_the_format_has_entries_for_it() {
    let credentials = credentials("SENTINEL");
    let mut found = 0;
    for format in FORMATS {
        let data = render(&spec(format), &credentials, &target()).unwrap();
        if let Some(extracted) = extract_by_format(&spec(format), &data) {
            assert_eq!(digest(&extracted), digest(&credentials), "{format:?}");
            found += 1;
        }
    }
    assert_eq!(found, 14);
}

proptest! {
    #[test]
    fn the_secret_is_found_where_it_was_put(secret in "[A-Za-z0-9/+=%]{8,64}", index in 0..FORMATS.len()) {
        let data = render(&spec(FORMATS[index]), &credentials(&secret), &target()).unwrap();
        let location = locate(&data, &SecretString::from(secret.clone())).unwrap();
        prop_assert_eq!(location.to_string().parse::<Location>(), Ok(location.clone()));
        let extracted = extract(&data, &location, secret_half).unwrap();
        prop_assert_eq!(extracted.expose_secret(), secret.as_str());
    }

    #[test]
    fn digests_tell_keys_apart(a in "[A-Za-z0-9/+]{40}", b in "[A-Za-z0-9/+]{40}") {
        prop_assert_eq!(a == b, digest(&credentials(&a)) == digest(&credentials(&b)));
    }
}
