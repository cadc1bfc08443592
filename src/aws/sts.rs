//! STS: who the operator is, and whether a new key works.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sdk_sts::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_sts::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};

use super::identity::Identity;
use super::lanes::Way;
use super::{AwsError, ErrorKind, Result, Sts};
use crate::core::iam::{AccessKeyId, Account, user_of};
use crate::core::secret_data::{Credentials as UserCredentials, SessionToken};

/// The SDK's STS client, in the account's lane.
pub(super) struct SdkSts {
    pub(super) client: aws_sdk_sts::Client,
    pub(super) lane: Arc<Way>,
}

const OPERATION: &str = "GetCallerIdentity";
pub(super) const SESSION_OPERATION: &str = "GetSessionToken";

#[async_trait]
impl Sts for SdkSts {
    async fn caller(&self) -> Result<Account> {
        let answer = self.lane.sts().call(OPERATION, "operator", || self.client.get_caller_identity().send()).await?;
        let arn = answer.arn().unwrap_or_default();
        let partition = arn.split(':').nth(1).unwrap_or_default();
        match answer.account() {
            Some(id) if !partition.is_empty() => Ok(Account { id: id.to_owned(), partition: partition.to_owned() }),
            _ => Err(AwsError {
                operation: OPERATION,
                object: "operator".to_owned(),
                kind: ErrorKind::Other,
                code: "UnreadableAnswer".to_owned(),
                message: format!("no account and partition in {arn:?}"),
            }),
        }
    }

    async fn user(&self) -> Result<Option<String>> {
        let answer = self.lane.sts().call(OPERATION, "operator", || self.client.get_caller_identity().send()).await?;
        Ok(user_of(answer.arn().unwrap_or_default()).map(ToOwned::to_owned))
    }

    async fn accepts(&self, id: &str, secret: &SecretString) -> Result<bool> {
        let with_the_key = with_key(id, secret);
        let send = || self.client.get_caller_identity().customize().config_override(with_the_key.clone()).send();
        match self.lane.sts().call(OPERATION, id, send).await {
            Ok(_) => Ok(true),
            // Refused by a policy, it was known: authentication comes before authorization.
            Err(error) if error.kind == ErrorKind::AccessDenied => Ok(true),
            Err(error) if error.kind == ErrorKind::InvalidCredentials => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn session_token(&self, id: &str, secret: &SecretString, seconds: i32) -> Result<UserCredentials> {
        let with_the_key = with_key(id, secret);
        let request = || self.client.get_session_token().duration_seconds(seconds);
        let send = || request().customize().config_override(with_the_key.clone()).send();
        let answer = self.lane.sts().call(SESSION_OPERATION, id, send).await?;
        let session = answer.credentials.and_then(|session| {
            let expires_at = Timestamp::from_second(session.expiration.secs()).ok()?;
            let token = SessionToken { token: session.session_token.into(), expires_at };
            Some(UserCredentials {
                access_key_id: AccessKeyId::parse(&session.access_key_id)?,
                secret_access_key: session.secret_access_key.into(),
                token: Some(token),
            })
        });
        session.ok_or_else(|| AwsError {
            operation: SESSION_OPERATION,
            object: id.to_owned(),
            kind: ErrorKind::Other,
            code: "UnreadableAnswer".to_owned(),
            message: "there is no session in it".to_owned(),
        })
    }
}

/// A client that speaks with a user's key.
fn with_key(id: &str, secret: &SecretString) -> aws_sdk_sts::config::Builder {
    let credentials = Credentials::from_keys(id, secret.expose_secret(), None);
    aws_sdk_sts::config::Builder::new().credentials_provider(credentials)
}

impl Identity {
    /// GetCallerIdentity: the caller's ARN, and what time it was at AWS, which an error tells as well.
    pub async fn caller(&self) -> (Result<String>, Option<Timestamp>) {
        let time = AnsweredAt::default();
        let send = || self.sts.get_caller_identity().customize().interceptor(time.clone()).send();
        let answer = self.lane.sts().call(OPERATION, "operator", send).await;
        let at = time.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        (answer.map(|answer| answer.arn.unwrap_or_default()), at)
    }
}

/// An SDK interceptor that notes the date of the answer.
#[derive(Clone, Debug, Default)]
struct AnsweredAt(Arc<Mutex<Option<Timestamp>>>);

impl Intercept for AnsweredAt {
    fn name(&self) -> &'static str {
        "AnsweredAt"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> std::result::Result<(), BoxError> {
        let date = context.response().and_then(|answer| answer.headers().get("date"));
        let date = date.and_then(|text| jiff::fmt::rfc2822::parse(text).ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = date.map(|date| date.timestamp());
        Ok(())
    }
}
