//! The SDK's IAM client behind the trait.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use aws_sdk_iam::config::retry::RetryConfig;
use aws_sdk_iam::operation::get_user::GetUserOutput;
use aws_sdk_iam::types::{AccessKey, EntityType, ReportStateType, StatusType, User};
use jiff::Timestamp;
use secrecy::SecretString;

use super::compatible::path_tags;
use super::sdk::{SdkIam, document, found, gone, tags_from, tags_to, timestamp, unreadable};
use super::{
    AwsError, CreatedKey, DetailsPage, DetailsQuery, ErrorKind, Iam, PolicyRecord, Result, UserRecord, details,
    inline_policy, leftovers,
};
use crate::api::tags;
use crate::core::credential_report::CredentialReport;
use crate::core::iam::{AccessKeyId, KeyRecord, secret_half};
use crate::core::observed::{Minted, PolicyVersion};
use crate::core::policy::Document;

/// The most that IAM takes for MaxItems (IAM API reference).
const ITEMS: i32 = 1_000;
/// There is no credential report yet, or it is too old (IAM API reference, GetCredentialReport).
const NO_REPORT: [&str; 3] = ["ReportNotPresent", "ReportInProgress", "ReportExpired"];

impl SdkIam {
    async fn set_path(&self, user: &str, path: &str) -> Result<()> {
        const OPERATION: &str = "UpdateUser";
        let request = self.client.update_user().user_name(user).new_path(path);
        self.lane.call(OPERATION, user, || request.clone().send()).await?;
        let wanted =
            if self.provider.has_tags() { (path.to_owned(), BTreeMap::new()) } else { path_tags::decode(path) };
        self.confirm_user(OPERATION, user, |found| found.path == wanted.0 && has(found, &wanted.1)).await
    }

    /// Changes the tags that stand in the path; of the others there is no record.
    async fn retag(&self, user: &str, change: impl FnOnce(&mut BTreeMap<String, String>) + Send) -> Result<()> {
        let Some(mut found) = self.get_user(user).await? else { return Ok(()) };
        let before = path_tags::encode(&found.path, &found.tags);
        change(&mut found.tags);
        let after = path_tags::encode(&found.path, &found.tags);
        if after == before { Ok(()) } else { self.set_path(user, &after).await }
    }
}

/// Whether a user has those tags.
fn has(found: &UserRecord, tags: &BTreeMap<String, String>) -> bool {
    tags.iter().all(|(key, value)| found.tags.get(key) == Some(value))
}

#[async_trait]
impl Iam for SdkIam {
    async fn get_user(&self, user: &str) -> Result<Option<UserRecord>> {
        let answer = found(self.lane.call("GetUser", user, || self.client.get_user().user_name(user).send()).await)?;
        // The SDK has empty texts for what is missing, and an empty user would be a stranger's.
        let is_whole =
            |user: &User| !(user.user_name.is_empty() || (user.arn.is_empty() && self.provider.has_all_of_iam()));
        let read = |answer: GetUserOutput| answer.user.filter(is_whole).ok_or_else(|| unreadable("GetUser", user));
        let mut record = answer.map(read).transpose()?.map(|user| UserRecord {
            tags: tags_from(user.tags()),
            boundary: user.permissions_boundary.and_then(|boundary| boundary.permissions_boundary_arn),
            arn: user.arn,
            path: user.path,
        });
        if let Some(record) = record.as_mut().filter(|_| !self.provider.has_tags()) {
            (record.path, record.tags) = path_tags::decode(&record.path);
            // One that cannot be read is there as far as anybody knows: it must not keep the user from being deleted.
            let there = async || !matches!(self.get_user_policy(user, user).await, Ok(None));
            if !record.tags.is_empty() && there().await {
                record.tags.insert(tags::POLICY.to_owned(), format!("inline:{user}"));
            }
        }
        Ok(record)
    }

