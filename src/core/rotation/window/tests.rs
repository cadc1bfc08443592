#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;

use super::*;
use crate::core::rotation::Rotation;

const OFFICE: &str = "Mon-Fri 09:00-16:00 Europe/Berlin";
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn window(text: &str) -> Window {
    Window::parse(text).unwrap()
}

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn rotation(text: &str, interval: SignedDuration, overlap: SignedDuration, share: u64) -> Rotation {
    let window = Some(Turn::new(window(text), share));
    Rotation { interval: Some(interval), window, overlap, longest_life: None, requested: None }
}

#[test]
fn windows_are_days_hours_and_a_time_zone() {
    for (text, days, longest_gap) in [
        (OFFICE, "1111100", 24 * 2 + 17 + 1),
        ("Mon-Fri 09:00-16:00 UTC", "1111100", 24 * 2 + 17),
        ("Sun 09:00-16:00 Etc/UTC", "0000001", 24 * 7 - 7),
        ("Sun-Thu 08:00-18:00 Asia/Jerusalem", "1111001", 24 * 2 + 14 + 1),
        ("Mon,Wed-Thu 22:00-04:00 Asia/Kolkata", "1011000", 24 * 3 + 18),
        ("Sat-Sun 00:00-24:00 America/New_York", "0000011", 24 * 5),
        ("Mon-Sun 00:00-24:00 America/New_York", "1111111", 0),
        // The hour that summer time takes: for that week there is none.
        ("Sun 02:00-03:00 Europe/Berlin", "0000001", 24 * 14 - 1 - 1),
    ] {
        let found = window(text);
        let of_days: String = found.days.iter().map(|opens| if *opens { '1' } else { '0' }).collect();
        let gap = SignedDuration::from_hours(longest_gap);
        assert_eq!((of_days.as_str(), found.widest_gap()), (days, gap), "{text}");
    }
}

