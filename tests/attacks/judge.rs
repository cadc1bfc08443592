//! What the operator makes of a spec, held against the class by means of its own.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use ground::double::{Context, Document};
use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;
use s3_access_operator::api::{Adoption, S3AccessClass, S3AccessUser, SecretSpec};
use s3_access_operator::core::class::Class;
use s3_access_operator::core::desired::{Desired, DesiredPolicy};
use s3_access_operator::core::iam::AccessKeyId;
use s3_access_operator::core::iam::Account;
use s3_access_operator::core::names::Cluster;
use s3_access_operator::core::observed::{HeldKey, OurSecret};
use s3_access_operator::core::secret_data::{self, Credentials, SecretData, Target};
use secrecy::SecretString;
use serde_json::{Value, json};

pub const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/team-a";
const BOUNDARY: &str = "arn:aws:iam::123456789012:policy/tenants";

/// How a spec was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not at all.
    Refused,
    /// Less what the class does not allow.
    CutDown,
    /// As it stands.
    Granted,
}

/// The class of the attacks: as much is allowed as can be, so that there is something to attack.
fn class() -> S3AccessClass {
    S3AccessClass::new(
        "tenants",
        serde_json::from_value(json!({
            "allowedBuckets": ["{namespace}.*"], "allowedNamespaces": { "names": ["team-a"] }, "allowStatements": true,
            "allowedActions": ["sns:Publish"], "allowedKmsKeyArns": [KEY], "allowedNames": ["{namespace}-*"],
            "allowedManagedPolicyArns": ["arn:aws:iam::123456789012:policy/shared-*"], "allowedTagKeys": ["cost-*"],
            "tags": { "team": "a" }, "path": "/tenants/", "permissionsBoundaryArn": BOUNDARY,
            "rotation": { "maxInterval": "2160h" }, "allowedPaths": ["/tenants/*"],
            "allowedSecretNames": ["{namespace}-*"], "allowedSecretLabels": ["label-*"],
            "allowedSecretAnnotations": ["note-*"],
        }))
        .unwrap(),
    )
}

/// A tenant's spec, beside what any tenant has.
pub fn tenant(extra: Value) -> Value {
    let mut spec = json!({ "access": [{ "bucket": "team-a.data", "level": "ReadOnly" }] });
    for (field, value) in extra.as_object().unwrap() {
        spec[field] = value.clone();
    }
    spec
}

/// A Secret of the operator's with that key, in which nothing is amiss.
pub fn holding(key: Option<HeldKey>) -> OurSecret {
    OurSecret {
        uid: "secret".to_owned(),
        resource_version: "1".to_owned(),
        key,
        session: None,
        annotated: true,
        previous: None,
        rotated_at: None,
        rotate_handled: None,
        orphan_to_delete: None,
        up_to_date: true,
        immutable: false,
    }
}

/// More of a processor's time than any spec may take, also in a debug build.
const LIMIT: Duration = Duration::from_secs(5);
/// Whatever else the machine has to do, what is not done by then never is.
const PATIENCE: Duration = Duration::from_secs(60);
/// The stack of a thread of the operator.
const STACK: usize = 2 << 20;

/// Does it on a thread like the operator's own, and within its time: why not, where it did not. What overflows the stack
/// there ends this process, too.
pub fn on_a_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    within(LIMIT, PATIENCE, work)
}

/// What goes on for ever is left to itself, so that whoever tries it can tell of which input that is.
fn within<T: Send + 'static>(
    limit: Duration,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let (sender, done) = mpsc::channel();
    let timed = move || {
        let before = processor_time();
        let made = work();
        // Nobody may listen any more.
        let _ = sender.send((made, processor_time().saturating_sub(before)));
    };
    std::thread::Builder::new().stack_size(STACK).spawn(timed).unwrap();
    match done.recv_timeout(patience) {
        Ok((made, took)) if took <= limit => Ok(made),
        Ok((_, took)) => Err(format!("the time: it took {took:?} of a processor")),
        Err(RecvTimeoutError::Disconnected) => Err("the operator: it panicked".to_owned()),
        Err(RecvTimeoutError::Timeout) => Err(format!("the time: there is no end to it within {patience:?}")),
    }
}

