//! What an S3-compatible system does with what it is told: found out by use before it serves anybody, since some drop the proof of
//! ownership, keep a policy otherwise than it was written, or take any key, and answer each time that all went well.
//!
//! A user and a bucket of the operator's own, that no S3AccessUser has, are there for some seconds; what a crash has left of
//! them is removed by the next try.

use std::collections::BTreeMap;
use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use secrecy::SecretString;
use serde_json::json;

use crate::api::{
    AccessGrant, AccessLevel, Capabilities, Capability, ClassEndpoints, PolicySpec, PolicyType, S3AccessUserSpec,
    Trial, tags,
};
use crate::aws::{AwsError, CreatedKey, ErrorKind, S3Endpoint, S3Request, Session, Verdict};
use crate::controller::error::Error;
use crate::core::class::Class;
use crate::core::names::{self, Cluster, Identity, Ownership};
use crate::core::policy::{self, Document, PROVABLE, Terms};

/// Such a system may take a while to hear of a new key or policy.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(300);
/// So many times it is tried whether a condition key is heeded that was before.
const LOST: u32 = 4;
/// In place of a namespace, which has no such name.
const NAMESPACE: &str = "-";
/// In place of a class, which has no such name.
const OWN: &str = "own_account";
/// What the policy of the trial allows of its bucket.
const ALLOWED: &str = "in/";

/// Which system is tried, and for whom.
pub struct Subject<'a> {
    /// Its session.
    pub session: &'a Session,
    /// The cluster, whose name and id the throw-away user bears.
    pub cluster: &'a Cluster,
    /// The name and UID of the class; empty for the operator's own account.
    pub class: (&'a str, &'a str),
    /// The path of the class's users.
    pub path: &'a str,
    /// Where the class says that the system is.
    pub endpoints: ClassEndpoints,
    /// The condition keys that it was found to heed before.
    pub heeded: Vec<String>,
}

/// Tries the system.
///
/// # Errors
/// The first call that failed for a reason that says nothing of the system, such as a permission that the operator lacks; what
/// was made is removed as far as it can be.
pub async fn capabilities(subject: Subject<'_>) -> Result<Capabilities, Error> {
    let Subject { session, cluster, class: (name, uid), path, endpoints, heeded } = subject;
    let Some(s3) = session.s3.as_deref() else { return Ok(Capabilities::presumed()) };
    let identity = Identity {
        cluster_id: cluster.id.clone(),
        uid: if uid.is_empty() { OWN.to_owned() } else { uid.to_owned() },
        namespace: NAMESPACE.to_owned(),
        name: if name.is_empty() { OWN.to_owned() } else { name.to_owned() },
    };
    let user = names::user_name(cluster, NAMESPACE, &identity.name);
    let bucket = format!("s3access-probe-{}", names::digest(&[&cluster.id, &identity.name], 10));
    let mut probe = Probe {
        session,
        s3,
        user,
        bucket,
        identity,
        made: Vec::new(),
        heeded,
        found: Capabilities { endpoints, ..Capabilities::default() },
    };
    let tried = probe.try_all(path).await;
    let removed = probe.remove().await;
    tried?;
    removed?;
    let mut found = probe.found;
    found.server = session.server();
    found.tried_at = Some(Time(Timestamp::now()));
    Ok(found)
}

/// The throw-away user and bucket, and what they have shown so far.
struct Probe<'a> {
    session: &'a Session,
    s3: &'a S3Endpoint,
    user: String,
    bucket: String,
    identity: Identity,
    /// The keys that were made: a server need not list them.
    made: Vec<String>,
    heeded: Vec<String>,
    found: Capabilities,
}