    async fn create_user(
        &self,
        user: &str,
        path: &str,
        tags: &BTreeMap<String, String>,
        boundary: Option<&str>,
    ) -> Result<String> {
        const OPERATION: &str = "CreateUser";
        let (sent, sent_tags) = if self.provider.has_tags() {
            (path.to_owned(), Some(tags_to(OPERATION, user, tags)?))
        } else {
            (path_tags::encode(path, tags), None)
        };
        let request = self
            .client
            .create_user()
            .user_name(user)
            .path(sent)
            .set_tags(sent_tags)
            .set_permissions_boundary(boundary.map(ToOwned::to_owned));
        let answer = self.lane.call(OPERATION, user, || request.clone().send()).await?;
        let owned = if self.provider.has_tags() { tags.clone() } else { path_tags::kept(tags) };
        match self.confirm_user(OPERATION, user, |found| found.path == path && has(found, &owned)).await {
            Err(error) if error.kind == ErrorKind::OwnershipNotKept => return Err(self.unmake(user, error).await),
            confirmed => confirmed?,
        }
        answer.user.map(|created| created.arn).ok_or_else(|| unreadable(OPERATION, user))
    }

    async fn update_user_path(&self, user: &str, path: &str) -> Result<()> {
        if self.provider.has_tags() {
            return self.set_path(user, path).await;
        }
        let found = self.get_user(user).await?.map(|found| found.tags).unwrap_or_default();
        self.set_path(user, &path_tags::encode(path, &found)).await
    }

    async fn delete_user(&self, user: &str) -> Result<bool> {
        let answer = self.lane.call("DeleteUser", user, || self.client.delete_user().user_name(user).send()).await;
        Ok(found(answer)?.is_some())
    }

    async fn tag_user(&self, user: &str, tags: &BTreeMap<String, String>) -> Result<()> {
        const OPERATION: &str = "TagUser";
        if !self.provider.has_tags() {
            return self.retag(user, |owned| owned.extend(tags.clone())).await;
        }
        let request = self.client.tag_user().user_name(user).set_tags(Some(tags_to(OPERATION, user, tags)?));
        self.lane.call(OPERATION, user, || request.clone().send()).await?;
        self.confirm_user(OPERATION, user, |found| has(found, tags)).await
    }

    async fn untag_user(&self, user: &str, keys: &[String]) -> Result<()> {
        if !self.provider.has_tags() {
            return self.retag(user, |owned| owned.retain(|key, _| !keys.contains(key))).await;
        }
        let request = self.client.untag_user().user_name(user).set_tag_keys(Some(keys.to_vec()));
        self.lane.call("UntagUser", user, || request.clone().send()).await.map(drop)
    }

    async fn put_user_permissions_boundary(&self, user: &str, arn: &str) -> Result<()> {
        let request = self.client.put_user_permissions_boundary().user_name(user).permissions_boundary(arn);
        self.lane.call("PutUserPermissionsBoundary", user, || request.clone().send()).await.map(drop)
    }

    async fn delete_user_permissions_boundary(&self, user: &str) -> Result<()> {
        let request = self.client.delete_user_permissions_boundary().user_name(user);
        gone(self.lane.call("DeleteUserPermissionsBoundary", user, || request.clone().send()).await)
    }

    async fn clear_leftovers(&self, user: &str) -> Result<()> {
        leftovers::clear(self, user).await
    }

    async fn list_access_keys(&self, user: &str) -> Result<Vec<KeyRecord>> {
        const OPERATION: &str = "ListAccessKeys";
        let request = self.client.list_access_keys().user_name(user);
        let send = |marker| request.clone().set_marker(marker).send();
        let listed = self
            .lane
            .list(OPERATION, user, send, |page| (page.access_key_metadata, page.marker.filter(|_| page.is_truncated)));
        let mut seen = BTreeSet::new();
        listed
            .await?
            .into_iter()
            // A server that knows no pages may show the same one again.
            .filter(|key| seen.insert(key.access_key_id.clone()))
            // Some systems take any id that an administrator wants: a key that can be none of ours keeps no other from being taken
            // out of use.
            .filter(|key| self.provider.has_all_of_iam() || key.access_key_id.as_deref().is_some_and(is_key_id))
            .map(|key| {
                let id = key.access_key_id.filter(|id| is_key_id(id)).ok_or_else(|| unreadable(OPERATION, user))?;
                let created_at = key.create_date.as_ref().and_then(timestamp);
                if created_at.is_none() && self.provider.has_all_of_iam() {
                    return Err(unreadable(OPERATION, user));
                }
                // What does not say that it is inactive may work.
                Ok(KeyRecord { id, active: key.status != Some(StatusType::Inactive), created_at })
            })
            .collect()
    }

