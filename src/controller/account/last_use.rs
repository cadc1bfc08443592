//! When keys were used last, and whether they are as they were left, by the account's credential report: two calls for all users
//! of an account. AWS makes one at most every four hours.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tracing::{debug, warn};

use super::Sweeper;
use super::beat::Unread;
use crate::api::S3AccessUser;
use crate::aws::Session;
use crate::controller::class::ResolvedClass;
use crate::controller::error::Error;
use crate::controller::watch::cached::Opened;
use crate::core::conditions::{Conditions, says_settled};
use crate::core::credential_report::{CredentialReport, KeyUse};
use crate::core::ends::unused;
use crate::core::iam::Account;
use crate::core::reads::known::Reported;

/// How long AWS is given to make a report, before it is asked for.
const MAKING: SignedDuration = SignedDuration::from_secs(20);

impl Sweeper {
    /// Reads when the keys of an account were used last; has those reconciled of whom that is news, or who may be suspended for
    /// it.
    pub(super) async fn survey(&self, account: &Account, session: &Session) {
        let id = &account.id;
        let Some(read) = self.last_uses(session).await.transpose() else {
            // It is on its way.
            self.last_uses.coverage.failed(account, Timestamp::now());
            return;
        };
        match self.last_uses.ended(account, read) {
            Ok(report) => self.tell_of_uses(account, &report).await,
            Err(Unread { again: true, .. }) => {}
            Err(Unread { error, denied: true, .. }) => {
                warn!(account = id, %error, "the account's credential report cannot be read: no status tells when a key was used last, and no key is suspended for not being used; grant iam:GenerateCredentialReport and iam:GetCredentialReport as deploy/iam has it");
            }
            Err(Unread { error, .. }) => {
                warn!(account = id, %error, "the account's credential report was not read; it is tried again");
            }
        }
    }

    async fn last_uses(&self, session: &Session) -> Result<Option<CredentialReport>, Error> {
        self.leadership.check(Timestamp::now())?;
        if !session.iam.generate_credential_report().await? {
            let pause = MAKING.min(self.last_uses.interval / 4);
            tokio::time::sleep(Duration::try_from(pause).unwrap_or_default()).await;
        }
        Ok(session.iam.credential_report().await?)
    }

    async fn tell_of_uses(&self, account: &Account, report: &CredentialReport) {
        let (mut found, mut queued, mut differing) = (0, 0, 0);
        let rest_is_compared = self.details.covers(account, Timestamp::now());
        for scope in &self.scopes {
            for (number, kept) in scope.users.state().into_iter().enumerate() {
                super::sweep::breathe(number).await;
                let Opened { user, invalid } = kept.open();
                let uid = user.uid().unwrap_or_default();
                let reported = reported(&user, account, report, rest_is_compared);
                if reported.is_some_and(|reported| scope.ctx.state.compared(&uid, &reported)) {
                    differing += 1;
                    scope.add(&kept);
                }
                let Some(used) = key_use(&user, account, report) else { continue };
                let Ok(resolved) = self.classes.of(&user).await else { continue };
                found += 1;
                self.observe(&user, &used);
                let terms = unused::Terms::of(&user, &resolved.class);
                let suspected = terms.suspects(&used, made_at(&user).unwrap_or(report.made_at))
                    && invalid.is_none()
                    && user.is_finalized();
                let suspected_at = suspected.then_some(report.made_at);
                let news = is_news(&user, &resolved, &used).then_some(used);
                if scope.ctx.state.reported(&uid, news, suspected_at) {
                    queued += 1;
                    scope.add(&kept);
                }
            }
        }
        debug!(account = account.id, report = %report.made_at, found, queued, differing, "read the credential report");
    }

    fn observe(&self, user: &S3AccessUser, used: &KeyUse) {
        let created_at = user.status.as_ref().and_then(|status| status.access_key_created_at.as_ref());
        let since = used.used.as_ref().map(|used| used.at).or(created_at.map(|time| time.0));
        if let Some(ago) = since.and_then(|since| used.reported_at.duration_since(since).try_into().ok()) {
            self.metrics.key_last_used(ago);
        }
    }
}

/// When the S3AccessUser was made, or its key, which an earlier one may have left.
fn made_at(user: &S3AccessUser) -> Option<Timestamp> {
    let key = user.status.as_ref().and_then(|status| status.access_key_created_at.as_ref());
    user.metadata.creation_timestamp.iter().chain(key).map(|time| time.0).min()
}

/// What the report says of the keys of a user whose key the status tells of, where it has no other one.
fn reported(
    user: &S3AccessUser,
    account: &Account,
    report: &CredentialReport,
    rest_is_compared: bool,
) -> Option<Reported> {
    let status = user.status.as_ref().filter(|status| status.account_id.as_ref() == Some(&account.id))?;
    let alone = status.retiring_key.is_none() && says_settled(status, user.metadata.generation);
    let created_at = status.access_key_created_at.as_ref().filter(|_| alone)?.0;
    let only_key = report.only_key(status.user_name.as_ref()?);
    Some(Reported { made_at: report.made_at, created_at, only_key, rest_is_compared })
}

/// What the report says of the key that the status tells of.
fn key_use(user: &S3AccessUser, account: &Account, report: &CredentialReport) -> Option<KeyUse> {
    let status = user.status.as_ref().filter(|status| status.account_id.as_ref() == Some(&account.id))?;
    let created_at = status.access_key_created_at.as_ref()?.0;
    report.key_use(status.user_name.as_ref()?, status.access_key_id.as_ref()?, created_at)
}

/// Whether the status would say something else.
fn is_news(user: &S3AccessUser, resolved: &ResolvedClass, used: &KeyUse) -> bool {
    let Some(status) = &user.status else { return false };
    let conditions =
        Conditions { earlier: &status.conditions, generation: user.metadata.generation, now: Timestamp::now() };
    let told_after = unused::Terms::of(user, &resolved.class).told_after();
    conditions.with_last_use(status.clone(), status, Some(used), told_after) != *status
}
