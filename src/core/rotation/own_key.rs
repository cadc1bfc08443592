//! The operator's own access key, in the Secret that the process takes it from: the same life as a user's key has.
//!
//! IAM does not say of a key whose it is: the user is an administrator's, who may have made another key of it. What is
//! ours is said by the Secret's record, and that is believed only under the seal of the secret half that stands beside it:
//! whoever can write that could do in IAM what he writes. Of a key whose CreateAccessKey got no answer, the record has the
//! time at which it was begun, with no other key there. So one key can be mistaken for ours: that of somebody who makes it in
//! the second between the record and our request, where the process dies before it has heard that IAM refused a third.

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::{DEFAULT_OVERLAP, PROBES, Retirement, UNUSABLE_AFTER, later};
use crate::core::iam::{AccessKey, AccessKeyId, past};
use crate::core::observed::{Minted, Probes};
use crate::core::plan::{Waits, WhyDelete};
use crate::core::secret_data::Credentials;

/// How long credentials are taken for good before the Secret is read again, at most: so long, a process goes on with a
/// key that was replaced.
const LONGEST_LIFE: SignedDuration = SignedDuration::from_mins(5);
/// A key that IAM has made later than this after it was begun is another one: a request lasts half a minute, and two clocks
/// differ by no more where AWS takes a signature.
const LONGEST_MINT: SignedDuration = SignedDuration::from_mins(15);
/// The state of IAM is read again after so long, whatever it was.
const RESYNC_INTERVAL: SignedDuration = SignedDuration::from_hours(1);

/// What stands in the Secret beside the key, written with it in one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The key that this one has replaced.
    pub previous: Option<AccessKeyId>,
    /// When it has.
    pub rotated_at: Option<Timestamp>,
    /// When a new key was begun: from a moment before CreateAccessKey until the key is in the Secret.
    pub begun_at: Option<Timestamp>,
    /// The orphan key that came of it and is about to be deleted: noted first, so that another leader's write of that key
    /// conflicts.
    pub orphan_to_delete: Option<AccessKeyId>,
    /// The value of the Secret's rotate annotation that the key answers to.
    pub rotate_handled: Option<String>,
}

impl Record {
    /// What only the holder of the key can write: it vouches for the record, and for nothing beside another key.
    pub fn seal(&self, credentials: &Credentials) -> String {
        let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        let id = |id: &Option<AccessKeyId>| id.as_ref().map(ToString::to_string).unwrap_or_default();
        let mut hasher = Sha256::new();
        hasher.update("s3access.dev/own-key\0");
        for part in [
            &*credentials.access_key_id,
            credentials.secret_access_key.expose_secret(),
            &id(&self.previous),
            &time(self.rotated_at),
            &time(self.begun_at),
            &id(&self.orphan_to_delete),
            self.rotate_handled.as_deref().unwrap_or_default(),
        ] {
            hasher.update(part);
            hasher.update("\0");
        }
        hex::encode(hasher.finalize())
    }
}

/// What the Secret says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The key that it holds.
    pub key_id: AccessKeyId,
    /// The record beside it, where its seal holds; else an empty one.
    pub record: Record,
    /// The value of its rotate annotation.
    pub requested: Option<String>,
    /// Kubernetes lets nobody change the key.
    pub immutable: bool,
}

/// What this process has begun. The secret half stays in the shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mint {
    /// As it is recorded in the Secret.
    pub begun_at: Timestamp,
    /// The key, once IAM has answered, and what has been seen of it at work.
    pub key: Option<(Minted, Probes)>,
}

/// All that the next step follows from.
#[derive(Clone, Debug)]
pub struct View<'a> {
    /// The Secret, read live.
    pub held: &'a Held,
    /// The keys of the user that the process is, by IAM.
    pub keys: &'a [AccessKey],
    /// What this process has begun.
    pub mint: Option<&'a Mint>,
    /// When the previous key was used last, once it was asked for: IAM's answer.
    pub last_used: Option<Option<Timestamp>>,
    /// The age at which the key is replaced.
    pub interval: SignedDuration,
    /// Waits of IAM.
    pub waits: Waits,
    /// The time.
    pub now: Timestamp,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing until then.
    Rest(Timestamp),
    /// Nothing, until somebody does what is said.
    Blocked(String),
    /// Record in the Secret that a key is begun now.
    Begin,
    /// Record in the Secret that nothing came of it.
    Withdraw,
    /// CreateAccessKey.
    Make,
    /// Try the new key.
    Probe,
    /// Put the new key into the Secret.
    Swap,
    /// Ask when the previous key was used last.
    ReadLastUsed(String),
    /// Take the previous key out of use.
    Deactivate(String),
    /// Record in the Secret that this key is an orphan about to be deleted, and never to be put there.
    NoteOrphan(AccessKeyId),
    /// Delete a key.
    Delete(String, WhyDelete),
}