    async fn create_access_key(&self, user: &str) -> Result<CreatedKey> {
        const OPERATION: &str = "CreateAccessKey";
        let once = aws_sdk_iam::config::Builder::new().retry_config(RetryConfig::disabled());
        let request = self.client.create_access_key().user_name(user);
        let send = || request.clone().customize().config_override(once.clone()).send();
        let answer = self.lane.call(OPERATION, user, send).await?;
        // The SDK has an empty text for a half that is missing.
        let is_whole = |key: &AccessKey| {
            AccessKeyId::parse(&key.access_key_id).is_some() && secret_half(&key.secret_access_key).is_some()
        };
        let key = answer.access_key.filter(is_whole).ok_or_else(|| unreadable(OPERATION, user))?;
        let created_at = key.create_date.as_ref().and_then(timestamp).unwrap_or_else(Timestamp::now);
        Ok(CreatedKey {
            minted: Minted { id: key.access_key_id, created_at },
            secret: SecretString::from(key.secret_access_key),
        })
    }

    async fn update_access_key(&self, user: &str, id: &str, active: bool) -> Result<()> {
        let status = if active { StatusType::Active } else { StatusType::Inactive };
        let request = self.client.update_access_key().user_name(user).access_key_id(id).status(status);
        self.lane.call("UpdateAccessKey", id, || request.clone().send()).await.map(drop)
    }

    async fn delete_access_key(&self, user: &str, id: &str) -> Result<()> {
        let request = self.client.delete_access_key().user_name(user).access_key_id(id);
        gone(self.lane.call("DeleteAccessKey", id, || request.clone().send()).await)
    }

    async fn get_access_key_last_used(&self, id: &str) -> Result<Option<Timestamp>> {
        let request = self.client.get_access_key_last_used().access_key_id(id);
        let answer = match self.lane.call("GetAccessKeyLastUsed", id, || request.clone().send()).await {
            Err(error) if error.kind == ErrorKind::Unsupported && !self.provider.has_all_of_iam() => None,
            Err(error) if error.is_of_a_key_that_is_gone() => None,
            answer => found(answer)?,
        };
        let used = answer.and_then(|answer| answer.access_key_last_used).and_then(|used| used.last_used_date);
        Ok(used.as_ref().and_then(timestamp))
    }

    async fn list_what_else_grants(&self, user: &str) -> Result<BTreeSet<String>> {
        let request = self.client.list_user_policies().user_name(user);
        let send = |marker| request.clone().set_marker(marker).send();
        let policies = self.lane.list("ListUserPolicies", user, send, |page| {
            (page.policy_names, page.marker.filter(|_| page.is_truncated))
        });
        let policies = policies.await?;
        let mut found: BTreeSet<String> = policies.iter().map(|name| inline_policy(name)).collect();
        if self.provider.has_all_of_iam() {
            let request = self.client.list_groups_for_user().user_name(user);
            let send = |marker| request.clone().set_marker(marker).send();
            let groups = self
                .lane
                .list("ListGroupsForUser", user, send, |page| (page.groups, page.marker.filter(|_| page.is_truncated)));
            found.extend(groups.await?.iter().map(|group| format!("group {}", group.group_name)));
        }
        Ok(found)
    }

    async fn list_attached_user_policies(&self, user: &str) -> Result<BTreeSet<String>> {
        if !self.provider.has_all_of_iam() {
            return Ok(BTreeSet::new());
        }
        let request = self.client.list_attached_user_policies().user_name(user);
        let send = |marker| request.clone().set_marker(marker).send();
        let listed = self.lane.list("ListAttachedUserPolicies", user, send, |page| {
            (page.attached_policies.unwrap_or_default(), page.marker.filter(|_| page.is_truncated))
        });
        Ok(listed.await?.into_iter().filter_map(|policy| policy.policy_arn).collect())
    }

