//! The class that an S3AccessUser is in, resolved: which account, and within what limits.

use std::sync::Arc;

use async_trait::async_trait;

use crate::api::S3AccessUser;
use crate::aws::Session;
use crate::controller::error::Error;
use crate::controller::watch::cached::Membership;
use crate::core::class::{Class, Defaults};
use crate::core::desired::Desired;
use crate::core::iam::Account;
use crate::core::names::Cluster;
use crate::core::refusal::Refusal;

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

/// One account without a class, for everybody.
pub struct OneAccount(ResolvedClass);

impl OneAccount {
    /// In that account, with what the operator's settings say of users.
    pub fn new(session: Arc<Session>, defaults: Defaults) -> Self {
        Self(ResolvedClass { class: Class::none().with(defaults), session, revision: 0, enforced: true })
    }
}

#[async_trait]
impl ClassResolver for OneAccount {
    async fn of(&self, user: &S3AccessUser) -> Result<ResolvedClass, Error> {
        self.session(Membership::of(user)).await.map(|_| self.0.clone())
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
        Some(self.0.revision)
    }
}
