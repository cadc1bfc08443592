//! AWS's alarm, heard within minutes: three calls an account tell all users to which AWS has attached its policy of keys that it
//! found in public. Later versions of that policy are found by the sweep.

use std::collections::BTreeSet;

use jiff::Timestamp;
use kube::ResourceExt;
use tracing::{debug, warn};

use super::Sweeper;
use super::beat::Unread;
use crate::api::S3AccessUser;
use crate::aws::{ErrorKind, Session};
use crate::controller::error::Error;
use crate::core::ends::quarantine;
use crate::core::iam::Account;

impl Sweeper {
    /// Asks whom AWS has put under quarantine, and has those reconciled of whom that is news.
    pub(super) async fn listen(&self, account: &Account, session: &Session) {
        let id = &account.id;
        match self.alarm.ended(account, self.quarantined(account, session).await) {
            Ok(found) => self.tell_of_quarantined(account, found),
            Err(Unread { again: true, .. }) => {}
            Err(Unread { error, denied: true, .. }) => {
                warn!(account = id, %error, "AWS cannot be asked for compromised keys: they are found only by the sweep; grant iam:ListEntitiesForPolicy as deploy/iam has it");
            }
            Err(Unread { error, .. }) => {
                warn!(account = id, %error, "AWS was not asked for compromised keys to the end; it is tried again");
            }
        }
    }

    /// The names of all users of the account to which AWS has attached such a policy, in lower case.
    async fn quarantined(&self, account: &Account, session: &Session) -> Result<BTreeSet<Box<str>>, Error> {
        let mut found = BTreeSet::new();
        for arn in quarantine::known_policies(account) {
            self.leadership.check(Timestamp::now())?;
            match session.iam.list_users_of_policy(&arn).await {
                Ok(users) => found.extend(users.iter().map(|user| user.to_ascii_lowercase().into())),
                // Not every partition has each.
                Err(error) if error.kind == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    fn tell_of_quarantined(&self, account: &Account, found: BTreeSet<Box<str>>) {
        let news = {
            let mut heard = self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            let before = heard.insert(account.clone(), found.clone()).unwrap_or_default();
            before.symmetric_difference(&found).cloned().collect::<BTreeSet<_>>()
        };
        let mut ours = 0;
        // Each object is opened only where there is an alarm.
        let scopes = self.scopes.iter().filter(|_| !(found.is_empty() && news.is_empty()));
        for scope in scopes {
            for kept in scope.users.state() {
                let user = kept.open().user;
                let Some(name) = user_name(&user, account) else { continue };
                ours += usize::from(found.contains(&*name));
                if news.contains(&*name) {
                    let (namespace, object) = (user.namespace(), user.name_any());
                    warn!(
                        namespace,
                        name = object,
                        account = account.id,
                        user = name,
                        "AWS's alarm of a key of this user has changed: it is reconciled"
                    );
                    scope.ctx.state.suspect_drift(&user.uid().unwrap_or_default());
                    scope.add(&kept);
                }
            }
        }
        self.metrics.set_compromised_users(&account.id, ours);
        debug!(account = account.id, found = found.len(), ours, "asked for compromised keys");
    }
}

/// The IAM user that was made for it in that account, in lower case.
fn user_name(user: &S3AccessUser, account: &Account) -> Option<String> {
    let status = user.status.as_ref()?;
    let here = status.account_id.as_ref() == Some(&account.id);
    status.user_name.as_ref().filter(|_| here).map(|name| name.to_ascii_lowercase())
}
