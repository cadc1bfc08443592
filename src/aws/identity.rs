//! Whose a session's credentials are, and what they may do, as IAM's simulator says it for `doctor`; nothing is changed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_iam::types::{ContextEntry, ContextKeyTypeEnum, EntityType, PolicyEvaluationDecisionType};
use tokio::sync::OnceCell;

use super::Result;
use super::error::AnotherAccount;
use super::lanes::Way;
use super::sdk::found;
use crate::core::iam::{AccessKeyId, Account};

/// Who calls, and what that one may do.
pub struct Identity {
    pub(super) iam: aws_sdk_iam::Client,
    pub(super) sts: aws_sdk_sts::Client,
    pub(super) lane: Arc<Way>,
    pub(super) credentials: Option<SharedCredentialsProvider>,
}

/// Credentials that stay those of one account. Whoever replaces them (a Secret is followed, a role's are renewed) by those of
/// another one would have every user found missing, let go or made anew there; the account is asked for only once. Those that
/// STS does not tell the account of are not given out.
pub(super) struct SameAccount {
    inner: SharedCredentialsProvider,
    sts: aws_sdk_sts::Client,
    account: Arc<OnceCell<Account>>,
    /// The access key that was given out last, and is that account's.
    last: Mutex<Option<String>>,
}

impl SameAccount {
    /// Those of `inner`, which `sts` is asked about; the account is known once the first of them were used.
    pub(super) fn new(
        inner: SharedCredentialsProvider,
        sts: aws_sdk_sts::Client,
        account: &Arc<OnceCell<Account>>,
    ) -> Self {
        Self { inner, sts, account: account.clone(), last: Mutex::default() }
    }

    async fn checked(&self) -> provider::Result {
        let credentials = self.inner.provide_credentials().await?;
        let id = Some(credentials.access_key_id().to_owned());
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let (Some(account), true) = (self.account.get(), last.is_some() && last != id) {
            let with_them = aws_sdk_sts::config::Builder::new().credentials_provider(credentials.clone());
            match self.sts.get_caller_identity().customize().config_override(with_them).send().await {
                Ok(answer) if answer.account() == Some(&account.id) => {}
                Ok(answer) => {
                    let now = answer.account().unwrap_or("unknown").to_owned();
                    let another = AnotherAccount { before: account.id.clone(), now };
                    return Err(CredentialsError::provider_error(another));
                }
                // Whose they are has to be known before anything is done with them.
                Err(error) => return Err(CredentialsError::provider_error(error)),
            }
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = id;
        Ok(credentials)
    }
}

impl fmt::Debug for SameAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl ProvideCredentials for SameAccount {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.checked())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.inner.fallback_on_interrupt()
    }
}

/// What the simulator is asked: some actions, on one resource, with the condition keys that their request would have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Such as `iam:CreateUser`.
    pub actions: Vec<String>,
    /// An ARN, or `*`.
    pub resource: String,
    /// Condition keys, each with its value.
    pub context: BTreeMap<String, String>,
}

impl Identity {
    /// The id of the access key that the calls are signed with, where it is one for ever: a session's is none.
    pub async fn static_key(&self) -> Option<AccessKeyId> {
        let credentials = self.credentials.as_ref()?.provide_credentials().await.ok()?;
        AccessKeyId::parse(credentials.access_key_id()).filter(|_| credentials.session_token().is_none())
    }

    /// GetRole: the ARN, which has the path that an assumed role's lacks.
    ///
    /// # Errors
    /// As for [`super::Iam`].
    pub async fn role_arn(&self, role: &str) -> Result<Option<String>> {
        let request = self.iam.get_role().role_name(role);
        let answer = found(self.lane.call("GetRole", role, || request.clone().send()).await)?;
        Ok(answer.and_then(|answer| answer.role).map(|role| role.arn))
    }

    /// SimulatePrincipalPolicy: those of the actions that are not allowed. It knows the identity's policies and its
    /// boundary. Of an organization's policies it knows some, and not their conditions.
    ///
    /// # Errors
    /// As for [`super::Iam`].
    pub async fn simulate(&self, principal: &str, question: &Question) -> Result<Vec<String>> {
        let context = question.context.iter().map(|(key, value)| {
            let entry = ContextEntry::builder().context_key_name(key).context_key_values(value);
            entry.context_key_type(ContextKeyTypeEnum::String).build()
        });
        let request = self
            .iam
            .simulate_principal_policy()
            .policy_source_arn(principal)
            .set_action_names(Some(question.actions.clone()))
            .resource_arns(&question.resource)
            .set_context_entries(Some(context.collect()));
        let send = |marker| request.clone().set_marker(marker).send();
        let verdicts = self.lane.list("SimulatePrincipalPolicy", principal, send, |page| {
            (page.evaluation_results.unwrap_or_default(), page.marker.filter(|_| page.is_truncated))
        });
        let verdicts = verdicts.await?;
        let allowed = |action: &String| {
            let same = |name: &str| name.eq_ignore_ascii_case(action);
            verdicts.iter().any(|verdict| {
                same(&verdict.eval_action_name) && verdict.eval_decision == PolicyEvaluationDecisionType::Allowed
            })
        };
        Ok(question.actions.iter().filter(|action| !allowed(action)).cloned().collect())
    }

