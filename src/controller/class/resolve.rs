//! The class that an S3AccessUser is in, resolved: which account, and within what limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tracing::{info, warn};

use super::probe::{Subject, capabilities};
use crate::api::{Capabilities, ClassEndpoints, S3AccessUser};
use crate::aws::Session;
use crate::controller::error::Error;
use crate::controller::watch::cached::Membership;
use crate::core::class::{Class, Defaults};
use crate::core::desired::Desired;
use crate::core::iam::Account;
use crate::core::names::Cluster;
use crate::core::provider::AGAIN;
use crate::core::refusal::Refusal;

/// How long after a failed try a system is tried again of which nothing is known.
const AFTER_FAILURE: Duration = Duration::from_secs(10);

/// The class of an S3AccessUser, resolved.
#[derive(Clone)]
pub struct ResolvedClass {
    /// Its class, as it applies to the S3AccessUser's namespace.
    pub class: Class,
    /// Its account.
    pub session: Arc<Session>,
    /// Tells one state of the class from another.
    pub revision: u64,
    /// Every S3AccessUser of the class has been held against it as it is now, if not by this process.
    pub enforced: bool,
}

impl ResolvedClass {
    /// What the CR asks for, as far as its class and the account's provider allow.
    ///
    /// # Errors
    /// [`Refusal`]: why it cannot be carried out.
    pub fn desired(&self, user: &S3AccessUser, account: &Account, cluster: &Cluster) -> Result<Desired, Refusal> {
        Desired::of(user, account, cluster, &self.class)
            .and_then(|desired| self.session.provider.check(&user.spec, desired))
    }
}

/// Resolves the class of an S3AccessUser.
#[async_trait]
pub trait ClassResolver: Send + Sync {
    /// The class as it is now.
    ///
    /// # Errors
    /// The class is not there, or its credentials are not.
    async fn of(&self, user: &S3AccessUser) -> Result<ResolvedClass, Error>;

    /// The session of its account, whatever that is; it takes no call to AWS to know it.
    ///
    /// # Errors
    /// As [`ClassResolver::of`].
    async fn session(&self, member: Membership<'_>) -> Result<Arc<Session>, Error>;

    /// The sessions of all accounts in use.
    fn sessions(&self) -> Vec<Arc<Session>>;

    /// Tells whoever is in charge of the account something about it, by an Event on its classes.
    async fn tell(&self, account: &Account, message: &str);

    /// What [`ResolvedClass::revision`] is now, where that is known without waiting.
    fn revision(&self, user: &S3AccessUser) -> Option<u64>;
}

/// The operator's own account, for those who are in no class.
pub struct OwnAccount {
    /// Its session.
    pub session: Arc<Session>,
    defaults: Defaults,
    /// For whom its system is tried, where it is not AWS; `None`: it is taken to do all.
    cluster: Option<Cluster>,
    tried: Mutex<Tried>,
}

/// A system, as this process has tried it.
#[derive(Default)]
pub struct Tried {
    /// What it was found to do.
    pub found: Option<Capabilities>,
    failed: Option<(Instant, Error)>,
}

impl Tried {
    /// What the system does, tried where that is due, and where these condition keys are `needed` of it. What is known stands
    /// where it cannot be tried: else a server that is down for a while would take everybody's access.
    ///
    /// # Errors
    /// It could not be tried, and nothing is known of it.
    pub async fn now(&mut self, subject: Subject<'_>, needed: &[&str]) -> Result<Capabilities, Error> {
        let server = subject.session.server();
        let is_to_be_tried = |found: &Capabilities| found.is_to_be_tried(server.as_deref(), needed, Timestamp::now());
        if let Some(found) = self.found.as_ref().filter(|found| !is_to_be_tried(found)) {
            return Ok(found.clone());
        }
        let again = if self.found.is_some() { AGAIN.unsigned_abs() } else { AFTER_FAILURE };
        if let Some((_, error)) = self.failed.as_ref().filter(|(at, _)| at.elapsed() < again) {
            return self.found.clone().ok_or_else(|| error.clone());
        }
        let class = subject.class.0;
        let heeded = self.found.as_ref().map(|found| found.condition_keys.clone()).unwrap_or_default();
        match capabilities(Subject { heeded, ..subject }).await {
            Ok(found) => {
                let lacks = found.trials.iter().filter(|trial| !trial.works).map(|trial| trial.message.as_str());
                let lacks: Vec<&str> = lacks.collect();
                info!(class, server = found.server, ?lacks, conditions = ?found.condition_keys, "tried the system");
                *self = Self { found: Some(found.clone()), failed: None };
                Ok(found)
            }
            Err(error) => {
                warn!(class, %error, "the S3-compatible system could not be tried; what is known of it stands");
                self.failed = Some((Instant::now(), error.clone()));
                self.found.clone().ok_or(error)
            }
        }
    }
}

impl OwnAccount {
    /// With what the operator's settings say of users. Where it is not AWS, it is tried before it serves anybody, for that
    /// cluster.
    pub fn new(session: Arc<Session>, defaults: Defaults, cluster: Option<Cluster>) -> Self {
        Self { session, defaults, cluster, tried: Mutex::default() }
    }

    /// For an S3AccessUser that is in no class. Nobody is served by a system that could not be tried, but whose access is to be
    /// taken loses it.
    pub async fn of(&self, user: &S3AccessUser) -> ResolvedClass {
        // A deletion needs nothing of what is tried.
        let system = match &self.cluster {
            Some(cluster) if user.metadata.deletion_timestamp.is_none() => self.capabilities(cluster).await.ok(),
            _ => Some(Capabilities::presumed()),
        };
        let class = Class::none().with(self.defaults.clone()).on(system);
        ResolvedClass { class, session: self.session.clone(), revision: 0, enforced: true }
    }

    async fn capabilities(&self, cluster: &Cluster) -> Result<Capabilities, Error> {
        if self.session.provider.has_all_of_iam() {
            return Ok(Capabilities::presumed());
        }
        let (class, path, endpoints) = (("", ""), self.defaults.path.as_str(), ClassEndpoints::default());
        let subject = Subject { session: &self.session, cluster, class, path, endpoints, heeded: Vec::new() };
        self.tried.lock().await.now(subject, &[]).await
    }
}

/// One account without a class, for everybody.
pub struct OneAccount(OwnAccount);

impl OneAccount {
    /// That account.
    pub fn new(own: OwnAccount) -> Self {
        Self(own)
    }
}

#[async_trait]
impl ClassResolver for OneAccount {
    async fn of(&self, user: &S3AccessUser) -> Result<ResolvedClass, Error> {
        self.session(Membership::of(user)).await?;
        Ok(self.0.of(user).await)
    }

    async fn session(&self, member: Membership<'_>) -> Result<Arc<Session>, Error> {
        match member.class_name {
            Some(name) => Err(Error::NoClass(format!(
                "this operator runs without S3AccessClasses, so there is no {name:?}: leave spec.className out"
            ))),
            None => Ok(self.0.session.clone()),
        }
    }

    fn sessions(&self) -> Vec<Arc<Session>> {
        vec![self.0.session.clone()]
    }

    async fn tell(&self, _: &Account, _: &str) {}

    fn revision(&self, _: &S3AccessUser) -> Option<u64> {
        Some(0)
    }
}
