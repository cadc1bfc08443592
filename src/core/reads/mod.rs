//! The one decision of what a reconcile reads. Each shortcut for speed is a level here; each rests upon what is known, and
//! where that does not hold, more is read.
//!
//! The Secret is read live before any of them but [`Reads::Nothing`] for an event that is our own write. What is known
//! may be lost at any time: less of it never lessens the reads.

pub mod known;
pub mod next;
pub mod picture;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;

use crate::api::{S3AccessUser, S3AccessUserStatus, annotations, tags};
use crate::core::conditions::says_settled;
use crate::core::desired::Desired;
use crate::core::ends::revocation::Request;
use crate::core::iam::AccessKeyId;
use crate::core::observed::{HeldKey, OurSecret, SecretState};
use crate::core::plan::{Action, Effect, Plan};
use crate::core::rotation::later;
use crate::core::schedule::next_resync;
use known::{Fingerprint, Known};

/// So long may pass before what was read while a key is awaited is read again: thousands of rotations wait for each other, and a key
/// goes into its Secret only as AWS has just been seen to take it.
const AWAITED_FOR: SignedDuration = SignedDuration::from_hours(1);

/// How much a reconcile reads, from least to most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Nothing more: all is as the last reconcile has left it, and the next one is due then.
    Nothing {
        /// When it is due.
        until: Timestamp,
    },
    /// The Secret, and nothing of IAM: nothing was ever made for the CR, and the "already exists" of the first write says
    /// more than any read. Before the Secret is read, it is the answer to whether a reconcile is needed at all.
    Secret,
    /// What a new key does at AWS; the rest is as it was when it was read.
    Probe,
    /// The access keys; the bulk read compares user and policies.
    Keys,
    /// The user; its access keys are as they were left, and the bulk read compares its policies. IAM says itself where there is
    /// another key, or one is gone. Where the user is not exactly as it should be, everything.
    User,
    /// The user and its access keys; the bulk read compares its policies. Where the user is not exactly as it should be,
    /// everything.
    UserAndKeys,
    /// Of a deletion: the user; its keys are those that the status names, and what hangs on it is what its tags record. IAM
    /// deletes no user that has more than that.
    Recorded,
    /// Everything.
    Everything,
}

impl Reads {
    fn rank(self) -> u8 {
        match self {
            Self::Nothing { .. } => 0,
            Self::Secret => 1,
            Self::Probe => 2,
            Self::Keys => 3,
            Self::User => 4,
            Self::UserAndKeys => 5,
            Self::Recorded => 6,
            Self::Everything => 7,
        }
    }

    /// Whether it reads what a plan of its own may rest on, so that what was known is put aside.
    pub fn begins_anew(self) -> bool {
        matches!(self, Self::Secret | Self::User | Self::UserAndKeys | Self::Recorded | Self::Everything)
    }

    /// Whether the user itself is read live at that level, and its policies are taken to be as they should.
    pub fn is_of_the_user(self) -> bool {
        matches!(self, Self::User | Self::UserAndKeys)
    }

    /// Whether the action may rest on what was read: a write needs the proof of ownership, live.
    pub fn permits(self, action: &Action) -> bool {
        match self {
            // STS takes the key or refuses it, and the Secret is read live: it needs nothing of IAM.
            Self::Probe | Self::Keys if matches!(action, Action::RenewSession { .. }) => true,
            Self::Nothing { .. } | Self::Keys => false,
            // The key that AWS has just taken goes into its Secret, which is read live: nothing of it is a write to IAM.
            Self::Probe => {
                matches!(action, Action::ProbeKey { .. } | Action::WriteSecret { .. } | Action::MarkWorkload { .. })
            }
            // What is attached to the user may say that no key is to work.
            Self::User | Self::UserAndKeys => !matches!(action, Action::SetKeyStatus { active: true, .. }),
            Self::Secret | Self::Recorded | Self::Everything => true,
        }
    }

    /// Whether, where the action has failed, more is to be read at once: a key that could not be tried. What may have become of a
    /// Secret is only known once that is read again.
    pub fn retries(self, action: &Action) -> bool {
        self == Self::Probe && !matches!(action, Action::WriteSecret { .. } | Action::MarkWorkload { .. })
    }

