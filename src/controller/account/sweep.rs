//! Drift detection in bulk: once an interval each account is read page by page, and whoever differs is reconciled at once.
//!
//! A page at most is in memory, and of each S3AccessUser a few words. Nothing is written on what is read here: see
//! [`crate::core::drift`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use super::beat::{Beat, Unread};
use crate::api::{S3AccessUser, annotations, tags};
use crate::aws::{DetailsPage, DetailsQuery, Pages, Session};
use crate::controller::class::ClassResolver;
use crate::controller::context::Scope;
use crate::controller::error::Error;
use crate::controller::panics::{contained, contained_now};
use crate::controller::watch::cached::{CachedUser, Opened};
use crate::core::desired::{Desired, DesiredPolicy, is_true};
use crate::core::drift::{Verdict, screen_policy, screen_user};
use crate::core::iam::Account;
use crate::core::names::Cluster;
use crate::leadership::Leadership;
use crate::metrics::Metrics;

/// How often it is seen which accounts there are, and whether one is due. None is swept more often than that.
const TICK: Duration = Duration::from_secs(1);

/// Pages of an account: more than the ten thousand users that IAM's quotas allow for, ten to a page.
const PAGES: usize = 1_000;

/// So many users without an S3AccessUser are asked for once more; beyond that the page is believed.
const ORPHANS_ASKED: usize = 20;
/// So many are named in one message.
const ORPHANS_NAMED: usize = 10;

/// What is read of an account at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Details,
    Alarm,
    LastUses,
}

/// What every sweep shares.
pub struct Sweeper {
    /// The cluster, for names and ownership.
    pub cluster: Cluster,
    /// Classes and accounts.
    pub classes: Arc<dyn ClassResolver>,
    /// The S3AccessUsers.
    pub scopes: Vec<Scope>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The sweep.
    pub details: Beat,
    /// AWS's alarm.
    pub alarm: Beat,
    /// The credential reports.
    pub last_uses: Beat,
    /// Whom AWS has put under quarantine, by account, as it was heard last: names in lower case.
    pub heard: Mutex<HashMap<Account, BTreeSet<Box<str>>>>,
    /// Whether to work.
    pub leadership: Leadership,
    /// Whether every S3AccessUser of the cluster is this operator's to see: only then is a user without one an orphan.
    pub sees_all: bool,
}