    async fn attach_user_policy(&self, user: &str, arn: &str) -> Result<()> {
        let request = self.client.attach_user_policy().user_name(user).policy_arn(arn);
        self.lane.call("AttachUserPolicy", arn, || request.clone().send()).await.map(drop)
    }

    async fn detach_user_policy(&self, user: &str, arn: &str) -> Result<()> {
        let request = self.client.detach_user_policy().user_name(user).policy_arn(arn);
        gone(self.lane.call("DetachUserPolicy", arn, || request.clone().send()).await)
    }

    async fn get_user_policy(&self, user: &str, name: &str) -> Result<Option<Document>> {
        const OPERATION: &str = "GetUserPolicy";
        let request = self.client.get_user_policy().user_name(user).policy_name(name);
        let answer = found(self.lane.call(OPERATION, name, || request.clone().send()).await)?;
        answer.map(|answer| document(OPERATION, name, &answer.policy_document)).transpose()
    }

    async fn put_user_policy(&self, user: &str, name: &str, document: &Document) -> Result<()> {
        const OPERATION: &str = "PutUserPolicy";
        let request = self.client.put_user_policy().user_name(user).policy_name(name).policy_document(document.text());
        self.lane.call(OPERATION, name, || request.clone().send()).await?;
        self.confirm_policy(OPERATION, user, name, document).await
    }

    async fn delete_user_policy(&self, user: &str, name: &str) -> Result<()> {
        let request = self.client.delete_user_policy().user_name(user).policy_name(name);
        gone(self.lane.call("DeleteUserPolicy", name, || request.clone().send()).await)
    }

    async fn get_policy(&self, arn: &str) -> Result<Option<PolicyRecord>> {
        if !self.provider.has_all_of_iam() {
            return Ok(None);
        }
        let answer = found(self.lane.call("GetPolicy", arn, || self.client.get_policy().policy_arn(arn).send()).await)?;
        Ok(answer.and_then(|answer| answer.policy).map(|policy| PolicyRecord {
            tags: tags_from(policy.tags()),
            default_version: policy.default_version_id.unwrap_or_else(|| "v1".to_owned()),
        }))
    }

    async fn get_policy_version(&self, arn: &str, version: &str) -> Result<Document> {
        const OPERATION: &str = "GetPolicyVersion";
        let request = self.client.get_policy_version().policy_arn(arn).version_id(version);
        let answer = self.lane.call(OPERATION, arn, || request.clone().send()).await?;
        let text = answer.policy_version.and_then(|version| version.document);
        document(OPERATION, arn, &text.ok_or_else(|| unreadable(OPERATION, arn))?)
    }

    async fn list_policy_versions(&self, arn: &str) -> Result<Vec<PolicyVersion>> {
        let request = self.client.list_policy_versions().policy_arn(arn);
        let send = |marker| request.clone().set_marker(marker).send();
        let listed = self.lane.list("ListPolicyVersions", arn, send, |page| {
            (page.versions.unwrap_or_default(), page.marker.filter(|_| page.is_truncated))
        });
        Ok(listed
            .await?
            .into_iter()
            .filter_map(|version| {
                Some(PolicyVersion {
                    id: version.version_id?,
                    is_default: version.is_default_version,
                    created_at: version.create_date.as_ref().and_then(timestamp).unwrap_or_default(),
                })
            })
            .collect())
    }

    async fn create_policy(&self, arn: &str, document: &Document, tags: &BTreeMap<String, String>) -> Result<()> {
        const OPERATION: &str = "CreatePolicy";
        let (path, name) = path_and_name(arn).ok_or_else(|| unreadable(OPERATION, arn))?;
        let request = self
            .client
            .create_policy()
            .policy_name(name)
            .path(path)
            .policy_document(document.text())
            .set_tags(Some(tags_to(OPERATION, arn, tags)?));
        self.lane.call(OPERATION, arn, || request.clone().send()).await.map(drop)
    }

