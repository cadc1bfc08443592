//! Users, their tags and boundaries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::error::{ApiError, Code};
use super::iam::Iam;
use super::ids::Prefix;
use super::model::{Tag, Tags, User};
use super::names::{Tagged, fold};
use super::response::{Listing, Response, Window};
use super::settings::Quirk;
use super::state::State;

/// The last part of a user's ARN; the path begins and ends with a slash.
fn user_resource(path: &str, name: &str) -> String {
    format!("user{path}{name}")
}

impl State {
    /// The ARN of a user: of the one there is, or of the one that would be created under a path.
    pub(super) fn user_arn(&self, name: &str, path: &str) -> String {
        match self.user(name) {
            Ok(user) => user.arn.clone(),
            Err(_) => self.account.arn(&user_resource(path, name)),
        }
    }

    pub(super) fn list_users(&self, path_prefix: Option<&str>, window: &Window) -> Response {
        let prefix = path_prefix.unwrap_or("/");
        let users = self.users_after(window.after()).filter(|(_, user)| user.path.starts_with(prefix));
        Response::Users(window.take(users).map(Arc::clone))
    }

    pub(super) fn list_user_tags(&self, name: &str, window: &Window) -> Result<Response, ApiError> {
        let tags: Listing<&Tag> = window.take(&self.user(name)?.tags);
        Ok(Response::Tags(tags.map(Tag::clone)))
    }

    /// Whether a policy can bound a user.
    fn scope(&self, arn: &str) -> Result<(), ApiError> {
        if self.policies.contains_key(arn) {
            return Ok(());
        }
        Err(Code::NoSuchEntity.error(format!("Scope ARN: {arn} does not exist or is not attachable.")))
    }

    /// Keeps a policy's list of the users that it bounds in step with a change of one user's boundary.
    fn move_boundary(&mut self, user: &str, old: Option<&str>, new: Option<&str>) -> Result<(), ApiError> {
        let user = fold(user);
        if let Some(arn) = old {
            self.edit_policy(arn, |policy| policy.bounds.remove_mut(&user))?;
        }
        if let Some(arn) = new {
            self.edit_policy(arn, |policy| policy.bounds.insert_mut(user))?;
        }
        Ok(())
    }
}

/// What a user has that DeleteUser does not remove, in IAM's words (API reference, DeleteUser).
fn leftover(user: &User) -> Option<&'static str> {
    [
        (user.keys.is_empty(), "must delete access keys first."),
        (user.login_profile.is_none(), "must delete login profile first."),
        (user.mfa_devices.is_empty(), "must delete MFA device first."),
        (user.signing_certificates.is_empty(), "must delete signing certificates first."),
        (user.ssh_keys.is_empty(), "must delete SSH public keys first."),
        (user.service_credentials.is_empty(), "must remove referenced objects first."),
        (user.groups.is_empty(), "must remove users from group first."),
        (user.inline.is_empty(), "must delete policies first."),
        (user.attached.is_empty(), "must detach all policies first."),
    ]
    .into_iter()
    .find_map(|(gone, words)| (!gone).then_some(words))
}

impl Iam {
    pub(super) fn create_user(
        &mut self,
        now: Timestamp,
        name: &str,
        path: Option<&str>,
        boundary: Option<String>,
        tags: &[Tag],
    ) -> Result<Response, ApiError> {
        let path = path.unwrap_or("/");
        let tags = Tagged::User.merge(&Tags::new(), tags)?;
        if let Some(arn) = &boundary {
            self.state.scope(arn)?;
        }
        if self.state.users.contains_key(&fold(name)) {
            return Err(Code::EntityAlreadyExists.error(format!("User with name {name} already exists.")));
        }
        let limit = self.settings.users_per_account;
        if self.state.users.size() >= limit {
            return Err(Code::LimitExceeded.error(format!("Cannot exceed quota for UsersPerAccount: {limit}")));
        }
        self.state.move_boundary(name, None, boundary.as_deref())?;
        let user = Arc::new(User {
            name: name.to_owned(),
            path: path.to_owned(),
            id: self.ids.id(Prefix::User),
            arn: self.state.account.arn(&user_resource(path, name)),
            created: now,
            tags,
            boundary,
            attached: BTreeSet::new(),
            inline: BTreeMap::new(),
            keys: Vec::new(),
            groups: BTreeSet::new(),
            login_profile: None,
            mfa_devices: BTreeMap::new(),
            signing_certificates: Vec::new(),
            ssh_keys: Vec::new(),
            service_credentials: Vec::new(),
        });
        self.state.users.insert_mut(fold(name), Arc::clone(&user));
        Ok(Response::User(user))
    }