    /// Whether the effect says that there is more than what was read.
    pub fn is_belied_by(self, effect: &Effect) -> bool {
        self == Self::Recorded && *effect == Effect::DeleteConflict
    }

    /// Whether it may be left at that plan, with nothing more to do.
    pub fn suffices(self, plan: &Plan) -> bool {
        plan.actions.iter().all(|action| self.permits(action)) && (self != Self::Keys || plan.rests())
    }
}

/// Whether the IAM user becomes this CR's by that action. Then the CR has to be there as it was read: one that is gone, in
/// a cache of yesterday, would take the user from its successor, or be made a user that nobody removes.
pub fn takes_the_user(action: &Action) -> bool {
    match action {
        Action::CreateUser { .. } => true,
        Action::TagUser(added) => added.contains_key(tags::UID),
        _ => false,
    }
}

/// The workload's Secret, as far as the last reconcile knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretFact {
    /// Not read; the watch has shown no other version than the one that the last reconcile has left.
    Unread,
    /// Read: the same version as then.
    Same,
    /// Another version, somebody else's, or missing, whether read or by the watch.
    Changed,
}

/// When something is to be done by itself, such as a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is not known that all is done.
    No,
    /// Status and Secret say so, after a start.
    ByStatus(Timestamp),
    /// The last reconcile of this process left it so, with what is asked for now.
    Settled(Timestamp),
}

/// All that the decision rests upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The CR is being deleted.
    pub deleting: bool,
    /// Something may have been made for it: it carries the finalizer.
    pub made: bool,
    /// The Secret.
    pub secret: SecretFact,
    /// The Secret is ours, with what the spec and its key make of it, and there is none under an earlier name.
    pub intact: bool,
    /// Whether all is done.
    pub done: Done,
    /// When it is to be compared with IAM again.
    pub resync_at: Timestamp,
    /// The status says so for this generation.
    pub announced: bool,
    /// User and policies were left as the spec wants them, and nothing but a rotation was asked for since.
    pub details_known: bool,
    /// So were its access keys: the Secret's alone, or beside one that is inactive already.
    pub keys_left: bool,
    /// Of a deletion: the status names its keys, and the user goes with them.
    pub named: bool,
    /// A key is in no Secret yet.
    pub minted: bool,
    /// The last reconcile failed.
    pub failing: bool,
    /// The bulk read has shown a difference.
    pub drift_suspected: bool,
    /// The bulk read compares the account's users within each interval.
    pub swept: bool,
    /// Until then, what was read while a key is awaited may serve, with what is asked for and the Secret as they are.
    pub awaited_until: Option<Timestamp>,
}

/// What there is now, beside what is known.
pub struct Current<'a> {
    /// The CR.
    pub user: &'a S3AccessUser,
    /// What it asks for, within its class as that is now.
    pub fingerprint: Fingerprint,
    /// The Secret that the key belongs into, where it has been read.
    pub secret: Option<&'a SecretState>,
    /// The workload's Secret, where that has sessions and has been read.
    pub session: Option<&'a SecretState>,
    /// There is no Secret of ours under an earlier name.
    pub alone: bool,
    /// When something is due by itself where status and Secret say that all is done: [`done_by_status`].
    pub by_status: Option<Timestamp>,
    /// How often it is compared with IAM, and the time.
    pub resync: (SignedDuration, Timestamp),
    /// The IAM user stays where the S3AccessUser is deleted.
    pub retain: bool,
    /// The bulk read compares the account's users within each interval.
    pub swept: bool,
}

