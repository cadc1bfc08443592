//! When somebody is there: the days and hours in which scheduled rotations are made.
//!
//! A window never makes a key older than its interval: the rotation comes in the last window from which it ends in time, so
//! that windows bring it forward and never put it off.

use std::iter;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::{TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};

use super::later;
use crate::api::limits;
use crate::core::refusal::nearest;

/// What is left for a rotation, from its begin to the Secret with the new key: the consistency window and the probes take a
/// minute or two of it, the rest is for a place among others.
pub const SWAP: SignedDuration = SignedDuration::from_mins(15);
/// The shortest window, by the clock on the wall: many users share one, each with a turn of its own in it.
const SHORTEST: SignedDuration = SignedDuration::from_hours(1);
/// So far back the last window is searched for, days: one a week may be all there is, and the change to summer time may take
/// one away.
const LOOK_BACK: usize = 16;
/// The year that stands for all: beyond what the database of time zones tells year by year, where each zone goes by the rule
/// that it has now.
const ANY_YEAR: i16 = 2100;
const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// Days and hours in a time zone, such as `Mon-Fri 09:00-16:00 Europe/Berlin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// From Monday on: whether a window opens on that day.
    days: [bool; 7],
    opens: Time,
    closes: Time,
    /// It closes on the day after the one on which it opens.
    overnight: bool,
    zone: TimeZone,
}

/// Why a text is no window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// It does not have its three parts.
    #[error("it is not days, hours and a time zone, such as Mon-Fri 09:00-16:00 Europe/Berlin")]
    Malformed,
    /// The first part.
    #[error("{0:?} are not days such as Mon-Fri, Sat or Mon,Wed-Fri")]
    Days(String),
    /// The second part.
    #[error("{0:?} are not hours from 00:00 to 24:00, such as 09:00-16:00")]
    Hours(String),
    /// So many users share one.
    #[error("{0:?} is shorter than an hour, in which all who have this window take their turns: write a longer one")]
    TooShort(String),
    /// The third part, and the zone that may have been meant.
    #[error("{0:?} is not a time zone of the IANA database: write {1}")]
    Zone(String, String),
}

impl Window {
    /// Reads a window as specs write it; its rules come with the program, so that every process has the same ones.
    ///
    /// # Errors
    /// [`WindowError`], in words that say what to write.
    pub fn parse(text: &str) -> Result<Self, WindowError> {
        if text.len() > limits::ROTATION_WINDOW {
            return Err(WindowError::Malformed);
        }
        let parts: Vec<&str> = text.split(' ').collect();
        let &[days, hours, zone] = parts.as_slice() else { return Err(WindowError::Malformed) };
        let (opens, closes, overnight) = read_hours(hours)?;
        Ok(Self {
            days: read_days(days).ok_or_else(|| WindowError::Days(days.to_owned()))?,
            opens,
            closes,
            overnight,
            zone: read_zone(zone)?,
        })
    }

    /// The window that opens on that day, where one does that a rotation fits into: the change to summer time may leave none.
    fn on(&self, date: Date) -> Option<(Timestamp, Timestamp)> {
        let index = usize::try_from(date.weekday().to_monday_zero_offset()).ok()?;
        let until = if self.overnight { date.tomorrow().ok()? } else { date };
        let at = |time: DateTime| Some(time.to_zoned(self.zone.clone()).ok()?.timestamp());
        let opens = self.days.get(index).filter(|opens| **opens).and_then(|_| at(date.to_datetime(self.opens)))?;
        let closes = at(until.to_datetime(self.closes))?;
        (closes.duration_since(opens) >= SWAP).then_some((opens, closes))
    }

    /// The longest time between the end of a window and the begin of the next, in a whole year with all its changes of the
    /// clock.
    pub fn widest_gap(&self) -> SignedDuration {
        let days = iter::successors(Some(Date::constant(ANY_YEAR, 1, 1)), |date| date.tomorrow().ok());
        // Two weeks more, so that the last gap of the year counts whole.
        let windows: Vec<_> = days.take(366 + 14).filter_map(|date| self.on(date)).collect();
        let gaps = windows.iter().zip(windows.iter().skip(1)).map(|(one, next)| next.0.duration_since(one.1));
        gaps.max().unwrap_or(SignedDuration::MAX)
    }

