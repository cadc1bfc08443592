#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::api::{Workload, WorkloadKind};
use crate::core::desired::Desired;
use crate::core::drift::as_wanted;
use crate::core::ends::inactive::Inactive;
use crate::core::observed::{Minted, Observed, Place, SecretState, UserState, WorkloadState};
use crate::core::plan::{Effect, Waits, plan};
use crate::core::rotation::{DEFAULT_OVERLAP, LONGEST_SWAP, Life};

const CURRENT: &str = "AKIACURRENT";
const OTHER: &str = "AKIAOTHER";

fn made_at() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn desired() -> Desired {
    Desired::by_spec(&json!({ "access": [{ "bucket": "reports", "level": "ReadOnly" }] }))
}

/// The Secret holds the current key, and there is another one, which is so much younger.
fn with_another(younger: SignedDuration) -> Observed {
    let key = |id: &str, created_at| AccessKey { id: id.to_owned(), active: true, created_at };
    let held =
        HeldKey { id: crate::core::iam::AccessKeyId::of_iam(CURRENT), created_at: Some(made_at()), account_id: None };
    let secret = SecretState::Ours(OurSecret::intact("1".to_owned(), Some(held)));
    let observed = Observed { secret, ..Observed::nothing() };
    as_wanted(&desired(), observed, vec![key(CURRENT, made_at()), key(OTHER, later(made_at(), younger))])
}

#[test]
fn a_new_key_that_aws_goes_on_refusing_is_given_up() {
    let waits = Waits::default();
    let minted_at = later(made_at(), SignedDuration::from_hours(1_000));
    let patience = waits.consistency_window * UNUSABLE_AFTER;
    let actions = |successes, last, after| {
        let mut observed = with_another(SignedDuration::from_hours(1_000));
        observed.minted = Some(Minted { id: OTHER.to_owned(), created_at: minted_at });
        observed.probes.insert(OTHER.to_owned(), Probes { successes, since: minted_at, last });
        plan(&desired(), &observed, later(minted_at, after), &waits).actions
    };
    let given_up = vec![Action::DeleteKey { id: OTHER.to_owned(), why: WhyDelete::Unusable }];
    let tried_again = vec![Action::ProbeKey { id: OTHER.to_owned() }];
    assert_eq!(actions(0, minted_at, patience - SignedDuration::from_secs(1)), tried_again);
    assert_eq!(actions(0, minted_at, patience), given_up);
    assert_eq!(actions(1, minted_at, patience), tried_again, "it works, at least somewhere");
    assert_eq!(actions(0, Timestamp::MIN, patience), tried_again, "it had no turn to be tried");
}

/// Something has held the rotation up, such as a pause.
#[test]
fn invariant_3_a_new_key_that_comes_too_late_for_a_whole_overlap_makes_room_for_another() {
    let (minute, hours) = (SignedDuration::from_mins(1), SignedDuration::from_hours);
    let minted_at = later(made_at(), hours(1_000));
    for (overlap, bound) in [(minute * 10, LONGEST_SWAP), (hours(24), hours(24))] {
        let mut desired = desired();
        desired.rotation.overlap = overlap;
        let at = |age| {
            let mut observed = with_another(hours(1_000));
            observed.minted = Some(Minted { id: OTHER.to_owned(), created_at: minted_at });
            let now = later(minted_at, age);
            observed.probes.insert(OTHER.to_owned(), Probes { successes: PROBES, since: minted_at, last: now });
            let next = plan(&desired, &observed, now, &Waits::default());
            (next.actions, observed, now)
        };
        let (swap, mut observed, now) = at(bound - minute);
        assert!(matches!(swap.as_slice(), [Action::WriteSecret { .. }]), "{swap:?}");
        let written = Effect::SecretWritten { uid: "uid".to_owned(), resource_version: "2".to_owned() };
        observed.record(&desired.owner, &swap[0], &written, now);
        let retiring = plan(&desired, &observed, now, &Waits::default()).retiring.unwrap();
        assert_eq!((retiring.id.as_str(), retiring.retire_at), (CURRENT, later(now, overlap)));
        let unusable = Action::DeleteKey { id: OTHER.to_owned(), why: WhyDelete::Unusable };
        assert_eq!(at(bound).0, [unusable], "the Secret's key would end with the swap");
    }
}