/// What this thread has had of a processor, by the kernel's account: other threads and programs do not count.
fn processor_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn whoever_computes_for_too_long_or_for_ever_is_found_out() {
    let (limit, patience) = (Duration::from_millis(20), Duration::from_millis(200));
    let spin = move || {
        let before = processor_time();
        while processor_time() - before <= limit {}
    };
    assert!(within(limit, PATIENCE, spin).unwrap_err().contains("of a processor"));
    let (_sender, never) = mpsc::channel::<()>();
    let waits = move || never.recv().is_ok();
    assert!(within(limit, patience, waits).unwrap_err().contains("no end to it"));
    // Somebody else's time is none of its own.
    let sleeps = move || std::thread::sleep(limit * 2);
    assert_eq!(within(limit, PATIENCE, sleeps), Ok(()));
    let panics = || panic!("as it should");
    assert!(within::<()>(limit, PATIENCE, panics).unwrap_err().contains("panicked"));
}

/// How the operator takes the spec, and what of it reaches outside.
pub fn judge(spec: &Value) -> (Verdict, Option<String>) {
    let spec = spec.clone();
    on_a_worker(move || weigh(&spec)).unwrap_or_else(|harm| (Verdict::Refused, Some(harm)))
}

fn weigh(spec: &Value) -> (Verdict, Option<String>) {
    // What the schema does not take never reaches the operator; some of it is tried all the same.
    let Ok(parsed) = serde_json::from_value(spec.clone()) else { return (Verdict::Refused, None) };
    let mut user = S3AccessUser::new("reports", parsed);
    let meta = ObjectMeta { namespace: Some("team-a".to_owned()), uid: Some("uid".to_owned()), ..user.metadata };
    user.metadata = meta;
    let account = Account { id: "123456789012".to_owned(), partition: "aws".to_owned() };
    let cluster = Cluster { id: "cluster".to_owned(), name: "prod".to_owned() };
    let namespace = spec.get("namespace").and_then(Value::as_str).unwrap_or("team-a");
    let class = Class::of(&class(), namespace, &BTreeMap::new());
    let Ok(desired) = Desired::of(&user, &account, &cluster, &class) else { return (Verdict::Refused, None) };
    let verdict = if desired.violation.is_some() { Verdict::CutDown } else { Verdict::Granted };
    // What is left of the Secret, as the reconcile has it.
    class.bound_secret(&mut user);
    let escape = escape(&desired, user.spec.user_name.as_deref()).or_else(|| beyond(&user));
    match render(&user.spec.secret) {
        // No key is made that could not be delivered.
        None => (Verdict::Refused, escape),
        Some(data) => (verdict, escape.or_else(|| leaked(&data))),
    }
}

/// The secret half of the key of the attacks.
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A key with that id.
pub fn credentials(id: &str) -> Credentials {
    let (access_key_id, secret_access_key) = (AccessKeyId::of_iam(id), SecretString::from(SECRET_KEY));
    Credentials { access_key_id, secret_access_key, token: None }
}

/// What the operator makes of a template, where it makes something.
pub fn render(spec: &SecretSpec) -> Option<SecretData> {
    let credentials = credentials("AKIAIOSFODNN7EXAMPLE");
    let target = Target {
        region: "us-east-1".to_owned(),
        endpoint: None,
        path_style: false,
        buckets: vec!["team-a.data".to_owned(), "team-a.logs".to_owned()],
        user_arn: "arn:aws:iam::123456789012:user/tenants/reports".to_owned(),
    };
    secret_data::render(spec, &credentials, &target).ok()
}

/// What a template has got out that is none of its business, or more of it than Kubernetes takes.
pub fn leaked(data: &SecretData) -> Option<String> {
    let size: usize = data.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > 1 << 20 {
        return Some(format!("the size: {size} bytes"));
    }
    let all: Vec<u8> = data.iter().flat_map(|(_, value)| value).copied().collect();
    // A file, the environment, the engine's insides.
    ["root:x:", "AWS_CONTAINER", "HOME=", "minijinja"]
        .into_iter()
        .find(|secret| all.windows(secret.len()).any(|window| window == secret.as_bytes()))
        .map(|secret| format!("{secret:?} in the Secret"))
}

/// What of the Secret others may act upon.
fn beyond(user: &S3AccessUser) -> Option<String> {
    let (name, secret) = (user.secret_name(), &user.spec.secret);
    [
        (!name.starts_with("team-a-") && name != "reports-s3", "the Secret's name"),
        (secret.labels.keys().any(|key| !key.starts_with("label-")), "the Secret's labels"),
        (secret.annotations.keys().any(|key| !key.starts_with("note-")), "the Secret's annotations"),
    ]
    .into_iter()
    .find_map(|(escapes, what)| escapes.then(|| what.to_owned()))
}