    /// The shortest interval with which every key, whenever it was made, finds a window between its [`earliest`] rotation and
    /// the latest. From the end of one window to the next nothing can begin, nor in the last part of either bound.
    pub fn shortest_interval(&self, overlap: SignedDuration) -> SignedDuration {
        self.widest_gap().saturating_add(earliest(overlap)).saturating_add(SWAP * 2)
    }
}

/// The age at which a key may be replaced again: when its own swap is over, and the overlap of the key before it, which the use
/// of that one may have doubled.
pub fn earliest(overlap: SignedDuration) -> SignedDuration {
    overlap.saturating_mul(2).saturating_add(SWAP)
}

/// A window, and the turn of one user in it: all those who have the same one do not begin in its first second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    window: Window,
    /// The same for one user at any time, and spread evenly among all.
    share: u64,
}

impl Turn {
    /// In that window; `share` is a hash of the user's.
    pub fn new(window: Window, share: u64) -> Self {
        Self { window, share }
    }

    /// When the rotation begins, in the last window in which it neither begins before `earliest` nor ends after `deadline`;
    /// `None` where there is no such window.
    pub fn between(&self, earliest: Timestamp, deadline: Timestamp) -> Option<Timestamp> {
        let latest = deadline.checked_sub(SWAP).ok()?;
        let last_day = self.window.zone.to_datetime(latest).date();
        let days = iter::successors(Some(last_day), |date| date.yesterday().ok()).take(LOOK_BACK);
        days.into_iter().find_map(|date| {
            let (opens, closes) = self.window.on(date)?;
            let first = opens.max(earliest);
            let last = closes.checked_sub(SWAP).ok()?.min(latest);
            let seconds = u64::try_from(last.duration_since(first).as_secs()).ok().filter(|_| first <= last)?;
            let turn = i64::try_from(self.share % (seconds + 1)).ok()?;
            Some(later(first, SignedDuration::from_secs(turn)))
        })
    }
}

/// Single days and ranges; a range may go over the end of the week.
fn read_days(text: &str) -> Option<[bool; 7]> {
    let day = |name: &str| DAYS.iter().position(|known| *known == name);
    let mut days = [false; 7];
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (day(first)?, day(last)?);
        let length = (last + 7 - first) % 7;
        (first..=first + length).for_each(|index| days[index % 7] = true);
    }
    Some(days)
}

/// From when to when, and whether that is on the next day.
fn read_hours(text: &str) -> Result<(Time, Time, bool), WindowError> {
    let refused = || WindowError::Hours(text.to_owned());
    let (opens, closes) = text.split_once('-').ok_or_else(refused)?;
    let (opens, closes) = (read_time(opens).ok_or_else(refused)?, read_end(closes).ok_or_else(refused)?);
    let overnight = closes <= opens;
    let day = SignedDuration::from_hours(if overnight { 24 } else { 0 });
    match closes.duration_since(opens).saturating_add(day) {
        // The same twice may mean a whole day or nothing: a whole day is written 00:00-24:00.
        _ if closes == opens && text != "00:00-24:00" => Err(refused()),
        length if length < SHORTEST => Err(WindowError::TooShort(text.to_owned())),
        _ => Ok((opens, closes, overnight)),
    }
}

fn read_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let number = |digits: &str| {
        let well = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse::<i8>().ok().filter(|_| well)
    };
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

/// As [`read_time`], and `24:00` for the end of the day, which is the begin of the next.
fn read_end(text: &str) -> Option<Time> {
    if text == "24:00" { Some(Time::midnight()) } else { read_time(text) }
}

fn read_zone(name: &str) -> Result<TimeZone, WindowError> {
    let zones = TimeZoneDatabase::bundled();
    zones.get(name).ok().filter(|zone| !zone.is_unknown()).ok_or_else(|| {
        let known = zones.available().map(|name| name.to_string());
        let meant = nearest(name, known).unwrap_or_else(|| "one such as Europe/Berlin or UTC".to_owned());
        WindowError::Zone(name.to_owned(), meant)
    })
}

#[cfg(test)]
mod tests;
