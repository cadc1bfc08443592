//! `spec.secret`: the Secret that receives the access key.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::limits;

/// The Secret that receives the access key.
#[derive(KubeSchema, Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(has(self.format) && self.format == 'template') == (has(self.template) && size(self.template) > 0)").message("secret: format template and the field template go together"),
    validation = Rule::new("!has(self.labels) || !('app.kubernetes.io/managed-by' in self.labels)").message("secret.labels: app.kubernetes.io/managed-by is reserved"),
    validation = Rule::new("!has(self.annotations) || self.annotations.all(k, !k.startsWith('s3access.dev/'))").message("secret.annotations: the prefix s3access.dev/ is reserved")
)]
pub struct SecretSpec {
    /// The Secret's name. Default: `<name>-s3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: Option<String>,
    /// Which keys the Secret has.
    #[serde(default)]
    #[schemars(default)]
    pub format: SecretFormat,
    /// Renames the format's keys: from the format's name to yours.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "data_keys_schema")]
    pub keys: BTreeMap<String, String>,
    /// For `format: template`: data keys and their minijinja templates.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "template_schema")]
    pub template: BTreeMap<String, String>,
    /// Labels of the Secret, beside the operator's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels_schema")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret, beside the operator's own.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations_schema")]
    pub annotations: BTreeMap<String, String>,
    /// Workloads of the same namespace that are restarted, once, for each key that replaces another in the Secret. The
    /// operator needs the right to patch them, which is not among its own: deploy/optional/rollout-restart.yaml.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["kind", "name"]))]
    pub rollout_restart: Vec<Workload>,
}

/// A workload of the S3AccessUser's namespace.
#[derive(KubeSchema, Clone, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "camelCase")]
pub struct Workload {
    /// What it is.
    pub kind: WorkloadKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

impl std::fmt::Display for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}

/// The kinds of `apps/v1` whose pods come of a template.
#[derive(JsonSchema, Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// A Deployment.
    Deployment,
    /// A StatefulSet.
    StatefulSet,
    /// A DaemonSet.
    DaemonSet,
}

/// The keys that consumers of S3 credentials expect.
#[derive(JsonSchema, Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum SecretFormat {
    /// The AWS SDKs' environment variables, and a `credentials` file.
    #[default]
    AwsEnv,
    /// Velero's plugin for AWS.
    Velero,
    /// CloudNativePG's object stores.
    Cnpg,
    /// The Loki operator's LokiStack.
    LokiOperator,
    /// The Tempo operator.
    TempoOperator,
    /// Thanos' `objstore.yml`.
    Thanos,
    /// Mountpoint for Amazon S3's CSI driver.
    MountpointCsi,
    /// Yandex's csi-s3.
    CsiS3,
    /// Longhorn's backup target.
    Longhorn,
    /// rclone, as VolSync uses it.
    Rclone,
    /// Argo Workflows' artifact repository.
    ArgoWorkflows,
    /// Kubeflow Pipelines.
    Kubeflow,
    /// Harbor's registry storage.
    Harbor,
    /// Airflow's AWS connection.
    Airflow,
    /// Hadoop's S3A.
    Hadoop,
    /// Trino's native S3 file system.
    Trino,
    /// Flink's S3 file systems.
    Flink,
    /// s3fs-fuse.
    #[serde(rename = "s3fs")]
    S3fs,
    /// COSI v1alpha2.
    Cosi,
    /// Whatever `secret.template` says.
    Template,
}

impl SecretFormat {
    /// Those whose consumers take a session token, and a new one without a restart or with each run.
    pub const OF_SESSIONS: [Self; 8] = [
        Self::AwsEnv,
        Self::Velero,
        Self::Cnpg,
        Self::Rclone,
        Self::ArgoWorkflows,
        Self::Airflow,
        Self::Hadoop,
        Self::Template,
    ];
}

impl std::fmt::Display for SecretFormat {
    /// As a spec writes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

fn data_keys_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Renames the format's keys: from the format's name to yours.",
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "minLength": 1, "maxLength": 253, "pattern": "^[-._a-zA-Z0-9]+$" },
    })
}

fn template_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "For format template: data keys and their minijinja templates.",
        "type": "object",
        "maxProperties": limits::SECRET_ENTRIES,
        "additionalProperties": { "type": "string", "maxLength": limits::TEMPLATE },
    })
}

/// What Kubernetes takes for the key of a label or an annotation (apimachinery, `IsQualifiedName`).
const QUALIFIED_NAME: &str =
    "self.all(k, k.matches('^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$'))";

fn labels_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Labels of the Secret, beside the operator's own; which, a class says.",
        "type": "object",
        "maxProperties": limits::SECRET_ENTRIES,
        "additionalProperties": { "type": "string", "maxLength": 63, "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$" },
        "x-kubernetes-validations": [{ "rule": QUALIFIED_NAME, "message": "secret.labels: a key is no label key of Kubernetes" }],
    })
}

fn annotations_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "Annotations of the Secret, beside the operator's own; which, a class says.",
        "type": "object",
        "maxProperties": limits::SECRET_ENTRIES,
        "additionalProperties": { "type": "string", "maxLength": limits::SECRET_ANNOTATION },
        "x-kubernetes-validations": [{ "rule": QUALIFIED_NAME, "message": "secret.annotations: a key is no annotation key of Kubernetes" }],
    })
}
