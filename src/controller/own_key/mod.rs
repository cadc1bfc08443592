//! The operator's own key: taken from its Secret by every process, and replaced by the one that leads.
//!
//! What is decided is decided in [`crate::core::rotation::own_key`].

mod rotator;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use jiff::{SignedDuration, Timestamp};
use kube::Client;
use secrecy::ExposeSecret;

pub use rotator::Rotator;

use crate::core::rotation::later;
use crate::core::rotation::own_key::life_of_credentials;
use crate::kubernetes::own_key::{OwnKey, OwnKeyError};
use crate::kubernetes::{KubeClient, Kubernetes};

/// Where the operator's own key is, and for how long.
#[derive(Clone)]
pub struct OwnSecret {
    kubernetes: Arc<dyn Kubernetes>,
    namespace: String,
    name: String,
    /// The age at which the key is replaced.
    pub interval: SignedDuration,
}

impl OwnSecret {
    /// A Secret of the operator's namespace, read through this client.
    pub fn new(client: Client, namespace: &str, name: &str, interval: SignedDuration) -> Self {
        Self::over(Arc::new(KubeClient::new(client, Arc::default())), namespace, name, interval)
    }

    /// The same over any implementation of Kubernetes.
    pub fn over(kubernetes: Arc<dyn Kubernetes>, namespace: &str, name: &str, interval: SignedDuration) -> Self {
        Self { kubernetes, namespace: namespace.to_owned(), name: name.to_owned(), interval }
    }

    /// What is in it now.
    ///
    /// # Errors
    /// [`OwnKeyError`].
    pub async fn get(&self) -> Result<OwnKey, OwnKeyError> {
        OwnKey::get(&*self.kubernetes, &self.namespace, &self.name).await
    }

    /// For the SDK's clients.
    pub fn into_provider(self) -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(self)
    }

    /// Good for a few minutes only, so that whoever signs with it follows a rotation.
    async fn credentials(&self) -> provider::Result {
        let key = self.get().await.map_err(CredentialsError::provider_error)?.credentials;
        let until = later(Timestamp::now(), life_of_credentials(self.interval));
        let secret = key.secret_access_key.expose_secret();
        Ok(Credentials::new(&*key.access_key_id, secret, None, Some(SystemTime::from(until)), "own Secret"))
    }
}

impl fmt::Debug for OwnSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret {}/{}", self.namespace, self.name)
    }
}

/// Where it cannot be read there are no credentials: never those of the environment in their place.
impl ProvideCredentials for OwnSecret {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}