impl Sweeper {
    /// Sweeps for ever. Accounts are swept side by side: one that is slow or dead delays no other.
    pub async fn run(self) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let sweeper = Arc::new(self);
        let mut under_way: JoinSet<()> = JoinSet::new();
        loop {
            ticks.tick().await;
            while under_way.try_join_next().is_some() {}
            let now = Timestamp::now();
            let listed = sweeper.scopes.iter().all(|scope| scope.listed.is_cancelled());
            if !listed || !sweeper.leadership.holds_at(now) {
                continue;
            }
            let sessions = sweeper.sessions();
            let accounts: Vec<Account> = sessions.keys().cloned().collect();
            for (reading, beat) in sweeper.readings() {
                for account in beat.take_due(&accounts, now) {
                    let Some(session) = sessions.get(&account).cloned() else { continue };
                    let sweeper = sweeper.clone();
                    under_way.spawn(async move { sweeper.read_account(reading, &account, &session).await });
                }
            }
        }
    }

    /// What is read of each account, and how often.
    fn readings(&self) -> [(Reading, &Beat); 3] {
        [(Reading::Details, &self.details), (Reading::Alarm, &self.alarm), (Reading::LastUses, &self.last_uses)]
    }

    async fn read_account(&self, reading: Reading, account: &Account, session: &Session) {
        let (read, beat) = match reading {
            Reading::Details => (contained(&self.metrics, self.sweep(account, session)).await, &self.details),
            Reading::Alarm => (contained(&self.metrics, self.listen(account, session)).await, &self.alarm),
            Reading::LastUses => (contained(&self.metrics, self.survey(account, session)).await, &self.last_uses),
        };
        if read.is_none() {
            if reading == Reading::Details {
                self.metrics.swept("failed");
            }
            beat.coverage.failed(account, Timestamp::now());
        }
    }

    /// The accounts in use that can be read in bulk, as far as they are known; each with one of its sessions.
    fn sessions(&self) -> HashMap<Account, Arc<Session>> {
        let known = self.classes.sessions().into_iter().filter(|session| session.provider.has_all_of_iam());
        known.filter_map(|session| Some((session.known_account()?.clone(), session))).collect()
    }

    async fn sweep(&self, account: &Account, session: &Session) {
        let id = &account.id;
        match self.details.ended(account, self.read(account, session).await) {
            Ok(Swept { users, differing }) => {
                self.metrics.swept("done");
                if differing > 0 {
                    info!(account = id, users, differing, "swept: those that differ are reconciled");
                } else {
                    debug!(account = id, users, "swept");
                }
            }
            Err(unread) => {
                self.metrics.swept(if unread.denied { "denied" } else { "failed" });
                match unread {
                    Unread { again: true, .. } => {}
                    Unread { error, denied: true, .. } => {
                        warn!(account = id, %error, "the account cannot be read in bulk, so each user is read in its turn");
                    }
                    Unread { error, .. } => warn!(account = id, %error, "a sweep came to no end; it is tried again"),
                }
            }
        }
    }

    async fn read(&self, account: &Account, session: &Session) -> Result<Swept, Error> {
        let mut inventory = self.inventory(account).await;
        if inventory.members.is_empty() && !self.sees_all {
            return Ok(Swept::default());
        }
        let mut pages = Pages::of("GetAccountAuthorizationDetails", &account.id, PAGES);
        loop {
            let by_policy = &inventory.by_policy;
            let query = DetailsQuery {
                marker: pages.marker(),
                cluster_id: &self.cluster.id,
                policies: !by_policy.is_empty(),
                keep: &|arn| by_policy.contains_key(&*policy_key(arn)),
            };
            let page = session.iam.account_details(query).await?;
            self.screen(account, &mut inventory, &page).await;
            if !pages.go_on(page.marker)? {
                break;
            }
            self.leadership.check(Timestamp::now())?;
        }
        self.tell_of_orphans(account, session, &inventory).await;
        let mut swept = Swept { users: inventory.members.len(), differing: 0 };
        for member in inventory.members.values().filter(|member| !member.is_well()) {
            swept.differing += usize::from(self.suspect(member));
        }
        Ok(swept)
    }

    /// Who is to be found in the account: those for whom something was made, and whose spec is carried out.
    async fn inventory(&self, account: &Account) -> Inventory {
        let mut inventory = Inventory::default();
        for (number, scope) in self.scopes.iter().enumerate() {
            for kept in scope.users.state() {
                let Opened { user, invalid: None } = kept.open() else { continue };
                let acted_upon = user.is_finalized() && user.metadata.deletion_timestamp.is_none();
                if !acted_upon || is_true(&user, annotations::PAUSED) {
                    continue;
                }
                let uid = user.uid().unwrap_or_default();
                let Some(desired) = self.desired(account, &user).await else { continue };
                if matches!(desired.policy, Some(DesiredPolicy::Managed { .. })) {
                    inventory
                        .by_policy
                        .entry(policy_key(&desired.owner.policy_name))
                        .or_default()
                        .push(uid.as_str().into());
                }
                let member = Member { user: kept.clone(), scope: number, well: None, policy: None };
                inventory.members.insert(uid.into(), member);
                breathe(inventory.members.len()).await;
            }
        }
        inventory
    }

    /// What should be; `None` where that is not of this account, or nobody's to say now.
    async fn desired(&self, account: &Account, user: &S3AccessUser) -> Option<Desired> {
        let resolved = self.classes.of(user).await.ok()?;
        if resolved.session.known_account() != Some(account) {
            return None;
        }
        // Whatever one of them holds keeps the others from nothing.
        contained_now(&self.metrics, || resolved.desired(user, account, &self.cluster).ok())?
    }

    async fn screen(&self, account: &Account, inventory: &mut Inventory, page: &DetailsPage) {
        for (number, found) in page.users.iter().enumerate() {
            let uid = found.tags.get(tags::UID).map(String::as_str).unwrap_or_default();
            let member = inventory.members.get_mut(uid);
            let Some(member) = member else {
                if self.sees_all && found.tags.get(tags::CLUSTER) == Some(&self.cluster.id) && !uid.is_empty() {
                    inventory.strays.insert(found.name.as_str().into(), uid.into());
                }
                continue;
            };
            if let Some(desired) = self.desired_of(account, member).await
                && let Verdict::Agrees { policy } = screen_user(&desired, found)
            {
                member.well = Some(policy.map(String::into_boxed_str));
            }
            breathe(number).await;
        }
        for (number, found) in page.policies.iter().enumerate() {
            for uid in inventory.by_policy.get(&*policy_key(&found.arn)).into_iter().flatten() {
                let Some(member) = inventory.members.get_mut(uid) else { continue };
                if let Some(desired) = self.desired_of(account, member).await
                    && screen_policy(&desired, found)
                {
                    member.policy = Some(found.arn.as_str().into());
                }
            }
            breathe(number).await;
        }
    }

    async fn desired_of(&self, account: &Account, member: &Member) -> Option<Desired> {
        self.desired(account, &member.user.open().user).await
    }

    /// Tells of IAM users whose S3AccessUser is no more: their keys work, and nobody rotates or removes them. Nothing is done
    /// about them, since a cluster that was restored knows less than it has made.
    async fn tell_of_orphans(&self, account: &Account, session: &Session, inventory: &Inventory) {
        if !self.sees_all {
            return;
        }
        let there: HashSet<String> =
            self.scopes.iter().flat_map(|scope| scope.users.state()).map(|user| user.key().uid().to_owned()).collect();
        let mut orphans = Vec::new();
        for (name, _) in inventory.strays.iter().filter(|(_, uid)| !there.contains(&***uid)) {
            // The page may be older than a deletion that went as it should.
            if orphans.len() >= ORPHANS_ASKED || matches!(session.iam.get_user(name).await, Ok(Some(_))) {
                orphans.push(&**name);
            }
        }
        self.metrics.set_orphan_users(&account.id, orphans.len());
        if orphans.is_empty() {
            return;
        }
        let named = orphans.iter().take(ORPHANS_NAMED).copied().collect::<Vec<_>>().join(", ");
        let count = orphans.len();
        let message = format!(
            "{count} IAM users of account {} carry this cluster's tags and belong to no S3AccessUser, and their keys may work: {named}: see operate.md, \"Users without an S3AccessUser\"",
            account.id
        );
        warn!(account = account.id, count, "{message}");
        self.classes.tell(account, &message).await;
    }

    /// Marks drift as suspected, and queues the user unless an unfinished reconcile is to come anyway. Returns whether it was
    /// queued.
    fn suspect(&self, member: &Member) -> bool {
        let Some(scope) = self.scopes.get(member.scope) else { return false };
        let queued = scope.ctx.state.suspect_drift(member.user.key().uid());
        if queued {
            scope.add(&member.user);
        }
        queued
    }
}

