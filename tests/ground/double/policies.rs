//! Managed policies and their versions.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use rpds::RedBlackTreeSetSync;

use super::document::Document;
use super::error::{ApiError, Code};
use super::iam::Iam;
use super::ids::Prefix;
use super::limits;
use super::model::{Policy, PolicyVersion, Tag, Tags};
use super::names::{Tagged, fold};
use super::request::PolicyScope;
use super::response::{Response, VersionView, Window};
use super::state::State;

impl Policy {
    /// A policy with a first version.
    pub(super) fn new(
        name: &str,
        path: &str,
        arn: String,
        id: String,
        document: Arc<Document>,
        now: Timestamp,
    ) -> Self {
        Self {
            name: name.to_owned(),
            path: path.to_owned(),
            id,
            arn,
            description: String::new(),
            created: now,
            updated: now,
            tags: Tags::new(),
            versions: BTreeMap::from([(1, PolicyVersion { document, created: now })]),
            default_version: 1,
            next_version: 2,
            attached_to: RedBlackTreeSetSync::new_sync(),
            bounds: RedBlackTreeSetSync::new_sync(),
            aws_managed: false,
        }
    }

    /// A version as IAM shows it.
    pub(super) fn view(&self, number: u32, version: &PolicyVersion, document: Option<String>) -> VersionView {
        VersionView {
            version_id: format!("v{number}"),
            is_default: number == self.default_version,
            created: version.created,
            document,
        }
    }

    fn version(&self, id: &str) -> Result<(u32, &PolicyVersion), ApiError> {
        let number = id.strip_prefix('v').and_then(|digits| digits.parse::<u32>().ok());
        let found = number.and_then(|number| Some((number, self.versions.get(&number)?)));
        found.ok_or_else(|| no_version(&self.arn, id))
    }
}

fn no_version(arn: &str, id: &str) -> ApiError {
    Code::NoSuchEntity.error(format!("Policy {arn} version {id} does not exist or is not attachable."))
}

/// Accepts the document of a managed policy: its size, then its grammar.
fn managed_document(text: &str, partition: &str) -> Result<Arc<Document>, ApiError> {
    let document = Document::parse_managed(text, partition)?;
    let limit = limits::MANAGED_POLICY_CHARACTERS;
    if document.size() > limit {
        return Err(Code::LimitExceeded.error(format!("Cannot exceed quota for PolicySize: {limit}")));
    }
    Ok(Arc::new(document))
}

impl State {
    /// The ARN that a new policy gets.
    pub(super) fn new_policy_arn(&self, name: &str, path: &str) -> String {
        self.account.arn(&format!("policy{path}{name}"))
    }

    pub(super) fn get_policy_version(&self, arn: &str, id: &str, reorder: bool) -> Result<Response, ApiError> {
        let policy = self.version_holder(arn, id)?;
        let (number, version) = policy.version(id)?;
        let text = shown(&version.document, reorder);
        Ok(Response::PolicyVersion(policy.view(number, version, Some(text))))
    }

    pub(super) fn list_policy_versions(&self, arn: &str, window: &Window) -> Result<Response, ApiError> {
        let policy = self.policy(arn)?;
        let versions = policy
            .versions
            .iter()
            // The newest first (recorded).
            .rev()
            .map(|(number, version)| (format!("{:010}", u32::MAX - number), policy.view(*number, version, None)));
        Ok(Response::PolicyVersions(window.take(versions)))
    }

    pub(super) fn list_policies(
        &self,
        scope: PolicyScope,
        only_attached: bool,
        path_prefix: Option<&str>,
        window: &Window,
    ) -> Response {
        let prefix = path_prefix.unwrap_or("/");
        let policies = self.policies_after(window.after()).filter(|(_, policy)| {
            let in_scope = match scope {
                PolicyScope::All => true,
                PolicyScope::Aws => policy.aws_managed,
                PolicyScope::Local => !policy.aws_managed,
            };
            in_scope && policy.path.starts_with(prefix) && !(only_attached && policy.attached_to.is_empty())
        });
        Response::Policies(window.take(policies).map(Arc::clone))
    }

    /// A policy of which a version is asked for; IAM words its absence as that of the version.
    fn version_holder(&self, arn: &str, id: &str) -> Result<&Arc<Policy>, ApiError> {
        self.policies.get(arn).ok_or_else(|| no_version(arn, id))
    }

    pub(super) fn list_entities(&self, arn: &str, window: &Window) -> Result<Response, ApiError> {
        let policy = self.attachable(arn)?;
        let users = policy
            .attached_to
            .iter()
            .filter_map(|name| self.users.get(name).map(|user| (name, (user.name.clone(), user.id.clone()))));
        Ok(Response::PolicyUsers(window.take(users)))
    }
}

