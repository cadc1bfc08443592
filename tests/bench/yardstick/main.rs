//! The yardstick: the same job as a good engineer writes it in a day, straight from kube's and the AWS SDK's examples.
//!
//! One reconcile function; kube's Controller and finalizer as they come; every Secret watched, since `owns` does that;
//! IAM read anew at each look and put right; one look at each user at a start and at each resync. It makes users, inline
//! policies, keys and Secrets, rotates on the annotation and cleans up. It knows one account and no classes, and leaves out
//! what the operator is there for: it does not survive a lost answer, proves no ownership, and takes keys away at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_iam::error::ProvideErrorMetadata;
use aws_sdk_iam::types::Tag;
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::watcher;
use kube::{Api, Client, CustomResource, Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::json;

const FINALIZER: &str = "s3access.dev/iam";
const ROTATE: &str = "s3access.dev/rotate";
const MANAGER: &str = "yardstick";
const POLICY: &str = "s3-access";

#[derive(CustomResource, Clone, Debug, Deserialize, Serialize)]
#[kube(group = "s3access.dev", version = "v1alpha1", kind = "S3AccessUser", namespaced, status = "Status")]
#[kube(schema = "disabled")]
struct Spec {
    access: Vec<Grant>,
}

#[derive(Clone, Debug, Deserialize, Serialize)]
struct Grant {
    bucket: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    user_name: Option<String>,
    access_key_id: Option<String>,
    #[serde(default)]
    conditions: Vec<serde_json::Value>,
}

struct Context {
    client: Client,
    iam: aws_sdk_iam::Client,
    resync: Duration,
}

#[derive(Debug)]
struct Failure(anyhow::Error);

impl std::fmt::Display for Failure {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{:#}", self.0)
    }
}

impl std::error::Error for Failure {}

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let client = Client::try_default().await?;
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let resync = match std::env::var("S3ACCESS_RESYNC_INTERVAL") {
        Ok(interval) => Duration::from_secs(interval.trim_end_matches('s').parse()?),
        Err(_) => Duration::from_hours(10),
    };
    let context = Arc::new(Context { client: client.clone(), iam: aws_sdk_iam::Client::new(&config), resync });
    let users: Api<S3AccessUser> = Api::all(client.clone());
    Controller::new(users, watcher::Config::default())
        .owns(Api::<Secret>::all(client), watcher::Config::default())
        .with_config(kube::runtime::controller::Config::default().concurrency(16))
        .graceful_shutdown_on(terminated())
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(5)), context)
        .for_each(|result| async move {
            if let Err(error) = result {
                tracing::warn!(%error, "reconcile failed");
            }
        })
        .await;
    Ok(())
}

async fn terminated() {
    if let Ok(mut signal) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        signal.recv().await;
    }
}

async fn reconcile(user: Arc<S3AccessUser>, context: Arc<Context>) -> Result<Action, Failure> {
    let users: Api<S3AccessUser> = Api::namespaced(context.client.clone(), &user.namespace().unwrap_or_default());
    let outcome = finalizer(&users, FINALIZER, user, async |event| match event {
        Event::Apply(user) => apply(&context, &users, &user).await.map_err(Failure),
        Event::Cleanup(user) => cleanup(&context, &user).await.map_err(Failure),
    });
    outcome.await.map_err(|error| Failure(error.into()))
}

fn iam_name(user: &S3AccessUser) -> String {
    format!("{}-{}", user.namespace().unwrap_or_default(), user.name_any())
}

fn document(user: &S3AccessUser) -> serde_json::Value {
    let buckets = user
        .spec
        .access
        .iter()
        .flat_map(|grant| [format!("arn:aws:s3:::{}", grant.bucket), format!("arn:aws:s3:::{}/*", grant.bucket)]);
    let actions = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket", "s3:GetBucketLocation"];
    let statement = json!({ "Effect": "Allow", "Action": actions, "Resource": buckets.collect::<Vec<_>>() });
    json!({ "Version": "2012-10-17", "Statement": [statement] })
}