#[test]
fn a_new_key_goes_into_the_secret_only_as_aws_has_just_taken_it() {
    let minted_at = later(made_at(), SignedDuration::from_hours(1_000));
    let at = |since_last: i64| {
        let mut observed = with_another(SignedDuration::from_hours(1_000));
        observed.minted = Some(Minted { id: OTHER.to_owned(), created_at: minted_at });
        let last = later(minted_at, SignedDuration::from_mins(5));
        observed.probes.insert(OTHER.to_owned(), Probes { successes: PROBES, since: minted_at, last });
        plan(&desired(), &observed, later(last, SignedDuration::from_secs(since_last)), &Waits::default()).actions
    };
    assert!(matches!(at(0).as_slice(), [Action::WriteSecret { .. }]));
    assert!(matches!(at(9).as_slice(), [Action::WriteSecret { .. }]));
    let tried_again = [Action::ProbeKey { id: OTHER.to_owned() }];
    assert_eq!(
        (at(10).as_slice(), at(3_000).as_slice()),
        (&tried_again[..], &tried_again[..]),
        "it may be revoked since"
    );
}

#[test]
fn no_key_is_made_or_touched_whose_secret_cannot_be_rendered() {
    let waits = Waits::default();
    let unrenderable = |observed| Observed { unrenderable: Some("template.url: why".to_owned()), ..observed };
    let blocked = Progress::Blocked(Reason::InvalidSpec, "template.url: why".to_owned());
    for observed in [Observed::nothing(), alone(), with_another(SignedDuration::from_hours(1_000))] {
        let keys = observed.user().map(|user| user.keys.clone()).unwrap_or_default();
        let observed = as_wanted(&desired(), unrenderable(observed), keys);
        let next = plan(&desired(), &observed, later(made_at(), SignedDuration::from_hours(2_000)), &waits);
        assert_eq!((next.actions, next.parts.secret), (Vec::new(), blocked.clone()));
    }
}

/// Whoever takes the Secret's name for another one, or breaks its template, keeps no replaced key by that.
#[test]
fn invariant_2_a_replaced_key_ends_though_its_secret_cannot_be_written() {
    let (older, hours) = (SignedDuration::from_hours(-10), SignedDuration::from_hours);
    let mut replaced = with_another(older);
    let SecretState::Ours(secret) = &mut replaced.secret else { panic!("it is ours") };
    (secret.previous, secret.rotated_at) = (Some(AccessKeyId::of_iam(OTHER)), Some(made_at()));
    replaced.last_used = Some((OTHER.to_owned(), None));
    let of_before = secret.clone();
    let unrenderable = Observed { unrenderable: Some("why".to_owned()), ..replaced.clone() };
    let elsewhere = Observed { secret: SecretState::Foreign { other_user: None }, ..replaced };
    let taken = Observed { renamed: [(Place::Workload("before".to_owned()), of_before)].into(), ..elsewhere };
    for observed in [unrenderable, taken] {
        let at = |hours| plan(&desired(), &observed, later(made_at(), hours), &Waits::default());
        assert_eq!(at(hours(23)).actions, [], "it works through its overlap");
        let over = at(hours(24));
        assert_eq!(over.actions, [Action::SetKeyStatus { id: OTHER.to_owned(), active: false }]);
        assert!(matches!(over.parts.secret, Progress::Blocked(..)), "{over:?}");
    }
}