/// What a sweep came to.
#[derive(Default)]
struct Swept {
    users: usize,
    differing: usize,
}

/// Those to be found in an account, by their UIDs.
#[derive(Default)]
struct Inventory {
    members: HashMap<Box<str>, Member>,
    /// Whose policy that is, by [`policy_key`].
    by_policy: HashMap<Box<str>, Vec<Box<str>>>,
    /// IAM users with this cluster's tags that belong to none of those: name and UID.
    strays: BTreeMap<Box<str>, Box<str>>,
}

/// One S3AccessUser, and how far it has been found as it should be.
struct Member {
    user: Arc<CachedUser>,
    scope: usize,
    /// The user agrees; with the ARN of its managed policy, where it has one.
    well: Option<Option<Box<str>>>,
    /// The ARN of the policy that agrees.
    policy: Option<Box<str>>,
}

impl Member {
    fn is_well(&self) -> bool {
        self.well.as_ref().is_some_and(|policy| policy.is_none() || *policy == self.policy)
    }
}

/// IAM tells policies apart by name, whatever their paths and case.
fn policy_key(arn_or_name: &str) -> Box<str> {
    arn_or_name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase().into()
}

/// Lets others have the thread every now and then.
pub(super) async fn breathe(number: usize) {
    if number.is_multiple_of(64) {
        tokio::task::yield_now().await;
    }
}
