//! AWS, in this process: the operator's traits over the strict double.

use std::collections::{BTreeMap, BTreeSet};
use std::future::ready;

use async_trait::async_trait;
use ground::double::{Caller, Credentials, DetailsFilter, Identity, Listing, Page, Request, Response, Status, Tag};
use jiff::Timestamp;
use s3_access_operator::api::tags;
use s3_access_operator::aws::{
    AwsError, CreatedKey, DetailsPage, DetailsQuery, ErrorKind, Iam, PolicyRecord, Result, Sts, UserRecord,
    inline_policy,
};
use s3_access_operator::core::credential_report::CredentialReport;
use s3_access_operator::core::drift::{PolicyDetail, UserDetail};
use s3_access_operator::core::iam::{AccessKeyId, Account, KeyRecord};
use s3_access_operator::core::observed::{Minted, PolicyVersion};
use s3_access_operator::core::policy::Document;
use s3_access_operator::core::secret_data::{Credentials as KeyOrSession, SessionToken};
use secrecy::{ExposeSecret, SecretString};

use crate::boundary::{Boundary, aws_error};
use crate::mistakes::Mistake;
use crate::outside::{ACCOUNT, Outside};

/// The double behind the boundary.
#[derive(Clone)]
pub struct Cloud {
    pub outside: Outside,
    pub boundary: Boundary,
}

impl Cloud {
    /// One call as its account's root: what the operator's IAM policy allows is tested elsewhere.
    fn send(&self, request: &Request) -> Result<Response> {
        self.outside.with(|outside| {
            outside.judge_call(self.boundary.process, request);
            let now = outside.now;
            answer(request, outside.aws.call(now, Caller::root(ACCOUNT), request).result)
        })
    }

    async fn call(&self, request: Request) -> Result<Response> {
        let (call, target) = (request.operation().as_str(), request.target().to_owned());
        self.boundary.through(call, &target, async { self.send(&request) }).await
    }

    async fn done(&self, request: Request) -> Result<()> {
        self.call(request).await.map(drop)
    }

    fn makes(&self, mistake: Mistake) -> bool {
        self.outside.with(|state| state.mistake == Some(mistake))
    }

    /// What is gone already is deleted.
    async fn gone(&self, request: Request) -> Result<()> {
        found(self.call(request).await).map(drop)
    }

    /// All pages; to the operator they are one call.
    async fn list<T>(
        &self,
        request: impl Fn(Page) -> Request,
        items: impl Fn(Response) -> Option<Listing<T>>,
    ) -> Result<Vec<T>> {
        let first = request(Page::default());
        let (call, target) = (first.operation().as_str(), first.target().to_owned());
        let pages = || {
            let (mut all, mut page) = (Vec::new(), Page::default());
            loop {
                let listed = items(self.send(&request(page.clone()))?).ok_or_else(|| unexpected(call))?;
                all.extend(listed.items);
                match listed.marker {
                    Some(marker) => page.marker = Some(marker),
                    None => return Ok(all),
                }
            }
        };
        self.boundary.through(call, &target, async { pages() }).await
    }
}

fn answer(request: &Request, result: std::result::Result<Response, ground::double::CallError>) -> Result<Response> {
    let call = request.operation().as_str();
    result.map_err(|error| match error {
        ground::double::CallError::Api(error) => {
            let code = error.code.as_str();
            let kind = ErrorKind::of_code(code, Some(error.code.status()));
            AwsError { message: error.message, ..aws_error(call, request.target(), code, kind) }
        }
        _ => aws_error(call, request.target(), "Timeout", ErrorKind::Unreachable),
    })
}

fn found<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn unexpected(call: &'static str) -> AwsError {
    aws_error(call, "", "UnexpectedAnswer", ErrorKind::Other)
}

fn tags_of(tags: &ground::double::Tags) -> BTreeMap<String, String> {
    tags.values().map(|tag| (tag.key.clone(), tag.value.clone())).collect()
}

fn tags_to(tags: &BTreeMap<String, String>) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag::new(key, value)).collect()
}

fn parse(text: &str) -> Result<Document> {
    Document::parse(text).map_err(|_| unexpected("GetPolicyVersion"))
}

fn named(user: &str) -> String {
    user.to_owned()
}