/// The class lets no key become older than 100 hours, a rotation takes two overlaps, and one hour may go by.
#[test]
fn invariant_12_a_key_that_has_outlived_its_class_is_not_put_to_use_again() {
    let waits = Waits::default();
    let (life, overlap) = (SignedDuration::from_hours(149), SignedDuration::from_hours(24));
    let mut desired = desired();
    desired.rotation.interval = Some(SignedDuration::from_hours(100));
    desired.rotation.longest_life = Some(Life::new(SignedDuration::from_hours(100), overlap));
    // OTHER was replaced by the current key, whose age that is.
    let actions = |age: SignedDuration, older: SignedDuration, active: bool, workload: Option<WorkloadState>| {
        let mut desired = desired.clone();
        let mut observed = with_another(-older);
        if let (UserState::Present(user), SecretState::Ours(secret)) = (&mut observed.user, &mut observed.secret) {
            user.keys.iter_mut().for_each(|key| key.active = active);
            (secret.previous, secret.rotated_at) = (Some(AccessKeyId::of_iam(OTHER)), Some(made_at()));
        }
        observed.last_used = Some((OTHER.to_owned(), None));
        if let Some(state) = workload {
            let reports = Workload { kind: WorkloadKind::Deployment, name: "reports".to_owned() };
            desired.workloads.insert(reports.clone());
            observed.workloads.insert(reports, state);
        }
        plan(&desired, &observed, later(made_at(), age), &waits)
    };
    let (minute, hours) = (SignedDuration::from_mins(1), SignedDuration::from_hours);
    let used = |id: &str, active| Action::SetKeyStatus { id: id.to_owned(), active };
    let resumed = actions(life - minute, hours(1_000), false, None).actions;
    assert!(resumed.contains(&used(CURRENT, true)), "{resumed:?}");
    let outlived = actions(life, hours(1_000), false, None);
    assert!(!outlived.actions.contains(&used(CURRENT, true)), "{:?}", outlived.actions);
    // In its overlap, the replaced key works for as long as it may.
    assert!(actions(hours(1), life - hours(2), false, None).actions.contains(&used(OTHER, true)));
    assert!(!actions(hours(1), life - minute, false, None).actions.contains(&used(OTHER, true)));
    assert!(actions(hours(1), life - minute, true, None).actions.contains(&used(OTHER, false)));
    // One that was too old before the class was asked works through its overlap, unless it was taken out of use before.
    assert_eq!(actions(hours(1), life, true, None).actions, []);
    assert!(!actions(hours(1), life, false, None).actions.contains(&used(OTHER, true)));
    assert_eq!(actions(overlap, life, true, None).actions, [used(OTHER, false)]);
    // A restart that fails and fails holds it up no longer than that.
    let failed = || Some(WorkloadState::Failed("503".to_owned()));
    assert_eq!(actions(hours(30), life - hours(31), true, failed()).actions, []);
    assert_eq!(actions(hours(30), life - hours(29), true, failed()).actions, [used(OTHER, false)]);
}

#[test]
fn the_status_names_a_retiring_key_only_where_that_is_the_older_one() {
    let waits = Waits::default();
    let retiring = |younger| {
        let observed = Observed { retiring_hint: Some(OTHER.to_owned()), ..with_another(younger) };
        let now = later(made_at(), SignedDuration::from_secs(1));
        plan(&desired(), &observed, now, &waits).retiring.map(|retiring| retiring.id)
    };
    assert_eq!(retiring(SignedDuration::from_secs(-1)).as_deref(), Some(OTHER));
    assert_eq!(retiring(SignedDuration::ZERO), None);
    assert_eq!(retiring(SignedDuration::from_secs(1)), None);
    let unnamed = with_another(SignedDuration::from_secs(-1));
    let now = later(made_at(), SignedDuration::from_secs(1));
    assert_eq!(plan(&desired(), &unnamed, now, &waits).retiring, None, "nothing names it");
}

