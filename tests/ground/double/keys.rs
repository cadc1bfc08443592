//! Access keys.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::error::{ApiError, Code};
use super::iam::Iam;
use super::ids::Prefix;
use super::limits;
use super::model::{AccessKey, LastUsed, Status, User};
use super::names::fold;
use super::response::{AccessKeyMetadata, NewAccessKey, Response, Window};
use super::state::State;

/// How long IAM takes to show a use of a key; really up to hours (IAM user guide, "Getting last used information").
const LAST_USED_LAG: SignedDuration = SignedDuration::from_mins(5);

/// The uses of a key: what IAM shows, and what it will show.
#[derive(Debug, Clone, Default)]
pub(super) struct Usage {
    shown: Option<LastUsed>,
    pending: Option<LastUsed>,
}

impl Usage {
    /// Moves what has been pending for long enough to where it is shown.
    fn settle(&mut self, now: Timestamp) {
        if self.pending.as_ref().is_some_and(|used| now.duration_since(used.at) >= LAST_USED_LAG) {
            self.shown = self.pending.take();
        }
    }

    /// Notes a use. A key in steady use shows times that are one to two lags old.
    fn note(&mut self, used: LastUsed) {
        self.settle(used.at);
        self.pending.get_or_insert(used);
    }
}

fn no_such_key(id: &str) -> ApiError {
    Code::NoSuchEntity.error(format!("The Access Key with id {id} cannot be found."))
}

impl State {
    pub(super) fn list_access_keys(&self, name: &str, window: &Window) -> Result<Response, ApiError> {
        let user = self.user(name)?;
        let mut keys: Vec<_> = user.keys.iter().map(|key| (&key.id, key)).collect();
        keys.sort_by_key(|(id, _)| *id);
        Ok(Response::AccessKeys(window.take(keys).map(|key| AccessKeyMetadata {
            user_name: user.name.clone(),
            id: key.id.clone(),
            status: key.status,
            created: key.created,
        })))
    }

    /// A key and its user, by the key's identifier.
    pub fn key(&self, id: &str) -> Option<(&Arc<User>, &AccessKey)> {
        let user = self.users.get(self.keys.get(id)?)?;
        let key = user.keys.iter().find(|key| key.id == id)?;
        Some((user, key))
    }
}

impl Iam {
    /// The quota counts Inactive keys. Where it is told to race, keys that are too young are not yet counted, as
    /// when callers race in AWS (hashicorp/terraform-provider-aws#39693).
    pub(super) fn create_access_key(&mut self, now: Timestamp, name: &str) -> Result<Response, ApiError> {
        let user = self.state.user(name)?;
        let counted = user
            .keys
            .iter()
            .filter(|key| self.settings.key_quota_race.is_none_or(|window| now.duration_since(key.created) >= window))
            .count();
        let limit = limits::ACCESS_KEYS_PER_USER;
        if counted >= limit {
            return Err(Code::LimitExceeded.error(format!("Cannot exceed quota for AccessKeysPerUser: {limit}")));
        }
        let key = AccessKey {
            id: self.ids.id(Prefix::AccessKey),
            secret: self.ids.secret(),
            status: Status::Active,
            created: now,
        };
        let user_name = user.name.clone();
        self.state.keys.insert_mut(key.id.clone(), fold(name));
        self.state.edit_user(name, |user| user.keys.push(key.clone()))?;
        Ok(Response::NewAccessKey(NewAccessKey { user_name, key }))
    }

    pub(super) fn update_access_key(&mut self, name: &str, id: &str, status: Status) -> Result<Response, ApiError> {
        let found = self
            .state
            .edit_user(name, |user| user.keys.iter_mut().find(|key| key.id == id).map(|key| key.status = status))?;
        found.map(|()| Response::Done).ok_or_else(|| no_such_key(id))
    }

    pub(super) fn delete_access_key(&mut self, name: &str, id: &str) -> Result<Response, ApiError> {
        if !self.state.user(name)?.keys.iter().any(|key| key.id == id) {
            return Err(no_such_key(id));
        }
        self.state.edit_user(name, |user| user.keys.retain(|key| key.id != id))?;
        self.state.keys.remove_mut(id);
        self.usage.remove(id);
        Ok(Response::Done)
    }

    /// The last use of a key; `None` where it is not the account's.
    pub(super) fn access_key_last_used(&mut self, now: Timestamp, view: &State, id: &str) -> Option<Response> {
        let (user, _) = view.key(id)?;
        Some(Response::AccessKeyLastUsed { user_name: user.name.clone(), last_used: self.shown_use(now, id) })
    }

    /// The use of a key that IAM shows by now.
    pub(super) fn shown_use(&mut self, now: Timestamp, id: &str) -> Option<LastUsed> {
        let usage = self.usage.get_mut(id)?;
        usage.settle(now);
        usage.shown.clone()
    }

    /// Has a key be made at that time.
    pub fn set_created(&mut self, access_key_id: &str, created: Timestamp) {
        let Some((user, _)) = self.state.key(access_key_id) else { return };
        let name = user.name.clone();
        let change = |user: &mut User| {
            user.keys.iter_mut().filter(|key| key.id == access_key_id).for_each(|key| key.created = created);
        };
        let _ = self.state.edit_user(&name, change);
    }

    /// Has IAM show that a key was last used so, or never, from now on until it is used again.
    pub fn set_last_used(&mut self, access_key_id: &str, shown: Option<LastUsed>) {
        self.usage.insert(access_key_id.to_owned(), Usage { shown, pending: None });
    }

    /// Notes that a key was used, for GetAccessKeyLastUsed.
    pub(super) fn note_use(&mut self, id: &str, used: LastUsed) {
        self.usage.entry(id.to_owned()).or_default().note(used);
    }
}