    /// Renames or moves a user: the identifier stays, the ARN does not.
    pub(super) fn update_user(
        &mut self,
        name: &str,
        new_name: Option<&str>,
        new_path: Option<&str>,
    ) -> Result<Response, ApiError> {
        let old = Arc::clone(self.state.user(name)?);
        let new_name = new_name.unwrap_or(&old.name);
        let new_path = new_path.unwrap_or(&old.path);
        let (from, to) = (fold(&old.name), fold(new_name));
        if from != to && self.state.users.contains_key(&to) {
            return Err(Code::EntityAlreadyExists.error(format!("User with name {new_name} already exists.")));
        }
        let mut user = User::clone(&old);
        user.name = new_name.to_owned();
        user.path = new_path.to_owned();
        user.arn = self.state.account.arn(&user_resource(new_path, new_name));
        self.state.users.remove_mut(&from);
        self.state.users.insert_mut(to.clone(), Arc::new(user));
        self.state.rename_references(&old, &from, &to)?;
        Ok(Response::Done)
    }

    pub(super) fn delete_user(&mut self, name: &str) -> Result<Response, ApiError> {
        let user = Arc::clone(self.state.user(name)?);
        let with_keys = self.settings.quirks.contains(&Quirk::KeysDeletedWithUser);
        if let Some(words) = leftover(&user).filter(|_| !with_keys) {
            return Err(Code::DeleteConflict.error(format!("Cannot delete entity, {words}")));
        }
        self.state.move_boundary(name, user.boundary.as_deref(), None)?;
        self.state.users.remove_mut(&fold(name));
        Ok(Response::Done)
    }

    pub(super) fn tag_user(&mut self, name: &str, tags: &[Tag]) -> Result<Response, ApiError> {
        let merged = Tagged::User.merge(&self.state.user(name)?.tags, tags)?;
        self.state.edit_user(name, |user| user.tags = merged)?;
        Ok(Response::Done)
    }

    pub(super) fn untag_user(&mut self, name: &str, keys: &[String]) -> Result<Response, ApiError> {
        let rest = Tagged::User.remove(&self.state.user(name)?.tags, keys);
        self.state.edit_user(name, |user| user.tags = rest)?;
        Ok(Response::Done)
    }

    /// Sets or removes the boundary. Removing one that is not there is an error, as in IAM.
    pub(super) fn set_boundary(&mut self, name: &str, boundary: Option<String>) -> Result<Response, ApiError> {
        let old = self.state.user(name)?.boundary.clone();
        match &boundary {
            Some(arn) => self.state.scope(arn)?,
            None if old.is_none() => {
                return Err(Code::NoSuchEntity
                    .error(format!("The user with name {name} does not have a permissions boundary.")));
            }
            None => {}
        }
        self.state.move_boundary(name, old.as_deref(), boundary.as_deref())?;
        self.state.edit_user(name, |user| user.boundary = boundary)?;
        Ok(Response::Done)
    }
}

impl State {
    /// Follows a rename wherever a user is referred to by name.
    fn rename_references(&mut self, user: &User, from: &str, to: &str) -> Result<(), ApiError> {
        for key in &user.keys {
            self.keys.insert_mut(key.id.clone(), to.to_owned());
        }
        for arn in &user.attached {
            self.edit_policy(arn, |policy| {
                policy.attached_to.remove_mut(from);
                policy.attached_to.insert_mut(to.to_owned());
            })?;
        }
        if let Some(arn) = &user.boundary {
            self.edit_policy(arn, |policy| {
                policy.bounds.remove_mut(from);
                policy.bounds.insert_mut(to.to_owned());
            })?;
        }
        for group in &user.groups {
            self.edit_group(group, |group| {
                group.members.remove_mut(from);
                group.members.insert_mut(to.to_owned());
            })?;
        }
        for serial in user.mfa_devices.keys() {
            self.assign_device(serial, Some(to.to_owned()));
        }
        Ok(())
    }
}
