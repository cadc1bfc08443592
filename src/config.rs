//! Flags and their environment variables; `run --help` is the reference.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use crate::aws::{SessionOptions, SettingsError};
use crate::core::class::Defaults;
use crate::core::provider::Provider;
use crate::leadership::LeaseTimings;
use crate::metrics::UserMetrics;

/// The flags of `run`.
#[derive(Args, Clone, Debug)]
pub struct RunOptions {
    /// The id in the ownership tags of everything made in IAM [default: the UID of the kube-system namespace]
    #[arg(long, env = "S3ACCESS_CLUSTER_ID", value_parser = cluster_id)]
    pub cluster_id: Option<String>,
    /// The short name at the start of derived IAM user names [default: the first 8 characters of the cluster id]
    #[arg(long, env = "S3ACCESS_CLUSTER_NAME", value_parser = cluster_name)]
    pub cluster_name: Option<String>,
    /// Watch only these namespaces [default: all]
    #[arg(long, env = "S3ACCESS_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespaces: Vec<String>,
    /// The operator's own namespace, where its Lease lives
    #[arg(long, env = "S3ACCESS_NAMESPACE", default_value = "s3-access-system")]
    pub namespace: String,
    /// Interval of drift detection for a Ready user
    #[arg(long, env = "S3ACCESS_RESYNC_INTERVAL", default_value = "10h", value_parser = duration)]
    pub resync_interval: SignedDuration,
    /// How often each account is asked whether AWS has found a key in public; 0s: never
    #[arg(long, env = "S3ACCESS_ALARM_INTERVAL", default_value = "5m", value_parser = duration_or_never)]
    pub alarm_interval: SignedDuration,
    /// How often each account is asked when its keys were used last, which AWS tells anew at most every four hours; 0s: never
    #[arg(long, env = "S3ACCESS_REPORT_INTERVAL", default_value = "6h", value_parser = duration_or_never)]
    pub report_interval: SignedDuration,
    /// How long IAM may take to show what was just written: within it, "not found" is not believed
    #[arg(long, env = "S3ACCESS_CONSISTENCY_WINDOW", default_value = "60s", value_parser = duration)]
    pub consistency_window: SignedDuration,
    /// The pause between two tries of a new access key
    #[arg(long, env = "S3ACCESS_PROBE_INTERVAL", default_value = "2s", value_parser = duration)]
    pub probe_interval: SignedDuration,
    /// How many users of one account are reconciled side by side
    #[arg(long, env = "S3ACCESS_CONCURRENCY", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..))]
    pub concurrency: u16,
    /// What serves IAM: AWS, or an S3-compatible system with inline policies and access keys
    #[arg(long, env = "S3ACCESS_PROVIDER", default_value = "aws")]
    pub provider: ProviderOption,
    /// The account in the ARNs of an S3-compatible system that has no STS to ask [default: asked of STS]
    #[arg(long, env = "S3ACCESS_ACCOUNT_ID", value_parser = account_id)]
    pub account_id: Option<String>,
    /// Whether there are S3AccessClasses; without, all S3AccessUsers are made in the operator's own account
    #[arg(long, env = "S3ACCESS_CLASSES", default_value_t = true, action = clap::ArgAction::Set)]
    pub classes: bool,
    /// Only classes with these labels; S3AccessUsers that name another are left to other operators
    #[arg(long, env = "S3ACCESS_CLASS_SELECTOR")]
    pub class_selector: Option<String>,
    /// The IAM path of users and policies, where a class names none [default: /s3access/; / on S3-compatible systems]
    #[arg(long, env = "S3ACCESS_PATH", value_parser = iam_path)]
    pub path: Option<String>,
    /// No key is replaced by schedule sooner than that, where a class does not say
    #[arg(long, env = "S3ACCESS_MIN_ROTATION_INTERVAL", default_value = "1h", value_parser = duration)]
    pub min_rotation_interval: SignedDuration,
    /// Refuse S3AccessUsers for which there is no S3AccessClass
    #[arg(long, env = "S3ACCESS_REQUIRE_CLASS", action = clap::ArgAction::Set, num_args = 0..=1, default_value_t = false, default_missing_value = "true")]
    pub require_class: bool,
    /// Rotate the operator's own access key: the Secret in its namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, which are then taken from there alone
    #[arg(long, env = "S3ACCESS_ROTATE_OWN_KEY", value_parser = secret_name)]
    pub rotate_own_key: Option<String>,
    /// The age at which the operator's own access key is replaced; no less than the minimum of rotation
    #[arg(long, env = "S3ACCESS_OWN_KEY_INTERVAL", default_value = "720h", value_parser = duration)]
    pub own_key_interval: SignedDuration,
    /// At most so many requests a second to the AWS account
    #[arg(long, env = "S3ACCESS_REQUESTS_PER_SECOND", default_value = "10")]
    pub requests_per_second: NonZeroU32,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, env = "S3ACCESS_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,
    /// Serve /metrics by TLS, on an address of its own, to whoever the API server says may get it
    #[arg(long, env = "S3ACCESS_METRICS_SECURE", action = clap::ArgAction::Set, num_args = 0..=1, default_value_t = false, default_missing_value = "true")]
    pub metrics_secure: bool,
    /// Where /metrics is served by TLS
    #[arg(long, env = "S3ACCESS_METRICS_LISTEN", default_value = "0.0.0.0:8443")]
    pub metrics_listen: SocketAddr,
    /// The folder with tls.crt and tls.key for that; they are read again when they change [default: self-signed]
    #[arg(long, env = "S3ACCESS_METRICS_CERTIFICATES")]
    pub metrics_certificates: Option<PathBuf>,
    /// Whether each user has a metric of its own, s3access_user_ready; auto: up to a thousand users
    #[arg(long, env = "S3ACCESS_USER_METRICS", default_value = "auto")]
    pub user_metrics: UserMetrics,
    /// The form of the logs
    #[arg(long, env = "S3ACCESS_LOG_FORMAT", default_value = "json")]
    pub log_format: LogFormat,
    /// What is logged, in the syntax of tracing's EnvFilter
    #[arg(long, env = "S3ACCESS_LOG_LEVEL", default_value = "info,kube_runtime=warn,aws_config=warn")]
    pub log_level: String,
    /// Let one replica work and the others stand by
    #[arg(long, env = "S3ACCESS_LEADER_ELECTION", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_election: bool,
    /// The name of the Lease
    #[arg(long, env = "S3ACCESS_LEASE_NAME", default_value = "s3-access-operator")]
    pub lease_name: String,
    /// How long the Lease is good for without being renewed: whole seconds, from 5s to 5m
    #[arg(long, env = "S3ACCESS_LEASE_DURATION", default_value = "15s", value_parser = lease_duration)]
    pub lease_duration: SignedDuration,
    /// How long before its end the Lease is renewed: whole seconds, from 2s to two seconds less than it is good for
    #[arg(long, env = "S3ACCESS_LEASE_RENEW_BEFORE", default_value = "5s", value_parser = lease_duration_part)]
    pub lease_renew_before: SignedDuration,
}

