//! `render`: the Secret that an S3AccessUser would get, with a placeholder for the key.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::json;

use super::{Error, read, users_of};
use crate::api::{AccessKeyMode, MANAGED_BY_LABEL, MANAGER, S3AccessUser, SecretFormat};
use crate::core::iam::AccessKeyId;
use crate::core::secret_data::{self, Credentials, SessionToken, Target};

#[derive(Args, Debug)]
pub(super) struct Options {
    /// The file with the S3AccessUser; `-` is standard input
    #[arg(short, long)]
    file: PathBuf,
    /// This format instead of the file's
    #[arg(long, value_parser = format)]
    format: Option<SecretFormat>,
    /// The region
    #[arg(long, env = "AWS_REGION", default_value = "us-east-1")]
    region: String,
    /// The S3 endpoint, where it is not AWS's own
    #[arg(long)]
    endpoint: Option<String>,
    /// Name buckets in the path rather than in the host name
    #[arg(long)]
    path_style: bool,
}

pub(super) fn print(options: &Options) -> Result<(), Error> {
    let users = users_of(&options.file, &read(&options.file)?)?;
    let several = users.len() > 1;
    for user in users {
        let separator = if several { "---\n" } else { "" };
        write!(std::io::stdout(), "{separator}{}", secret(options, &user)?)?;
    }
    Ok(())
}

fn secret(options: &Options, user: &S3AccessUser) -> Result<String, Error> {
    let mut spec = user.spec.secret.clone();
    if let Some(format) = options.format {
        spec.format = format;
    }
    let token = SessionToken { token: "EXAMPLE-SESSION-TOKEN".to_owned().into(), expires_at: Timestamp::UNIX_EPOCH };
    let credentials = Credentials {
        access_key_id: AccessKeyId::of_iam("EXAMPLE-ACCESS-KEY-ID"),
        secret_access_key: "EXAMPLE-SECRET-ACCESS-KEY".to_owned().into(),
        token: (user.spec.access_key.mode == AccessKeyMode::Session).then_some(token),
    };
    let target = Target {
        region: options.region.clone(),
        endpoint: options.endpoint.clone(),
        path_style: options.path_style,
        buckets: user.buckets(),
        user_arn: format!("arn:aws:iam::123456789012:user/{}", user.name_any()),
    };
    let data = secret_data::render(&spec, &credentials, &target)?;
    let entries: serde_json::Map<_, _> =
        data.iter().map(|(key, value)| (key.to_owned(), String::from_utf8_lossy(value).into())).collect();
    let mut labels = spec.labels.clone();
    labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGER.to_owned());
    let mut metadata = json!({ "name": user.secret_name(), "labels": labels });
    if let Some(namespace) = user.namespace() {
        metadata["namespace"] = namespace.into();
    }
    if !spec.annotations.is_empty() {
        metadata["annotations"] = json!(spec.annotations);
    }
    let secret =
        json!({ "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "stringData": entries });
    Ok(serde_saphyr::to_string(&secret)?)
}

fn format(text: &str) -> Result<SecretFormat, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{Error, users_of};
    use super::{Options, format};

    const USER: &str = "
apiVersion: s3access.dev/v1alpha1
kind: S3AccessUser
metadata: {name: reports, namespace: team-a}
spec:
  access: [{bucket: team-a-reports, level: ReadOnly}]
  secret: {format: argo-workflows, keys: {accessKey: key}}
";

    fn options() -> Options {
        let region = "eu-central-1".to_owned();
        Options { file: "cr.yaml".into(), format: None, region, endpoint: None, path_style: false }
    }

    fn secret(options: &Options, text: &str) -> Result<String, Error> {
        super::secret(options, &users_of(&options.file, text)?[0])
    }

    #[test]
    fn the_secret_has_the_keys_of_the_format() {
        let secret: serde_json::Value = serde_saphyr::from_str(&secret(&options(), USER).unwrap()).unwrap();
        assert_eq!(secret["metadata"]["name"], "reports-s3");
        assert_eq!(secret["metadata"]["namespace"], "team-a");
        let keys: Vec<&String> = secret["stringData"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["key", "secretKey"]);
    }

    #[test]
    fn a_flag_takes_another_format() {
        let options = Options { format: Some(format("s3fs").unwrap()), ..options() };
        let text = USER.replace(", keys: {accessKey: key}", "");
        let secret: serde_json::Value = serde_saphyr::from_str(&secret(&options, &text).unwrap()).unwrap();
        assert_eq!(secret["stringData"]["passwd-s3fs"], "EXAMPLE-ACCESS-KEY-ID:EXAMPLE-SECRET-ACCESS-KEY");
    }

    #[test]
    fn what_cannot_be_rendered_says_why() {
        let error = |text: &str| secret(&options(), text).unwrap_err().to_string();
        assert_eq!(error("kind: Pod"), "cr.yaml: there is no S3AccessUser in it");
        let broken = error(&USER.replace("ReadOnly", "Everything"));
        assert!(broken.starts_with("cr.yaml: no valid S3AccessUser: ") && broken.contains("Everything"), "{broken}");
        let unknown = error(&USER.replace("accessKey: key", "nothing: key"));
        assert!(unknown.contains("\"nothing\""), "{unknown}");
        assert!(format("csv").unwrap_err().contains("csv"));
    }
}