impl Facts {
    /// What follows from what is known and what there is now.
    pub fn of(known: &Known, current: &Current<'_>) -> Self {
        let Current { user, fingerprint, secret, session, .. } = current;
        let delivered = session.or(*secret);
        let settled = known.settled.as_ref().filter(|settled| settled.fingerprint == fingerprint.all);
        let (interval, now) = current.resync;
        let uid = user.metadata.uid.as_deref().unwrap_or_default();
        let version = delivered.and_then(SecretState::ours).map(|secret| &secret.resource_version);
        let up_to_date =
            |secret: &Option<&SecretState>| secret.and_then(SecretState::ours).is_some_and(|ours| ours.up_to_date);
        let awaited = secret.and_then(|secret| known.left(*fingerprint, secret)).filter(|left| left.awaits);
        Self {
            deleting: user.metadata.deletion_timestamp.is_some(),
            made: user.is_finalized(),
            secret: match (delivered, settled) {
                (None, _) => SecretFact::Unread,
                (Some(_), Some(settled)) if version.map(String::as_str) == Some(&settled.secret_version) => {
                    SecretFact::Same
                }
                (Some(_), _) => SecretFact::Changed,
            },
            intact: current.alone && up_to_date(secret) && up_to_date(&delivered),
            done: match (settled, current.by_status) {
                (_, Some(until)) if known.is_new() => Done::ByStatus(until),
                (Some(settled), _) if !known.is_new() => Done::Settled(settled.due_at),
                _ => Done::No,
            },
            resync_at: match settled {
                Some(settled) if !known.is_new() => settled.resync_at(uid, interval),
                _ => next_resync(uid, now, interval),
            },
            announced: user.status.as_ref().is_some_and(|status| says_settled(status, user.metadata.generation)),
            details_known: known.details == Some(fingerprint.but_rotation),
            keys_left: secret.is_some_and(|secret| known.keys_left(*fingerprint, (secret, *session)).is_some()),
            named: names_its_keys(user, current.retain),
            minted: known.minted.is_some(),
            failing: known.failures > 0,
            drift_suspected: known.drift_suspected,
            swept: current.swept,
            awaited_until: awaited.map(|awaited| later(awaited.read_at, AWAITED_FOR)),
        }
    }
}

/// Whether the status of what is being deleted names the keys that go first, so that they need not be listed: it was settled, so
/// that no key was on its way, and IAM deletes no user that has another one. `retain`: the user is not deleted.
pub fn names_its_keys(user: &S3AccessUser, retain: bool) -> bool {
    let settled = |status: &S3AccessUserStatus| says_settled(status, status.observed_generation);
    let named = user.status.as_ref().is_some_and(|status| status.access_key_id.is_some() && settled(status));
    user.metadata.deletion_timestamp.is_some() && named && !retain
}

/// Whether the status tells of no key beside the one that the Secret holds.
pub fn is_alone_by_status(user: &S3AccessUser) -> bool {
    user.status.as_ref().is_some_and(|status| {
        let revoked = status.revocation.as_ref().is_some_and(|revocation| !revocation.access_key_ids.is_empty());
        status.retiring_key.is_none() && !revoked
    })
}

/// Where status and Secret say that all is done: when the key or the session that they tell of is due, or its time is over,
/// whichever comes first. After a start they stand in for what is known. That decides nothing but when to reconcile: so a
/// restart asks IAM nothing. What must not wait is read live: the Secret.
pub fn done_by_status(
    user: &S3AccessUser,
    desired: &Desired,
    (secret, session): (&SecretState, Option<&SecretState>),
) -> Option<Timestamp> {
    let secret = secret.ours()?;
    let (status, key) = (user.status.as_ref()?, secret.key.as_ref()?);
    let renew_at = match session {
        Some(session) => Some(session.ours()?.session.as_ref()?.renew_at(&desired.owner.identity.uid)),
        None => None,
    };
    let settled = desired.inactive.is_none() && says_settled(status, user.metadata.generation);
    let alone = status.access_key_id.as_deref() == Some(&*key.id) && status.retiring_key.is_none();
    let requested = &desired.rotation.requested;
    let rotated = requested.is_none() || *requested == secret.rotate_handled;
    let revoked =
        |request: &Request| status.revocation.as_ref().is_some_and(|revocation| revocation.request == request.digest);
    let revoked = desired.revocation.as_ref().is_none_or(revoked);
    let created_at = key.created_at.filter(|_| settled && alone && rotated && revoked)?;
    let ends_at = desired.expiry.map(|expiry| expiry.at);
    [desired.rotation.due_at(created_at), renew_at, ends_at, Some(Timestamp::MAX)].into_iter().flatten().min()
}

/// What a status names a Secret by: its resource version, and a digest of what it is made of beside the key.
pub fn named_version(resource_version: &str, rendered: u64) -> String {
    format!("{resource_version}-{rendered:016x}")
}

