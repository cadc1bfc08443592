//! One reconcile of one S3AccessClass: does its account answer, who is in it, and has everybody been held against it?

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use serde_json::json;
use tracing::{info, warn};

use super::probe::Subject;
use super::registry::{Classes, KnownClass, check_account};
use super::resolve::Tried;
use crate::api::{
    CLASS_FINALIZER, Capabilities, ClassProvider, ConditionType, MANAGER, Reason, S3AccessClass, S3AccessClassStatus,
};
use crate::controller::context::Scope;
use crate::controller::error::Error;
use crate::controller::panics::AFTER_PANIC;
use crate::controller::watch::cached::CachedUser;
use crate::core::class::Class;
use crate::core::conditions::{Conditions, Failure};
use crate::core::iam::Account;
use crate::core::plan::Part;
use crate::kubernetes::KubernetesError;
use crate::leadership::Leadership;

/// How often an account is asked whether it is there, and the users are counted.
const INTERVAL: Duration = Duration::from_secs(30);
/// While the first list of S3AccessUsers is read.
const UNTIL_LISTED: Duration = Duration::from_millis(300);
/// While S3AccessUsers are being held against a changed class.
const SOON: Duration = Duration::from_secs(3);

/// What every reconcile of a class shares.
pub struct ClassContext {
    /// The classes.
    pub classes: Arc<Classes>,
    /// Their users.
    pub scopes: Vec<Scope>,
    /// Where classes are written.
    pub api: Api<KnownClass>,
    /// Whether to write.
    pub leadership: Leadership,
    /// For what of each class its users were enqueued last.
    pub enqueued: Mutex<HashMap<String, Signature>>,
    /// The system of each class, as this process has tried it: the watch may not show it yet.
    pub tried: Mutex<HashMap<String, Tried>>,
}

/// What of a class concerns its users.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    generation: Option<i64>,
    is_default: bool,
    deleting: bool,
    system: Option<Capabilities>,
}

impl Signature {
    fn of(class: &S3AccessClass) -> Self {
        Self {
            generation: class.metadata.generation,
            is_default: class.is_default(),
            deleting: class.metadata.deletion_timestamp.is_some(),
            system: class.capabilities().map(|found| Capabilities { tried_at: None, ..found.clone() }),
        }
    }
}

/// Reconciles a class. What goes wrong is reported on the class itself, and tried again.
pub async fn reconcile(ctx: &ClassContext, class: &KnownClass) -> Action {
    let name = class.name_any();
    if let Err(error) = ctx.hold(class).await {
        warn!(class = name, %error, "could not add the finalizer");
        return Action::requeue(SOON);
    }
    if !ctx.scopes.iter().all(|scope| scope.listed.is_cancelled()) {
        return Action::requeue(UNTIL_LISTED);
    }
    ctx.enqueue_users(class);
    let members = ctx.members(class);
    let account = match &class.invalid {
        Some(invalid) => Err(Error::InvalidClass(invalid.clone())),
        None => ctx.account(class).await,
    };
    let tried = match account {
        Ok(account) => ctx.tried(class).await.map(|found| (account, found)),
        Err(error) => Err(error),
    };
    let known = class.capabilities().cloned();
    let (account, system) =
        tried.map_or_else(|error| (Err(error), known.clone()), |(account, found)| (Ok(account), found));
    let enforced = ctx.enforced(class, &members).await;
    let next = match &enforced {
        _ if system != known => UNTIL_LISTED,
        Some(_) => INTERVAL,
        None => SOON,
    };
    let seen = Seen { account, enforced, system };
    if let Err(error) = ctx.write(class, members.len(), seen).await {
        warn!(class = name, %error, "could not report");
        return Action::requeue(SOON);
    }
    Action::requeue(next)
}

/// A reconcile that ended in a panic: told on the class.
pub async fn panicked(ctx: &ClassContext, class: &KnownClass) -> Action {
    let seen = Seen { account: Err(Error::Defect), enforced: None, system: class.capabilities().cloned() };
    if let Err(error) = ctx.write(class, ctx.members(class).len(), seen).await {
        warn!(class = class.name_any(), %error, "could not report");
    }
    Action::requeue(AFTER_PANIC)
}