#[test]
fn a_rotation_that_is_due_waits_for_an_overlap_and_for_no_courtesy() {
    let desired = rotating("25h");
    let at = |hours| {
        let mut observed = with_another(SignedDuration::from_hours(-100));
        let SecretState::Ours(secret) = &mut observed.secret else { panic!("it is ours") };
        let swapped = later(made_at(), SignedDuration::from_hours(2));
        (secret.previous, secret.rotated_at) = (Some(AccessKeyId::of_iam(OTHER)), Some(swapped));
        observed.last_used = Some((OTHER.to_owned(), None));
        let UserState::Present(user) = &mut observed.user else { panic!("there is a user") };
        user.keys[1].active = hours < 26;
        plan(&desired, &observed, later(made_at(), SignedDuration::from_hours(hours)), &Waits::default())
    };
    let waiting = at(25);
    assert!(
        matches!(&waiting.parts.key, Progress::Waiting(Reason::Rotating, why) if why.contains(OTHER)),
        "{waiting:?}"
    );
    assert_eq!(
        (waiting.actions, waiting.wake_at),
        (Vec::new(), Some(later(made_at(), SignedDuration::from_hours(26))))
    );
    assert_eq!(at(26).actions, [Action::DeleteKey { id: OTHER.to_owned(), why: WhyDelete::Retired }]);
}

#[test]
fn a_key_is_young_for_one_window_and_missed_after_two() {
    let (window, loss) = (Waits::default().consistency_window, Waits::default().before_loss());
    assert_eq!([window, loss], [60, 120].map(SignedDuration::from_secs));
    let moment = SignedDuration::from_secs(1);
    let at =
        |observed: &Observed, after| plan(&desired(), observed, later(made_at(), after), &Waits::default()).actions;
    assert_eq!(at(&alone(), window - moment), [Action::ProbeKey { id: CURRENT.to_owned() }]);
    assert_eq!(at(&alone(), window), [], "it needs no proof any more");
    let mut unlisted = alone();
    let UserState::Present(user) = &mut unlisted.user else { panic!("there is a user") };
    user.keys.clear();
    assert_eq!(at(&unlisted, loss - moment), [], "a replica may lag, and the key may work");
    assert!(at(&unlisted, loss).contains(&Action::CreateAccessKey));
}

/// What the plan makes of a Secret whose record somebody has edited: the key OTHER was replaced by CURRENT, so long ago.
fn with_record(edit: impl FnOnce(&mut OurSecret), since: SignedDuration) -> (Vec<Action>, Option<Timestamp>) {
    let mut observed = with_another(SignedDuration::from_hours(-2_000));
    if let SecretState::Ours(secret) = &mut observed.secret {
        secret.previous = Some(AccessKeyId::of_iam(OTHER));
        edit(secret);
    }
    let next = plan(&desired(), &observed, later(made_at(), since), &Waits::default());
    (next.actions, next.retiring.map(|retiring| retiring.retire_at))
}

#[test]
fn invariant_7_a_recorded_swap_is_held_against_iams_dates() {
    let overlap = DEFAULT_OVERLAP;
    let hour = SignedDuration::from_hours(1);
    let retires = |at: Timestamp| with_record(|secret| secret.rotated_at = Some(at), hour).1;
    assert_eq!(retires(later(made_at(), hour)), Some(later(made_at(), hour + overlap)), "as recorded");
    let latest = later(made_at(), overlap * 2);
    for future in [later(made_at(), SignedDuration::from_hours(90_000)), Timestamp::MAX] {
        assert_eq!(retires(future), Some(latest), "a swap in the future keeps no replaced key alive for ever");
    }
    assert_eq!(retires(Timestamp::MIN), Some(later(made_at(), overlap)), "nor does one of long ago end it early");
}

#[test]
fn invariant_4_a_recorded_key_that_is_a_strangers_is_not_touched() {
    let mut observed = with_another(SignedDuration::from_hours(-2_000));
    if let SecretState::Ours(secret) = &mut observed.secret {
        (secret.previous, secret.rotated_at) = (Some(AccessKeyId::of_iam(OTHER)), Some(made_at()));
    }
    let UserState::Present(user) = &mut observed.user else { panic!("there is a user") };
    user.tags.insert(tags::ADOPTED_AT.to_owned(), later(made_at(), SignedDuration::from_hours(-1)).to_string());
    let long_after = later(made_at(), SignedDuration::from_hours(5_000));
    let next = plan(&desired(), &observed, long_after, &Waits::default());
    assert_eq!((next.actions, next.retiring), (Vec::new(), None));
}

