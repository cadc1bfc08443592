//! The fixed formats: the exact keys that consumers of S3 credentials expect.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret;

use super::{Credentials, Entries, RenderError, SessionToken, Target};
use crate::api::SecretFormat;

/// The endings of AWS's host names, by the region's first part (AWS general reference, "Service endpoints").
const DNS_SUFFIXES: [(&str, &str); 5] = [
    ("cn-", "amazonaws.com.cn"),
    ("eusc-", "amazonaws.eu"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("us-iso-", "c2s.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
];

/// Values by the names of the format.
#[expect(clippy::too_many_lines, reason = "a table of the formats")]
pub(super) fn entries(
    format: SecretFormat,
    credentials: &Credentials,
    target: &Target,
) -> Result<Entries, RenderError> {
    let id = &*credentials.access_key_id;
    let secret = credentials.secret_access_key.expose_secret();
    let token = credentials.token.as_ref().map(|session| session.token.expose_secret());
    let region = target.region.as_str();
    let endpoint = endpoint(target);
    let bucket = || {
        let first = target.buckets.first().cloned();
        first.ok_or_else(|| RenderError::BucketNeeded(format.to_string()))
    };
    let entries: Vec<(&str, String)> = match format {
        SecretFormat::AwsEnv => {
            let mut entries = vec![
                ("AWS_ACCESS_KEY_ID", id.to_owned()),
                ("AWS_SECRET_ACCESS_KEY", secret.to_owned()),
                ("AWS_REGION", region.to_owned()),
                ("AWS_DEFAULT_REGION", region.to_owned()),
                ("credentials", ini(id, secret, token)),
                // servicebinding.io: what kind of service, and whose.
                ("type", "s3".to_owned()),
                ("provider", if target.endpoint.is_some() { "s3-compatible" } else { "aws" }.to_owned()),
            ];
            entries.extend(target.endpoint.clone().map(|endpoint| ("AWS_ENDPOINT_URL_S3", endpoint)));
            if let Some(session) = &credentials.token {
                entries.push(("AWS_SESSION_TOKEN", session.token.expose_secret().to_owned()));
                entries.push(("AWS_CREDENTIAL_EXPIRATION", session.expires_at.to_string()));
                entries.push(("credential-process.json", process(id, secret, session)));
            }
            entries
        }
        SecretFormat::Velero => vec![("cloud", ini(id, secret, token))],
        SecretFormat::Cnpg => {
            let key = [("ACCESS_KEY_ID", id), ("ACCESS_SECRET_KEY", secret), ("ACCESS_REGION", region)];
            beside(&key, "ACCESS_SESSION_TOKEN", token)
        }
        SecretFormat::LokiOperator => vec![
            ("bucketnames", if target.buckets.is_empty() { bucket()? } else { target.buckets.join(",") }),
            ("endpoint", endpoint),
            ("access_key_id", id.into()),
            ("access_key_secret", secret.into()),
            ("region", region.into()),
        ],
        SecretFormat::TempoOperator => vec![
            ("bucket", bucket()?),
            ("endpoint", endpoint),
            ("access_key_id", id.into()),
            ("access_key_secret", secret.into()),
        ],
        SecretFormat::Thanos => vec![("objstore.yml", thanos(&bucket()?, &endpoint, region, id, secret))],
        SecretFormat::MountpointCsi => vec![("key_id", id.into()), ("access_key", secret.into())],
        SecretFormat::CsiS3 => vec![
            ("accessKeyID", id.into()),
            ("secretAccessKey", secret.into()),
            ("endpoint", endpoint),
            ("region", region.into()),
        ],
        SecretFormat::Longhorn => vec![
            ("AWS_ACCESS_KEY_ID", id.into()),
            ("AWS_SECRET_ACCESS_KEY", secret.into()),
            ("AWS_ENDPOINTS", endpoint),
            ("VIRTUAL_HOSTED_STYLE", (!target.path_style).to_string()),
        ],
        SecretFormat::Rclone => vec![("rclone.conf", rclone(target, (id, secret, token)))],
        SecretFormat::ArgoWorkflows => beside(&[("accessKey", id), ("secretKey", secret)], "sessionToken", token),
        SecretFormat::Kubeflow => vec![("accesskey", id.into()), ("secretkey", secret.into())],
        SecretFormat::Harbor => {
            vec![("REGISTRY_STORAGE_S3_ACCESSKEY", id.into()), ("REGISTRY_STORAGE_S3_SECRETKEY", secret.into())]
        }
        SecretFormat::Airflow => {
            let encoded = |text| utf8_percent_encode(text, NON_ALPHANUMERIC);
            // Without it, a key of another system would be tried at AWS.
            let endpoint = target.endpoint.as_deref().map(encoded);
            let endpoint = endpoint.map_or_else(String::new, |endpoint| format!("&endpoint_url={endpoint}"));
            let token = token.map_or_else(String::new, |token| format!("&aws_session_token={}", encoded(token)));
            let uri = format!("aws://{id}:{}@/?region_name={region}{endpoint}{token}", encoded(secret));
            vec![("AIRFLOW_CONN_AWS_DEFAULT", uri)]
        }
        SecretFormat::Hadoop => {
            let mut entries =
                beside(&[("fs.s3a.access.key", id), ("fs.s3a.secret.key", secret)], "fs.s3a.session.token", token);
            if token.is_some() {
                // S3A takes a token by this provider only.
                let provider = "org.apache.hadoop.fs.s3a.TemporaryAWSCredentialsProvider";
                entries.push(("fs.s3a.aws.credentials.provider", provider.to_owned()));
            }
            entries
        }
        SecretFormat::Trino => vec![
            ("s3.aws-access-key", id.into()),
            ("s3.aws-secret-key", secret.into()),
            ("s3.region", region.into()),
            ("s3.endpoint", endpoint),
        ],
        SecretFormat::Flink => vec![
            ("s3.access-key", id.into()),
            ("s3.secret-key", secret.into()),
            ("s3.endpoint", endpoint),
            ("s3.path.style.access", target.path_style.to_string()),
        ],
        SecretFormat::S3fs => vec![("passwd-s3fs", format!("{id}:{secret}"))],
        SecretFormat::Cosi => vec![
            ("COSI_PROTOCOL", "S3".into()),
            ("COSI_S3_BUCKET_ID", bucket()?),
            ("COSI_S3_ENDPOINT", endpoint),
            ("COSI_S3_REGION", region.into()),
            ("COSI_S3_ADDRESSING_STYLE", if target.path_style { "path" } else { "virtual" }.into()),
            ("COSI_S3_ACCESS_KEY_ID", id.into()),
            ("COSI_S3_ACCESS_SECRET_KEY", secret.into()),
        ],
        // Rendered by `template`.
        SecretFormat::Template => Vec::new(),
    };
    Ok(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The class's endpoint, else AWS's regional one.
fn endpoint(target: &Target) -> String {
    if let Some(endpoint) = &target.endpoint {
        return endpoint.clone();
    }
    let suffix = DNS_SUFFIXES.iter().find(|(prefix, _)| target.region.starts_with(prefix));
    format!("https://s3.{}.{}", target.region, suffix.map_or("amazonaws.com", |(_, suffix)| suffix))
}

/// The entries of a key, and that of the token where there is one.
fn beside<'a>(key: &[(&'a str, &str)], name: &'a str, token: Option<&str>) -> Vec<(&'a str, String)> {
    let token = token.map(|token| (name, token));
    key.iter().copied().chain(token).map(|(name, value)| (name, value.to_owned())).collect()
}

fn ini(id: &str, secret: &str, token: Option<&str>) -> String {
    let token = token.map_or_else(String::new, |token| format!("aws_session_token = {token}\n"));
    format!("[default]\naws_access_key_id = {id}\naws_secret_access_key = {secret}\n{token}")
}

/// What a `credential_process` prints (AWS SDKs and Tools reference, "Process credential provider"): by its Expiration an SDK
/// knows when to read again, which it does not with a file of credentials.
fn process(id: &str, secret: &str, session: &SessionToken) -> String {
    let printed = serde_json::json!({
        "Version": 1,
        "AccessKeyId": id,
        "SecretAccessKey": secret,
        "SessionToken": session.token.expose_secret(),
        "Expiration": session.expires_at.to_string(),
    });
    format!("{printed}\n")
}

fn thanos(bucket: &str, endpoint: &str, region: &str, id: &str, secret: &str) -> String {
    // Thanos takes a host, and says separately whether to use TLS.
    let (insecure, host) = match endpoint.split_once("://") {
        Some((scheme, host)) => (scheme == "http", host),
        None => (false, endpoint),
    };
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        "type: S3\nconfig:\n  bucket: {}\n  endpoint: {}\n  region: {}\n  insecure: {insecure}\n  access_key: {}\n  secret_key: {}\n",
        quoted(bucket),
        quoted(host),
        quoted(region),
        quoted(id),
        quoted(secret),
    )
}

fn rclone(target: &Target, (id, secret, token): (&str, &str, Option<&str>)) -> String {
    let token = token.map_or_else(String::new, |token| format!("session_token = {token}\n"));
    let provider = if target.endpoint.is_some() { "Other" } else { "AWS" };
    let region = &target.region;
    let endpoint = target.endpoint.as_ref().map_or_else(String::new, |endpoint| format!("endpoint = {endpoint}\n"));
    // S3 refuses the name of its first region there.
    let constraint = if region == "us-east-1" { String::new() } else { format!("location_constraint = {region}\n") };
    // Else it makes the bucket before the first upload, which no level allows.
    format!(
        "[s3]\ntype = s3\nprovider = {provider}\nenv_auth = false\naccess_key_id = {id}\nsecret_access_key = {secret}\n{token}region = {region}\n{constraint}{endpoint}no_check_bucket = true\n"
    )
}
