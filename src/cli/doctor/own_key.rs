//! The operator's own key, where it runs on one of an IAM user: how old it is, and whether and when it is replaced.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::Client;

use super::Check;
use super::permissions::own_key;
use crate::aws::{Session, SettingsError};
use crate::cli::run;
use crate::config::RunOptions;
use crate::controller::OwnSecret;
use crate::core::iam::{AccessKey, AccessKeyId};
use crate::core::plan::Waits;
use crate::core::rotation::own_key::{Held, Step, View};

const WHAT: &str = "the operator's own key";
const DEADLINE: Duration = Duration::from_secs(60);
/// A static key that is older is to be replaced (CIS AWS Foundations Benchmark 1.14).
const OLD: SignedDuration = SignedDuration::from_hours(90 * 24);
const ADVICE: &str = "see operate.md, \"The operator's own key\"";

/// Where the key is that is to be rotated.
pub(super) fn secret(client: Option<&Client>, options: &RunOptions) -> Result<Option<OwnSecret>, SettingsError> {
    match client {
        Some(client) => run::own_key(client, options),
        None => match options.own_key()? {
            Some(_) => Err(SettingsError::OwnKeyUnread),
            None => Ok(None),
        },
    }
}

/// Nothing is said of a role, whose credentials are replaced by AWS, nor of a system that is not AWS.
pub(super) async fn check(secret: Option<OwnSecret>, options: &RunOptions, session: &Session) -> Vec<Check> {
    let found = match &secret {
        Some(secret) => tokio::time::timeout(DEADLINE, rotated(secret, run::waits(options), session)).await,
        None => tokio::time::timeout(DEADLINE, unrotated(session)).await.map(Ok),
    };
    match found {
        Ok(Ok(checks)) => checks,
        Ok(Err(problem)) => vec![Check::failure(WHAT, problem, ADVICE)],
        Err(_) => vec![Check::warning(WHAT, format!("was not looked at within {} s", DEADLINE.as_secs()))],
    }
}

async fn unrotated(session: &Session) -> Vec<Check> {
    let Some(identity) = &session.identity else { return Vec::new() };
    // Whether there are credentials at all is said of the account; where all are in classes, there need be none.
    let (Some(id), Ok(Some(user))) = (identity.static_key().await, session.sts.user().await) else {
        return Vec::new();
    };
    vec![match session.keys_of(&user, &[]).await {
        Ok(keys) => judge_unrotated(&id, &keys, Timestamp::now()),
        Err(error) => Check::warning(WHAT, format!("{id}: its age is not known: {error}")),
    }]
}

fn judge_unrotated(id: &AccessKeyId, keys: &[AccessKey], now: Timestamp) -> Check {
    let Some(key) = keys.iter().find(|key| *id == key.id) else {
        return Check::warning(WHAT, format!("{id} is not among those that IAM lists for its user"));
    };
    let age = now.duration_since(key.created_at);
    let found = format!("{id}, {} days old, which nothing replaces", days(age));
    if age > OLD {
        let advice = format!("use a role, which has no key, or have it rotated (S3ACCESS_ROTATE_OWN_KEY): {ADVICE}");
        return Check::warning(WHAT, format!("{found}: {advice}"));
    }
    Check::ok(WHAT, found)
}

async fn rotated(
    secret: &OwnSecret,
    waits: Waits,
    session: &Session,
) -> Result<Vec<Check>, Box<dyn std::error::Error + Send + Sync>> {
    let held = secret.get().await?.held;
    let user = session.sts.user().await?.ok_or("it is not of an IAM user, so there is nothing to rotate")?;
    let keys = session.keys_of(&user, &[]).await?;
    let mut checks = vec![judge_rotated(&held, &keys, (secret.interval, waits), Timestamp::now())];
    checks.extend(permissions(session).await);
    Ok(checks)
}

/// What IAM's simulator denies; where that may not be asked, the check of the other permissions says so.
async fn permissions(session: &Session) -> Option<Check> {
    let identity = session.identity.as_ref()?;
    let arn = identity.caller().await.0.ok()?;
    let missing = identity.simulate(&arn, &own_key(&arn)).await.ok()?;
    let problem =
        || format!("not allowed: {}: give its user the policy deploy/iam/operator-policy.own-key", missing.join(", "));
    (!missing.is_empty()).then(|| Check::warning(format!("{WHAT}: permissions"), problem()))
}

fn judge_rotated(held: &Held, keys: &[AccessKey], (interval, waits): (SignedDuration, Waits), now: Timestamp) -> Check {
    let view = View { held, keys, mint: None, last_used: Some(None), interval, waits, now };
    let current = keys.iter().find(|key| held.key_id == key.id);
    match (view.next(), current) {
        (Step::Blocked(why), _) => Check::warning(WHAT, format!("it is not rotated: {why}")),
        (_, Some(current)) => {
            let age = days(now.duration_since(current.created_at));
            let due_at = view.due_at(current);
            let next = if due_at > now { format!("at {due_at:.0}") } else { "now".to_owned() };
            Check::ok(WHAT, format!("{}, {age} days old, to be replaced {next}", held.key_id))
        }
        (_, None) => Check::ok(WHAT, format!("{}, which IAM does not list yet", held.key_id)),
    }
}

fn days(age: SignedDuration) -> i64 {
    age.as_hours() / 24
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::Level;
    use crate::core::rotation::own_key::Record;

    const NOW: Timestamp = Timestamp::constant(1_800_000_000, 0);

    fn key(id: &str, days: i64) -> AccessKey {
        AccessKey { id: id.to_owned(), active: true, created_at: NOW - SignedDuration::from_hours(24 * days) }
    }

    #[test]
    fn a_key_that_nothing_replaces_is_said_to_be_old_after_ninety_days() {
        let judged = |days| judge_unrotated(&AccessKeyId::of_iam("K"), &[key("K", days)], NOW);
        assert_eq!(judged(90).level, Level::Ok);
        assert_eq!(judged(90).found, "K, 90 days old, which nothing replaces");
        let old = judged(91);
        assert_eq!(old.level, Level::Warning);
        assert!(old.found.contains("S3ACCESS_ROTATE_OWN_KEY"), "{}", old.found);
        let unknown = judge_unrotated(&AccessKeyId::of_iam("K"), &[key("L", 1)], NOW);
        assert_eq!(unknown.level, Level::Warning);
    }

    #[test]
    fn of_a_key_that_is_rotated_it_is_said_when_or_what_is_in_the_way() {
        let held =
            Held { key_id: AccessKeyId::of_iam("K"), record: Record::default(), requested: None, immutable: false };
        let settings = (SignedDuration::from_hours(720), Waits::default());
        let judged = |keys: &[AccessKey]| judge_rotated(&held, keys, settings, NOW);
        assert_eq!(judged(&[key("K", 29)]).found, "K, 29 days old, to be replaced at 2027-01-16T08:00:00Z");
        assert_eq!(judged(&[key("K", 31)]).found, "K, 31 days old, to be replaced now");
        let blocked = judged(&[key("K", 29), key("L", 500)]);
        assert_eq!(blocked.level, Level::Warning);
        assert!(blocked.found.contains("access key L "), "{}", blocked.found);
    }
}
