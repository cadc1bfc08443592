//! Accounts together: who a key belongs to, faults, and the history of all calls.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::authorize::unknown_key;
use super::buckets::Buckets;
use super::caller::{Caller, Credentials};
use super::conditions::Context;
use super::error::{ApiError, Code};
use super::faults::{FaultKind, FaultPlan};
use super::history::{History, Outcome};
use super::iam::Iam;
use super::ids::Ids;
use super::model::{Account, LastUsed};
use super::operation::Kind;
use super::request::Request;
use super::response::Response;
use super::settings::Settings;
use super::sts::Session;

/// Some AWS accounts: their IAM, the one STS, and S3.
#[derive(Debug, Clone)]
pub struct World {
    pub(super) accounts: BTreeMap<String, Iam>,
    /// Sessions by their temporary access keys.
    pub(super) sessions: BTreeMap<String, Session>,
    pub(super) ids: Ids,
    pub(super) buckets: Buckets,
    faults: FaultPlan,
    history: History,
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallError {
    /// It was answered with an error.
    Api(ApiError),
    /// The request was lost: nothing happened, and the caller cannot know.
    LostBeforeEffect,
    /// The response was lost: it happened, and the caller cannot know.
    LostAfterEffect,
}

impl std::fmt::Display for CallError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Api(error) => error.fmt(formatter),
            Self::LostBeforeEffect => formatter.write_str("the request was lost"),
            Self::LostAfterEffect => formatter.write_str("the response was lost"),
        }
    }
}

impl std::error::Error for CallError {}

/// What comes back from a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// How much longer than usual it takes, by a fault.
    pub delay: Duration,
    /// The answer, if there is one.
    pub result: Result<Response, CallError>,
}

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A caller that has proved who it is, or need not.
    Caller(Caller),
    /// A key and secret that are yet to be checked.
    Credentials(Credentials),
    /// A caller that could not prove who it is: the access key it named, and the answer to it.
    Refused(String, ApiError),
}

impl From<Caller> for Identity {
    fn from(caller: Caller) -> Self {
        Self::Caller(caller)
    }
}

impl From<&Caller> for Identity {
    fn from(caller: &Caller) -> Self {
        Self::Caller(caller.clone())
    }
}

impl From<&Credentials> for Identity {
    fn from(credentials: &Credentials) -> Self {
        Self::Credentials(credentials.clone())
    }
}

/// Whether S3 lets a request through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The key works, and its policies allow the request.
    Allowed,
    /// The key works, and its policies do not allow the request: `AccessDenied`.
    Denied,
    /// The key is unknown or Inactive: `InvalidAccessKeyId`.
    InvalidAccessKeyId,
    /// The secret is another one: `SignatureDoesNotMatch`.
    SignatureDoesNotMatch,
    /// The session has ended, or its token is another one: `ExpiredToken`.
    ExpiredToken,
}

/// Whom a key belongs to, and what it takes to prove that.
pub(super) struct Holder {
    pub(super) caller: Caller,
    pub(super) credentials: Credentials,
    expires: Option<Timestamp>,
}

impl World {
    /// A world of one account.
    pub fn new(account: Account, settings: Settings) -> Self {
        let mut world = Self {
            accounts: BTreeMap::new(),
            sessions: BTreeMap::new(),
            ids: Ids::new(settings.seed.wrapping_add(1)),
            buckets: Buckets::default(),
            faults: FaultPlan::default(),
            history: History::default(),
        };
        world.add_account(account, settings);
        world
    }

    /// Adds an account, in place of one of the same id. Accounts need seeds of their own, or they make the same keys.
    pub fn add_account(&mut self, account: Account, settings: Settings) {
        self.accounts.insert(account.id.clone(), Iam::new(account, settings));
    }

    /// An account's IAM.
    pub fn account(&self, id: &str) -> Option<&Iam> {
        self.accounts.get(id)
    }