fn escape(desired: &Desired, asked_name: Option<&str>) -> Option<String> {
    let document = match &desired.policy {
        Some(DesiredPolicy::Managed { document, .. } | DesiredPolicy::Inline { document, .. }) => Some(document),
        None => None,
    };
    if let Some(escape) = document.and_then(|document| escape_of(&serde_json::from_str(&document.text()).unwrap())) {
        return Some(escape);
    }
    let owner = &desired.owner;
    let named = asked_name.is_some_and(|asked| !asked.to_lowercase().starts_with("team-a-"));
    let has_access = desired.inactive.is_none() || desired.policy.is_some() || !desired.attached.is_empty();
    let made: Timestamp = "2026-03-27T12:00:00Z".parse().unwrap();
    let tag = |key: &String| *key != "team" && !key.starts_with("cost-") || key.contains("s3access.dev");
    [
        (named && has_access, "the name"),
        (!owner.path.starts_with("/tenants/"), "the path"),
        (owner.adoption == Adoption::Force, "adoption"),
        (desired.boundary.as_deref() != Some(BOUNDARY), "the boundary"),
        (desired.attached.iter().any(|arn| !arn.starts_with("arn:aws:iam::123456789012:policy/shared-")), "a policy"),
        (desired.tags.keys().any(tag) || desired.tags.get("team").is_none_or(|team| team != "a"), "a tag"),
        (desired.rotation.interval.is_none_or(|interval| interval.as_hours() > 2160), "the age of keys"),
        (
            desired.rotation.due_at(made).is_none_or(|due| due > made + SignedDuration::from_hours(2160)),
            "the age of keys",
        ),
        (desired.rotation.interval.is_some_and(|interval| interval.as_hours() < 1), "a storm of rotations"),
        (owner.retain, "what is kept for ever"),
    ]
    .into_iter()
    .find_map(|(escapes, what)| escapes.then(|| what.to_owned()))
}

/// The first request outside the class that a policy allows, by the double's evaluator.
pub fn escape_of(document: &Value) -> Option<String> {
    // What IAM does not take grants nothing.
    let document = Document::parse(&document.to_string(), "aws").ok()?;
    let actions = [
        "s3:GetObject",
        "s3:PutObject",
        "s3:ListBucket",
        "s3:DeleteBucket",
        "s3:PutBucketPolicy",
        "s3:ListAllMyBuckets",
        "s3:CreateBucket",
        "s3:GetObjectVersion",
        "s3:BypassGovernanceRetention",
    ];
    let buckets = [
        "team-b.data",
        "team-ab.data",
        "team-a",
        "team-a-x",
        "team-adata",
        "other",
        "a",
        "Team-a.data",
        "team-b.team-a.data",
        "xteam-a.data",
    ];
    let keys = ["", "/", "/x", "/team-a.data", "/team-a.data/x", "/2026/x"];
    let foreign = [
        "arn:aws:s3:eu-west-1:123456789012:accesspoint/team-a.data",
        "arn:aws:s3:::accesspoint/x",
        "arn:aws:s3-object-lambda:eu-west-1:123456789012:accesspoint/x",
        "arn:aws:s3express:eu-west-1:123456789012:bucket/x",
        "*",
    ];
    let resources = buckets.iter().flat_map(|bucket| keys.map(|key| format!("arn:aws:s3:::{bucket}{key}")));
    let mut requests: Vec<(&str, String)> = resources
        .chain(foreign.map(str::to_owned))
        .flat_map(|resource| actions.map(|action| (action, resource.clone())))
        .collect();
    for key in ["arn:aws:kms:eu-west-1:123456789012:key/team-b", "arn:aws:kms:eu-west-1:999999999999:key/team-a"] {
        requests.extend(["kms:Decrypt", "kms:GenerateDataKey"].map(|action| (action, key.to_owned())));
    }
    requests.extend([("kms:PutKeyPolicy", KEY.to_owned()), ("kms:ScheduleKeyDeletion", KEY.to_owned())]);
    for action in [
        "iam:CreateUser",
        "iam:PutUserPolicy",
        "sts:AssumeRole",
        "sns:DeleteTopic",
        "s3-object-lambda:GetObject",
        "ec2:RunInstances",
    ] {
        requests.push((action, "*".to_owned()));
        requests.push((action, "arn:aws:s3:::team-a.data".to_owned()));
    }
    // A tenant may have a say in some of these.
    for name in ["team-b.data", "team-a-x", "x"] {
        let mut context = Context::new().with("aws:username", name).with("aws:PrincipalTag/cost-center", name);
        context.add("aws:userid", name);
        // Through S3 the keys of grants may be used.
        context.add("kms:ViaService", "s3.eu-west-1.amazonaws.com");
        let found = requests.iter().find(|(action, resource)| document.decide(action, resource, &context).is_allowed());
        if let Some((action, resource)) = found {
            return Some(format!("{action} on {resource} as {name}"));
        }
    }
    None
}