/// What a reconcile of a class has seen.
struct Seen {
    account: Result<Account, Error>,
    enforced: Option<Enforced>,
    system: Option<Capabilities>,
}

/// What every S3AccessUser of a class has been held against, beside its generation.
struct Enforced {
    namespaces_digest: Option<String>,
}

impl ClassContext {
    /// What all members have been held against; `None` where some have not.
    async fn enforced(&self, class: &S3AccessClass, members: &[(&Scope, Arc<CachedUser>)]) -> Option<Enforced> {
        self.classes.ready().await;
        // Before the users are counted: what changes meanwhile is not what they were held against.
        let namespaces_digest = self.classes.namespaces_digest(class);
        let mut revisions = HashMap::new();
        let all = members.iter().all(|(scope, user)| {
            let namespace = user.key().namespace();
            let revision =
                *revisions.entry(namespace).or_insert_with_key(|namespace| self.classes.revision_for(class, namespace));
            scope.ctx.state.with(user.key().uid(), |known| known.enforced_revision) == Some(revision)
        });
        all.then_some(Enforced { namespaces_digest })
    }

    /// A class that has changed concerns those who name it, and, as to which is the default, those who name none.
    fn enqueue_users(&self, class: &S3AccessClass) {
        let signature = Signature::of(class);
        let name = class.name_any();
        let mut enqueued = self.enqueued.lock().unwrap_or_else(PoisonError::into_inner);
        if enqueued.insert(name.clone(), signature.clone()) == Some(signature) {
            return;
        }
        for scope in &self.scopes {
            for user in scope.users.state() {
                let concerned = user.membership().class_name.is_none_or(|named| *named == name);
                if concerned {
                    scope.add(&user);
                }
            }
        }
    }

    /// The S3AccessUsers of a class.
    fn members(&self, class: &S3AccessClass) -> Vec<(&Scope, Arc<CachedUser>)> {
        let mut members = Vec::new();
        for scope in &self.scopes {
            let is_member = |user: &Arc<CachedUser>| {
                let found = self.classes.class_of(user.membership()).ok().flatten();
                found.is_some_and(|found| found.uid() == class.uid())
            };
            members.extend(scope.users.state().into_iter().filter(is_member).map(|user| (scope, user)));
        }
        members
    }

    /// Adds the finalizer before anything else, since users of the class are reconciled meanwhile.
    async fn hold(&self, class: &S3AccessClass) -> Result<(), Error> {
        let deleting = class.metadata.deletion_timestamp.is_some();
        if deleting || is_held(class) {
            return Ok(());
        }
        self.leadership.check(Timestamp::now())?;
        let all: Vec<&str> = class.finalizers().iter().map(String::as_str).chain([CLASS_FINALIZER]).collect();
        let set = self.set_finalizers(class, json!(all)).await;
        set.map_err(|error| KubernetesError::of("update S3AccessClass", "", &class.name_any(), &error).into())
    }

    async fn account(&self, class: &S3AccessClass) -> Result<Account, Error> {
        self.classes.ready().await;
        let session = self.classes.session_of(class).await?;
        let account = session.sts.caller().await?;
        check_account(class, &account)?;
        Ok(account)
    }

