//! What is different at an S3-compatible system: answers that need to be put right, writes that have to be read back, ownership in
//! paths, and keys that are tried at S3.

mod answers;
mod kept;
pub(super) mod path_tags;
mod s3;

pub(super) use answers::{Answers, Servers};
pub use s3::{S3Endpoint, S3Request, Verdict};

use std::sync::Arc;

use async_trait::async_trait;
use secrecy::SecretString;

use super::sts::{SESSION_OPERATION, SdkSts};
use super::{AwsError, ErrorKind, Result, Sts};
use crate::core::iam::Account;
use crate::core::secret_data::Credentials;

/// An S3-compatible system: its keys are proven where its consumers use them, and it need not have an STS.
pub(super) struct CompatibleSts {
    /// STS, where the account is not given.
    pub(super) sts: SdkSts,
    /// The account, where it is given.
    pub(super) account: Option<Account>,
    /// Where consumers use their keys.
    pub(super) s3: Arc<S3Endpoint>,
}

#[async_trait]
impl Sts for CompatibleSts {
    async fn caller(&self) -> Result<Account> {
        match &self.account {
            Some(account) => Ok(account.clone()),
            None => self.sts.caller().await,
        }
    }

    async fn accepts(&self, id: &str, secret: &SecretString) -> Result<bool> {
        self.s3.knows((id, secret)).await
    }

    async fn session_token(&self, id: &str, _: &SecretString, _: i32) -> Result<Credentials> {
        Err(AwsError {
            operation: SESSION_OPERATION,
            object: id.to_owned(),
            kind: ErrorKind::Unsupported,
            code: "NotImplemented".to_owned(),
            message: "an S3-compatible system has no sessions".to_owned(),
        })
    }
}
