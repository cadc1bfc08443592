//! Carries out, one after the other, the steps by which the operator's own key is replaced.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use secrecy::SecretString;
use tracing::{info, warn};

use super::OwnSecret;
use crate::aws::{AwsError, ErrorKind, Session, at_priority};
use crate::controller::context::Clock;
use crate::controller::panics::{AFTER_PANIC, contained};
use crate::core::iam::AccessKeyId;
use crate::core::observed::Probes;
use crate::core::plan::Waits;
use crate::core::priority::Priority;
use crate::core::rotation::own_key::{Mint, Record, Step, View};
use crate::core::secret_data::Credentials;
use crate::kubernetes::KubernetesError;
use crate::kubernetes::own_key::{OwnKey, OwnKeyError};
use crate::leadership::{Leadership, NotLeading};
use crate::metrics::Metrics;

/// How often the Secret is read: somebody may have asked for a rotation, or put another key in.
const READ_INTERVAL: Duration = Duration::from_secs(60);
/// The pause after what failed.
const RETRY: Duration = Duration::from_secs(10);
/// The pause where somebody has to do something first.
const BLOCKED: Duration = Duration::from_secs(300);
/// Says what rotating takes.
const ADVICE: &str = "deploy/docs/operate.md, \"The operator's own key\", says what it takes";

/// Replaces the key, where this process leads.
pub struct Rotator {
    /// The operator's own account, signed in to with the key that it is about.
    pub session: Arc<Session>,
    /// Where the key is.
    pub secret: OwnSecret,
    /// Waits of IAM.
    pub waits: Waits,
    /// Whether to work.
    pub leadership: Leadership,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The clock.
    pub clock: Clock,
    /// What it knows; at first nothing.
    pub memory: Memory,
}

