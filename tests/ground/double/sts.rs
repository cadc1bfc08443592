//! STS: who am I, and roles to assume.

use jiff::{SignedDuration, Timestamp};

use super::authorize::Decision;
use super::caller::{Caller, Credentials};
use super::conditions::Context;
use super::error::{ApiError, Code};
use super::iam::Iam;
use super::ids::Prefix;
use super::limits;
use super::model::{Role, Status};
use super::names::{invalid_in_sts, is_name};
use super::request::Request;
use super::response::{AssumedRole, CallerIdentity, Response, SessionCredentials};
use super::settings::Quirk;
use super::world::World;

/// A role in use, or a session of a user's key.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) caller: Caller,
    pub(super) credentials: Credentials,
    pub(super) expires: Timestamp,
}

/// Seconds that a session may last (API reference, AssumeRole).
const DURATIONS: std::ops::RangeInclusive<u32> = 900..=43_200;
const DEFAULT_DURATION: u32 = 3_600;
/// The same, of a session of a user's key, and of one of the root's (API reference, GetSessionToken).
const USER_DURATIONS: std::ops::RangeInclusive<u32> = 900..=129_600;
const DEFAULT_USER_DURATION: u32 = 43_200;
const LONGEST_OF_ROOT: u32 = 3_600;

impl Iam {
    /// Whom an Active key of this account belongs to, by a replica.
    pub(super) fn holder(&mut self, now: Timestamp, account: &str, id: &str) -> Option<(Caller, Credentials)> {
        if self.root_credentials().access_key_id == id {
            return Some((Caller::root(account), self.root_credentials().clone()));
        }
        let view = self.view(now, self.settings.credentials);
        let (user, key) = view.key(id)?;
        let credentials =
            Credentials { access_key_id: key.id.clone(), secret_access_key: key.secret.clone(), session_token: None };
        let taken = key.status == Status::Active || self.settings.quirks.contains(&Quirk::InactiveKeysAccepted);
        taken.then(|| (Caller::user(account, &user.name), credentials))
    }

    fn caller_identity(&self, caller: &Caller) -> CallerIdentity {
        let account = self.state.account.id.clone();
        let user_id = match caller {
            Caller::Root { .. } => account.clone(),
            // A user that is deleted while its key still works has no identifier to show any more.
            Caller::User { name, .. } | Caller::UserSession { name, .. } => {
                self.state.user(name).map_or_else(|_| String::new(), |user| user.id.clone())
            }
            Caller::Session { role, session, .. } => {
                let id = self.roles.iter().find(|other| other.name == *role).map_or("", |role| role.id.as_str());
                format!("{id}:{session}")
            }
        };
        CallerIdentity { user_id, account, arn: self.arn_of(caller) }
    }

    fn role(&self, arn: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.arn == arn)
    }
}

impl World {
    pub(super) fn call_sts(
        &mut self,
        now: Timestamp,
        caller: &Caller,
        request: &Request,
    ) -> Result<Response, ApiError> {
        let account = caller.account();
        let throttled = self.accounts.get_mut(account).map(|iam| iam.throttle(now, request.operation()));
        throttled.unwrap_or(Ok(()))?;
        match request {
            Request::GetCallerIdentity {} => {
                let iam = self.accounts.get(account).ok_or_else(super::authorize::unknown_key)?;
                Ok(Response::CallerIdentity(iam.caller_identity(caller)))
            }
            Request::AssumeRole { role_arn, role_session_name, external_id, duration_seconds } => {
                let duration = duration_seconds.unwrap_or(DEFAULT_DURATION);
                if !DURATIONS.contains(&duration) {
                    return Err(invalid_in_sts(
                        "durationSeconds",
                        &duration.to_string(),
                        "Member must have value between 900 and 43200",
                    ));
                }
                if !is_name(role_session_name) || role_session_name.len() > limits::USER_NAME_CHARACTERS {
                    let pattern = r"Member must satisfy regular expression pattern: [\w+=,.@-]*";
                    return Err(invalid_in_sts("roleSessionName", role_session_name, pattern));
                }
                if !role_arn.starts_with("arn:") || role_arn.splitn(6, ':').count() < 6 {
                    return Err(Code::ValidationError.error(format!("{role_arn} is invalid")));
                }
                self.check_trust(now, caller, role_arn, external_id.as_deref())?;
                self.open_session(now, role_arn, role_session_name, duration)
            }
            Request::GetSessionToken { duration_seconds } => {
                let duration = duration_seconds.unwrap_or(DEFAULT_USER_DURATION);
                if !USER_DURATIONS.contains(&duration) {
                    return Err(invalid_in_sts(
                        "durationSeconds",
                        &duration.to_string(),
                        "Member must have value between 900 and 129600",
                    ));
                }
                self.session_of_key(now, caller, duration)
            }
            other => Err(Code::InvalidAction.error(format!("Could not find operation {}", other.operation()))),
        }
    }