    /// GetAccountAuthorizationDetails of one user: whether the account may be read in bulk.
    ///
    /// # Errors
    /// As for [`super::Iam`].
    pub async fn account_details(&self) -> Result<()> {
        let request = self.iam.get_account_authorization_details().filter(EntityType::User).max_items(1);
        self.lane.call("GetAccountAuthorizationDetails", "account", || request.clone().send()).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::atomic::{AtomicBool, Ordering};

    use aws_sdk_sts::config::{BehaviorVersion, Region};

    use super::*;
    use crate::aws::error::{AwsError, ErrorKind};
    use crate::aws::scripted::answering;

    /// Of the accounts 111… and 222…, by the first letter of the key; a key of X is nobody's, and of another one it speaks as
    /// no STS does.
    fn sts() -> aws_sdk_sts::Client {
        let failure =
            |status, code| (status, format!("<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"));
        let client = answering(move |request| {
            let signed = request.headers().get("authorization").unwrap_or_default();
            let account = match signed.split("Credential=").nth(1).and_then(|rest| rest.chars().next()) {
                Some('A') => "111111111111",
                Some('B') => "222222222222",
                Some('X') => return failure(403, "InvalidClientTokenId"),
                Some('N') => return failure(404, "NoSuchEntity"),
                Some('L') => return failure(409, "LimitExceeded"),
                _ => return failure(403, "AccessDenied"),
            };
            let result = format!("<GetCallerIdentityResult><Account>{account}</Account></GetCallerIdentityResult>");
            (200, format!("<GetCallerIdentityResponse>{result}</GetCallerIdentityResponse>"))
        });
        let config = aws_sdk_sts::Config::builder().behavior_version(BehaviorVersion::latest());
        aws_sdk_sts::Client::from_conf(config.region(Region::from_static("eu-central-1")).http_client(client).build())
    }

    #[derive(Clone, Debug)]
    struct Following(Arc<Mutex<&'static str>>);

    impl ProvideCredentials for Following {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            future::ProvideCredentials::ready(Ok(Credentials::from_keys(*self.0.lock().unwrap(), "secret", None)))
        }
    }

    #[tokio::test]
    async fn credentials_are_followed_within_an_account_and_not_into_another() {
        let held = Arc::new(Mutex::new("A1"));
        let account = Arc::new(OnceCell::new());
        let following = SharedCredentialsProvider::new(Following(held.clone()));
        let same = SameAccount::new(following, sts(), &account);
        let given = async |id| {
            *held.lock().unwrap() = id;
            same.provide_credentials().await.map(|given| given.access_key_id().to_owned())
        };
        assert_eq!(given("B0").await.unwrap(), "B0", "no account is known yet");
        account.set(Account { id: "111111111111".to_owned(), partition: "aws".to_owned() }).unwrap();
        assert_eq!(given("A1").await.unwrap(), "A1");
        assert_eq!(given("A2").await.unwrap(), "A2");
        for _ in 0..2 {
            let refused = given("B1").await.unwrap_err();
            let told = std::error::Error::source(&refused).unwrap().to_string();
            assert!(told.contains("of account 111111111111, and are of account 222222222222"), "{told}");
        }
        assert_eq!(given("A2").await.unwrap(), "A2");
    }

    #[tokio::test]
    async fn nothing_is_done_with_credentials_that_sts_does_not_tell_the_account_of() {
        let sent = Arc::new(AtomicBool::new(false));
        let held = Arc::new(Mutex::new("A1"));
        let account = Account { id: "111111111111".to_owned(), partition: "aws".to_owned() };
        let following = SharedCredentialsProvider::new(Following(held.clone()));
        let same = SameAccount::new(following, sts(), &Arc::new(OnceCell::from(account)));
        same.provide_credentials().await.unwrap();
        let asked = sent.clone();
        let server = answering(move |_| {
            asked.store(true, Ordering::Relaxed);
            (200, String::new())
        });
        let config = aws_sdk_iam::Config::builder().behavior_version(BehaviorVersion::latest()).http_client(server);
        let config = config.region(Region::from_static("eu-central-1")).credentials_provider(same).build();
        let iam = aws_sdk_iam::Client::from_conf(config);
        for (id, kind, code) in [
            ("X1", ErrorKind::InvalidCredentials, "InvalidClientTokenId"),
            ("X1", ErrorKind::InvalidCredentials, "InvalidClientTokenId"),
            ("N1", ErrorKind::NoCredentials, "NoSuchEntity"),
            ("L1", ErrorKind::NoCredentials, "LimitExceeded"),
            ("D1", ErrorKind::NoCredentials, "AccessDenied"),
        ] {
            *held.lock().unwrap() = id;
            let refused = iam.get_user().user_name("reports").send().await.unwrap_err();
            let refused = AwsError::of("GetUser", "reports", &refused);
            assert_eq!(refused.kind, kind, "no answer of IAM: {refused}");
            assert!(refused.to_string().starts_with(&format!("GetCallerIdentity reports: {code}: ")), "{refused}");
        }
        assert!(!sent.load(Ordering::Relaxed));
        *held.lock().unwrap() = "A2";
        iam.get_user().user_name("reports").send().await.unwrap_err();
        assert!(sent.load(Ordering::Relaxed), "as soon as they are known to be the account's");
    }
}