#[test]
fn what_is_no_window_is_told_what_to_write() {
    for (text, told) in [
        ("", "such as Mon-Fri 09:00-16:00 Europe/Berlin"),
        ("0 9 * * 1-5", "such as Mon-Fri 09:00-16:00 Europe/Berlin"),
        ("Mon-Fri 09:00-16:00", "such as Mon-Fri 09:00-16:00 Europe/Berlin"),
        ("Mon-Fri  09:00-16:00 UTC", "such as Mon-Fri 09:00-16:00 Europe/Berlin"),
        ("mon-fri 09:00-16:00 UTC", r#""mon-fri" are not days"#),
        ("Mon-Fri, 09:00-16:00 UTC", r#""Mon-Fri," are not days"#),
        ("Mon-Wed-Fri 09:00-16:00 UTC", r#""Mon-Wed-Fri" are not days"#),
        ("Mon 9:00-16:00 UTC", r#""9:00-16:00" are not hours"#),
        ("Mon 09:00-24:01 UTC", r#""09:00-24:01" are not hours"#),
        ("Mon 24:00-09:00 UTC", r#""24:00-09:00" are not hours"#),
        ("Mon 09:00 UTC", r#""09:00" are not hours"#),
        ("Mon +9:00-16:00 UTC", r#""+9:00-16:00" are not hours"#),
        ("Mon 09:00-09:00 UTC", r#""09:00-09:00" are not hours"#),
        ("Mon 09:00-09:59 UTC", "shorter than an hour"),
        ("Mon 23:30-00:15 UTC", "shorter than an hour"),
        ("Mon 09:00-16:00 Europe/Berlni", "write Europe/Berlin"),
        ("Mon 09:00-16:00 +02:00", "write one such as Europe/Berlin or UTC"),
        ("Mon 09:00-16:00 Etc/Unknown", "is not a time zone"),
        ("Mon 09:00-16:00 ../../etc/localtime", "is not a time zone"),
    ] {
        let error = Window::parse(text).unwrap_err().to_string();
        assert!(error.contains(told), "{text}: {error}");
    }
    let long = format!("{OFFICE}{}", "x".repeat(limits::ROTATION_WINDOW));
    assert_eq!(Window::parse(&long), Err(WindowError::Malformed));
}

#[test]
fn a_key_is_replaced_in_the_last_window_before_it_is_too_old() {
    let overlap = SignedDuration::from_hours(24);
    for (created, days, share, due) in [
        // On a Thursday, at noon: that day's window, up to the key's own hour and what a rotation takes.
        ("2026-01-01T11:00:00Z", 7, 0, "2026-01-08T08:00:00Z"),
        ("2026-01-01T11:00:00Z", 7, 2 * 3_600 + 2_700, "2026-01-08T10:45:00Z"),
        ("2026-01-01T11:00:00Z", 7, 2 * 3_600 + 2_701, "2026-01-08T08:00:00Z"),
        // On a Sunday: the Friday before.
        ("2026-01-04T11:00:00Z", 7, 0, "2026-01-09T08:00:00Z"),
        // Fourteen minutes after the window opens are too few.
        ("2026-01-05T08:14:00Z", 7, 0, "2026-01-09T08:00:00Z"),
        ("2026-01-05T08:15:00Z", 7, 5, "2026-01-12T08:00:00Z"),
        // Summer time begins on the 29th of March and ends on the 25th of October.
        ("2026-03-25T12:00:00Z", 5, 0, "2026-03-30T07:00:00Z"),
        ("2026-10-21T12:00:00Z", 5, 0, "2026-10-26T08:00:00Z"),
    ] {
        let found = rotation(OFFICE, DAY * days, overlap, share).due_at(at(created));
        assert_eq!(found, Some(at(due)), "{created} and {days} days");
    }
}

#[test]
fn users_of_one_window_take_turns_in_it() {
    let created = at("2026-01-01T23:00:00Z");
    let share = |number| crate::core::schedule::fnv(&format!("uid-{number}"));
    let due = |number| rotation(OFFICE, DAY * 90, DAY, share(number)).due_at(created).unwrap();
    let opens = at("2026-04-01T07:00:00Z");
    let length = SignedDuration::from_hours(7) - SWAP;
    let first_tenth = (0..10_000).filter(|number| due(*number) < later(opens, length / 10)).count();
    assert!((800..1_200).contains(&first_tenth), "{first_tenth} of 10000");
    assert!((0..10_000).all(|number| (opens..=later(opens, length)).contains(&due(number))));
}

/// Where the rules of a zone have changed since, or the clock of whoever made the key was wrong.
#[test]
fn without_a_window_in_time_the_interval_counts_alone() {
    let created = at("2026-01-05T11:00:00Z");
    let due = |interval| rotation("Sun 09:00-16:00 Europe/Berlin", interval, DAY, 7).due_at(created);
    assert_eq!(due(DAY * 2), Some(at("2026-01-07T10:45:00Z")));
    assert_eq!(due(SignedDuration::from_mins(1)), Some(created), "never before it was made");
    let ends = rotation(OFFICE, DAY * 90, DAY, 7).due_at(Timestamp::MAX);
    assert!(ends.is_some());
}

fn windows() -> impl Strategy<Value = String> {
    let days = prop::sample::select(vec!["Mon-Fri", "Sun", "Tue,Thu", "Sat-Sun", "Mon-Sun", "Fri-Mon"]);
    let zones = prop::sample::select(vec![
        "Europe/Berlin",
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Auckland",
        "Asia/Kolkata",
        "America/Santiago",
        "UTC",
    ]);
    (days, 0..24_u32, 0..60_u32, 60..1_440_u32, zones).prop_map(|(days, hour, minute, length, zone)| {
        let ends = (hour * 60 + minute + length) % 1_440;
        format!("{days} {hour:02}:{minute:02}-{:02}:{:02} {zone}", ends / 60, ends % 60)
    })
}

/// Whether both are in one window.
fn are_within(text: &str, begun: Timestamp, done: Timestamp) -> bool {
    let window = window(text);
    let date = window.zone.to_datetime(begun).date();
    let windows = [date, date.yesterday().unwrap()].map(|date| window.on(date));
    windows.into_iter().flatten().any(|(opens, closes)| opens <= begun && done <= closes)
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,90}") {
        let _ = Window::parse(&text);
    }

    #[test]
    fn what_looks_like_a_window_is_one_or_is_refused(text in "(Mon|Sun|Xyz)[,-]?(Fri)? [0-3][0-9]:[0-9]{2}-[0-3][0-9]:[0-9]{2} (UTC|Europe/Berlin|[A-Z/a-z+]{0,12})") {
        if let Ok(window) = Window::parse(&text) {
            prop_assert!(window.days.contains(&true));
            prop_assert!(window.widest_gap() < DAY * 15);
        }
    }

    /// Whatever the window, the interval and the moment at which a key is made.
    #[test]
    fn no_key_is_older_than_its_interval_and_each_is_replaced_in_a_window(
        text in windows(), seconds in 1_767_225_600_i64..1_900_000_000, overlap in 0_i64..200_000,
        beyond in prop::sample::select(vec![0_i64, 1, 3_600, 86_400, 7_000_000]), share: u64,
    ) {
        let (created, overlap) = (Timestamp::from_second(seconds).unwrap(), SignedDuration::from_secs(overlap));
        let interval = window(&text).shortest_interval(overlap) + SignedDuration::from_secs(beyond);
        let begun = rotation(&text, interval, overlap, share).due_at(created).unwrap();
        let done = later(begun, SWAP);
        prop_assert!(done <= later(created, interval), "{text}: {created} to {done}");
        prop_assert!(begun >= later(created, earliest(overlap)), "{text}: {created} to {begun}");
        prop_assert!(are_within(&text, begun, done), "{text}: {begun}");
    }

    /// One that is shorter than the window can meet is refused; were it not, the age would still be bounded.
    #[test]
    fn the_age_is_bounded_with_any_interval(
        text in windows(), seconds in 1_767_225_600_i64..1_900_000_000, interval in 900_i64..10_000_000, share: u64,
    ) {
        let (created, interval) = (Timestamp::from_second(seconds).unwrap(), SignedDuration::from_secs(interval));
        let due = rotation(&text, interval, DAY, share).due_at(created).unwrap();
        prop_assert!(due >= created && later(due, SWAP) <= later(created, interval));
    }
}

/// Keys that are made at any time around both changes of the clock, with the shortest interval that is taken: ten minutes less
/// leave some without a window.
#[test]
fn the_shortest_interval_is_enough_and_no_more_than_that() {
    for text in [OFFICE, "Sun 01:00-04:00 Europe/Berlin", "Sat-Sun 22:00-03:00 Europe/Berlin"] {
        let shortest = window(text).shortest_interval(DAY);
        let turn = Turn::new(window(text), 0);
        let without = |interval: SignedDuration| {
            ["2026-03-29T00:00:00Z", "2026-10-25T00:00:00Z"].map(|change| {
                let made =
                    (0..12 * 24 * 30).map(|number| later(at(change), SignedDuration::from_mins(5 * number) - DAY * 15));
                made.filter(|made| turn.between(later(*made, earliest(DAY)), later(*made, interval)).is_none()).count()
            })
        };
        assert_eq!(without(shortest), [0, 0], "{text}");
        assert!(without(shortest - SignedDuration::from_mins(10)).iter().any(|count| *count > 0), "{text}");
    }
}
