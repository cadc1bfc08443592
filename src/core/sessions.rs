//! Sessions: what sts:GetSessionToken answers for a user's key, delivered in the key's place. How long one works, when it is
//! renewed, and whether one may be in use.
//!
//! A session has the rights of its user, and outlives the key that it is of: neither an inactive nor a deleted key ends it
//! (IAM user guide, "Disabling permissions for temporary security credentials"). What ends it is its time, the end of its
//! user, or a Deny in the user's policy: [`super::policy::cut`].

use jiff::{SignedDuration, Timestamp};

use super::iam::{AccessKeyId, past};
use super::rotation::later;
use super::schedule::fnv;
use crate::api::{AccessKeyMode, AccessKeyStatus, ConditionType, Reason, S3AccessUser, S3AccessUserStatus};

/// How long a session works where the spec does not say.
pub const DEFAULT_DURATION: SignedDuration = SignedDuration::from_hours(12);
/// The shortest that STS takes (API reference, GetSessionToken: 900 seconds).
pub const SHORTEST: SignedDuration = SignedDuration::from_mins(15);
/// The longest, for the key of an IAM user (the same: 129,600 seconds).
pub const LONGEST: SignedDuration = SignedDuration::from_hours(36);
/// A server that answers with sessions of no use is not asked more often than that.
const SHORTEST_PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// A request that was signed takes no longer to arrive, and clocks differ by less where somebody cares for them.
const LONGEST_SENDING: SignedDuration = SignedDuration::from_mins(1);
/// By up to one part in so many of its life a session is renewed before its half, each user's by as much as its UID says:
/// those that were made together are soon renewed apart.
const SPREAD: i32 = 16;

/// That the Secret holds sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sessions {
    /// How long each works.
    pub duration: SignedDuration,
    /// The class asks for them: no key is left to work that a workload may have.
    pub required: bool,
}

/// A session, less its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldSession {
    /// The access key that it is of.
    pub key: AccessKeyId,
    /// When it was asked for, by the operator's clock.
    pub issued_at: Timestamp,
    /// When it ends, by the server's answer.
    pub expires_at: Timestamp,
}

impl HeldSession {
    /// Of an answer of STS. The clocks of server and operator may differ by minutes: no end is believed that no session can
    /// have.
    pub fn issued(key: AccessKeyId, issued_at: Timestamp, expires_at: Timestamp) -> Self {
        let (soonest, latest) = (later(issued_at, SignedDuration::from_secs(1)), later(issued_at, LONGEST));
        Self { key, issued_at, expires_at: expires_at.clamp(soonest, latest) }
    }

    /// As a Secret records it, which whoever may write the Secret can edit: what can be no session of STS is none.
    pub fn recorded(key: AccessKeyId, issued_at: Timestamp, expires_at: Timestamp, now: Timestamp) -> Option<Self> {
        let possible = issued_at < expires_at && expires_at <= later(issued_at, LONGEST);
        (possible && past(issued_at, now).is_some()).then_some(Self { key, issued_at, expires_at })
    }

    /// The end that its readers are told, a little before it: some sign with a session up to that very moment, and what they
    /// sign has still to arrive.
    pub fn told_end(&self) -> Timestamp {
        let life = self.expires_at.duration_since(self.issued_at);
        let told = later(self.expires_at, -LONGEST_SENDING.min(life / SPREAD));
        Timestamp::from_second(told.as_second()).unwrap_or(told)
    }

    /// When it is renewed: at half its life, as the server told its end, or a little before.
    pub fn renew_at(&self, uid: &str) -> Timestamp {
        let life = self.expires_at.duration_since(self.issued_at);
        let early = life / SPREAD * i32::try_from(fnv(uid) % 256).unwrap_or(0) / 256;
        later(self.issued_at, life / 2 - early).max(later(self.issued_at, SHORTEST_PAUSE))
    }
}