impl RunOptions {
    /// What is said where a class does not.
    pub fn defaults(&self) -> Defaults {
        let path = self.path.clone().unwrap_or_else(|| match self.provider {
            ProviderOption::Aws => Defaults::PATH.to_owned(),
            ProviderOption::S3Compatible => "/".to_owned(),
        });
        Defaults { path, min_interval: self.min_rotation_interval }
    }

    /// How to reach the operator's own account.
    pub fn session_options(&self) -> SessionOptions {
        SessionOptions {
            requests_per_second: self.requests_per_second,
            provider: self.provider.into(),
            account_id: self.account_id.clone(),
            lanes: Arc::default(),
            own_credentials: None,
            ignores_addresses: false,
        }
    }

    /// How the Lease is held.
    ///
    /// # Errors
    /// [`SettingsError`]: it would end before it is renewed.
    pub fn lease(&self) -> Result<LeaseTimings, SettingsError> {
        let timings = LeaseTimings { duration: self.lease_duration, renew_before: self.lease_renew_before };
        if timings.leaves_time() { Ok(timings) } else { Err(SettingsError::LeaseRenewedLate) }
    }

    /// The Secret with the operator's own key, where that is to be rotated, and at which age.
    ///
    /// # Errors
    /// [`SettingsError`]: it cannot be.
    pub fn own_key(&self) -> Result<Option<(&str, SignedDuration)>, SettingsError> {
        match &self.rotate_own_key {
            None => Ok(None),
            Some(_) if self.provider != ProviderOption::Aws => Err(SettingsError::OwnKeyElsewhere),
            Some(_) if self.own_key_interval < self.min_rotation_interval => Err(SettingsError::OwnKeyTooOften),
            Some(secret) => Ok(Some((secret, self.own_key_interval))),
        }
    }
}

