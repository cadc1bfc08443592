//! The report: conditions and status fields, from how the parts stand.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::credential_report::KeyUse;
use super::desired::{Desired, DesiredPolicy, Owner};
use super::ends::quarantine;
use super::ends::revocation::Revocation;
use super::ends::unused::unused_since;
use super::iam::AccessKey;
use super::lint;
use super::observed::{Observed, WorkloadState};
use super::plan::{Part, Parts, Plan, Progress};
use crate::api::{BindingReference, ConditionType, LastUse, Reason, RetiringKey, RevocationReport, S3AccessUserStatus};

/// The limit of Kubernetes on a condition's message.
const MESSAGE_LIMIT: usize = 32_768;

/// Bytes of a message about mistakes, about: it is read in a terminal.
const MISTAKES_LIMIT: usize = 1_000;

/// What went wrong while acting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The part that it happened to.
    pub part: Part,
    /// The reason of the conditions.
    pub reason: Reason,
    /// What failed, on which object, why, and what to do; free of request ids, which would make each retry news.
    pub message: String,
    /// The operator tries again by itself, and that may help.
    pub transient: bool,
}

impl Failure {
    /// IAM has no policy of an ARN that the spec or the class names in that field. For a consistency window after the part
    /// came to be not synced it may be on its way; then nobody makes it, and only somebody's action helps.
    pub fn of_missing_policy(
        (field, arn): (&str, &str),
        part: Part,
        conditions: &Conditions<'_>,
        window: SignedDuration,
    ) -> Option<Self> {
        let kind = part.condition();
        let since = conditions.earlier.iter().find(|found| found.type_ == kind.as_str() && found.status == "False")?;
        let waited = conditions.now.duration_since(since.last_transition_time.0);
        let message = format!(
            "IAM has no policy {arn}, or it cannot be attached ({field}): correct the ARN, or create the policy; it is tried again"
        );
        (waited >= window).then_some(Self { part, reason: Reason::InvalidPolicy, message, transient: false })
    }

    /// Marks the part.
    pub fn mark(self, parts: &mut Parts) {
        let progress = if self.transient {
            Progress::Waiting(self.reason, self.message)
        } else {
            Progress::Blocked(self.reason, self.message)
        };
        parts.set(self.part, progress);
    }
}

/// What conditions are set on: an object that had these before, at that generation, at that time. A condition keeps its
/// transition time unless its status flips.
#[derive(Clone, Copy, Debug)]
pub struct Conditions<'a> {
    /// The conditions that the object had before.
    pub earlier: &'a [Condition],
    /// The generation that is told of.
    pub generation: Option<i64>,
    /// When it is told.
    pub now: Timestamp,
}

