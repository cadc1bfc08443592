//! The S3AccessClasses as the cluster has them, and a session for each.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::core::{ObjectMeta, PartialObjectMeta};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource, ResourceExt};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::namespaces::Namespaces;
use super::resolve::{ClassResolver, OwnAccount, ResolvedClass};
use crate::api::{MANAGER, S3AccessClass, S3AccessClassSpec, S3AccessUser, limits};
use crate::aws::{Session, SessionOptions};
use crate::controller::error::Error;
use crate::controller::watch::cached::Membership;
use crate::core::budget;
use crate::core::class::Defaults;
use crate::core::iam::{AccessKeyId, Account, secret_half};
use crate::kubernetes::KubernetesError;
use crate::leadership::Leadership;
use crate::metrics::Metrics;

/// An S3AccessClass as the watch has it. One that does not fit the schema is kept with its names alone: it harms no other,
/// and nobody is let into it.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = S3AccessClass)]
#[serde(from = "Value")]
pub struct KnownClass {
    object: S3AccessClass,
    /// Why it cannot be read.
    pub invalid: Option<String>,
}

impl From<Value> for KnownClass {
    fn from(mut object: Value) -> Self {
        if let Some(meta) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            meta.remove("managedFields");
        }
        let meta: ObjectMeta = serde_json::from_value(object["metadata"].clone()).unwrap_or_default();
        let size = object.to_string().len();
        let read = if size > limits::CLASS {
            Err(format!("it has {size} bytes, and at most {} are taken", limits::CLASS))
        } else {
            serde_path_to_error::deserialize::<_, S3AccessClass>(object)
                .map_err(|error| error.to_string().chars().take(512).collect::<String>())
                .and_then(|class| budget::check_class(&class.spec).map(|()| class).map_err(|refusal| refusal.message))
        };
        read.map_or_else(
            |invalid| {
                let mut names =
                    S3AccessClass::new(&meta.name.clone().unwrap_or_default(), S3AccessClassSpec::default());
                names.metadata = ObjectMeta { labels: None, ..meta };
                Self { object: names, invalid: Some(invalid) }
            },
            Self::from,
        )
    }
}

impl From<S3AccessClass> for KnownClass {
    fn from(object: S3AccessClass) -> Self {
        Self { object, invalid: None }
    }
}

impl Deref for KnownClass {
    type Target = S3AccessClass;

    fn deref(&self) -> &S3AccessClass {
        &self.object
    }
}

impl DerefMut for KnownClass {
    fn deref_mut(&mut self) -> &mut S3AccessClass {
        &mut self.object
    }
}

/// Where the caches of the cluster's state come from.
pub struct Stores {
    /// The classes.
    pub classes: Store<KnownClass>,
    /// The metadata of Namespaces.
    pub namespaces: Namespaces,
    /// The resource versions of the Secrets in the operator's namespace.
    pub credentials: Store<PartialObjectMeta<Secret>>,
    /// Each is cancelled when the first list of one of them is in.
    pub listed: [CancellationToken; 3],
}

/// By class: what its session is made of, and the session, made once, however many ask for it.
pub type Sessions = HashMap<String, (u64, Arc<OnceCell<Arc<Session>>>)>;

/// The classes, and the account of those who have none.
pub struct Classes {
    /// What the cluster has.
    pub stores: Stores,
    /// The Secrets of the operator's namespace.
    pub secrets: Api<Secret>,
    /// The operator's own account.
    pub own: OwnAccount,
    /// Whether that is closed to S3AccessUsers.
    pub require_class: bool,
    /// Whether other operators have classes of their own.
    pub sharded: bool,
    /// For what a class does not say of its account.
    pub session_options: SessionOptions,
    /// For what a class does not say of its users.
    pub defaults: Defaults,
    /// Whether its sessions may write.
    pub leadership: Leadership,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The sessions.
    pub sessions: Mutex<Sessions>,
}

#[async_trait]
impl ClassResolver for Classes {
    async fn of(&self, user: &S3AccessUser) -> Result<ResolvedClass, Error> {
        self.ready().await;
        let Some(class) = self.class_of(Membership::of(user))? else {
            return Ok(self.own.of(user).await);
        };
        let session = self.session_of(&class).await?;
        check_account(&class, session.account().await?)?;
        let namespace = user.namespace().unwrap_or_default();
        Ok(ResolvedClass {
            class: self.stores.namespaces.class_in(&class, &namespace).with(self.defaults.clone()),
            session,
            revision: self.revision_for(&class, &namespace),
            enforced: class.is_enforced() && self.namespaces_digest(&class) == digest_of(&class),
        })
    }

    async fn session(&self, member: Membership<'_>) -> Result<Arc<Session>, Error> {
        self.ready().await;
        match self.class_of(member)? {
            Some(class) => self.session_of(&class).await,
            None => Ok(self.own.session.clone()),
        }
    }