impl Probe<'_> {
    async fn try_all(&mut self, path: &str) -> Result<(), Error> {
        // Without the one, no key may be made, and without a key nothing else can be tried.
        let kept = self.keeps_ownership(path).await;
        if !self.note(Capability::Ownership, kept)? {
            return Ok(());
        }
        let kept = self.keeps_policy().await;
        if !self.note(Capability::PolicyKept, kept)? {
            return Ok(());
        }
        let key = self.session.iam.create_access_key(&self.user).await?;
        self.made.push(key.minted.id.clone());
        let dated = self.shows_dates(&key).await;
        self.note(Capability::KeyDates, dated)?;
        let second = self.session.iam.create_access_key(&self.user).await;
        self.made.extend(second.iter().map(|second| second.minted.id.clone()));
        let second = second.map(drop).map_err(|error| match error.kind {
            ErrorKind::LimitExceeded => Failed::Lacks(error.to_string()),
            _ => Failed::of(error),
        });
        self.note(Capability::TwoKeys, second)?;
        let key = (key.minted.id.as_str(), &key.secret);
        let told = self.tells_keys_apart(key).await;
        if !self.note(Capability::UnknownKeyRefused, told)? {
            return Ok(());
        }
        let (enforced, kept_to_it) = self.in_a_bucket(key).await?;
        self.note(Capability::PolicyEnforced, enforced)?;
        self.note(Capability::Prefixes, kept_to_it)?;
        self.found.condition_keys = self.condition_keys(key).await?;
        let refused = self.refuses_inactive(key).await;
        self.note(Capability::InactiveKeyRefused, refused)?;
        let guarded = self.guards_deletion().await;
        if guarded.is_err() {
            self.made.clear();
        }
        self.note(Capability::DeletionGuarded, guarded)?;
        Ok(())
    }

    /// Notes what came of a trial; whether the system does it.
    fn note(&mut self, name: Capability, outcome: Outcome) -> Result<bool, Error> {
        let message = match outcome {
            Ok(()) => String::new(),
            Err(Failed::Lacks(message)) => message,
            Err(Failed::Otherwise(error)) => return Err(error),
        };
        let works = message.is_empty();
        self.found.trials.push(Trial { name, works, message });
        Ok(works)
    }

    /// Each of these calls is read back: see [`crate::aws`].
    async fn keeps_ownership(&self, path: &str) -> Outcome {
        let iam = &self.session.iam;
        let record = BTreeMap::from([(tags::REVOKED.to_owned(), "trial".to_owned())]);
        match iam.create_user(&self.user, path, &self.identity.tags(), None).await {
            // A crash has left it.
            Err(error) if error.kind == ErrorKind::AlreadyExists => {
                self.remove().await?;
                iam.create_user(&self.user, path, &self.identity.tags(), None).await?;
            }
            made => drop(made?),
        }
        iam.tag_user(&self.user, &record).await?;
        iam.untag_user(&self.user, &[tags::REVOKED.to_owned()]).await?;
        iam.update_user_path(&self.user, &format!("{path}trial/")).await?;
        Ok(iam.update_user_path(&self.user, path).await?)
    }

    /// PutUserPolicy is read back.
    async fn keeps_policy(&self) -> Outcome {
        let policy = self.prefix_policy().await?;
        self.put(&policy).await?;
        Ok(self.session.iam.delete_user_policy(&self.user, &self.user).await?)
    }

    async fn put(&self, policy: &Document) -> Outcome {
        Ok(self.session.iam.put_user_policy(&self.user, &self.user, policy).await?)
    }

    /// What the operator writes for a prefix of a bucket.
    async fn prefix_policy(&self) -> Result<Document, Error> {
        let grant = AccessGrant {
            bucket: self.bucket.clone(),
            prefixes: vec![ALLOWED.to_owned()],
            level: AccessLevel::ReadWrite,
            kms_key_arns: Vec::new(),
        };
        let policy = PolicySpec { policy_type: PolicyType::Inline, ..PolicySpec::default() };
        let spec = S3AccessUserSpec { access: vec![grant], policy: Some(policy), ..S3AccessUserSpec::default() };
        let account = self.session.account().await?;
        let (document, _) = policy::compile(&spec, account, &Class::none(), &Terms::default())
            .map_err(|refusal| Error::InvalidClass(refusal.message))?;
        document.ok_or_else(|| Error::InvalidClass("nothing is granted".to_owned()))
    }

    async fn shows_dates(&self, key: &CreatedKey) -> Outcome {
        let listed = self.session.iam.list_access_keys(&self.user).await?;
        match listed.iter().find(|found| found.id == key.minted.id) {
            Some(found) if found.created_at.is_some() => Ok(()),
            Some(_) => lacks(
                "ListAccessKeys shows no CreateDate: the operator goes by the date in the status, and by when it has seen a key first",
            ),
            None => lacks("ListAccessKeys does not show a key that was made a moment ago"),
        }
    }

    async fn tells_keys_apart(&self, (id, secret): (&str, &SecretString)) -> Outcome {
        if !self.comes_to(|| self.s3.knows((id, secret)), |known| known).await? {
            return lacks(
                "S3 did not come to take a new access key within some seconds, or answers to unknown ones as to those that it knows, so that nobody can tell whether a key works",
            );
        }
        let wrong = SecretString::from("a-secret-that-belongs-to-no-key-of-this-system");
        if self.s3.knows((id, &wrong)).await? {
            return lacks("S3 takes an access key with any secret");
        }
        Ok(())
    }

    /// Whether policies are enforced in a bucket, and prefixes of it.
    async fn in_a_bucket(&self, key: (&str, &SecretString)) -> Result<(Outcome, Outcome), Error> {
        let bucket = &self.bucket;
        let made = S3Request { operation: "CreateBucket", method: "PUT", target: bucket };
        match self.s3.ask_as_operator(made).await {
            Ok(Verdict::Allowed) => {}
            Err(error) if error.code == "BucketAlreadyOwnedByYou" => {}
            Err(error) if !is_of_the_system(&error) => return Err(error.into()),
            refused => {
                let why = refused.map_or_else(|error| error.to_string(), |said| format!("S3 says {said:?}"));
                let message = format!("the operator's credentials cannot make bucket {bucket}, to try that: {why}");
                return Ok((self.enforces_by_listing(key).await?, lacks(&message)));
            }
        }
        let put = |target: &'static str| {
            let target = format!("{bucket}/{target}");
            async move { self.s3.ask(S3Request { operation: "PutObject", method: "PUT", target: &target }, key).await }
        };
        let list = |prefix: &'static str| {
            let target = format!("{bucket}?list-type=2&max-keys=1{prefix}");
            async move { self.s3.ask(S3Request { operation: "ListObjectsV2", method: "GET", target: &target }, key).await }
        };
        let denied = |said| said == Verdict::Denied;
        let allowed = |said| said == Verdict::Allowed;
        if !self.comes_to(|| put("in/trial"), denied).await? {
            return Ok((lacks("a user without a policy may write"), lacks("policies are not enforced")));
        }
        match self.put(&self.prefix_policy().await?).await {
            Err(Failed::Otherwise(error)) => return Err(error),
            Err(lacking) => return Ok((Err(lacking), lacks("the policy was not taken"))),
            Ok(()) => {}
        }
        if !self.comes_to(|| put("in/trial"), allowed).await? {
            return Ok((lacks("a user may not do what its policy allows"), lacks("policies are not enforced")));
        }
        let mut within = self.comes_to(|| list("&prefix=in%2F"), allowed).await?;
        for beyond in ["", "&prefix=out%2F"] {
            within &= self.comes_to(|| list(beyond), denied).await?;
        }
        within &= self.comes_to(|| put("out/trial"), denied).await?;
        let prefixes = if within {
            Ok(())
        } else {
            lacks("a policy for a prefix of a bucket does not keep a user to it: leave spec.access[].prefixes out")
        };
        Ok((Ok(()), prefixes))
    }

    /// Whether policies are enforced, as far as a list of buckets shows it.
    async fn enforces_by_listing(&self, key: (&str, &SecretString)) -> Result<Outcome, Error> {
        let list = S3Request { operation: "ListBuckets", method: "GET", target: "" };
        if !self.comes_to(|| self.s3.ask(list, key), |said| said == Verdict::Denied).await? {
            return Ok(lacks("a user without a policy may list all buckets"));
        }
        let allowed = self.answers(None, key, Verdict::Allowed).await?;
        Ok(if allowed { Ok(()) } else { lacks("a user may not do what its policy allows") })
    }

    /// The condition keys that the system heeds.
    async fn condition_keys(&self, key: (&str, &SecretString)) -> Result<Vec<String>, Error> {
        let over_tls = self.session.s3_endpoint.as_ref().is_some_and(|url| url.starts_with("https://"));
        let mut proven = Vec::new();
        // Where nothing is denied without a condition, a denial proves nothing, and the other way round.
        if !self.answers(None, key, Verdict::Allowed).await? {
            return Ok(proven);
        }
        for provable in PROVABLE {
            let (holds, fails) = provable.conditions(over_tls);
            // A loss takes everybody's access, and a change of a policy may be slow to come through.
            let times = if self.heeded.iter().any(|heeded| heeded == provable.key()) { LOST } else { 1 };
            for _ in 0..times {
                if self.answers(Some(fails.clone()), key, Verdict::Denied).await?
                    && self.answers(Some(holds.clone()), key, Verdict::Allowed).await?
                {
                    proven.push(provable.key().to_owned());
                    break;
                }
            }
        }
        Ok(proven)
    }

    /// Whether the key comes to be let in, or kept out, under that condition.
    async fn answers(
        &self,
        condition: Option<serde_json::Value>,
        key: (&str, &SecretString),
        wanted: Verdict,
    ) -> Result<bool, Error> {
        let mut statement = json!({ "Effect": "Allow", "Action": "s3:ListAllMyBuckets", "Resource": "*" });
        if let Some(condition) = condition {
            statement["Condition"] = condition;
        }
        match self.put(&Document::new(vec![statement])).await {
            // It takes no such condition, and so heeds none.
            Err(Failed::Lacks(_)) => Ok(false),
            Err(Failed::Otherwise(error)) => Err(error),
            Ok(()) => {
                let list = S3Request { operation: "ListBuckets", method: "GET", target: "" };
                self.comes_to(|| self.s3.ask(list, key), |said| said == wanted).await
            }
        }
    }

    async fn refuses_inactive(&self, key: (&str, &SecretString)) -> Outcome {
        let iam = &self.session.iam;
        let asked = || self.s3.knows(key);
        iam.update_access_key(&self.user, key.0, false).await?;
        if !self.comes_to(asked, |known| !known).await? {
            return lacks("S3 takes an access key that is Inactive: nobody could take a key out of use");
        }
        iam.update_access_key(&self.user, key.0, true).await?;
        if !self.comes_to(asked, |known| known).await? {
            return lacks("S3 does not take an access key again that was Inactive for a while");
        }
        Ok(())
    }

    async fn guards_deletion(&self) -> Outcome {
        match self.session.iam.delete_user(&self.user).await {
            Err(error) if error.kind == ErrorKind::DeleteConflict => Ok(()),
            Err(error) => Err(Failed::of(error)),
            Ok(_) => lacks("DeleteUser deletes a user that has access keys; the operator deletes the keys before"),
        }
    }

    /// Whether S3 comes to say that.
    async fn comes_to<T, F>(&self, ask: impl Fn() -> F, wanted: impl Fn(T) -> bool) -> Result<bool, Error>
    where
        F: Future<Output = crate::aws::Result<T>>,
    {
        for _ in 0..TRIES {
            if wanted(ask().await?) {
                return Ok(true);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(false)
    }

    /// Removes the bucket, the keys and the user, if it is this one.
    async fn remove(&self) -> Result<(), Error> {
        for target in ["/in/trial", "/out/trial", ""].map(|object| format!("{}{object}", self.bucket)) {
            // One that is not there, or that others have made, is none of ours.
            let _ = self.s3.ask_as_operator(S3Request { operation: "Delete", method: "DELETE", target: &target }).await;
        }
        let iam = &self.session.iam;
        let found = match iam.get_user(&self.user).await {
            // To whom may see its own users alone, versitygw says so of one that is not there.
            Err(error) if error.kind == ErrorKind::AccessDenied && self.made.is_empty() => None,
            found => found?,
        };
        let Some(found) = found else { return Ok(()) };
        let listed = iam.list_access_keys(&self.user).await?.into_iter().map(|key| key.id);
        let unknown: Vec<String> = listed.filter(|id| !self.made.contains(id)).collect();
        // One of this name without other keys, and without the proof, is what a system has made of ours that drops it.
        if self.identity.ownership(&found.tags) == Ownership::Foreign && !unknown.is_empty() {
            let message = format!(
                "IAM user {} is somebody else's, and has the name of the one that systems are tried with",
                self.user
            );
            return Err(Error::InvalidClass(message));
        }
        for id in self.made.iter().chain(&unknown) {
            iam.delete_access_key(&self.user, id).await?;
        }
        iam.delete_user_policy(&self.user, &self.user).await?;
        Ok(iam.delete_user(&self.user).await.map(drop)?)
    }
}

/// What came of one trial.
type Outcome = Result<(), Failed>;

/// Why something does not work.
enum Failed {
    /// The system lacks it; in words.
    Lacks(String),
    /// It says nothing of the system.
    Otherwise(Error),
}

impl Failed {
    fn of(error: AwsError) -> Self {
        if is_of_the_system(&error) { Self::Lacks(error.to_string()) } else { Self::Otherwise(error.into()) }
    }
}

impl From<AwsError> for Failed {
    fn from(error: AwsError) -> Self {
        Self::of(error)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Otherwise(error)
    }
}

fn lacks(message: &str) -> Outcome {
    Err(Failed::Lacks(message.to_owned()))
}

/// Whether the system itself is what failed, and not the network, a clock, a quota, or what the operator is allowed; nor a replica
/// that knows the user not yet.
fn is_of_the_system(error: &AwsError) -> bool {
    matches!(
        error.kind,
        ErrorKind::Unsupported
            | ErrorKind::OwnershipNotKept
            | ErrorKind::PolicyNotKept
            | ErrorKind::MalformedPolicy
            | ErrorKind::Invalid
            | ErrorKind::Other
    )
}