#[async_trait]
impl Iam for Cloud {
    async fn get_user(&self, user: &str) -> Result<Option<UserRecord>> {
        match found(self.call(Request::GetUser { user_name: named(user) }).await)? {
            None => Ok(None),
            Some(Response::User(user)) => {
                let mut tags = tags_of(&user.tags);
                if self.makes(Mistake::IgnoresTheUid) && tags.contains_key(tags::UID) {
                    tags.extend(
                        self.outside.with(|state| state.uid_of(&user.name)).map(|uid| (tags::UID.to_owned(), uid)),
                    );
                }
                let (arn, path) = (user.arn.clone(), user.path.clone());
                Ok(Some(UserRecord { arn, path, tags, boundary: user.boundary.clone() }))
            }
            Some(_) => Err(unexpected("GetUser")),
        }
    }

    async fn create_user(
        &self,
        user: &str,
        path: &str,
        tags: &BTreeMap<String, String>,
        boundary: Option<&str>,
    ) -> Result<String> {
        let request = Request::CreateUser {
            user_name: named(user),
            path: Some(path.to_owned()),
            permissions_boundary: boundary.map(ToOwned::to_owned),
            tags: tags_to(tags),
        };
        match self.call(request).await? {
            Response::User(user) => Ok(user.arn.clone()),
            _ => Err(unexpected("CreateUser")),
        }
    }

    async fn update_user_path(&self, user: &str, path: &str) -> Result<()> {
        let new_path = Some(path.to_owned());
        self.done(Request::UpdateUser { user_name: named(user), new_user_name: None, new_path }).await
    }

    async fn delete_user(&self, user: &str) -> Result<bool> {
        Ok(found(self.call(Request::DeleteUser { user_name: named(user) }).await)?.is_some())
    }

    async fn tag_user(&self, user: &str, tags: &BTreeMap<String, String>) -> Result<()> {
        self.done(Request::TagUser { user_name: named(user), tags: tags_to(tags) }).await
    }

    async fn untag_user(&self, user: &str, keys: &[String]) -> Result<()> {
        self.done(Request::UntagUser { user_name: named(user), tag_keys: keys.to_vec() }).await
    }

    async fn put_user_permissions_boundary(&self, user: &str, arn: &str) -> Result<()> {
        let permissions_boundary = arn.to_owned();
        self.done(Request::PutUserPermissionsBoundary { user_name: named(user), permissions_boundary }).await
    }

    async fn delete_user_permissions_boundary(&self, user: &str) -> Result<()> {
        self.gone(Request::DeleteUserPermissionsBoundary { user_name: named(user) }).await
    }

    async fn clear_leftovers(&self, user: &str) -> Result<()> {
        let user_name = || named(user);
        self.gone(Request::DeleteLoginProfile { user_name: user_name() }).await?;
        let policies = self.list(
            |page| Request::ListUserPolicies { user_name: user_name(), page },
            |answer| if let Response::PolicyNames(names) = answer { Some(names) } else { None },
        );
        for policy_name in policies.await? {
            self.gone(Request::DeleteUserPolicy { user_name: user_name(), policy_name }).await?;
        }
        let groups = self.list(
            |page| Request::ListGroupsForUser { user_name: user_name(), page },
            |answer| if let Response::Groups(groups) = answer { Some(groups) } else { None },
        );
        for group in groups.await? {
            let group_name = group.name.clone();
            self.gone(Request::RemoveUserFromGroup { user_name: user_name(), group_name }).await?;
        }
        let devices = self.list(
            |page| Request::ListMFADevices { user_name: user_name(), page },
            |answer| if let Response::MfaDevices { devices, .. } = answer { Some(devices) } else { None },
        );
        for (serial_number, _) in devices.await? {
            let deactivate =
                Request::DeactivateMFADevice { user_name: user_name(), serial_number: serial_number.clone() };
            self.gone(deactivate).await?;
            self.gone(Request::DeleteVirtualMFADevice { serial_number }).await?;
        }
        let keys = self.list(
            |page| Request::ListSSHPublicKeys { user_name: user_name(), page },
            |answer| if let Response::SshKeys { keys, .. } = answer { Some(keys) } else { None },
        );
        for key in keys.await? {
            self.gone(Request::DeleteSSHPublicKey { user_name: user_name(), ssh_public_key_id: key.id }).await?;
        }
        Ok(())
    }