    fn sessions(&self) -> Vec<Arc<Session>> {
        let of_classes = self.of_classes();
        of_classes
            .values()
            .filter_map(|(_, session)| session.get().cloned())
            .chain([self.own.session.clone()])
            .collect()
    }

    async fn tell(&self, account: &Account, message: &str) {
        let sessions = self.of_classes().clone();
        let reporter = Reporter { controller: MANAGER.to_owned(), instance: std::env::var("HOSTNAME").ok() };
        let recorder = Recorder::new(self.secrets.clone().into_client(), reporter);
        for (name, (_, session)) in sessions {
            let is_of_account = session.get().is_some_and(|session| session.known_account() == Some(account));
            let Some(class) = self.stores.classes.get(&ObjectRef::new(&name)).filter(|_| is_of_account) else {
                continue;
            };
            let event = Event {
                type_: EventType::Warning,
                reason: "OrphanUsers".to_owned(),
                note: Some(message.chars().take(1_000).collect()),
                action: "Sweep".to_owned(),
                secondary: None,
            };
            // An Event is a courtesy: log and metric say the same.
            if let Err(error) = recorder.publish(&event, &class.object_ref(&())).await {
                tracing::debug!(%error, "an Event was not published");
            }
        }
    }

    fn revision(&self, user: &S3AccessUser) -> Option<u64> {
        let listed = self.stores.listed.iter().all(CancellationToken::is_cancelled);
        let class = self.class_of(Membership::of(user)).ok().filter(|_| listed)?;
        Some(class.map_or(0, |class| self.revision_for(&class, &user.namespace().unwrap_or_default())))
    }
}

impl Classes {
    /// Waits for the first lists: a class that is not known yet must not be taken for one that is not there.
    pub async fn ready(&self) {
        // The stores' own wait wakes one of those who wait, and here it is many.
        for listed in &self.stores.listed {
            listed.cancelled().await;
        }
    }

    /// The class that an S3AccessUser names, or the default one; `None` for the operator's own account.
    ///
    /// # Errors
    /// [`Error::NoClass`], which says what to do.
    pub fn class_of(&self, member: Membership<'_>) -> Result<Option<Arc<KnownClass>>, Error> {
        let class = match member.class_name {
            Some(name) => match self.stores.classes.get(&ObjectRef::new(name)) {
                Some(class) => class,
                None if self.sharded => return Err(Error::NotOurs),
                None => {
                    return Err(Error::NoClass(format!(
                        "there is no S3AccessClass {name:?}: create it, or use another class"
                    )));
                }
            },
            None => match self.unnamed(member)? {
                Some(class) => class,
                None => return Ok(None),
            },
        };
        if let Some(invalid) = &class.invalid {
            return Err(Error::NoClass(format!(
                "S3AccessClass {:?} cannot be read: {invalid}: correct it",
                class.name_any()
            )));
        }
        // A tenant may preset the finalizer, but not the time at which its object was made. Who came in the very second of
        // the deletion may have come before it, and is not left behind.
        let is_new = |ends_at: Timestamp| !member.is_finalized || member.created_at.is_none_or(|at| at > ends_at);
        if class.metadata.deletion_timestamp.as_ref().is_some_and(|time| is_new(time.0)) {
            return Err(Error::ClassGoing(class.name_any()));
        }
        Ok(Some(class))
    }

    /// The class of an S3AccessUser that names none; `None` for the operator's own account.
    fn unnamed(&self, member: Membership<'_>) -> Result<Option<Arc<KnownClass>>, Error> {
        let all = self.stores.classes.state();
        let mut defaults: Vec<_> = all.iter().filter(|class| class.is_default()).collect();
        match (defaults.pop(), defaults.is_empty()) {
            (Some(class), true) => Ok(Some(class.clone())),
            (Some(_), false) => Err(Error::NoClass(
                "several S3AccessClasses are marked default: name one in spec.className, or leave one marked".to_owned(),
            )),
            (None, _) if all.is_empty() && !self.require_class => Ok(None),
            (None, _) if !self.require_class && is_older_than_classes(member, &all) => Ok(None),
            (None, _) if self.sharded => Err(Error::NotOurs),
            (None, _) => Err(Error::NoClass(
                "no S3AccessClass is marked default: name one in spec.className, or mark one (annotation s3access.dev/is-default-class)".to_owned(),
            )),
        }
    }

