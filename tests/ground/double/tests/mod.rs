//! Tests of the state machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod authorization;
mod faults;
mod leftovers;
mod policies;
mod properties;
mod replicas;
mod reports;
mod roles;
mod sessions;
mod users;

use jiff::{SignedDuration, Timestamp};

use super::{
    AccessKey, Account, CallError, Caller, Code, Credentials, Iam, Identity, Page, Request, Response, Settings, Tag,
    World,
};

/// The account of most tests.
pub(super) const ACCOUNT: &str = "123456789012";

/// A policy that allows everything in S3.
pub(super) const ALL_OF_S3: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;

/// A world, and a clock that only the test moves.
pub(super) struct Bench {
    pub(super) world: World,
    pub(super) now: Timestamp,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(Settings::default())
    }

    pub(super) fn with(settings: Settings) -> Self {
        Self::of_partition("aws", settings)
    }

    pub(super) fn of_partition(partition: &str, settings: Settings) -> Self {
        let account = Account { id: ACCOUNT.into(), partition: partition.into() };
        Self { world: World::new(account, settings), now: "2026-01-01T00:00:00Z".parse().unwrap() }
    }

    pub(super) fn iam(&self) -> &Iam {
        self.world.account(ACCOUNT).unwrap()
    }

    pub(super) fn iam_mut(&mut self) -> &mut Iam {
        self.world.account_mut(ACCOUNT).unwrap()
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    /// A call by anybody.
    pub(super) fn call_as(&mut self, who: impl Into<Identity>, request: Request) -> Result<Response, CallError> {
        self.world.call(self.now, who, &request).result
    }

    /// A call by root.
    pub(super) fn call(&mut self, request: Request) -> Result<Response, CallError> {
        self.call_as(Caller::root(ACCOUNT), request)
    }

    /// A call by root that has to work.
    pub(super) fn must(&mut self, request: Request) -> Response {
        let described = format!("{request:?}");
        self.call(request).unwrap_or_else(|error| panic!("{described}: {error}"))
    }

    /// The code of a call by root that has to fail.
    pub(super) fn refusal(&mut self, request: Request) -> Code {
        code(self.call(request))
    }

    pub(super) fn user(&mut self, name: &str) {
        self.must(create_user(name));
    }

    pub(super) fn key(&mut self, name: &str) -> AccessKey {
        let Response::NewAccessKey(new) = self.must(Request::CreateAccessKey { user_name: name.into() }) else {
            panic!("no key")
        };
        new.key
    }

    pub(super) fn policy(&mut self, name: &str, document: &str) -> String {
        let Response::NewPolicy { policy, .. } = self.must(create_policy(name, document)) else { panic!("no policy") };
        policy.arn.clone()
    }
}

pub(super) fn code(result: Result<Response, CallError>) -> Code {
    match result {
        Err(CallError::Api(error)) => error.code,
        other => panic!("expected an error of the API: {other:?}"),
    }
}

pub(super) fn credentials(key: &AccessKey) -> Credentials {
    Credentials { access_key_id: key.id.clone(), secret_access_key: key.secret.clone(), session_token: None }
}

pub(super) fn create_user(name: &str) -> Request {
    Request::CreateUser { user_name: name.into(), path: None, permissions_boundary: None, tags: Vec::new() }
}

pub(super) fn create_policy(name: &str, document: &str) -> Request {
    Request::CreatePolicy {
        policy_name: name.into(),
        path: None,
        policy_document: document.into(),
        description: None,
        tags: Vec::new(),
    }
}

pub(super) fn tags(pairs: &[(&str, &str)]) -> Vec<Tag> {
    pairs.iter().map(|(key, value)| Tag::new(*key, *value)).collect()
}

pub(super) fn page(max_items: u32, marker: Option<String>) -> Page {
    Page { marker, max_items: Some(max_items) }
}
