//! GetAccountAuthorizationDetails and GetAccountSummary.

use std::sync::Arc;

use super::limits;
use super::model::{Group, Policy, Role, User};
use super::policies::shown;
use super::request::DetailsFilter;
use super::response::{AccountDetails, PolicyDetail, Response, UserDetail, Window};
use super::settings::Settings;
use super::state::State;

/// One entity of GetAccountAuthorizationDetails.
enum Entity<'a> {
    User(&'a Arc<User>),
    Group(&'a Arc<Group>),
    Role(&'a Role),
    Policy(&'a Arc<Policy>),
}

impl State {
    /// A page over all entities that the filter lets through, type after type. No filter lets all through.
    pub(super) fn account_details<'a>(
        &'a self,
        roles: &'a [Role],
        filter: &[DetailsFilter],
        window: &'a Window,
        reorder: bool,
    ) -> Response {
        // A key in the marker is the number of the type and the key of the entity.
        let after = window.after().and_then(|after| after.split_once('/')).unwrap_or_default();
        let sections = DetailsFilter::ALL.iter().enumerate().filter(|(number, section)| {
            (filter.is_empty() || filter.contains(section)) && number.to_string().as_str() >= after.0
        });
        let entities = sections.flat_map(|(number, section)| {
            let after = (number.to_string() == after.0).then_some(after.1);
            self.section(*section, roles, after).map(move |(key, entity)| (format!("{number}/{key}"), entity))
        });
        let page = window.take(entities);
        let mut details = AccountDetails { marker: page.marker, ..AccountDetails::default() };
        for entity in page.items {
            match entity {
                Entity::User(user) => details.users.push(self.user_detail(user, reorder)),
                Entity::Group(group) => details.groups.push(Arc::clone(group)),
                Entity::Role(role) => details.roles.push(role.clone()),
                Entity::Policy(policy) => details.policies.push(policy_detail(policy, reorder)),
            }
        }
        Response::AccountDetails(details)
    }

    fn section<'a>(
        &'a self,
        section: DetailsFilter,
        roles: &'a [Role],
        after: Option<&'a str>,
    ) -> Box<dyn Iterator<Item = (&'a str, Entity<'a>)> + 'a> {
        match section {
            DetailsFilter::User => {
                Box::new(self.users_after(after).map(|(key, user)| (key.as_str(), Entity::User(user))))
            }
            DetailsFilter::Group => {
                Box::new(self.groups.iter().map(|(key, group)| (key.as_str(), Entity::Group(group))))
            }
            DetailsFilter::Role => Box::new(roles.iter().map(|role| (role.name.as_str(), Entity::Role(role)))),
            DetailsFilter::LocalManagedPolicy => Box::new(
                self.policies_after(after)
                    .filter(|(_, policy)| !policy.aws_managed)
                    .map(|(key, policy)| (key.as_str(), Entity::Policy(policy))),
            ),
            DetailsFilter::AwsManagedPolicy => Box::new(
                self.policies_after(after)
                    .filter(|(_, policy)| policy.aws_managed && !policy.attached_to.is_empty())
                    .map(|(key, policy)| (key.as_str(), Entity::Policy(policy))),
            ),
        }
    }

    fn user_detail(&self, user: &Arc<User>, reorder: bool) -> UserDetail {
        UserDetail {
            user: Arc::clone(user),
            attached: self.attached(user),
            inline: user.inline.iter().map(|(name, document)| (name.clone(), shown(document, reorder))).collect(),
        }
    }

    pub(super) fn account_summary(&self, settings: &Settings) -> Response {
        let in_use = self.devices.values().filter(|device| device.user.is_some()).count();
        Response::AccountSummary(vec![
            ("Users", self.users.size()),
            ("UsersQuota", settings.users_per_account),
            ("Groups", self.groups.size()),
            ("GroupsQuota", limits::GROUPS_PER_ACCOUNT),
            ("Policies", self.policy_names.size()),
            ("PoliciesQuota", settings.policies_per_account),
            ("MFADevices", self.devices.size()),
            ("MFADevicesInUse", in_use),
            ("AccessKeysPerUserQuota", limits::ACCESS_KEYS_PER_USER),
            ("AttachedPoliciesPerUserQuota", limits::ATTACHED_POLICIES_PER_USER),
            ("GroupsPerUserQuota", limits::GROUPS_PER_USER),
            ("PolicySizeQuota", limits::MANAGED_POLICY_CHARACTERS),
            ("UserPolicySizeQuota", limits::INLINE_POLICIES_CHARACTERS),
            ("VersionsPerPolicyQuota", limits::VERSIONS_PER_POLICY),
        ])
    }
}

fn policy_detail(policy: &Arc<Policy>, reorder: bool) -> PolicyDetail {
    let versions = policy
        .versions
        .iter()
        .map(|(number, version)| policy.view(*number, version, Some(shown(&version.document, reorder))))
        .collect();
    PolicyDetail { policy: Arc::clone(policy), versions }
}