    /// The session of a class; made anew when what it was made of has changed.
    ///
    /// # Errors
    /// The Secret with its credentials cannot be read or lacks them, or its settings do not go together.
    pub async fn session_of(&self, class: &S3AccessClass) -> Result<Arc<Session>, Error> {
        let made_of = self.fingerprint(class);
        let session = {
            let mut of_classes = self.of_classes();
            let (found, session) = of_classes.entry(class.name_any()).or_default();
            if *found != made_of {
                (*found, *session) = (made_of, Arc::default());
            }
            session.clone()
        };
        // Thousands may pass here, so that what making one takes is at hand only while one is made.
        session.get_or_try_init(|| Box::pin(self.make_session(class))).await.cloned()
    }

    async fn make_session(&self, class: &S3AccessClass) -> Result<Arc<Session>, Error> {
        let name = class.name_any();
        let credentials = match &class.spec.credentials_secret_ref {
            Some(reference) => Some(self.credentials(&name, &reference.name).await?),
            None => None,
        };
        let spec = &class.spec;
        let options = self.session_options.of_class(spec);
        let session =
            Session::of_class(spec, credentials, &options, self.leadership.clone(), self.metrics.clone()).await;
        session.map(Arc::new).map_err(|error| Error::BadCredentials(format!("S3AccessClass {name:?}: {error}")))
    }

    /// What [`ResolvedClass::revision`] is for an S3AccessUser of the class in that namespace.
    pub fn revision_for(&self, class: &S3AccessClass, namespace: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (class.uid(), class.metadata.generation).hash(&mut hasher);
        class.capabilities().map(|found| (&found.condition_keys, &found.trials)).hash(&mut hasher);
        self.stores.namespaces.hash_for(&class.spec, namespace, &mut hasher);
        hasher.finish()
    }

    /// What the class goes by in Namespaces, as it is now.
    pub fn namespaces_digest(&self, class: &S3AccessClass) -> Option<String> {
        self.stores.namespaces.digest_for(class)
    }

    /// Forgets the session of a class that is gone.
    pub fn forget(&self, name: &str) {
        self.of_classes().remove(name);
        self.stores.namespaces.forget(name);
    }

    fn of_classes(&self) -> std::sync::MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fingerprint(&self, class: &S3AccessClass) -> u64 {
        let spec = &class.spec;
        let secret = spec.credentials_secret_ref.as_ref().and_then(|reference| {
            let namespace = self.secrets.namespace().unwrap_or_default();
            self.stores.credentials.get(&ObjectRef::new(&reference.name).within(namespace))?.resource_version()
        });
        let mut hasher = DefaultHasher::new();
        (spec.provider, spec.ownership, &spec.region, &spec.account_id, &spec.role_arn, &spec.external_id)
            .hash(&mut hasher);
        let endpoints = spec.endpoints.as_ref().map(|endpoints| (&endpoints.iam, &endpoints.sts, &endpoints.s3));
        (endpoints, spec.path_style, &spec.ca_bundle, spec.requests_per_second).hash(&mut hasher);
        (spec.credentials_secret_ref.as_ref().map(|reference| &reference.name), secret).hash(&mut hasher);
        hasher.finish()
    }

    async fn credentials(&self, class: &str, name: &str) -> Result<Credentials, Error> {
        let namespace = self.secrets.namespace().unwrap_or_default().to_owned();
        let found = self.secrets.get_opt(name).await;
        let found = found.map_err(|error| KubernetesError::of("get Secret", &namespace, name, &error))?;
        let bad = |what: &str| {
            Error::BadCredentials(format!(
                "the credentials of S3AccessClass {class:?}: Secret {namespace}/{name} {what}"
            ))
        };
        let data = found.ok_or_else(|| bad("does not exist: create it"))?.data.unwrap_or_default();
        let text = |key: &str| {
            let bytes = &data.get(key)?.0;
            std::str::from_utf8(bytes).ok().map(str::trim).filter(|text| !text.is_empty()).map(ToOwned::to_owned)
        };
        let (id, secret) = text("AWS_ACCESS_KEY_ID")
            .zip(text("AWS_SECRET_ACCESS_KEY"))
            .ok_or_else(|| bad("needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"))?;
        // The SDK puts them into headers.
        if AccessKeyId::parse(&id).is_none() || secret_half(&secret).is_none() {
            return Err(bad("has an AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY that can be none: copy it again"));
        }
        Ok(Credentials::new(id, secret, text("AWS_SESSION_TOKEN"), None, "S3AccessClass"))
    }
}

/// Holds the account that the credentials belong to against the one that the class names.
///
/// # Errors
/// [`Error::OtherAccount`].
pub fn check_account(class: &S3AccessClass, found: &Account) -> Result<(), Error> {
    match &class.spec.account_id {
        Some(wanted) if found.id != *wanted => Err(Error::OtherAccount(format!(
            "the credentials of S3AccessClass {:?} belong to account {}, and its spec.accountId is {wanted}: correct one of them",
            class.name_any(),
            found.id
        ))),
        _ => Ok(()),
    }
}