impl Conditions<'_> {
    /// The condition of that kind. Its message is cut to what Kubernetes takes.
    pub fn of(&self, kind: ConditionType, holds: bool, reason: Reason, mut message: String) -> Condition {
        let status = if holds { "True" } else { "False" };
        let kept = self.earlier.iter().find(|found| found.type_ == kind.as_str() && found.status == status);
        if let Some((end, _)) = message.char_indices().nth(MESSAGE_LIMIT / 4) {
            message.truncate(end);
        }
        Condition {
            type_: kind.as_str().into(),
            status: status.into(),
            reason: reason.as_str().into(),
            message,
            observed_generation: self.generation,
            last_transition_time: kept.map_or_else(|| time(self.now), |found| found.last_transition_time.clone()),
        }
    }

    /// A status with when AWS says that its key was last used, where `earlier` or a report tells of that very key, and with a
    /// condition where that is as long ago as `told_after`. Of a report, only what is news to the status is taken.
    pub fn with_last_use(
        &self,
        mut status: S3AccessUserStatus,
        earlier: &S3AccessUserStatus,
        reported: Option<&KeyUse>,
        told_after: SignedDuration,
    ) -> S3AccessUserStatus {
        let id = status.access_key_id.as_deref();
        let known = earlier.last_used.clone().filter(|_| id.is_some() && id == earlier.access_key_id.as_deref());
        let reported = reported.filter(|reported| id == Some(&*reported.id)).map(KeyUse::told);
        let created_at = status.access_key_created_at.as_ref().map(|time| time.0);
        let since = |told: &LastUse| unused_since(told, created_at?, told_after);
        status.last_used = match (known, reported) {
            (Some(known), Some(reported))
                if !is_news(&known, &reported) && since(&known).is_some() == since(&reported).is_some() =>
            {
                Some(known)
            }
            (known, reported) => reported.or(known),
        };
        status.conditions.retain(|condition| condition.type_ != ConditionType::Unused.as_str());
        let told = status.last_used.as_ref().and_then(|told| Some((told, since(told)?, id?)));
        let unused = told.map(|(told, since, id)| {
            let message = format!(
                "AWS tells of no use of access key {id} since {since}, by the account's credential report of {}: if nobody needs it, delete the S3AccessUser or set spec.suspend",
                told.reported_at.0
            );
            self.of(ConditionType::Unused, true, Reason::Unused, message)
        });
        status.conditions.extend(unused);
        status
    }

    /// The conditions for these parts.
    pub fn of_parts(&self, parts: &Parts) -> Vec<Condition> {
        let mut verdicts: Vec<(ConditionType, bool, Reason, String)> = Vec::new();
        let blocked = Part::ALL.into_iter().find_map(|part| match parts.of(part) {
            Progress::Blocked(reason, message) => Some((*reason, message.clone())),
            _ => None,
        });
        // What is waited for says more than what waits behind it, and a key that is being replaced stands in nobody's way.
        let mut waits: Vec<(u8, Reason, String)> = Part::ALL
            .into_iter()
            .filter_map(|part| match parts.of(part) {
                Progress::Waiting(Reason::Rotating, message) => Some((2, Reason::Rotating, message.clone())),
                Progress::Waiting(reason, message) => Some((0, *reason, message.clone())),
                Progress::Pending => Some((1, Reason::Creating, "an earlier step is not done yet".to_owned())),
                _ => None,
            })
            .collect();
        waits.sort_by_key(|(rank, ..)| *rank);
        let waiting = waits.into_iter().next().map(|(_, reason, message)| (reason, message));
        let synced = (Reason::Synced, "IAM user, policy, access key and Secret are as the spec says".to_owned());
        let usable = blocked.is_none() && waiting.as_ref().is_none_or(|(reason, _)| *reason == Reason::Rotating);
        let (reason, message) = blocked.clone().or_else(|| waiting.clone()).unwrap_or_else(|| synced.clone());
        verdicts.push((ConditionType::Ready, usable, reason, message));
        // That all is well is told only where it is.
        let beside = |message: &str| (Reason::Synced, message.to_owned());
        let held_up = blocked.as_ref().map(|_| beside("nothing goes on until that is resolved which Stalled names"));
        let goes_on = waiting.as_ref().map(|_| beside("the operator goes on by itself"));
        let is_reconciling = waiting.is_some() && blocked.is_none();
        let (reason, message) = held_up.or(waiting).unwrap_or_else(|| synced.clone());
        verdicts.push((ConditionType::Reconciling, is_reconciling, reason, message));
        let is_stalled = blocked.is_some();
        let (reason, message) = blocked.or(goes_on).unwrap_or(synced);
        verdicts.push((ConditionType::Stalled, is_stalled, reason, message));
        for part in Part::ALL {
            let (status, reason, message) = match parts.of(part) {
                Progress::Synced => (true, Reason::Synced, String::new()),
                // While a key is being replaced, the one in the Secret works.
                Progress::Waiting(Reason::Rotating, message) => (true, Reason::Rotating, message.clone()),
                Progress::Waiting(reason, message) | Progress::Blocked(reason, message) => {
                    (false, *reason, message.clone())
                }
                Progress::Pending => (false, Reason::Creating, "an earlier step is not done yet".to_owned()),
            };
            verdicts.push((part.condition(), status, reason, message));
        }
        verdicts.into_iter().map(|(kind, status, reason, message)| self.of(kind, status, reason, message)).collect()
    }
}