    async fn list_access_keys(&self, user: &str) -> Result<Vec<KeyRecord>> {
        if self.makes(Mistake::TrustsStatus) {
            let reported = self.outside.with(|state| {
                let status = state.cluster.users.values().find_map(|found| found.status.clone())?;
                Some((status.access_key_id?, status.access_key_created_at?.0))
            });
            if let Some((id, created_at)) = reported {
                return Ok(vec![KeyRecord { id, active: true, created_at: Some(created_at) }]);
            }
        }
        let listed = self.list(
            |page| Request::ListAccessKeys { user_name: named(user), page },
            |answer| if let Response::AccessKeys(keys) = answer { Some(keys) } else { None },
        );
        let key = |key: ground::double::AccessKeyMetadata| KeyRecord {
            id: key.id,
            active: key.status == Status::Active,
            created_at: Some(key.created),
        };
        Ok(listed.await?.into_iter().map(key).collect())
    }

    async fn create_access_key(&self, user: &str) -> Result<CreatedKey> {
        if self.makes(Mistake::DeletesBeforeTheSwap) {
            for key in self.list_access_keys(user).await? {
                self.delete_access_key(user, &key.id).await?;
            }
        }
        let mut answer = self.call(Request::CreateAccessKey { user_name: named(user) }).await;
        if self.makes(Mistake::RetriesCreateAccessKey)
            && answer.as_ref().is_err_and(|error| error.kind == ErrorKind::Unreachable)
        {
            answer = self.call(Request::CreateAccessKey { user_name: named(user) }).await;
        }
        match answer? {
            Response::NewAccessKey(created) => Ok(CreatedKey {
                minted: Minted { id: created.key.id.clone(), created_at: created.key.created },
                secret: SecretString::from(created.key.secret),
            }),
            _ => Err(unexpected("CreateAccessKey")),
        }
    }

    async fn update_access_key(&self, user: &str, id: &str, active: bool) -> Result<()> {
        let status = if active { Status::Active } else { Status::Inactive };
        self.done(Request::UpdateAccessKey { user_name: named(user), access_key_id: id.to_owned(), status }).await
    }

    async fn delete_access_key(&self, user: &str, id: &str) -> Result<()> {
        self.gone(Request::DeleteAccessKey { user_name: named(user), access_key_id: id.to_owned() }).await
    }

    async fn get_access_key_last_used(&self, id: &str) -> Result<Option<Timestamp>> {
        match found(self.call(Request::GetAccessKeyLastUsed { access_key_id: id.to_owned() }).await)? {
            None => Ok(None),
            Some(Response::AccessKeyLastUsed { last_used, .. }) => Ok(last_used.map(|used| used.at)),
            Some(_) => Err(unexpected("GetAccessKeyLastUsed")),
        }
    }

    async fn list_what_else_grants(&self, user: &str) -> Result<BTreeSet<String>> {
        let policies = self.list(
            |page| Request::ListUserPolicies { user_name: named(user), page },
            |answer| if let Response::PolicyNames(names) = answer { Some(names) } else { None },
        );
        let mut found: BTreeSet<String> = policies.await?.iter().map(|name| inline_policy(name)).collect();
        let groups = self.list(
            |page| Request::ListGroupsForUser { user_name: named(user), page },
            |answer| if let Response::Groups(groups) = answer { Some(groups) } else { None },
        );
        found.extend(groups.await?.iter().map(|group| format!("group {}", group.name)));
        Ok(found)
    }

    async fn list_attached_user_policies(&self, user: &str) -> Result<BTreeSet<String>> {
        let listed = self.list(
            |page| Request::ListAttachedUserPolicies { user_name: named(user), path_prefix: None, page },
            |answer| if let Response::AttachedPolicies(policies) = answer { Some(policies) } else { None },
        );
        Ok(listed.await?.into_iter().map(|policy| policy.arn).collect())
    }

    async fn attach_user_policy(&self, user: &str, arn: &str) -> Result<()> {
        self.done(Request::AttachUserPolicy { user_name: named(user), policy_arn: arn.to_owned() }).await
    }

    async fn detach_user_policy(&self, user: &str, arn: &str) -> Result<()> {
        self.gone(Request::DetachUserPolicy { user_name: named(user), policy_arn: arn.to_owned() }).await
    }

