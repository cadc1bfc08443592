//! Everything that there is outside the operator: AWS, the cluster, the time. It outlives every crash.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use ground::double::{
    Access, Account, Caller, Context, Credentials, LastUsed, Request, Response, Settings, User, World,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;

use crate::cluster::Cluster;
use crate::mistakes::Mistake;

pub const ACCOUNT: &str = "123456789012";
/// The cluster's id in the tags of ownership.
pub const CLUSTER_ID: &str = "0b5c4f7e-4c4a-4a83-9d3b-6f6a3a5d9b10";

/// What there is.
#[derive(Clone)]
pub struct State {
    pub now: Timestamp,
    /// How much later it is by the operator's clock.
    pub skew: SignedDuration,
    pub aws: World,
    pub cluster: Cluster,
    /// The keys that AWS has been seen to accept.
    pub accepted: BTreeSet<String>,
    /// The keys that people made by hand.
    pub strangers: BTreeSet<String>,
    /// Keys that were made by then are to be revoked: nothing keeps them any more.
    pub revoked_at: Option<Timestamp>,
    /// Keys that have to be dead in the end: ids and secret halves.
    pub revoked: Vec<(String, String)>,
    /// The processes that have made a key for a user since they last listed the user's keys.
    pub blind: BTreeSet<(usize, String)>,
    /// The operator sweeps its account in bulk, and reads less of each user in between.
    pub swept: bool,
    /// The mistake that this world's operator makes.
    pub mistake: Option<Mistake>,
    /// The Secrets as a watch's cache would have them, and since when.
    pub cached: Option<(Timestamp, BTreeMap<String, Secret>)>,
    /// What the operator must never have done.
    pub violations: Vec<String>,
}

/// What there is, shared.
#[derive(Clone)]
pub struct Outside(Arc<Mutex<State>>);

impl Outside {
    /// An empty account and an empty cluster, at that time.
    pub fn new(settings: Settings, now: Timestamp) -> Self {
        let account = Account { id: ACCOUNT.to_owned(), partition: "aws".to_owned() };
        let aws = World::new(account, settings);
        let cluster = Cluster::default();
        Self::of(State {
            now,
            skew: SignedDuration::ZERO,
            aws,
            cluster,
            accepted: BTreeSet::new(),
            strangers: BTreeSet::new(),
            revoked_at: None,
            revoked: Vec::new(),
            blind: BTreeSet::new(),
            swept: false,
            mistake: None,
            cached: None,
            violations: Vec::new(),
        })
    }

    pub fn of(state: State) -> Self {
        Self(Arc::new(Mutex::new(state)))
    }

    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A copy that goes its own way from now on.
    pub fn fork(&self) -> Self {
        Self::of(self.with(|state| state.clone()))
    }

    pub fn now(&self) -> Timestamp {
        self.with(|state| state.now)
    }

    pub fn set_now(&self, now: Timestamp) {
        self.with(|state| state.now = state.now.max(now));
    }

    pub fn pass(&self, time: SignedDuration) {
        self.set_now(self.now() + time);
    }
}

impl State {
    /// Somebody with all rights does something in AWS by hand.
    pub fn by_hand(&mut self, request: &Request) -> Response {
        self.aws
            .call(self.now, Caller::root(ACCOUNT), request)
            .result
            .unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    pub fn users(&self) -> impl Iterator<Item = &Arc<User>> {
        self.aws.account(ACCOUNT).into_iter().flat_map(|iam| iam.state().users())
    }

    /// A Secret, as the operator reads it.
    pub fn read_secret(&mut self, name: &str) -> Option<Secret> {
        if self.mistake != Some(Mistake::SkipsTheLiveSecretRead) {
            return self.cluster.secrets.get(name).cloned();
        }
        let live = (self.now, self.cluster.secrets.clone());
        let fresh = |(since, _): &(Timestamp, _)| self.now.duration_since(*since) < SignedDuration::from_secs(5);
        let cached = self.cached.take().filter(fresh).unwrap_or(live);
        let found = cached.1.get(name).cloned();
        self.cached = Some(cached);
        found
    }

    /// The UID of the S3AccessUser whose IAM user has that name.
    pub fn uid_of(&self, name: &str) -> Option<String> {
        self.cluster.users.values().find(|user| user.spec.user_name.as_deref() == Some(name)).and_then(ResourceExt::uid)
    }

    /// The IAM user of a name.
    pub fn user(&self, name: &str) -> Option<&Arc<User>> {
        self.users().find(|user| user.name == name)
    }

    /// Whether AWS accepts these credentials now. Whoever looks is nobody who uses the key.
    pub fn accepts(&self, id: &str, secret: &str) -> bool {
        let credentials =
            Credentials { access_key_id: id.to_owned(), secret_access_key: secret.to_owned(), session_token: None };
        self.aws.clone().call(self.now, &credentials, &Request::GetCallerIdentity {}).result.is_ok()
    }

    /// Somebody uses a key.
    pub fn used(&mut self, id: &str) {
        let used = LastUsed { at: self.now, service: "s3".to_owned(), region: "eu-central-1".to_owned() };
        if let Some(iam) = self.aws.account_mut(ACCOUNT) {
            iam.set_last_used(id, Some(used));
        }
    }

    /// Whether AWS accepts the session that the Secret holds, and something in S3 is allowed to it.
    pub fn accepts_session(&mut self, secret: &Secret) -> bool {
        let text = |key: &str| {
            let value = secret.data.as_ref().and_then(|data| data.get(key));
            value.map(|value| String::from_utf8_lossy(&value.0).into_owned()).unwrap_or_default()
        };
        let credentials = Credentials {
            access_key_id: text("AWS_ACCESS_KEY_ID"),
            secret_access_key: text("AWS_SECRET_ACCESS_KEY"),
            session_token: Some(text("AWS_SESSION_TOKEN")),
        };
        let object = "arn:aws:s3:::team-a-reports/x";
        self.aws.clone().authorize(self.now, &credentials, "s3:GetObject", object, &Context::new()) == Access::Allowed
    }
}