/// Whether a report says what the status should: a use that is a day later, or that there was none for another week.
fn is_news(known: &LastUse, reported: &LastUse) -> bool {
    let at = |told: &LastUse| told.at.as_ref().map(|at| at.0);
    let later_by =
        |one: Timestamp, other: Timestamp, hours| other.duration_since(one) >= SignedDuration::from_hours(hours);
    let used = match (at(known), at(reported)) {
        (Some(known), Some(reported)) => later_by(known, reported, 24),
        (known, reported) => known.is_none() && reported.is_some(),
    };
    used || later_by(known.reported_at.0, reported.reported_at.0, 7 * 24)
}

/// The whole status of a CR whose spec could be carried out.
pub fn status(desired: &Desired, observed: &Observed, plan: &Plan, conditions: &Conditions<'_>) -> S3AccessUserStatus {
    let user = observed.user();
    let key = observed.our_secret().and_then(|secret| secret.key.as_ref());
    let session = observed.session.as_ref().and_then(|secret| secret.ours()?.session.as_ref());
    let delivered = if observed.session.is_some() { session.is_some() } else { key.is_some() };
    let listed = key.and_then(|key| user?.keys.iter().find(|found| key.id == found.id));
    let policy_arn = match desired.policy_of(user.map(|user| &user.tags)) {
        Some(DesiredPolicy::Managed { arn, .. }) if observed.policies.contains_key(&arn) => Some(arn),
        _ => None,
    };
    let restarted = workloads(desired, observed)
        .map(|(is_done, reason, message)| conditions.of(ConditionType::WorkloadsRestarted, is_done, reason, message));
    let effective = desired.mistakes.as_ref().map(|mistakes| {
        let reason = if mistakes.is_empty() { Reason::Synced } else { Reason::PolicyMistake };
        let message = lint::told(mistakes, MISTAKES_LIMIT);
        conditions.of(ConditionType::PolicyEffective, mistakes.is_empty(), reason, message)
    });
    let alarm = user.map(|user| quarantine::policies(&user.attached)).filter(|alarm| !alarm.is_empty());
    let compromised = alarm.map(|alarm| {
        let message = quarantine::told(&desired.owner.user_name, &alarm, desired.class.on_compromise());
        conditions.of(ConditionType::Compromised, true, Reason::Compromised, message)
    });
    let beside = [restarted, effective, compromised].into_iter().flatten();
    S3AccessUserStatus {
        conditions: conditions.of_parts(&plan.parts).into_iter().chain(beside).collect(),
        user_arn: user.map(|user| user.arn.clone()),
        policy_arn,
        access_key_id: key.map(|key| key.id.to_string()),
        access_key_created_at: listed.map(|key| key.created_at).or_else(|| key?.created_at).map(time),
        secret_version: None,
        session_expires_at: session.map(|session| time(session.expires_at)),
        next_rotation_at: plan.next_rotation_at.map(time),
        expires_at: desired.expiry.map(|expiry| time(expiry.at)),
        last_used_at: plan.retiring.as_ref().and_then(|retiring| retiring.last_used).map(time),
        retiring_key: plan.retiring.as_ref().map(|retiring| RetiringKey {
            id: retiring.id.clone(),
            retire_at: time(retiring.retire_at),
            message: retiring.extended.then(|| {
                "it was used after the Secret got its successor, so it works for one overlap more: restart what still uses it"
                    .to_owned()
            }),
        }),
        revocation: user.and_then(|user| Some(revocation_report(&Revocation::of(&user.tags)?, &user.keys))),
        binding: delivered.then(|| BindingReference { name: desired.owner.secret_name.clone() }),
        ..whose(&desired.owner, conditions.generation)
    }
}