#[test]
fn invariant_12_a_recorded_date_in_the_future_keeps_no_lost_key_waited_for() {
    let mut observed = with_another(SignedDuration::ZERO);
    let UserState::Present(user) = &mut observed.user else { panic!("there is a user") };
    user.keys.clear();
    let lost = |created_at: Timestamp| {
        let mut observed = observed.clone();
        if let SecretState::Ours(secret) = &mut observed.secret {
            secret.key.as_mut().unwrap().created_at = Some(created_at);
        }
        plan(&desired(), &observed, made_at(), &Waits::default()).actions
    };
    assert_eq!(lost(made_at()), [], "a replica may lag");
    let soon = later(made_at(), SignedDuration::from_mins(10));
    assert_eq!(lost(soon), [], "IAM's clock may be fast");
    assert_eq!(lost(later(made_at(), SignedDuration::from_hours(1))), [Action::DryRunSecret, Action::CreateAccessKey]);
}

/// Lives through some time: what is done when, in seconds. Each new key works, and no old one was used.
fn lived(desired: &Desired, mut observed: Observed, from: i64, until: i64) -> Vec<(i64, &'static str)> {
    let waits = Waits::default();
    let mut now = later(made_at(), SignedDuration::from_secs(from));
    let mut done = Vec::new();
    while now <= later(made_at(), SignedDuration::from_secs(until)) && done.len() < 100 {
        let next = plan(desired, &observed, now, &waits);
        for action in &next.actions {
            let (uid, resource_version) = ("secret".to_owned(), "2".to_owned());
            let effect = match action {
                Action::CreateAccessKey => {
                    Effect::KeyCreated(Minted { id: format!("NEW{}", done.len()), created_at: now })
                }
                Action::ProbeKey { .. } => Effect::Probed(true),
                Action::ReadLastUsed { .. } => Effect::LastUsed(None),
                Action::WriteSecret { .. } => Effect::SecretWritten { uid, resource_version },
                _ => Effect::Done,
            };
            observed.record(&desired.owner, action, &effect, now);
            done.push((now.duration_since(made_at()).as_secs(), action.name()));
        }
        match next.wake_at {
            _ if !next.actions.is_empty() => {}
            Some(at) => {
                assert!(at > now, "nothing to do, and no time to wait for");
                now = at;
            }
            None => break,
        }
    }
    done
}

const HOUR: i64 = 3_600;

fn rotating(interval: &str) -> Desired {
    let access = json!([{ "bucket": "reports", "level": "ReadOnly" }]);
    Desired::by_spec(
        &json!({ "access": access, "accessKey": { "rotation": { "interval": interval, "overlap": "24h" } } }),
    )
}

fn alone() -> Observed {
    let mut observed = with_another(SignedDuration::ZERO);
    observed.announced_settled = true;
    let UserState::Present(user) = &mut observed.user else { panic!("there is a user") };
    user.keys.truncate(1);
    observed
}

#[test]
fn a_rotation_takes_its_steps_each_at_its_time() {
    let (due, swapped) = (100 * HOUR, 100 * HOUR + 60);
    let retired = swapped + 24 * HOUR;
    let steps = [
        (due, "DryRunSecret"),
        (due, "WriteStatus"),
        (due, "CreateAccessKey"),
        (swapped, "ProbeKey"),
        (swapped, "ProbeKey"),
        (swapped, "ProbeKey"),
        (swapped, "WriteSecret"),
        (retired, "GetAccessKeyLastUsed"),
        (retired, "UpdateAccessKey"),
        (retired + HOUR, "DeleteAccessKey"),
    ];
    assert_eq!(lived(&rotating("100h"), alone(), HOUR, 199 * HOUR), steps);
}

#[test]
fn a_first_key_is_made_put_into_the_secret_and_tried() {
    let observed = Observed { secret: SecretState::Missing, ..alone() };
    let observed = as_wanted(&desired(), observed, Vec::new());
    let steps = ["DryRunSecret", "WriteStatus", "CreateAccessKey", "WriteSecret", "ProbeKey"].map(|step| (HOUR, step));
    assert_eq!(lived(&desired(), observed.clone(), HOUR, 2 * HOUR), steps);

    let mut asked = desired();
    asked.rotation.requested = Some("now".to_owned());
    let minted = Minted { id: "NEW".to_owned(), created_at: made_at() };
    let next = plan(&asked, &Observed { minted: Some(minted), ..observed }, made_at(), &Waits::default());
    let (created_at, rotate_handled) = (Some(made_at()), Some("now".to_owned()));
    let record = SecretRecord { created_at, rotate_handled, ..SecretRecord::default() };
    assert_eq!(next.actions, [Action::WriteSecret { key_id: "NEW".to_owned(), record }]);
}