/// Whose a key is that the Secret does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// Ours: the Secret held it before.
    Previous,
    /// Ours, and on its way into the Secret.
    New,
    /// Ours, and in no Secret: a crash, a lost answer, or another leader left it.
    Stranded,
    /// Somebody else's.
    Stranger,
}

/// How long the replaced key goes on working: a day, or less where keys are replaced so often that two at a time, as IAM
/// allows, would not do. Doubled by its use, it leaves half of the interval.
pub fn overlap(interval: SignedDuration) -> SignedDuration {
    DEFAULT_OVERLAP.min(interval / 4)
}

/// After so long, a process reads the Secret again: well within the overlap.
pub fn life_of_credentials(interval: SignedDuration) -> SignedDuration {
    LONGEST_LIFE.min(overlap(interval) / 3)
}

impl View<'_> {
    /// The next step; when it is done, everything is read anew.
    pub fn next(&self) -> Step {
        let current = match self.current() {
            Ok(current) => current,
            Err(step) => return step,
        };
        let (mut stranger, mut new) = (None, None);
        for key in self.keys.iter().filter(|key| key.id != current.id) {
            match self.owner(key, current) {
                Owner::Previous => return self.retire(key, current),
                Owner::Stranded => return self.remove(key),
                Owner::New => new = Some(key),
                Owner::Stranger => stranger = Some(key),
            }
        }
        if let Some((minted, probes)) = self.on_its_way() {
            return self.deliver(minted, probes, new);
        }
        if let Some(key) = stranger {
            if self.is_begun() {
                return Step::Withdraw;
            }
            return Step::Blocked(format!(
                "access key {} of this user was not made by this operator, and IAM allows two: delete it, or give whoever uses it a user of his own",
                key.id
            ));
        }
        self.rotate(current)
    }

    /// When the key is due to be replaced, by schedule.
    pub fn due_at(&self, current: &AccessKey) -> Timestamp {
        later(current.created_at, self.interval)
    }

    /// The Secret's key, by IAM. Without one that works nothing is touched: nobody would know what is left.
    fn current(&self) -> Result<&AccessKey, Step> {
        let Held { key_id, record, .. } = self.held;
        match self.keys.iter().find(|key| *key_id == key.id) {
            Some(key) if !key.active => Err(Step::Blocked(format!(
                "access key {key_id} of the Secret is inactive in IAM: activate it, or write one into the Secret that works"
            ))),
            Some(_) if self.held.immutable => {
                Err(Step::Blocked("the Secret is immutable: make it anew without `immutable: true`".to_owned()))
            }
            Some(key) => Ok(key),
            None => {
                let listed_at = record.rotated_at.map(|at| later(at, self.waits.before_loss()));
                match listed_at.filter(|at| *at > self.now && *at <= later(self.now, self.waits.before_loss())) {
                    Some(at) => Err(Step::Rest(at)),
                    None => Err(Step::Blocked(format!(
                        "access key {key_id} of the Secret is not among those that IAM lists for this user: the process may have taken up another key meanwhile; else write one into the Secret that works"
                    ))),
                }
            }
        }
    }

    fn owner(&self, key: &AccessKey, current: &AccessKey) -> Owner {
        let Record { previous, begun_at, orphan_to_delete, .. } = &self.held.record;
        if previous.as_deref() == Some(&key.id) && key.created_at <= current.created_at {
            return Owner::Previous;
        }
        if self.on_its_way().is_some_and(|(minted, _)| minted.id == key.id) {
            return Owner::New;
        }
        let made_here = self.mint.and_then(|mint| mint.key.as_ref()).is_some_and(|(minted, _)| minted.id == key.id);
        let begun = begun_at.filter(|_| !self.is_begun()).is_some_and(|begun_at| {
            // IAM's clock is another, and tells whole seconds.
            let earliest = later(begun_at, -self.waits.consistency_window);
            (earliest..=later(begun_at, LONGEST_MINT)).contains(&key.created_at)
        });
        // One key comes of one begin.
        let of_this_begin = begun && orphan_to_delete.as_deref().is_none_or(|orphan| *orphan == *key.id);
        if made_here || of_this_begin { Owner::Stranded } else { Owner::Stranger }
    }

    /// Whether this process has recorded that it begins, and not yet asked IAM: whatever key is there is not of it.
    fn is_begun(&self) -> bool {
        self.mint.is_some_and(|mint| Some(mint.begun_at) == self.held.record.begun_at && mint.key.is_none())
    }

    /// The new key of this process, as long as the Secret says that it is the one that was begun last, and will not be deleted.
    fn on_its_way(&self) -> Option<&(Minted, Probes)> {
        let Record { begun_at, orphan_to_delete, .. } = &self.held.record;
        let mint = self.mint.filter(|mint| Some(mint.begun_at) == *begun_at)?;
        mint.key.as_ref().filter(|(minted, _)| orphan_to_delete.as_deref() != Some(&minted.id))
    }

    /// The previous key: works through the overlap, then is inactive, then deleted.
    fn retire(&self, key: &AccessKey, current: &AccessKey) -> Step {
        let rotated_at = self.held.record.rotated_at.and_then(|at| past(at, self.now)).unwrap_or(current.created_at);
        let overlap = overlap(self.interval);
        let regular = Retirement::of(rotated_at, overlap, None);
        if regular.deactivate_at > self.now {
            return self.rest(regular.deactivate_at);
        }
        let Some(last_used) = self.last_used else { return Step::ReadLastUsed(key.id.clone()) };
        let retirement = Retirement::of(rotated_at, overlap, last_used);
        // Kept only as a courtesy by now, it must not hold up a rotation.
        let delete_at = if self.is_due(current) { retirement.deactivate_at } else { retirement.delete_at };
        match key.active {
            _ if retirement.deactivate_at > self.now => self.rest(retirement.deactivate_at),
            true => Step::Deactivate(key.id.clone()),
            false if delete_at > self.now => self.rest(delete_at),
            false => Step::Delete(key.id.clone(), WhyDelete::Retired),
        }
    }

    /// A key of ours that nobody can use. Another leader may be about to put it into the Secret: so it waits for as long as
    /// there may be one, and the Secret says before that the key must not come there, by which that one's write conflicts.
    fn remove(&self, key: &AccessKey) -> Step {
        let old_at = later(key.created_at, self.waits.takeover);
        if old_at > self.now {
            self.rest(old_at)
        } else if self.held.record.orphan_to_delete.as_deref() == Some(&key.id) {
            Step::Delete(key.id.clone(), WhyDelete::Orphan)
        } else {
            Step::NoteOrphan(AccessKeyId::of_iam(&key.id))
        }
    }

    /// The new key: tried until it works, then kept until all replicas of IAM know it, then put into the Secret.
    fn deliver(&self, minted: &Minted, probes: &Probes, listed: Option<&AccessKey>) -> Step {
        let give_up = || Step::NoteOrphan(AccessKeyId::of_iam(&minted.id));
        let window = self.waits.consistency_window;
        let made_at = past(minted.created_at, self.now).into_iter().chain([probes.since]).max().unwrap_or(probes.since);
        let spread_at = later(made_at, window);
        let tries_at = later(probes.last, self.waits.probe_interval);
        match listed {
            Some(key) if !key.active => return give_up(),
            None if later(made_at, self.waits.before_loss()) <= self.now => return give_up(),
            _ => {}
        }
        if probes.successes == 0 && later(probes.since, window * UNUSABLE_AFTER) <= self.now {
            give_up()
        } else if probes.successes < PROBES {
            if tries_at > self.now { self.rest(tries_at) } else { Step::Probe }
        } else if spread_at > self.now {
            self.rest(spread_at)
        } else if listed.is_none() {
            self.rest(later(self.now, self.waits.probe_interval))
        } else {
            Step::Swap
        }
    }

    fn is_due(&self, current: &AccessKey) -> bool {
        let requested = self.held.requested.is_some() && self.held.requested != self.held.record.rotate_handled;
        requested || self.due_at(current) <= self.now
    }

    fn rotate(&self, current: &AccessKey) -> Step {
        if !self.is_due(current) {
            return self.rest(self.due_at(current));
        }
        let Record { begun_at, orphan_to_delete, .. } = &self.held.record;
        let Some(begun_at) = begun_at.and_then(|at| past(at, self.now)).filter(|_| orphan_to_delete.is_none()) else {
            return Step::Begin;
        };
        if self.is_begun() {
            return Step::Make;
        }
        // Somebody else has begun, or an answer was lost: a key of that may still come, and IAM show it.
        let shown_at = later(begun_at, self.waits.takeover.saturating_add(self.waits.before_loss()));
        if shown_at > self.now { self.rest(shown_at) } else { Step::Begin }
    }

    fn rest(&self, until: Timestamp) -> Step {
        Step::Rest(until.min(later(self.now, RESYNC_INTERVAL)))
    }
}

#[cfg(test)]
mod tests;
