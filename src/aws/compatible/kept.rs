//! Writes that are read back. A server that answers that all went well may have dropped what it was told: without the proof that
//! a user is ours, nobody would remove it and its keys again. AWS keeps its word, and no call is spent there.

use std::time::Duration;

use crate::aws::sdk::SdkIam;
use crate::aws::{AwsError, ErrorKind, Iam, Result, UserRecord};
use crate::core::policy::Document;

/// How often it is read before it counts as dropped: some servers take a moment.
const READS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(300);

impl SdkIam {
    /// Whether what was written to a user is there.
    ///
    /// # Errors
    /// [`ErrorKind::OwnershipNotKept`], or that of GetUser.
    pub(in crate::aws) async fn confirm_user(
        &self,
        operation: &'static str,
        user: &str,
        kept: impl Fn(&UserRecord) -> bool + Send + Sync,
    ) -> Result<()> {
        if self.provider.has_all_of_iam() {
            return Ok(());
        }
        for _ in 0..READS {
            if self.get_user(user).await?.as_ref().is_some_and(&kept) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        let what = if self.provider.has_tags() { "the tags and the path" } else { "the path" };
        let message = format!(
            "the server answered that all went well, and GetUser does not show {what} as they were written: nothing would prove later that the user is the operator's"
        );
        Err(dropped(operation, user, ErrorKind::OwnershipNotKept, message))
    }

    /// Whether the policy that was written is there, by its meaning.
    ///
    /// # Errors
    /// [`ErrorKind::PolicyNotKept`], or that of GetUserPolicy.
    pub(in crate::aws) async fn confirm_policy(
        &self,
        operation: &'static str,
        user: &str,
        name: &str,
        written: &Document,
    ) -> Result<()> {
        if self.provider.has_all_of_iam() {
            return Ok(());
        }
        for _ in 0..READS {
            if self.get_user_policy(user, name).await?.is_some_and(|found| found.means_the_same(written)) {
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
        }
        let message = "the server answered that all went well, and GetUserPolicy shows another policy: nobody could tell what is allowed";
        Err(dropped(operation, name, ErrorKind::PolicyNotKept, message.to_owned()))
    }

    /// A user that was made a moment ago, and that nothing proves to be ours, is deleted again if it has no keys: it is
    /// nobody else's then, whatever the server has made of it.
    pub(in crate::aws) async fn unmake(&self, user: &str, error: AwsError) -> AwsError {
        let deleted = match self.list_access_keys(user).await {
            Ok(keys) if keys.is_empty() => self.delete_user(user).await.is_ok(),
            _ => false,
        };
        let what = if deleted { "the user was deleted again" } else { "the user is left without an access key" };
        AwsError { message: format!("{}; {what}", error.message), ..error }
    }
}

fn dropped(operation: &'static str, object: &str, kind: ErrorKind, message: String) -> AwsError {
    AwsError { operation, object: object.to_owned(), kind, code: "NotKept".to_owned(), message }
}