/// Whether a status that names a Secret so need not name it anew: it is made of the same as then, whoever has touched it since. A
/// change of the settings, or of the operator, may have it made of something else.
pub fn is_made_of(named: Option<&str>, rendered: Option<u64>) -> bool {
    let Some(rendered) = rendered else { return true };
    named
        .and_then(|named| named.split_once('-'))
        .is_some_and(|(version, _)| named == Some(named_version(version, rendered).as_str()))
}

/// The Secret as the status tells of it, where the watch shows it in the very version that the status names, and it would be made
/// of the same today; `None`: only the Secret itself can tell. So a restart reads none that nobody has touched since.
pub fn secret_by_status(
    user: &S3AccessUser,
    is_at: impl Fn(&str) -> bool,
    rendered: impl FnOnce() -> Option<u64>,
) -> Option<SecretState> {
    let status = user.status.as_ref()?;
    let named = status.secret_version.as_ref()?;
    let (version, _) = named.split_once('-').filter(|(version, _)| is_at(version))?;
    let key = HeldKey {
        id: AccessKeyId::of_iam(status.access_key_id.as_ref()?),
        created_at: Some(status.access_key_created_at.as_ref()?.0),
        account_id: status.account_id.clone(),
    };
    // To whose rotate annotation the key answers stands in the Secret alone, and so does its session.
    let tells = status.session_expires_at.is_none() && !user.annotations().contains_key(annotations::ROTATE);
    let same = tells && is_made_of(Some(named), Some(rendered()?));
    same.then(|| SecretState::Ours(OurSecret::intact(version.to_owned(), Some(key))))
}

/// The least that has to be read, beyond what has not sufficed.
pub fn needed(facts: &Facts, now: Timestamp, beyond: Option<Reads>) -> Reads {
    let until = match facts.done {
        Done::No => Timestamp::MIN,
        Done::ByStatus(until) | Done::Settled(until) => until.min(facts.resync_at),
    };
    let known = is_swept(facts) && facts.details_known && !facts.failing;
    let levels = [
        (Reads::Nothing { until }, is_done(facts) && until > now),
        (Reads::Secret, facts.secret == SecretFact::Unread || (!facts.made && !facts.deleting)),
        (Reads::Probe, is_awaited(facts, now)),
        (Reads::Keys, is_settled(facts, now)),
        // What was listed a moment ago counts for more than what was left.
        (Reads::User, known && facts.keys_left && !facts.minted && beyond != Some(Reads::Keys)),
        (Reads::UserAndKeys, known),
        (Reads::Recorded, is_by_record(facts)),
    ];
    let more = |level: Reads| beyond.is_none_or(|beyond| level.rank() > beyond.rank());
    let least = levels.into_iter().find(|(level, holds)| *holds && more(*level));
    least.map_or(Reads::Everything, |(level, _)| level)
}

/// Nothing has changed since all was done.
fn is_done(facts: &Facts) -> bool {
    // After a start, no version of the Secret is known: that it is as the status and the spec say has to do.
    let same = match facts.done {
        Done::No => return false,
        Done::ByStatus(_) => facts.secret != SecretFact::Unread && facts.intact,
        Done::Settled(_) => facts.secret == SecretFact::Unread || (facts.secret == SecretFact::Same && facts.intact),
    };
    same && facts.made && !facts.deleting && !facts.drift_suspected
}

/// Nothing has changed since a reconcile that ended with everything done, nothing is due by itself, and the bulk read compares
/// the rest.
fn is_settled(facts: &Facts, now: Timestamp) -> bool {
    let undisturbed = matches!(facts.done, Done::Settled(due_at) if due_at > now) && facts.secret == SecretFact::Same;
    undisturbed && facts.announced && !facts.minted && is_swept(facts)
}

/// Nothing is awaited but that AWS accepts the new key, and what was read then is not old.
fn is_awaited(facts: &Facts, now: Timestamp) -> bool {
    !facts.deleting && !facts.drift_suspected && facts.awaited_until.is_some_and(|until| now < until)
}

/// A deletion may begin with what is recorded: nothing of it has failed yet, and nobody is known to have changed the user.
fn is_by_record(facts: &Facts) -> bool {
    facts.deleting && facts.made && facts.named && !facts.failing && !facts.drift_suspected
}

/// The bulk read compares what a reconcile leaves out.
fn is_swept(facts: &Facts) -> bool {
    facts.swept && facts.made && !facts.deleting && !facts.drift_suspected
}

#[cfg(test)]
mod tests;
