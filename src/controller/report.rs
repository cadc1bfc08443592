//! Tells users how it stands: the status, and an Event where the verdict changes. Nothing is written that says nothing
//! new.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt;
use kube::runtime::events::{Event, EventType};
use tracing::warn;

use super::context::Context;
use super::error::Error;
use crate::api::{ConditionType, FINALIZER, Reason, RevocationReport, S3AccessUser, S3AccessUserStatus, annotations};
use crate::core::conditions::{interrupted, revocation_report};
use crate::core::desired::Owner;
use crate::core::ends::revocation::Revocation;
use crate::core::plan::{Part, Parts, Progress, being_replaced};
use crate::kubernetes::UserRef;

/// The limit of Kubernetes on an Event's note.
const NOTE_LIMIT: usize = 1_000;

/// Writes the status, if it says anything new.
pub async fn report(
    ctx: &Context,
    user: &UserRef,
    earlier: &S3AccessUserStatus,
    status: &S3AccessUserStatus,
) -> Result<(), Error> {
    if status == earlier {
        return Ok(());
    }
    ctx.may_write()?;
    let version = ctx.kubernetes.apply_status(&written_since(ctx, user), status).await?;
    ctx.state.written(&user.uid, version, status);
    let verdict = |condition: Option<&Condition>| condition.map(|found| (found.status.clone(), found.reason.clone()));
    let told =
        [ConditionType::Ready, ConditionType::WorkloadsRestarted, ConditionType::Compromised, ConditionType::Unused];
    for kind in told {
        let (before, after) = (of_kind(earlier, kind), of_kind(status, kind));
        let Some(condition) = after.filter(|_| verdict(before) != verdict(after)) else { continue };
        // That nothing is to be restarted is no news.
        if kind == ConditionType::WorkloadsRestarted && condition.status == "True" {
            continue;
        }
        let event = Event {
            type_: if is_alarm(kind) || !(condition.status == "True" || is_progress(condition)) {
                EventType::Warning
            } else {
                EventType::Normal
            },
            reason: condition.reason.to_string(),
            note: Some(note(&condition.message)),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        // An Event is a courtesy: the status says the same.
        if let Err(error) = ctx.kubernetes.publish(user, event).await {
            tracing::debug!(%error, "an Event was not published");
        }
    }
    Ok(())
}

/// What its status says, as this reconcile has left it so far.
pub fn last_told(ctx: &Context, user: &S3AccessUser) -> S3AccessUserStatus {
    let seen = user.resource_version().and_then(|version| version.parse::<u64>().ok());
    let newer = ctx.state.with(&user.uid().unwrap_or_default(), |known| {
        known.last_written.as_ref().filter(|written| Some(written.0) > seen).map(|written| written.1.clone())
    });
    newer.or_else(|| user.status.clone()).unwrap_or_default()
}

/// The CR as this reconcile has left it so far.
fn written_since(ctx: &Context, user: &UserRef) -> UserRef {
    let seen = user.resource_version.as_ref().and_then(|version| version.parse::<u64>().ok());
    let written = ctx.state.with(&user.uid, |known| known.last_written.as_ref().map(|written| written.0));
    UserRef { resource_version: seen.max(written).map(|version| version.to_string()), ..user.clone() }
}

/// Says that a new key is on its way, before it is made.
pub async fn announce(ctx: &Context, user: &S3AccessUser, owner: &Owner, reason: Reason) -> Result<(), Error> {
    let earlier = user.status.clone().unwrap_or_default();
    let synced = || Progress::Synced;
    let message = match reason {
        Reason::Revoked => {
            format!(
                "revoked, as the annotation {} asks: no access key of this user works, and another one is being made",
                annotations::REVOKE
            )
        }
        Reason::Rotating if let Some(id) = &earlier.access_key_id => being_replaced(id),
        _ => "a new access key is being made".to_owned(),
    };
    let key = Progress::Waiting(reason, message);
    let mut parts = Parts { user: synced(), policy: synced(), key, secret: synced() };
    if reason != Reason::Rotating {
        parts.set(Part::Secret, Progress::Pending);
    }
    let known = with_revocation(ctx, user);
    let status = interrupted(Some(owner), &parts, &known, user.metadata.generation, ctx.now());
    report(ctx, &UserRef::of(&user.metadata), &earlier, &status).await
}

/// The status as it is, with the last revocation that this process knows of.
pub fn with_revocation(ctx: &Context, user: &S3AccessUser) -> S3AccessUserStatus {
    let earlier = user.status.clone().unwrap_or_default();
    let uid = user.uid().unwrap_or_default();
    let known = ctx.state.with(&uid, |known| known.revoked().and_then(Revocation::read));
    let known = known.map(|known| revocation_report(&known, &[]));
    let is_told =
        |known: &RevocationReport| earlier.revocation.as_ref().is_some_and(|told| told.revoked_at >= known.revoked_at);
    match known.filter(|known| !is_told(known)) {
        None => earlier,
        revocation => S3AccessUserStatus { revocation, ..earlier },
    }
}

/// Names, in an Event that outlives the user, what may be left in IAM.
pub async fn abandoned(ctx: &Context, user: &S3AccessUser) {
    let status = user.status.as_ref();
    let known = |field: Option<&String>| field.cloned().unwrap_or_else(|| "unknown".to_owned());
    let message = format!(
        "abandoned by annotation: what is left in IAM is nobody's now: user {}, access key {}, policy {}",
        known(status.and_then(|status| status.user_arn.as_ref())),
        known(status.and_then(|status| status.access_key_id.as_ref())),
        known(status.and_then(|status| status.policy_arn.as_ref())),
    );
    tracing::warn!(namespace = user.namespace(), name = user.name_any(), "{message}");
    let event = Event {
        type_: EventType::Warning,
        reason: "Abandoned".to_owned(),
        note: Some(note(&message)),
        action: "Delete".to_owned(),
        secondary: None,
    };
    if let Err(error) = ctx.kubernetes.publish(&UserRef::of(&user.metadata), event).await {
        tracing::warn!(%error, "an Event was not published");
    }
}

fn of_kind(status: &S3AccessUserStatus, kind: ConditionType) -> Option<&Condition> {
    status.conditions.iter().find(|condition| condition.type_ == kind.as_str())
}

/// Whether it is there only while somebody should act.
fn is_alarm(kind: ConditionType) -> bool {
    matches!(kind, ConditionType::Compromised | ConditionType::Unused)
}

fn is_progress(condition: &Condition) -> bool {
    [Reason::Creating, Reason::Rotating, Reason::WaitingForKey, Reason::Deleting, Reason::Suspended, Reason::Paused]
        .iter()
        .any(|reason| reason.as_str() == condition.reason)
}

fn note(message: &str) -> String {
    message.char_indices().take_while(|(at, _)| *at < NOTE_LIMIT).map(|(_, c)| c).collect()
}

/// Adds the finalizer; the resource version that came of it.
pub async fn add_finalizer(ctx: &Context, user: &S3AccessUser) -> Result<Option<String>, Error> {
    ctx.may_write()?;
    let all: Vec<String> = user.finalizers().iter().cloned().chain([FINALIZER.to_owned()]).collect();
    let version = ctx.kubernetes.set_finalizers(user, &all).await?;
    let status = user.status.clone().unwrap_or_default();
    ctx.state.written(&user.uid().unwrap_or_default(), version.clone(), &status);
    Ok(version)
}

/// Puts the finalizer back where something was made for the CR: whoever took it off would have it forgotten in IAM. With
/// the error where the API server does not take it.
pub async fn restore_finalizer(ctx: &Context, user: &S3AccessUser) -> (S3AccessUser, Option<Error>) {
    let mut restored = user.clone();
    let deleting = user.metadata.deletion_timestamp.is_some();
    if user.is_finalized() || deleting || !user.was_acted_upon() {
        return (restored, None);
    }
    restored.finalizers_mut().push(FINALIZER.to_owned());
    let (namespace, name) = (user.namespace(), user.name_any());
    match add_finalizer(ctx, user).await {
        Ok(version) => {
            warn!(namespace, name, "the finalizer {FINALIZER} was taken off; it is put back");
            restored.metadata.resource_version = version.or(restored.metadata.resource_version);
            (restored, None)
        }
        Err(error) => {
            warn!(namespace, name, %error, "the finalizer {FINALIZER} was taken off, and could not be put back");
            (restored, Some(error))
        }
    }
}