/// Whether the status tells of a session that is due, for the order of those who wait: without a read, and so also after a
/// start.
pub fn is_due_by_status(user: &S3AccessUser, now: Timestamp) -> bool {
    let spec = &user.spec.access_key;
    let expires_at = user.status.as_ref().and_then(|status| status.session_expires_at.as_ref());
    let Some(expires_at) = expires_at.filter(|_| spec.mode == AccessKeyMode::Session) else { return false };
    let life = spec.duration.map_or(DEFAULT_DURATION, |duration| duration.signed());
    expires_at.0 <= later(now, life / 2 + life / SPREAD)
}

/// A session that is to be renewed in time, as the status tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    expires_at: Timestamp,
    life: SignedDuration,
}

impl Watched {
    /// Of the user; `None` where there is none, or none is to be renewed by choice.
    pub fn of(user: &S3AccessUser) -> Option<Self> {
        let spec = &user.spec.access_key;
        let asked = spec.mode == AccessKeyMode::Session && spec.status == AccessKeyStatus::Active && !user.spec.suspend;
        let status = user.status.as_ref().filter(|_| asked && user.metadata.deletion_timestamp.is_none())?;
        let kept_from = [Reason::NotPermittedByClass, Reason::Paused].map(Reason::as_str);
        let ready = status.conditions.iter().find(|found| found.type_ == ConditionType::Ready.as_str());
        if ready.is_some_and(|ready| kept_from.contains(&ready.reason.as_str())) {
            return None;
        }
        let life = spec.duration.map_or(DEFAULT_DURATION, |duration| duration.signed());
        Some(Self { expires_at: status.session_expires_at.as_ref()?.0, life })
    }

    /// The share of its life that is left, from 0 to 1.
    pub fn life_left(self, now: Timestamp) -> f64 {
        (self.expires_at.duration_since(now).as_secs_f64() / self.life.as_secs_f64().max(1.0)).clamp(0.0, 1.0)
    }
}