#[test]
fn a_rotation_that_is_asked_for_begins_at_once_and_each_request_counts_once() {
    let begun = |requested: Option<&str>, handled: Option<&str>, annotated| {
        let (mut desired, mut observed) = (desired(), alone());
        desired.rotation.requested = requested.map(str::to_owned);
        let SecretState::Ours(secret) = &mut observed.secret else { panic!("it is ours") };
        (secret.rotate_handled, secret.annotated) = (handled.map(str::to_owned), annotated);
        plan(&desired, &observed, later(made_at(), SignedDuration::from_hours(1)), &Waits::default())
            .actions
            .contains(&Action::CreateAccessKey)
    };
    assert!(begun(Some("2"), None, true) && begun(Some("2"), Some("1"), true));
    for (requested, handled, annotated) in
        [(Some("2"), Some("2"), true), (None, Some("1"), true), (None, None, true), (Some("2"), None, false)]
    {
        assert!(!begun(requested, handled, annotated), "{requested:?} after {handled:?}, {annotated}");
    }
}

#[test]
fn a_key_in_no_secret_is_noted_and_deleted_once_nobody_can_be_about_to_deliver_it() {
    let takeover = Waits::default().takeover;
    let made = SignedDuration::from_hours(10);
    let at = |age, noted: Option<&str>| {
        let mut observed = with_another(made);
        let SecretState::Ours(secret) = &mut observed.secret else { panic!("it is ours") };
        secret.orphan_to_delete = noted.map(AccessKeyId::of_iam);
        plan(&desired(), &observed, later(made_at(), made + age), &Waits::default())
    };
    let young = at(takeover - SignedDuration::from_secs(1), None);
    assert_eq!((young.actions, young.wake_at), (Vec::new(), Some(later(made_at(), made + takeover))));
    let noted = at(takeover, None);
    let is_noted = |record: &SecretRecord| record.orphan_to_delete == Some(AccessKeyId::of_iam(OTHER));
    assert!(matches!(noted.actions.as_slice(), [Action::WriteSecret { record, .. }] if is_noted(record)), "{noted:?}");
    assert_eq!(noted.wake_at, None, "there is nothing to wait for");
    let gone = Action::DeleteKey { id: OTHER.to_owned(), why: WhyDelete::Orphan };
    assert_eq!(at(takeover, Some(OTHER)).actions, [gone]);
}

#[test]
fn where_two_keys_are_in_the_way_the_newest_of_ours_goes_and_no_strangers() {
    let younger = SignedDuration::from_hours(10);
    let at = |after, adopted: Option<i64>, active: bool| {
        let mut observed = Observed { secret: SecretState::Missing, ..with_another(younger) };
        let UserState::Present(user) = &mut observed.user else { panic!("there is a user") };
        let adopted = adopted.map(|hours| later(made_at(), SignedDuration::from_hours(hours)).to_string());
        user.tags.extend(adopted.map(|at| (tags::ADOPTED_AT.to_owned(), at)));
        // While suspended, they were stopped before.
        user.keys.iter_mut().for_each(|key| key.active = active);
        let inactive = (!active).then(Inactive::suspended);
        plan(&Desired { inactive, ..desired() }, &observed, later(made_at(), younger + after), &Waits::default())
    };
    let (hour, moment) = (SignedDuration::from_hours(1), SignedDuration::from_secs(1));
    let gone = |id: &str| Action::DeleteKey { id: id.to_owned(), why: WhyDelete::Orphan };
    assert_eq!(at(hour, None, true).actions, [Action::DryRunSecret, gone(OTHER), Action::CreateAccessKey]);
    let young = at(moment, None, true);
    assert!(young.actions.is_empty(), "{young:?}");
    assert!(matches!(&young.parts.key, Progress::Waiting(Reason::Creating, why) if why.contains(OTHER)), "{young:?}");
    let foreign = at(hour, Some(20), true);
    assert!(matches!(foreign.parts.key, Progress::Blocked(Reason::ForeignAccessKeys, _)), "{foreign:?}");
    assert_eq!(foreign.actions, []);
    assert_eq!(at(hour, None, false).actions, [gone(CURRENT), gone(OTHER)], "suspended, none is of use");
    assert_eq!(at(moment, None, false).actions, [gone(CURRENT)]);
}