/// What serves IAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProviderOption {
    /// AWS.
    Aws,
    /// A system that speaks a part of IAM's API beside S3's.
    S3Compatible,
}

impl From<ProviderOption> for Provider {
    fn from(option: ProviderOption) -> Self {
        match option {
            ProviderOption::Aws => Self::Aws,
            ProviderOption::S3Compatible => Self::S3Compatible { tags: true },
        }
    }
}

/// The form of the logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    match text.parse::<SignedDuration>() {
        Ok(duration) if duration > SignedDuration::ZERO => Ok(duration),
        Ok(_) => Err("must be longer than nothing".to_owned()),
        Err(error) => Err(format!("not a duration such as 10h or 90s: {error}")),
    }
}

fn duration_or_never(text: &str) -> Result<SignedDuration, String> {
    match text.parse::<SignedDuration>() {
        Ok(SignedDuration::ZERO) => Ok(SignedDuration::ZERO),
        _ => duration(text),
    }
}

/// Shorter, a slow answer of the API server loses it; longer, a leader that died is missed for too long.
fn lease_duration(text: &str) -> Result<SignedDuration, String> {
    within(text, 5, 300)
}

fn lease_duration_part(text: &str) -> Result<SignedDuration, String> {
    within(text, LeaseTimings::LEAST_PAUSE.as_secs(), 298)
}

/// A Lease counts in whole seconds.
fn within(text: &str, least: i64, most: i64) -> Result<SignedDuration, String> {
    let found = duration(text)?;
    if found.subsec_nanos() == 0 && (least..=most).contains(&found.as_secs()) {
        return Ok(found);
    }
    Err(format!("whole seconds, from {least}s to {most}s"))
}

/// A DNS subdomain (RFC 1123), as far as a request's path is concerned.
fn secret_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    if (1..=253).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with(['-', '.']) {
        return Ok(text.to_owned());
    }
    Err("the name of a Secret: lower-case letters, digits, - and .".to_owned())
}

fn account_id(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("RGW").map_or((text, 12), |digits| (digits, 17));
    if digits.0.len() == digits.1 && digits.0.chars().all(|c| c.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err("12 digits, or of Ceph RGW RGW and 17 digits".to_owned())
}

/// IAM's paths begin and end with a slash.
fn iam_path(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+=,.@_/-".contains(c);
    let closed = text.starts_with('/') && text.ends_with('/') && !text.contains("//");
    if closed && text.len() <= 100 && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("a path such as /s3access/: letters, digits and +=,.@_- between slashes".to_owned())
}

/// What an IAM tag value may hold.
fn cluster_id(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.:/=+-@".contains(c);
    if (1..=128).contains(&text.len()) && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("1 to 128 letters, digits and _.:/=+-@".to_owned())
}

/// What an IAM user name may start with, short enough to leave room for the rest.
fn cluster_name(text: &str) -> Result<String, String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c);
    if (1..=20).contains(&text.len()) && text.chars().all(allowed) {
        return Ok(text.to_owned());
    }
    Err("1 to 20 letters, digits and +=,.@_-".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_a_number_of_seconds_within_its_bounds() {
        for good in ["5s", "15s", "1m", "5m", "90s"] {
            assert!(lease_duration(good).is_ok(), "{good}");
        }
        for bad in ["4s", "0s", "-15s", "1500ms", "5500ms", "301s", "10h", "15", "soon"] {
            assert!(lease_duration(bad).is_err(), "{bad}");
        }
        assert!(lease_duration_part("2s").is_ok() && lease_duration_part("1s").is_err());
    }
}
