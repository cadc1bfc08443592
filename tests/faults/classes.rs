//! The class resolver: one account, and the class that the cluster has at that moment, if it has one.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use s3_access_operator::api::S3AccessUser;
use s3_access_operator::aws::Session;
use s3_access_operator::controller::{ClassResolver, Error, Membership, ResolvedClass};
use s3_access_operator::core::class::Class;
use s3_access_operator::core::iam::Account;

use crate::cluster::NAMESPACE;
use crate::outside::Outside;

pub struct OneClass {
    session: Arc<Session>,
    outside: Outside,
}

impl OneClass {
    pub fn new(session: Session, outside: Outside) -> Self {
        Self { session: Arc::new(session), outside }
    }
}

#[async_trait]
impl ClassResolver for OneClass {
    async fn of(&self, _: &S3AccessUser) -> Result<ResolvedClass, Error> {
        let session = self.session.clone();
        let Some(state) = self.outside.with(|state| state.cluster.class.clone()) else {
            return Ok(ResolvedClass { class: Class::none(), session, revision: 0, enforced: true });
        };
        let class = state.class.ok_or_else(|| Error::NoClass("there is no S3AccessClass \"tenants\"".to_owned()))?;
        let class = Class::of(&class, NAMESPACE, &BTreeMap::new());
        Ok(ResolvedClass { class, session, revision: state.revision, enforced: state.enforced })
    }

    async fn session(&self, _: Membership<'_>) -> Result<Arc<Session>, Error> {
        Ok(self.session.clone())
    }

    fn sessions(&self) -> Vec<Arc<Session>> {
        vec![self.session.clone()]
    }

    async fn tell(&self, _: &Account, _: &str) {}

    fn revision(&self, _: &S3AccessUser) -> Option<u64> {
        None
    }
}