/// What was revoked of a user, and what of that is still among its keys.
pub fn revocation_report(revocation: &Revocation, keys: &[AccessKey]) -> RevocationReport {
    let left = keys.iter().filter(|key| revocation.covers(&key.id) && !key.active);
    let access_key_ids: Vec<String> = left.map(|key| key.id.clone()).collect();
    RevocationReport {
        request: revocation.asked.clone().unwrap_or_else(|| "quarantine".to_owned()),
        revoked_at: time(revocation.at),
        delete_at: (!access_key_ids.is_empty()).then(|| time(revocation.delete_at())),
        access_key_ids,
    }
}

/// How it stands with the workloads; `None` where the spec names none.
fn workloads(desired: &Desired, observed: &Observed) -> Option<(bool, Reason, String)> {
    if desired.workloads.is_empty() {
        return None;
    }
    let mut verdict = (true, Reason::Synced);
    let mut messages = Vec::new();
    for workload in &desired.workloads {
        match observed.workloads.get(workload) {
            Some(WorkloadState::Denied(why)) => {
                verdict = (false, Reason::AccessDenied);
                messages.push(format!(
                    "{workload} is not restarted when its key is replaced: {why}: apply deploy/optional/rollout-restart.yaml, or restart it yourself"
                ));
            }
            Some(WorkloadState::Failed(why)) => {
                verdict = if verdict.0 { (false, Reason::Failed) } else { verdict };
                messages.push(format!("{workload} could not be read or restarted yet: {why}"));
            }
            Some(WorkloadState::Missing) => {
                messages.push(format!("{workload} is not there: it is restarted for the keys that come after it"));
            }
            Some(WorkloadState::Present { .. }) | None => {}
        }
    }
    Some((verdict.0, verdict.1, messages.join("; ")))
}

/// Kubernetes keeps whole seconds: with more, a status would never equal what was read back, and be written for ever.
fn time(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

/// The status of a CR whose reconcile did not come to its end: what was known stays, the conditions say why.
pub fn interrupted(
    owner: Option<&Owner>,
    parts: &Parts,
    earlier: &S3AccessUserStatus,
    generation: Option<i64>,
    now: Timestamp,
) -> S3AccessUserStatus {
    let names = owner.map_or_else(S3AccessUserStatus::default, |owner| whose(owner, generation));
    let made = earlier.user_arn.is_some() || owner.is_none();
    let beside = [
        ConditionType::WorkloadsRestarted,
        ConditionType::PolicyEffective,
        ConditionType::Compromised,
        ConditionType::Unused,
    ]
    .map(ConditionType::as_str);
    let beside = |found: &&Condition| beside.contains(&found.type_.as_str());
    let mut conditions = Conditions { earlier: &earlier.conditions, generation, now }.of_parts(parts);
    conditions.extend(earlier.conditions.iter().filter(beside).cloned());
    S3AccessUserStatus {
        observed_generation: generation,
        conditions,
        class_name: owner.map_or_else(|| earlier.class_name.clone(), |owner| owner.class.clone()),
        user_name: names.user_name.or_else(|| earlier.user_name.clone()),
        // What was made is where it was made, whatever account the credentials are of now.
        account_id: made.then(|| earlier.account_id.clone()).flatten().or(names.account_id),
        partition: made.then(|| earlier.partition.clone()).flatten().or(names.partition),
        ..earlier.clone()
    }
}

/// Whether the status, which is only a report, says that nothing is left to do for this generation.
pub fn says_settled(status: &S3AccessUserStatus, generation: Option<i64>) -> bool {
    let is = |kind: ConditionType, wanted: &str| {
        status.conditions.iter().any(|found| found.type_ == kind.as_str() && found.status == wanted)
    };
    status.observed_generation == generation
        && is(ConditionType::Ready, "True")
        && is(ConditionType::Reconciling, "False")
}

fn whose(owner: &Owner, generation: Option<i64>) -> S3AccessUserStatus {
    S3AccessUserStatus {
        observed_generation: generation,
        class_name: owner.class.clone(),
        user_name: Some(owner.user_name.clone()),
        account_id: Some(owner.account.id.clone()),
        partition: Some(owner.account.partition.clone()),
        ..S3AccessUserStatus::default()
    }
}

#[cfg(test)]
mod tests;