    /// A session with the rights of whoever calls, which needs no permission and outlives the key that it was asked with.
    fn session_of_key(&mut self, now: Timestamp, caller: &Caller, asked: u32) -> Result<Response, ApiError> {
        let (caller, duration) = match caller {
            Caller::User { account, name } => {
                (Caller::UserSession { account: account.clone(), name: name.clone(), issued: now }, asked)
            }
            Caller::Root { .. } => (caller.clone(), asked.min(LONGEST_OF_ROOT)),
            Caller::UserSession { .. } | Caller::Session { .. } => {
                return Err(Code::AccessDenied.error("Cannot call GetSessionToken with session credentials"));
            }
        };
        let iam = self.accounts.get(caller.account()).ok_or_else(super::authorize::unknown_key)?;
        let life = iam.settings.session_life.unwrap_or_else(|| SignedDuration::from_secs(i64::from(duration)));
        let expiration = now.checked_add(life).unwrap_or(Timestamp::MAX);
        let credentials = self.temporary();
        let answer = SessionCredentials {
            access_key_id: credentials.access_key_id.clone(),
            secret_access_key: credentials.secret_access_key.clone(),
            session_token: credentials.session_token.clone().unwrap_or_default(),
            expiration,
        };
        let session = Session { caller, credentials, expires: expiration };
        self.sessions.insert(answer.access_key_id.clone(), session);
        Ok(Response::SessionToken(answer))
    }

    fn temporary(&mut self) -> Credentials {
        Credentials {
            access_key_id: self.ids.id(Prefix::TemporaryKey),
            secret_access_key: self.ids.secret(),
            session_token: Some(self.ids.token()),
        }
    }

    /// Refuses a caller that the role does not trust, or whose own policies do not let it assume the role.
    fn check_trust(
        &mut self,
        now: Timestamp,
        caller: &Caller,
        role_arn: &str,
        external_id: Option<&str>,
    ) -> Result<(), ApiError> {
        if matches!(caller, Caller::Root { .. }) {
            return Err(Code::AccessDenied.error("Roles may not be assumed by root accounts."));
        }
        let account_of_role = role_arn.split(':').nth(4).unwrap_or_default().to_owned();
        let role = self.accounts.get(&account_of_role).and_then(|iam| iam.role(role_arn)).cloned();
        let iam = self.accounts.get_mut(caller.account()).ok_or_else(super::authorize::unknown_key)?;
        let denied = iam.denied(caller, "sts:AssumeRole", role_arn, Decision::NotAllowed);
        let Some(role) = role else {
            return Err(denied);
        };
        let arn = iam.arn_of(caller);
        let account_arn = iam.state.account.arn("root");
        let named = role.trusts.contains(&arn);
        let trusted = named || role.trusts.iter().any(|one| *one == account_arn || one == "*");
        if !trusted || (role.external_id.is_some() && role.external_id.as_deref() != external_id) {
            return Err(denied);
        }
        // Where the trust policy of the same account names the caller itself, it needs no policy of its own.
        let by_trust_alone = named && caller.account() == account_of_role;
        let decision = iam.decide(now, caller, "sts:AssumeRole", role_arn, &Context::new())?;
        if decision.is_allowed() || (by_trust_alone && decision != Decision::Denied) {
            return Ok(());
        }
        Err(denied)
    }

    fn open_session(&mut self, now: Timestamp, arn: &str, session: &str, duration: u32) -> Result<Response, ApiError> {
        let account = arn.split(':').nth(4).unwrap_or_default();
        let credentials = self.temporary();
        let iam = self.accounts.get(account).ok_or_else(super::authorize::unknown_key)?;
        let role = iam.role(arn).ok_or_else(super::authorize::unknown_key)?;
        let caller =
            Caller::Session { account: account.to_owned(), role: role.name.clone(), session: session.to_owned() };
        let expires = now.checked_add(SignedDuration::from_secs(i64::from(duration))).unwrap_or(Timestamp::MAX);
        let identity = iam.caller_identity(&caller);
        let answer = AssumedRole {
            access_key_id: credentials.access_key_id.clone(),
            secret_access_key: credentials.secret_access_key.clone(),
            session_token: credentials.session_token.clone().unwrap_or_default(),
            expiration: expires,
            assumed_role_id: identity.user_id,
            arn: identity.arn,
        };
        self.sessions.insert(credentials.access_key_id.clone(), Session { caller, credentials, expires });
        Ok(Response::AssumedRole(answer))
    }
}