    async fn create_policy_version(&self, arn: &str, document: &Document) -> Result<()> {
        let request =
            self.client.create_policy_version().policy_arn(arn).policy_document(document.text()).set_as_default(true);
        self.lane.call("CreatePolicyVersion", arn, || request.clone().send()).await.map(drop)
    }

    async fn delete_policy_version(&self, arn: &str, version: &str) -> Result<()> {
        let request = self.client.delete_policy_version().policy_arn(arn).version_id(version);
        gone(self.lane.call("DeletePolicyVersion", arn, || request.clone().send()).await)
    }

    async fn delete_policy(&self, arn: &str) -> Result<()> {
        gone(self.lane.call("DeletePolicy", arn, || self.client.delete_policy().policy_arn(arn).send()).await)
    }

    async fn tag_policy(&self, arn: &str, tags: &BTreeMap<String, String>) -> Result<()> {
        const OPERATION: &str = "TagPolicy";
        let request = self.client.tag_policy().policy_arn(arn).set_tags(Some(tags_to(OPERATION, arn, tags)?));
        self.lane.call(OPERATION, arn, || request.clone().send()).await.map(drop)
    }

    async fn account_details(&self, query: DetailsQuery<'_>) -> Result<DetailsPage> {
        details::page(self, query).await
    }

    async fn generate_credential_report(&self) -> Result<bool> {
        let request = self.client.generate_credential_report();
        let answer = self.lane.call("GenerateCredentialReport", "account", || request.clone().send()).await?;
        Ok(answer.state == Some(ReportStateType::Complete))
    }

    async fn credential_report(&self) -> Result<Option<CredentialReport>> {
        const OPERATION: &str = "GetCredentialReport";
        let request = self.client.get_credential_report();
        let answer = match self.lane.call(OPERATION, "account", || request.clone().send()).await {
            Err(error) if NO_REPORT.contains(&error.code.as_str()) => return Ok(None),
            answer => answer?,
        };
        let made_at = answer.generated_time.as_ref().and_then(timestamp);
        let (made_at, text) = made_at.zip(answer.content).ok_or_else(|| unreadable(OPERATION, "account"))?;
        let report = CredentialReport::read(made_at, text.as_ref());
        report.map(Some).map_err(|error| AwsError { message: error.to_string(), ..unreadable(OPERATION, "account") })
    }

    async fn list_users_of_policy(&self, arn: &str) -> Result<Vec<String>> {
        let request = self.client.list_entities_for_policy().policy_arn(arn).entity_filter(EntityType::User);
        let send = |marker| request.clone().max_items(ITEMS).set_marker(marker).send();
        let users = self.lane.list("ListEntitiesForPolicy", arn, send, |page| {
            (page.policy_users.unwrap_or_default(), page.marker.filter(|_| page.is_truncated))
        });
        Ok(users.await?.into_iter().filter_map(|user| user.user_name).collect())
    }

    async fn list_entities_for_policy(&self, arn: &str) -> Result<Vec<String>> {
        let request = self.client.list_entities_for_policy().policy_arn(arn);
        let answer = self.lane.call("ListEntitiesForPolicy", arn, || request.clone().send()).await?;
        let users = answer.policy_users().iter().filter_map(|user| user.user_name()).map(|name| format!("user {name}"));
        let roles = answer.policy_roles().iter().filter_map(|role| role.role_name()).map(|name| format!("role {name}"));
        let groups =
            answer.policy_groups().iter().filter_map(|group| group.group_name()).map(|name| format!("group {name}"));
        Ok(users.chain(roles).chain(groups).collect())
    }
}

fn is_key_id(text: &str) -> bool {
    AccessKeyId::parse(text).is_some()
}

fn path_and_name(arn: &str) -> Option<(&str, &str)> {
    let (_, resource) = arn.split_once(":policy")?;
    let name_at = resource.rfind('/')? + 1;
    Some(resource.split_at(name_at))
}

#[cfg(test)]
mod tests;