/// Whoever has read the Secret before it was lost has the newer one.
#[test]
fn where_the_secret_is_lost_in_an_overlap_the_replaced_key_makes_room() {
    let (younger, hour) = (SignedDuration::from_hours(10), SignedDuration::from_hours(1));
    let first = |hint: &str| {
        let retiring_hint = Some(hint.to_owned());
        let observed = Observed { secret: SecretState::Missing, retiring_hint, ..with_another(younger) };
        plan(&desired(), &observed, later(made_at(), younger + hour), &Waits::default()).actions
    };
    let gone =
        |id: &str, why| [Action::DryRunSecret, Action::DeleteKey { id: id.to_owned(), why }, Action::CreateAccessKey];
    assert_eq!(first(CURRENT), gone(CURRENT, WhyDelete::Retired));
    assert_eq!(first(OTHER), gone(OTHER, WhyDelete::Orphan), "the newer one was never replaced");
}

#[test]
fn no_key_is_made_until_iam_shows_all_that_an_adopted_user_has() {
    let window = Waits::default().before_loss();
    let at = |after| {
        let mut observed = alone();
        let UserState::Present(user) = &mut observed.user else { panic!("there is a user") };
        user.tags.extend(Adoption::Settling(made_at()).value().map(|value| (tags::ADOPTED_AT.to_owned(), value)));
        plan(&desired(), &observed, later(made_at(), after), &Waits::default())
    };
    let early = at(window - SignedDuration::from_secs(1));
    assert_eq!((early.actions, early.wake_at), (Vec::new(), Some(later(made_at(), window))));
    assert!(matches!(at(window).actions.as_slice(), [Action::TagUser(_)]));
}

#[test]
fn a_recorded_key_that_is_younger_than_the_current_one_was_never_replaced_by_it() {
    let mut observed = with_another(SignedDuration::from_hours(10));
    let SecretState::Ours(secret) = &mut observed.secret else { panic!("it is ours") };
    secret.previous = Some(AccessKeyId::of_iam(OTHER));
    let next = plan(&desired(), &observed, later(made_at(), SignedDuration::from_hours(11)), &Waits::default());
    assert_eq!(next.retiring, None, "it is kept through no overlap");
    let is_noted = |record: &SecretRecord| record.orphan_to_delete == Some(AccessKeyId::of_iam(OTHER));
    assert!(matches!(next.actions.as_slice(), [Action::WriteSecret { record, .. }] if is_noted(record)), "{next:?}");
}

#[test]
fn a_key_that_was_taken_out_of_use_for_its_age_is_told_while_the_rest_hinders_its_replacement() {
    let mut desired = desired();
    desired.rotation.longest_life = Some(Life::new(SignedDuration::from_hours(51), SignedDuration::from_hours(24)));
    let told = |active, hours| {
        let mut observed = Observed { secret: SecretState::Foreign { other_user: None }, ..alone() };
        let UserState::Present(user) = &mut observed.user else { panic!("there is a user") };
        user.keys[0].active = active;
        let next = plan(&desired, &observed, later(made_at(), SignedDuration::from_hours(hours)), &Waits::default());
        matches!(next.parts.key, Progress::Blocked(Reason::NotPermittedByClass, why) if why.contains(CURRENT))
    };
    assert!(told(false, 100));
    assert!(!told(false, 99) && !told(true, 100), "it is suspended, or works still");
}