/// The value, or none where the service does not know the thing.
fn found<T, E>(result: std::result::Result<T, E>) -> Result<Option<T>>
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.code() == Some("NoSuchEntity") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn apply(context: &Context, users: &Api<S3AccessUser>, user: &S3AccessUser) -> Result<Action> {
    let (iam, name) = (&context.iam, iam_name(user));
    if found(iam.get_user().user_name(&name).send().await.map_err(aws_sdk_iam::error::SdkError::into_service_error))?
        .is_none()
    {
        let tag = Tag::builder().key("managed-by").value(MANAGER).build()?;
        iam.create_user().user_name(&name).tags(tag).send().await?;
    }
    let policy = iam.get_user_policy().user_name(&name).policy_name(POLICY).send().await;
    let policy = found(policy.map_err(aws_sdk_iam::error::SdkError::into_service_error))?;
    let current = policy.and_then(|policy| {
        let text = percent_encoding::percent_decode_str(&policy.policy_document).decode_utf8().ok()?.into_owned();
        serde_json::from_str::<serde_json::Value>(&text).ok()
    });
    let wanted = document(user);
    if current.is_none_or(|current| !same(&current, &wanted)) {
        iam.put_user_policy().user_name(&name).policy_name(POLICY).policy_document(wanted.to_string()).send().await?;
    }
    let key = ensure_key(context, user, &name).await?;
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "Synced", "message": "",
        "lastTransitionTime": user.creation_timestamp(), "observedGeneration": user.metadata.generation,
    });
    let status = Status { user_name: Some(name), access_key_id: Some(key), conditions: vec![condition] };
    if serde_json::to_value(&user.status)? != serde_json::to_value(&status)? {
        let patch = json!({ "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessUser", "status": status });
        users.patch_status(&user.name_any(), &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch)).await?;
    }
    Ok(Action::requeue(context.resync))
}

/// Whether two policies say the same in whatever order.
fn same(left: &serde_json::Value, right: &serde_json::Value) -> bool {
    use serde_json::Value;
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().all(|item| right.iter().any(|other| same(item, other)))
        }
        (Value::Array(items), item) | (item, Value::Array(items)) => matches!(&items[..], [only] if same(only, item)),
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        (left, right) => left == right,
    }
}

/// The id of the key in the Secret; a new one where there is none, where IAM does not know it, or where one is asked for.
async fn ensure_key(context: &Context, user: &S3AccessUser, name: &str) -> Result<String> {
    let iam = &context.iam;
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), &user.namespace().unwrap_or_default());
    let secret_name = format!("{}-s3", user.name_any());
    let secret = secrets.get_opt(&secret_name).await?;
    let held = secret.as_ref().and_then(|secret| {
        let id = secret.data.as_ref()?.get("AWS_ACCESS_KEY_ID")?;
        String::from_utf8(id.0.clone()).ok()
    });
    let requested = user.annotations().get(ROTATE).cloned().unwrap_or_default();
    let handled = secret.as_ref().and_then(|secret| secret.annotations().get(ROTATE).cloned()).unwrap_or_default();
    let keys = iam.list_access_keys().user_name(name).send().await?.access_key_metadata;
    let ids: Vec<String> = keys.into_iter().filter_map(|key| key.access_key_id).collect();
    if let Some(held) = held.filter(|held| ids.contains(held) && requested == handled) {
        return Ok(held);
    }
    // Whatever no Secret holds any more makes room.
    for id in ids.iter().skip(1) {
        iam.delete_access_key().user_name(name).access_key_id(id).send().await?;
    }
    let created = iam.create_access_key().user_name(name).send().await?.access_key.context("no key in the answer")?;
    let data = BTreeMap::from([
        ("AWS_ACCESS_KEY_ID", created.access_key_id.clone()),
        ("AWS_SECRET_ACCESS_KEY", created.secret_access_key),
    ]);
    let patch = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": secret_name, "annotations": { ROTATE: requested },
            "ownerReferences": [user.controller_owner_ref(&()).context("the user has no UID")?],
        },
        "stringData": data,
    });
    secrets.patch(&secret_name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(patch)).await?;
    if let Some(old) = ids.first() {
        iam.delete_access_key().user_name(name).access_key_id(old).send().await?;
    }
    Ok(created.access_key_id)
}

async fn cleanup(context: &Context, user: &S3AccessUser) -> Result<Action> {
    let (iam, name) = (&context.iam, iam_name(user));
    let keys = iam.list_access_keys().user_name(&name).send().await;
    let Some(keys) = found(keys.map_err(aws_sdk_iam::error::SdkError::into_service_error))? else {
        return Ok(Action::await_change());
    };
    for id in keys.access_key_metadata.into_iter().filter_map(|key| key.access_key_id) {
        iam.delete_access_key().user_name(&name).access_key_id(id).send().await?;
    }
    let deleted = iam.delete_user_policy().user_name(&name).policy_name(POLICY).send().await;
    found(deleted.map_err(aws_sdk_iam::error::SdkError::into_service_error))?;
    iam.delete_user().user_name(&name).send().await?;
    Ok(Action::await_change())
}