/// Whether the operator acted for it before there was a class, and none has taken it since: the first class, for whomever it
/// is, takes nothing away from those who came before. When an object was made is not for tenants to choose; of two in one
/// second, the class came first.
fn is_older_than_classes(member: Membership<'_>, classes: &[Arc<KnownClass>]) -> bool {
    let first = classes.iter().filter_map(|class| class.metadata.creation_timestamp.as_ref()).map(|time| time.0).min();
    let is_older = member.created_at.zip(first).is_some_and(|(made_at, first)| made_at < first);
    is_older && member.is_finalized && !member.has_been_in_a_class
}

/// What the class went by in Namespaces when all its users were held against it.
fn digest_of(class: &S3AccessClass) -> Option<String> {
    class.status.as_ref()?.namespaces_digest.clone()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::num::NonZeroU32;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::routing::get;
    use futures::future::join_all;
    use kube::{Client, Config};
    use serde_json::json;
    use tokio::net::TcpListener;

    use super::super::namespaces::Changes;
    use super::*;
    use crate::controller::preview::store_of;
    use crate::core::provider::Provider;

    /// An API server that serves one Secret, and how often it has.
    async fn api_server() -> (Client, Arc<AtomicUsize>) {
        let served = Arc::new(AtomicUsize::new(0));
        let counted = served.clone();
        let secret = async move || {
            counted.fetch_add(1, Ordering::Relaxed);
            let data = json!({ "AWS_ACCESS_KEY_ID": "QUtJQQ==", "AWS_SECRET_ACCESS_KEY": "c2VjcmV0" });
            let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "prod" }, "data": data });
            ([("content-type", "application/json")], secret.to_string())
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/api/v1/namespaces/ops/secrets/prod", get(secret));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (Client::try_from(Config::new(url.parse().unwrap())).unwrap(), served)
    }

    #[test]
    fn invariant_7_only_who_was_acted_for_before_the_first_class_and_was_in_none_since_needs_no_class() {
        let class = |made_at: &str| {
            let class = json!({ "metadata": { "name": made_at, "creationTimestamp": made_at }, "spec": { "allowedBuckets": ["*"] } });
            Arc::new(KnownClass::from(class))
        };
        let classes = [class("2026-11-27T10:00:00Z"), class("2026-11-27T09:00:00Z")];
        for (made_at, earlier) in [("08:59:59", true), ("09:00:00", false), ("09:30:00", false), ("11:00:00", false)] {
            for (is_finalized, has_been_in_a_class) in [(false, false), (false, true), (true, false), (true, true)] {
                let created_at = Some(format!("2026-11-27T{made_at}Z").parse().unwrap());
                let member = Membership { class_name: None, is_finalized, has_been_in_a_class, created_at };
                let wanted = earlier && is_finalized && !has_been_in_a_class;
                assert_eq!(is_older_than_classes(member, &classes), wanted, "{member:?}");
                assert!(!is_older_than_classes(Membership { created_at: None, ..member }, &classes));
            }
        }
    }

    #[tokio::test]
    async fn a_class_has_one_session_however_many_ask_for_it() {
        let spec =
            json!({ "region": "us-east-1", "allowedBuckets": ["*"], "credentialsSecretRef": { "name": "prod" } });
        let class = json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessClass", "metadata": { "name": "prod", "uid": "1" }, "spec": spec,
        });
        let class: S3AccessClass = serde_json::from_value(class).unwrap();
        let session_options = SessionOptions {
            requests_per_second: NonZeroU32::MIN,
            provider: Provider::Aws,
            account_id: None,
            lanes: Arc::default(),
            own_credentials: None,
            ignores_addresses: false,
        };
        let (client, served) = api_server().await;
        let metrics = Arc::new(Metrics::default());
        let own = Session::from_environment(&session_options, Leadership::nobody(), metrics.clone()).await.unwrap();
        let classes = Classes {
            stores: Stores {
                classes: store_of(vec![KnownClass::from(class.clone())]),
                namespaces: Namespaces::of(store_of(Vec::new()), Changes::default()),
                credentials: store_of(Vec::new()),
                listed: std::array::from_fn(|_| CancellationToken::new()),
            },
            secrets: Api::namespaced(client, "ops"),
            own: OwnAccount::new(Arc::new(own), Defaults::default(), None),
            require_class: false,
            sharded: false,
            session_options,
            defaults: Defaults::default(),
            leadership: Leadership::nobody(),
            metrics,
            sessions: Mutex::default(),
        };
        let sessions = join_all((0..100).map(|_| classes.session_of(&class))).await;
        let first = sessions[0].clone().unwrap();
        assert!(sessions.into_iter().all(|session| Arc::ptr_eq(&session.unwrap(), &first)));
        assert_eq!(served.load(Ordering::Relaxed), 1, "its credentials are read once");
    }
}
