//! The class that an S3AccessUser is in, resolved: which account, and within what limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::probe::{Subject, capabilities};
use crate::api::{Capabilities, ClassEndpoints, S3AccessUser};
use crate::aws::Session;
use crate::controller::error::Error;
use crate::controller::watch::cached::Membership;
use crate::core::class::{Class, Defaults};
use crate::core::desired::Desired;
use crate::core::iam::Account;
use crate::core::names::Cluster;
use crate::core::refusal::Refusal;

/// How long after a failed try a system is tried again.
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

/// What came of trying a system, and when.
#[derive(Default)]
enum Tried {
    #[default]
    Not,
    Failed(Instant, Error),
    Found(Instant, Capabilities),
}

impl OwnAccount {
    /// With what the operator's settings say of users. Where it is not AWS, it is tried before it serves anybody, for that
    /// cluster.
    pub fn new(session: Arc<Session>, defaults: Defaults, cluster: Option<Cluster>) -> Self {
        Self { session, defaults, cluster, tried: Mutex::default() }
    }

    /// For an S3AccessUser that is in no class.
    ///
    /// # Errors
    /// Its system could not be tried.
    pub async fn of(&self, user: &S3AccessUser) -> Result<ResolvedClass, Error> {
        // A deletion needs nothing of what is tried.
        let system = match &self.cluster {
            Some(cluster) if user.metadata.deletion_timestamp.is_none() => self.capabilities(cluster).await?,
            _ => Capabilities::presumed(),
        };
        let class = Class::none().with(self.defaults.clone()).on(Some(system));
        Ok(ResolvedClass { class, session: self.session.clone(), revision: 0, enforced: true })
    }

    async fn capabilities(&self, cluster: &Cluster) -> Result<Capabilities, Error> {
        if self.session.provider.has_all_of_iam() {
            return Ok(Capabilities::presumed());
        }
        let mut tried = self.tried.lock().await;
        match &*tried {
            Tried::Found(at, found) if !found.is_to_be_tried(self.session.server().as_deref(), at.elapsed()) => {
                return Ok(found.clone());
            }
            Tried::Failed(at, error) if at.elapsed() < AFTER_FAILURE => return Err(error.clone()),
            _ => {}
        }
        let (class, path, endpoints) = (("", ""), self.defaults.path.as_str(), ClassEndpoints::default());
        let subject = Subject { session: &self.session, cluster, class, path, endpoints };
        let found = capabilities(subject).await;
        *tried = match &found {
            Ok(found) => Tried::Found(Instant::now(), found.clone()),
            Err(error) => Tried::Failed(Instant::now(), error.clone()),
        };
        found
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
        self.0.of(user).await
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