/// What one process knows, all of which may be lost at any time.
#[derive(Default)]
pub struct Memory {
    mint: Option<Mint>,
    /// Of the key that was made.
    secret_half: Option<SecretString>,
    last_used: Option<Option<Timestamp>>,
    /// The version of the Secret for which nothing is to be done until then.
    rests: Option<(Option<String>, Timestamp)>,
    /// What was said last: it is said once.
    told: String,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Secret(#[from] OwnKeyError),
    #[error(transparent)]
    Aws(#[from] AwsError),
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error(transparent)]
    NotLeading(#[from] NotLeading),
}

impl Error {
    fn pause(&self) -> Duration {
        match self {
            Self::Aws(error) if error.kind == ErrorKind::AccessDenied => BLOCKED,
            Self::Kubernetes(error) if error.is_denial() => BLOCKED,
            _ => RETRY,
        }
    }
}

impl Rotator {
    /// Looks after the key for ever.
    pub async fn run(mut self) {
        loop {
            let pause = self.step().await;
            tokio::time::sleep(pause).await;
        }
    }

    /// Does the next thing that is to be done; answers when to come again.
    pub async fn step(&mut self) -> Duration {
        let metrics = self.metrics.clone();
        match contained(&metrics, at_priority(Priority::Begun, self.pass())).await {
            Some(Ok(pause)) => pause,
            Some(Err(error)) => {
                self.memory.tell(format!("{error}: {ADVICE}"));
                error.pause()
            }
            None => {
                self.memory = Memory::default();
                AFTER_PANIC
            }
        }
    }

    /// Reads everything, and does one thing; answers when to come again.
    async fn pass(&mut self) -> Result<Duration, Error> {
        let now = (self.clock)();
        if !self.leadership.holds_at(now) {
            return Ok(RETRY);
        }
        let own = self.secret.get().await?;
        let version = own.secret.resource_version();
        if let Some((_, until)) = self.memory.rests.as_ref().filter(|(of, until)| *of == version && *until > now) {
            return Ok(pause(now, *until));
        }
        let Some(user) = self.session.sts.user().await? else {
            self.memory.tell("its credentials are not of an IAM user, so there is nothing to rotate: write a key of an IAM user into it, or leave S3ACCESS_ROTATE_OWN_KEY away".to_owned());
            return Ok(BLOCKED);
        };
        let keys = self.session.keys_of(&user, &[]).await?;
        let view = View {
            held: &own.held,
            keys: &keys,
            mint: self.memory.mint.as_ref(),
            last_used: self.memory.last_used,
            interval: self.secret.interval,
            waits: self.waits,
            now,
        };
        if let Some(current) = keys.iter().find(|key| own.held.key_id == key.id) {
            let account = self.session.account().await?;
            self.metrics.set_own_key(&account.id, current.created_at, view.due_at(current));
        }
        let until = match view.next() {
            Step::Rest(until) => {
                self.memory.told.clear();
                until
            }
            Step::Blocked(why) => {
                self.memory.tell(why);
                now.checked_add(BLOCKED).unwrap_or(now)
            }
            step => {
                self.take(step, &own, &user).await?;
                return Ok(Duration::ZERO);
            }
        };
        // What was used meanwhile is asked for again.
        self.memory.last_used = None;
        self.memory.rests = Some((version, until));
        Ok(pause(now, until))
    }

    async fn take(&mut self, step: Step, own: &OwnKey, user: &str) -> Result<(), Error> {
        let iam = self.session.iam.clone();
        let record = &own.held.record;
        match step {
            Step::Rest(_) | Step::Blocked(_) => {}
            Step::Begin => {
                let begun_at = (self.clock)();
                let record = Record { begun_at: Some(begun_at), orphan_to_delete: None, ..record.clone() };
                self.write(own, &own.credentials, &record).await?;
                self.memory.mint = Some(Mint { begun_at, key: None });
            }
            Step::Withdraw => self.withdraw(own).await?,
            Step::Make => self.make(own, user).await?,
            Step::Probe => self.probe().await?,
            Step::Swap => self.swap(own).await?,
            Step::ReadLastUsed(id) => self.memory.last_used = Some(iam.get_access_key_last_used(&id).await?),
            Step::Deactivate(id) => {
                iam.update_access_key(user, &id, false).await?;
                info!(key = id, "the operator's previous key is inactive");
            }
            Step::NoteOrphan(id) => {
                let record = Record { orphan_to_delete: Some(id), ..record.clone() };
                self.write(own, &own.credentials, &record).await?;
            }
            Step::Delete(id, why) => {
                iam.delete_access_key(user, &id).await?;
                self.metrics.key_deleted(why);
                info!(key = id, why = why.as_str(), "a key of the operator's own is deleted");
            }
        }
        Ok(())
    }

    /// The Secret of the very version that was read: whoever was faster has the word. IAM's calls ask the Lease themselves.
    async fn write(&self, own: &OwnKey, credentials: &Credentials, record: &Record) -> Result<(), Error> {
        self.leadership.check((self.clock)())?;
        self.secret.kubernetes.replace_secret(&own.with(credentials, record)).await?;
        Ok(())
    }

    async fn withdraw(&mut self, own: &OwnKey) -> Result<(), Error> {
        self.memory.mint = None;
        let record = Record { begun_at: None, ..own.held.record.clone() };
        self.write(own, &own.credentials, &record).await
    }

    /// Asks once. Where the answer is lost, the key that may be there is found by when it was made.
    async fn make(&mut self, own: &OwnKey, user: &str) -> Result<(), Error> {
        let Some(Mint { begun_at, .. }) = self.memory.mint.take() else { return Ok(()) };
        let made = match self.session.iam.create_access_key(user).await {
            Err(error) if error.kind == ErrorKind::NotLeading => return Err(error.into()),
            Err(error) if error.is_refusal() => {
                self.withdraw(own).await?;
                return Err(error.into());
            }
            made => made?,
        };
        self.metrics.key_issued();
        info!(key = made.minted.id, "a new key of the operator's own is made");
        let probes = Probes { successes: 0, since: (self.clock)(), last: Timestamp::MIN };
        self.memory.mint = Some(Mint { begun_at, key: Some((made.minted, probes)) });
        self.memory.secret_half = Some(made.secret);
        Ok(())
    }

    async fn probe(&mut self) -> Result<(), Error> {
        let (Some(Mint { key: Some((minted, probes)), .. }), Some(secret)) =
            (&mut self.memory.mint, &self.memory.secret_half)
        else {
            return Ok(());
        };
        let accepted = self.session.sts.accepts(&minted.id, secret).await?;
        probes.last = (self.clock)();
        probes.successes = if accepted { probes.successes + 1 } else { 0 };
        Ok(())
    }

    async fn swap(&mut self, own: &OwnKey) -> Result<(), Error> {
        let (Some(Mint { key: Some((minted, _)), .. }), Some(secret)) = (&self.memory.mint, &self.memory.secret_half)
        else {
            return Ok(());
        };
        let credentials = Credentials {
            access_key_id: AccessKeyId::of_iam(&minted.id),
            secret_access_key: secret.clone(),
            token: None,
        };
        let record = Record {
            previous: Some(own.held.key_id.clone()),
            rotated_at: Some((self.clock)()),
            rotate_handled: own.held.requested.clone(),
            ..Record::default()
        };
        self.write(own, &credentials, &record).await?;
        info!(key = minted.id, previous = %own.held.key_id, "the operator's own key is replaced in its Secret");
        (self.memory.mint, self.memory.secret_half) = (None, None);
        Ok(())
    }
}

impl Memory {
    fn tell(&mut self, why: String) {
        if self.told != why {
            warn!("the operator's own key is not rotated: {why}");
            self.told = why;
        }
    }
}

fn pause(now: Timestamp, until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or_default().min(READ_INTERVAL)
}