    /// The IAM of the account, where there is but one.
    pub(super) fn only_account(&self) -> Option<&Iam> {
        let mut all = self.accounts.values();
        all.next().filter(|_| all.next().is_none())
    }

    /// An account's IAM, to be changed behind the callers' backs.
    pub fn account_mut(&mut self, id: &str) -> Option<&mut Iam> {
        self.accounts.get_mut(id)
    }

    /// The names of all buckets.
    pub fn bucket_names(&self) -> Vec<String> {
        self.buckets.names()
    }

    /// The faults to come.
    pub fn faults(&mut self) -> &mut FaultPlan {
        &mut self.faults
    }

    /// The calls so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// The calls so far, to be cleared.
    pub fn history_mut(&mut self) -> &mut History {
        &mut self.history
    }

    /// Makes a call, as the plan of faults has it, and records it.
    pub fn call(&mut self, now: Timestamp, identity: impl Into<Identity>, request: &Request) -> Reply {
        let identity = identity.into();
        let fault = self.faults.strike(request.operation());
        let (caller, result) = match fault {
            Some(FaultKind::LostBeforeEffect) => (self.name_of(&identity), Err(CallError::LostBeforeEffect)),
            Some(FaultKind::Error(code)) => (self.name_of(&identity), Err(CallError::Api(injected(code)))),
            Some(FaultKind::Answer(code, words)) => (self.name_of(&identity), Err(CallError::Api(code.error(words)))),
            _ => {
                let (caller, result) = self.carry_out(now, &identity, request);
                (caller, result.map_err(CallError::Api))
            }
        };
        let (result, outcome) = match (fault, result) {
            (Some(FaultKind::LostAfterEffect), _) => (Err(CallError::LostAfterEffect), Outcome::LostAfterEffect),
            (Some(FaultKind::ErrorAfterEffect(code)), Ok(_)) => {
                (Err(CallError::Api(injected(code))), Outcome::FailedAfterEffect(code))
            }
            (_, result) => {
                let outcome = match &result {
                    Ok(_) => Outcome::Done,
                    Err(CallError::Api(error)) => Outcome::Refused(error.code),
                    Err(CallError::LostBeforeEffect) => Outcome::LostBeforeEffect,
                    Err(CallError::LostAfterEffect) => Outcome::LostAfterEffect,
                };
                (result, outcome)
            }
        };
        self.history.record(now, request.operation(), caller, request.target().to_owned(), outcome);
        let delay = if let Some(FaultKind::Delay(delay)) = fault { delay } else { Duration::ZERO };
        Reply { delay, result }
    }

    /// Whether S3, or another service, lets a request through: what a consumer of a key sees.
    pub fn authorize(
        &mut self,
        now: Timestamp,
        credentials: &Credentials,
        action: &str,
        resource: &str,
        context: &Context,
    ) -> Access {
        let caller = match self.identify(now, credentials, action.split(':').next().unwrap_or_default()) {
            Ok(caller) => caller,
            Err(error) => {
                return match error.code {
                    Code::SignatureDoesNotMatch => Access::SignatureDoesNotMatch,
                    Code::ExpiredToken => Access::ExpiredToken,
                    _ => Access::InvalidAccessKeyId,
                };
            }
        };
        self.decide(now, &caller, action, resource, context)
    }

    /// Whether a caller's policies allow a request of a service other than IAM.
    pub(super) fn decide(
        &mut self,
        now: Timestamp,
        caller: &Caller,
        action: &str,
        resource: &str,
        context: &Context,
    ) -> Access {
        let decision =
            self.accounts.get_mut(caller.account()).map(|iam| iam.decide(now, caller, action, resource, context));
        match decision {
            Some(Ok(decision)) if decision.is_allowed() => Access::Allowed,
            Some(Ok(_)) => Access::Denied,
            Some(Err(_)) | None => Access::InvalidAccessKeyId,
        }
    }