    async fn get_user_policy(&self, user: &str, name: &str) -> Result<Option<Document>> {
        let request = Request::GetUserPolicy { user_name: named(user), policy_name: name.to_owned() };
        match found(self.call(request).await)? {
            None => Ok(None),
            Some(Response::InlinePolicy { document, .. }) => parse(&document).map(Some),
            Some(_) => Err(unexpected("GetUserPolicy")),
        }
    }

    async fn put_user_policy(&self, user: &str, name: &str, document: &Document) -> Result<()> {
        let (policy_name, policy_document) = (name.to_owned(), document.text());
        self.done(Request::PutUserPolicy { user_name: named(user), policy_name, policy_document }).await
    }

    async fn delete_user_policy(&self, user: &str, name: &str) -> Result<()> {
        self.gone(Request::DeleteUserPolicy { user_name: named(user), policy_name: name.to_owned() }).await
    }

    async fn get_policy(&self, arn: &str) -> Result<Option<PolicyRecord>> {
        match found(self.call(Request::GetPolicy { policy_arn: arn.to_owned() }).await)? {
            None => Ok(None),
            Some(Response::Policy(policy)) => Ok(Some(PolicyRecord {
                tags: tags_of(&policy.tags),
                default_version: format!("v{}", policy.default_version),
            })),
            Some(_) => Err(unexpected("GetPolicy")),
        }
    }

    async fn get_policy_version(&self, arn: &str, version: &str) -> Result<Document> {
        let request = Request::GetPolicyVersion { policy_arn: arn.to_owned(), version_id: version.to_owned() };
        match self.call(request).await? {
            Response::PolicyVersion(version) => parse(&version.document.unwrap_or_default()),
            _ => Err(unexpected("GetPolicyVersion")),
        }
    }

    async fn list_policy_versions(&self, arn: &str) -> Result<Vec<PolicyVersion>> {
        let listed = self.list(
            |page| Request::ListPolicyVersions { policy_arn: arn.to_owned(), page },
            |answer| if let Response::PolicyVersions(versions) = answer { Some(versions) } else { None },
        );
        let version = |version: ground::double::VersionView| PolicyVersion {
            id: version.version_id,
            is_default: version.is_default,
            created_at: version.created,
        };
        Ok(listed.await?.into_iter().map(version).collect())
    }

    async fn create_policy(&self, arn: &str, document: &Document, tags: &BTreeMap<String, String>) -> Result<()> {
        let (path, name) = arn.split_once(":policy").and_then(|(_, rest)| rest.rsplit_once('/')).unwrap_or_default();
        let request = Request::CreatePolicy {
            policy_name: name.to_owned(),
            path: Some(format!("{path}/")),
            policy_document: document.text(),
            description: None,
            tags: tags_to(tags),
        };
        self.done(request).await
    }

    async fn create_policy_version(&self, arn: &str, document: &Document) -> Result<()> {
        let policy_document = document.text();
        self.done(Request::CreatePolicyVersion { policy_arn: arn.to_owned(), policy_document, set_as_default: true })
            .await
    }

    async fn delete_policy_version(&self, arn: &str, version: &str) -> Result<()> {
        let version_id = version.to_owned();
        self.gone(Request::DeletePolicyVersion { policy_arn: arn.to_owned(), version_id }).await
    }

    async fn delete_policy(&self, arn: &str) -> Result<()> {
        self.gone(Request::DeletePolicy { policy_arn: arn.to_owned() }).await
    }

    async fn tag_policy(&self, arn: &str, tags: &BTreeMap<String, String>) -> Result<()> {
        self.done(Request::TagPolicy { policy_arn: arn.to_owned(), tags: tags_to(tags) }).await
    }