/// Whether sessions of the user may be in use: they are asked for, or were before, as far as the status tells.
pub fn may_be_in_use(mode: AccessKeyMode, status: Option<&S3AccessUserStatus>) -> bool {
    mode == AccessKeyMode::Session || status.is_some_and(|status| status.session_expires_at.is_some())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(minutes: i64) -> Timestamp {
        later(NOW, SignedDuration::from_mins(minutes))
    }

    fn session(minutes: i64) -> HeldSession {
        HeldSession { key: AccessKeyId::of_iam("AKIA1"), issued_at: NOW, expires_at: at(minutes) }
    }

    #[test]
    fn readers_are_told_an_end_a_little_before_it() {
        for (minutes, early) in [(720, 60), (16, 60), (15, 57), (8, 30), (0, 0)] {
            let told = session(minutes).told_end();
            assert_eq!(at(minutes).duration_since(told).as_secs(), early, "{minutes} min");
        }
    }

    #[test]
    fn ten_thousand_sessions_that_were_made_together_are_renewed_apart() {
        let times: Vec<_> = (0..10_000).map(|n| session(720).renew_at(&format!("uid-{n}"))).collect();
        let (first, last) = (*times.iter().min().unwrap(), *times.iter().max().unwrap());
        assert!(last <= at(360) && first >= at(315), "within a sixteenth of its life before the half: {first} {last}");
        let within = |minute: i64| times.iter().filter(|time| **time >= at(minute) && **time < at(minute + 5)).count();
        let most = (315..360).map(within).max().unwrap();
        assert!(most < 1_500, "{most} of 10,000 within five minutes of 45");
    }

    #[test]
    fn a_renewal_goes_by_the_end_that_the_server_told() {
        let short = HeldSession { expires_at: later(NOW, SignedDuration::from_secs(60)), ..session(0) };
        let renewed = short.renew_at("uid").duration_since(NOW);
        assert!(renewed <= SignedDuration::from_secs(30) && renewed >= SignedDuration::from_secs(26), "{renewed:?}");
        let useless = HeldSession { expires_at: later(NOW, SignedDuration::from_secs(1)), ..session(0) };
        assert_eq!(useless.renew_at("uid"), later(NOW, SHORTEST_PAUSE), "no busy loop");
    }

    #[test]
    fn whatever_the_server_answers_is_a_session_that_its_record_is_read_as() {
        for minutes in [-600, 0, 15, 36 * 60 + 5, 1_000_000] {
            let issued = HeldSession::issued(AccessKeyId::of_iam("AKIA1"), NOW, at(minutes));
            let HeldSession { key, issued_at, expires_at } = issued.clone();
            assert_eq!(HeldSession::recorded(key, issued_at, expires_at, NOW), Some(issued), "{minutes}");
        }
    }

    #[test]
    fn a_record_that_can_be_no_session_is_none() {
        let recorded = |issued: i64, expires: i64| {
            HeldSession::recorded(AccessKeyId::of_iam("AKIA1"), at(issued), at(expires), at(100)).is_some()
        };
        assert!(recorded(0, 15) && recorded(100, 100 + 36 * 60));
        for (issued, expires) in [(0, 0), (10, 5), (0, 36 * 60 + 1), (120, 180)] {
            assert!(!recorded(issued, expires), "{issued} {expires}");
        }
        let of_ever = HeldSession::recorded(AccessKeyId::of_iam("AKIA1"), Timestamp::MIN, Timestamp::MAX, NOW);
        assert_eq!(of_ever, None);
    }

    #[test]
    fn the_status_tells_whose_turn_comes_first() {
        let user = |mode: &str, expires_in: Option<i64>| {
            let spec = serde_json::json!({ "accessKey": { "mode": mode } });
            let mut user = S3AccessUser::new("reports", serde_json::from_value(spec).unwrap());
            let expires_at =
                expires_in.map(|minutes| k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(minutes)));
            user.status = Some(S3AccessUserStatus { session_expires_at: expires_at, ..S3AccessUserStatus::default() });
            user
        };
        for (mode, expires_in, due) in [
            ("Session", None, false),
            ("Session", Some(720), false),
            ("Session", Some(406), false),
            ("Session", Some(405), true),
            ("Session", Some(-5), true),
            ("Static", Some(5), false),
        ] {
            assert_eq!(is_due_by_status(&user(mode, expires_in), NOW), due, "{mode} {expires_in:?}");
        }
    }

    #[test]
    fn the_share_that_is_left_is_told_of_those_that_are_to_be_renewed() {
        let of = |access_key: serde_json::Value, reason: &str| {
            let condition = json!({ "type": "Ready", "status": "False", "reason": reason, "message": "",
                "lastTransitionTime": "1970-01-01T00:00:00Z" });
            let user = json!({ "metadata": {}, "spec": { "accessKey": access_key },
                "status": { "sessionExpiresAt": "1970-01-01T03:00:00Z", "conditions": [condition] } });
            let user: S3AccessUser = serde_json::from_value(user).unwrap();
            Watched::of(&user).map(|session| session.life_left(NOW))
        };
        assert_eq!(of(json!({ "mode": "Session" }), "Synced"), Some(0.25));
        assert_eq!(of(json!({ "mode": "Session", "duration": "36h" }), "Throttled"), Some(3.0 / 36.0));
        assert_eq!(of(json!({ "mode": "Session", "duration": "15m" }), "Synced"), Some(1.0));
        for (access_key, reason) in [
            (json!({}), "Synced"),
            (json!({ "mode": "Session", "status": "Inactive" }), "Suspended"),
            (json!({ "mode": "Session" }), "NotPermittedByClass"),
            (json!({ "mode": "Session" }), "Paused"),
        ] {
            assert_eq!(of(access_key.clone(), reason), None, "{access_key} {reason}");
        }
    }

    proptest! {
        #[test]
        fn no_session_is_renewed_after_its_half_or_before_seven_sixteenths(uid in "[0-9a-f-]{36}", minutes in 15_i64..=2_160) {
            let (life, renewed) = (minutes * 60, session(minutes).renew_at(&uid).duration_since(NOW).as_secs());
            prop_assert!(renewed * 2 <= life && (renewed + 1) * 16 >= life * 7, "{renewed} of {life}");
        }
    }
}
