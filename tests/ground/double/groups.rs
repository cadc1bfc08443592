//! Groups, as far as they hold on to users. They carry no policies here.

use std::sync::Arc;

use jiff::Timestamp;
use rpds::RedBlackTreeSetSync;

use super::error::{ApiError, Code};
use super::iam::Iam;
use super::ids::Prefix;
use super::limits;
use super::model::Group;
use super::names::fold;
use super::response::{Response, Window};
use super::state::State;

impl State {
    pub(super) fn list_groups_for_user(&self, name: &str, window: &Window) -> Result<Response, ApiError> {
        let user = self.user(name)?;
        let groups = user.groups.iter().filter_map(|name| self.groups.get(&fold(name)).map(|group| (name, group)));
        Ok(Response::Groups(window.take(groups).map(Arc::clone)))
    }
}

impl Iam {
    pub(super) fn create_group(
        &mut self,
        now: Timestamp,
        name: &str,
        path: Option<&str>,
    ) -> Result<Response, ApiError> {
        let path = path.unwrap_or("/");
        if self.state.groups.contains_key(&fold(name)) {
            return Err(Code::EntityAlreadyExists.error(format!("Group with name {name} already exists.")));
        }
        let limit = limits::GROUPS_PER_ACCOUNT;
        if self.state.groups.size() >= limit {
            return Err(Code::LimitExceeded.error(format!("Cannot exceed quota for GroupsPerAccount: {limit}")));
        }
        let group = Arc::new(Group {
            name: name.to_owned(),
            path: path.to_owned(),
            id: self.ids.id(Prefix::Group),
            arn: self.state.account.arn(&format!("group{path}{name}")),
            created: now,
            members: RedBlackTreeSetSync::new_sync(),
        });
        self.state.groups.insert_mut(fold(name), Arc::clone(&group));
        Ok(Response::Group(group))
    }

    pub(super) fn delete_group(&mut self, name: &str) -> Result<Response, ApiError> {
        if !self.state.group(name)?.members.is_empty() {
            return Err(Code::DeleteConflict.error("Cannot delete entity, must remove users from group first."));
        }
        self.state.groups.remove_mut(&fold(name));
        Ok(Response::Done)
    }

    /// Adding who is in it is no error.
    pub(super) fn add_user_to_group(&mut self, user: &str, group: &str) -> Result<Response, ApiError> {
        let groups = &self.state.user(user)?.groups;
        let group = self.state.group(group)?.name.clone();
        let limit = limits::GROUPS_PER_USER;
        if !groups.contains(&group) && groups.len() >= limit {
            return Err(Code::LimitExceeded.error(format!("Cannot exceed quota for GroupsPerUser: {limit}")));
        }
        self.state.edit_group(&group, |group| group.members.insert_mut(fold(user)))?;
        self.state.edit_user(user, |user| user.groups.insert(group))?;
        Ok(Response::Done)
    }

    /// Removing who is not in it is no error (recorded).
    pub(super) fn remove_user_from_group(&mut self, user: &str, group: &str) -> Result<Response, ApiError> {
        self.state.user(user)?;
        let group = self.state.group(group)?.name.clone();
        self.state.edit_user(user, |user| user.groups.remove(&group))?;
        self.state.edit_group(&group, |group| group.members.remove_mut(&fold(user)))?;
        Ok(Response::Done)
    }
}