    async fn account_details(&self, query: DetailsQuery<'_>) -> Result<DetailsPage> {
        let mut filter = vec![DetailsFilter::User];
        filter.extend(query.policies.then_some(DetailsFilter::LocalManagedPolicy));
        let page = Page { marker: query.marker.map(ToOwned::to_owned), max_items: Some(1_000) };
        let Response::AccountDetails(found) =
            self.call(Request::GetAccountAuthorizationDetails { filter, page }).await?
        else {
            return Err(unexpected("GetAccountAuthorizationDetails"));
        };
        let mut page = DetailsPage { marker: found.marker, ..DetailsPage::default() };
        for detail in found.users {
            let user = &detail.user;
            let inline = detail.inline.iter().map(|(name, text)| Ok((name.clone(), parse(text)?)));
            page.users.push(UserDetail {
                name: user.name.clone(),
                arn: user.arn.clone(),
                path: user.path.clone(),
                tags: tags_of(&user.tags),
                boundary: user.boundary.clone(),
                attached: detail.attached.iter().map(|policy| policy.arn.clone()).collect(),
                inline: inline.collect::<Result<_>>()?,
            });
        }
        for detail in found.policies {
            let in_force = detail.versions.iter().find(|version| version.is_default);
            let text = in_force.and_then(|version| version.document.as_deref()).unwrap_or_default();
            page.policies.push(PolicyDetail { arn: detail.policy.arn.clone(), document: parse(text)? });
        }
        Ok(page)
    }

    async fn generate_credential_report(&self) -> Result<bool> {
        Err(unexpected("GenerateCredentialReport"))
    }

    async fn credential_report(&self) -> Result<Option<CredentialReport>> {
        Err(unexpected("GetCredentialReport"))
    }

    async fn list_users_of_policy(&self, arn: &str) -> Result<Vec<String>> {
        let listed = self.list(
            |page| Request::ListEntitiesForPolicy { policy_arn: arn.to_owned(), page },
            |answer| if let Response::PolicyUsers(users) = answer { Some(users) } else { None },
        );
        Ok(listed.await?.into_iter().map(|(name, _)| name).collect())
    }

    async fn list_entities_for_policy(&self, arn: &str) -> Result<Vec<String>> {
        let listed = self.list(
            |page| Request::ListEntitiesForPolicy { policy_arn: arn.to_owned(), page },
            |answer| if let Response::PolicyUsers(users) = answer { Some(users) } else { None },
        );
        Ok(listed.await?.into_iter().map(|(name, _)| format!("user {name}")).collect())
    }
}

#[async_trait]
impl Sts for Cloud {
    async fn caller(&self) -> Result<Account> {
        let account = Account { id: ACCOUNT.to_owned(), partition: "aws".to_owned() };
        self.boundary.through("GetCallerIdentity", "operator", ready(Ok(account))).await
    }

    async fn accepts(&self, id: &str, secret: &SecretString) -> Result<bool> {
        let credentials = key(id, secret);
        let request = Request::GetCallerIdentity {};
        let ask = async {
            self.outside.with(|outside| {
                outside.judge_id(id);
                let now = outside.now;
                let result = outside.aws.call(now, Identity::Credentials(credentials), &request).result;
                match answer(&request, result) {
                    Ok(_) => outside.accepted.insert(id.to_owned()),
                    Err(error) if error.kind == ErrorKind::InvalidCredentials => return Ok(false),
                    Err(error) => return Err(error),
                };
                Ok(true)
            })
        };
        self.boundary.through("GetCallerIdentity", id, ask).await
    }

    async fn session_token(&self, id: &str, secret: &SecretString, seconds: i32) -> Result<KeyOrSession> {
        let credentials = key(id, secret);
        let request = Request::GetSessionToken { duration_seconds: u32::try_from(seconds).ok() };
        let ask = async {
            self.outside.with(|outside| {
                outside.judge_id(id);
                let now = outside.now;
                let result = outside.aws.call(now, Identity::Credentials(credentials), &request).result;
                let Response::SessionToken(session) = answer(&request, result)? else { panic!("no session") };
                outside.judge_session(id);
                outside.accepted.insert(session.access_key_id.clone());
                Ok(KeyOrSession {
                    access_key_id: AccessKeyId::of_iam(&session.access_key_id),
                    secret_access_key: session.secret_access_key.into(),
                    token: Some(SessionToken { token: session.session_token.into(), expires_at: session.expiration }),
                })
            })
        };
        self.boundary.through("GetSessionToken", id, ask).await
    }
}

fn key(id: &str, secret: &SecretString) -> Credentials {
    Credentials {
        access_key_id: id.to_owned(),
        secret_access_key: secret.expose_secret().to_owned(),
        session_token: None,
    }
}