/// The text of a document as an answer gives it, before it is URL-encoded.
pub(super) fn shown(document: &Document, reorder: bool) -> String {
    if reorder { document.reordered() } else { document.text().to_owned() }
}

impl Iam {
    pub(super) fn create_policy(
        &mut self,
        now: Timestamp,
        name: &str,
        path: Option<&str>,
        text: &str,
        description: Option<String>,
        tags: &[Tag],
    ) -> Result<Response, ApiError> {
        let path = path.unwrap_or("/");
        let document = managed_document(text, &self.state.account.partition)?;
        if self.state.policy_names.contains_key(&fold(name)) {
            return Err(Code::EntityAlreadyExists
                .error(format!("A policy called {name} already exists. Duplicate names are not allowed.")));
        }
        let limit = self.settings.policies_per_account;
        if self.state.policy_names.size() >= limit {
            return Err(Code::LimitExceeded.error(format!("Cannot exceed quota for PoliciesPerAccount: {limit}")));
        }
        let arn = self.state.new_policy_arn(name, path);
        let mut policy = Policy::new(name, path, arn, self.ids.id(Prefix::Policy), document, now);
        policy.description = description.unwrap_or_default();
        policy.tags = Tagged::Policy.merge(&Tags::new(), tags)?;
        self.state.put_policy(policy.clone());
        Ok(Response::NewPolicy { policy: Arc::new(policy), tags: tags.to_vec() })
    }

    pub(super) fn create_policy_version(
        &mut self,
        now: Timestamp,
        arn: &str,
        text: &str,
        set_as_default: bool,
    ) -> Result<Response, ApiError> {
        let policy = self.state.own_policy(arn)?;
        let document = managed_document(text, &self.state.account.partition)?;
        if policy.versions.len() >= limits::VERSIONS_PER_POLICY {
            return Err(Code::LimitExceeded.error(
                "A managed policy can have up to 5 versions. Before you create a new version, you must delete an \
                 existing version.",
            ));
        }
        let version = PolicyVersion { document, created: now };
        let view = self.state.edit_policy(arn, |policy| {
            let number = policy.next_version;
            policy.next_version += 1;
            policy.versions.insert(number, version.clone());
            if set_as_default {
                policy.default_version = number;
            }
            policy.updated = now;
            policy.view(number, &version, None)
        })?;
        Ok(Response::PolicyVersion(view))
    }

    pub(super) fn delete_policy_version(&mut self, now: Timestamp, arn: &str, id: &str) -> Result<Response, ApiError> {
        let policy = self.state.version_holder(arn, id)?;
        State::own(policy, "delete policy versions for policies")?;
        let (number, _) = policy.version(id)?;
        if number == policy.default_version {
            return Err(Code::DeleteConflict.error("Cannot delete the default version of a policy."));
        }
        self.state.edit_policy(arn, |policy| {
            policy.versions.remove(&number);
            policy.updated = now;
        })?;
        Ok(Response::Done)
    }

    pub(super) fn set_default_policy_version(
        &mut self,
        now: Timestamp,
        arn: &str,
        id: &str,
    ) -> Result<Response, ApiError> {
        let policy = self.state.version_holder(arn, id)?;
        State::own(policy, "update policies")?;
        let (number, _) = policy.version(id)?;
        self.state.edit_policy(arn, |policy| {
            policy.default_version = number;
            policy.updated = now;
        })?;
        Ok(Response::Done)
    }

    pub(super) fn delete_policy(&mut self, arn: &str) -> Result<Response, ApiError> {
        let policy = self.state.policy(arn)?;
        State::own(policy, "delete policies")?;
        if !policy.attached_to.is_empty() || !policy.bounds.is_empty() {
            return Err(Code::DeleteConflict.error("Cannot delete a policy attached to entities."));
        }
        if policy.versions.len() > 1 {
            return Err(Code::DeleteConflict.error(
                "This policy has more than one version. Before you delete a policy, you must delete the policy's \
                 versions. The default version is deleted with the policy.",
            ));
        }
        let name = fold(&policy.name);
        self.state.policies.remove_mut(arn);
        self.state.policy_names.remove_mut(&name);
        Ok(Response::Done)
    }

    pub(super) fn tag_policy(&mut self, arn: &str, tags: &[Tag]) -> Result<Response, ApiError> {
        let merged = Tagged::Policy.merge(&self.state.own_policy(arn)?.tags, tags)?;
        self.state.edit_policy(arn, |policy| policy.tags = merged)?;
        Ok(Response::Done)
    }

    pub(super) fn untag_policy(&mut self, arn: &str, keys: &[String]) -> Result<Response, ApiError> {
        let rest = Tagged::Policy.remove(&self.state.own_policy(arn)?.tags, keys);
        self.state.edit_policy(arn, |policy| policy.tags = rest)?;
        Ok(Response::Done)
    }
}