    /// What the class's S3-compatible system does, tried before it serves anybody, and again where it may have changed.
    async fn tried(&self, class: &S3AccessClass) -> Result<Option<Capabilities>, Error> {
        let name = class.name_any();
        let known = self.known_system(class);
        let spec = &class.spec;
        let cluster = self.scopes.first().map(|scope| &scope.ctx.cluster);
        let (ClassProvider::S3Compatible, None, Some(cluster)) =
            (spec.provider, &class.metadata.deletion_timestamp, cluster)
        else {
            return Ok(known);
        };
        let session = self.classes.session_of(class).await?;
        let uid = class.uid().unwrap_or_default();
        let endpoints = spec.endpoints.clone().unwrap_or_default();
        let path = spec.path.as_deref().unwrap_or("/");
        let class_name = (name.as_str(), uid.as_str());
        let subject = Subject { session: &session, cluster, class: class_name, path, endpoints, heeded: Vec::new() };
        let needed = Class::of(class, "", &BTreeMap::new()).required_keys();
        // Nobody else reconciles this class.
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner).remove(&name).unwrap_or_default();
        tried.found = known;
        let found = tried.now(subject, &needed).await;
        self.tried.lock().unwrap_or_else(PoisonError::into_inner).insert(name, tried);
        found.map(Some)
    }

    /// What was found last, by the status or by this process.
    fn known_system(&self, class: &S3AccessClass) -> Option<Capabilities> {
        let tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        let own = tried.get(&class.name_any()).and_then(|tried| tried.found.as_ref());
        let own = own.filter(|own| Some(&own.endpoints) == class.spec.endpoints.as_ref());
        let at = |found: &&Capabilities| found.tried_at.as_ref().map(|at| at.0);
        own.into_iter().chain(class.capabilities()).max_by_key(at).cloned()
    }

    async fn write(&self, class: &S3AccessClass, members: usize, seen: Seen) -> Result<(), Error> {
        self.leadership.check(Timestamp::now())?;
        let name = class.name_any();
        let failed = |error: kube::Error| KubernetesError::of("update S3AccessClass", "", &name, &error);
        let deleting = class.metadata.deletion_timestamp.is_some();
        if deleting && members == 0 && is_held(class) {
            let others: Vec<&String> = class.finalizers().iter().filter(|found| *found != CLASS_FINALIZER).collect();
            self.set_finalizers(class, json!(others)).await.map_err(failed)?;
            self.classes.forget(&name);
            self.enqueued.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            self.tried.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
            info!(class = name, "let go: nobody is in it");
            return Ok(());
        }
        let earlier = class.status.clone().unwrap_or_default();
        let status = status(class, &earlier, members, seen);
        if status != earlier {
            let body = json!({
                "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessClass", "metadata": { "name": name, "uid": class.uid() }, "status": status,
            });
            let params = PatchParams::apply(MANAGER).force();
            self.api.patch_status(&name, &params, &Patch::Apply(&body)).await.map_err(failed)?;
        }
        Ok(())
    }

    async fn set_finalizers(&self, class: &S3AccessClass, finalizers: serde_json::Value) -> kube::Result<()> {
        let metadata =
            json!({ "resourceVersion": class.resource_version(), "uid": class.uid(), "finalizers": finalizers });
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        self.api.patch_metadata(&class.name_any(), &PatchParams::default(), &patch).await.map(drop)
    }
}

fn is_held(class: &S3AccessClass) -> bool {
    class.finalizers().iter().any(|found| found == CLASS_FINALIZER)
}

fn status(class: &S3AccessClass, earlier: &S3AccessClassStatus, users: usize, seen: Seen) -> S3AccessClassStatus {
    let Seen { account, enforced, system } = seen;
    let lacks = system.as_ref().and_then(|found| found.lacks(false));
    let (is_ready, reason, message) = match &account {
        Ok(account) => match lacks {
            None => (true, Reason::Synced, format!("account {} answers", account.id)),
            Some((reason, message)) => (false, reason, format!("nobody is served: {message}")),
        },
        Err(error) => {
            let Failure { reason, message, .. } = error.failure(Part::User);
            (false, reason, message)
        }
    };
    let generation = class.metadata.generation;
    let conditions = Conditions { earlier: &earlier.conditions, generation, now: Timestamp::now() };
    let ready = conditions.of(ConditionType::Ready, is_ready, reason, message);
    let account = account.ok();
    S3AccessClassStatus {
        observed_generation: if enforced.is_some() { class.metadata.generation } else { earlier.observed_generation },
        conditions: vec![ready],
        account_id: account.as_ref().map(|account| account.id.clone()).or_else(|| earlier.account_id.clone()),
        partition: account.map(|account| account.partition).or_else(|| earlier.partition.clone()),
        is_default: if enforced.is_some() { Some(class.is_default()) } else { earlier.is_default },
        namespaces_digest: match enforced {
            Some(enforced) => enforced.namespaces_digest,
            None => earlier.namespaces_digest.clone(),
        },
        capabilities: system,
        users: i64::try_from(users).ok(),
    }
}