    /// Whom a working key belongs to, by a replica that may be behind.
    pub(super) fn holder(&mut self, now: Timestamp, access_key_id: &str) -> Option<Holder> {
        if let Some(session) = self.sessions.get(access_key_id) {
            let (caller, credentials) = (session.caller.clone(), session.credentials.clone());
            return Some(Holder { caller, credentials, expires: Some(session.expires) });
        }
        self.accounts.iter_mut().find_map(|(account, iam)| {
            let (caller, credentials) = iam.holder(now, account, access_key_id)?;
            Some(Holder { caller, credentials, expires: None })
        })
    }

    /// Checks a key and its secret, and notes the use.
    pub(super) fn identify(
        &mut self,
        now: Timestamp,
        credentials: &Credentials,
        service: &str,
    ) -> Result<Caller, ApiError> {
        let holder = self.holder(now, &credentials.access_key_id).ok_or_else(unknown_key)?;
        if holder.credentials.secret_access_key != credentials.secret_access_key {
            return Err(wrong_signature());
        }
        self.admit(now, holder, credentials.session_token.as_deref(), service, "us-east-1")
    }

    /// Lets in a caller whose signature fits, unless its session has ended; notes the use of its key.
    pub(super) fn admit(
        &mut self,
        now: Timestamp,
        holder: Holder,
        token: Option<&str>,
        service: &str,
        region: &str,
    ) -> Result<Caller, ApiError> {
        if holder.credentials.session_token.as_deref() != token {
            return Err(unknown_key());
        }
        if holder.expires.is_some_and(|expires| expires <= now) {
            return Err(Code::ExpiredToken.error("The security token included in the request is expired"));
        }
        if let (Caller::User { account, .. }, access_key_id) = (&holder.caller, &holder.credentials.access_key_id)
            && let Some(iam) = self.accounts.get_mut(account)
        {
            let used = LastUsed { at: now, service: service.to_owned(), region: region.to_owned() };
            iam.note_use(access_key_id, used);
        }
        Ok(holder.caller)
    }

    /// A call on its way to its account, with the name of its caller.
    fn carry_out(
        &mut self,
        now: Timestamp,
        identity: &Identity,
        request: &Request,
    ) -> (String, Result<Response, ApiError>) {
        let service = if request.operation().kind() == Kind::Sts { "sts" } else { "iam" };
        let caller = match identity {
            Identity::Caller(caller) => Ok(caller.clone()),
            Identity::Credentials(credentials) => self.identify(now, credentials, service),
            Identity::Refused(_, error) => Err(error.clone()),
        };
        let caller = match caller {
            Ok(caller) => caller,
            Err(error) => return (self.name_of(identity), Err(error)),
        };
        let Some(iam) = self.accounts.get_mut(caller.account()) else {
            return (caller.account().to_owned(), Err(unknown_key()));
        };
        let name = iam.arn_of(&caller);
        let result = match request.operation().kind() {
            Kind::Read | Kind::Write => iam.call(now, &caller, request),
            Kind::Sts => self.call_sts(now, &caller, request),
        };
        (name, result)
    }

    /// The name for the history of somebody who was not let in, or not yet.
    fn name_of(&self, identity: &Identity) -> String {
        match identity {
            Identity::Caller(caller) => {
                self.accounts.get(caller.account()).map_or_else(String::new, |iam| iam.arn_of(caller))
            }
            Identity::Credentials(credentials) => credentials.access_key_id.clone(),
            Identity::Refused(key, _) => key.clone(),
        }
    }
}

/// The answer to a signature made with another secret.
pub(super) fn wrong_signature() -> ApiError {
    Code::SignatureDoesNotMatch.error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details.",
    )
}

fn injected(code: Code) -> ApiError {
    match code {
        Code::Throttling => code.error("Rate exceeded"),
        Code::AccessDenied => code.error("Access denied by the plan of faults"),
        _ => code.error("Injected by the plan of faults"),
    }
}
