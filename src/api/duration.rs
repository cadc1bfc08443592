//! Durations as specs write them: Go's words, kept within bounds that no arithmetic can leave.

use std::fmt;
use std::str::FromStr;

use jiff::SignedDuration;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration of a spec: not negative, and at most [`Duration::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(SignedDuration);

impl Duration {
    /// Ten years: no key should become older, and every date plus a few of these is still a date.
    pub const MAX: Self = Self(SignedDuration::from_hours(87_600));
    /// The longest text of one, characters.
    pub const TEXT_LIMIT: usize = 32;

    /// As the core counts it.
    pub fn signed(self) -> SignedDuration {
        self.0
    }
}

/// Why a text is no duration of a spec.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// It is not written as Go writes durations.
    #[error("not a duration such as 2160h or 90m; there are no days: 90d is 2160h")]
    Malformed,
    /// It is longer than [`Duration::MAX`].
    #[error("longer than 87600h (ten years)")]
    TooLong,
}

/// The units of Go that the schema takes, and their nanoseconds.
const UNITS: [(&str, i128); 4] =
    [("ms", 1_000_000), ("s", 1_000_000_000), ("m", 60_000_000_000), ("h", 3_600_000_000_000)];

/// The same as a regular expression of RE2, which CEL has.
const WRITTEN: &str = r"^([0-9]+([.][0-9]+)?(ms|s|m|h))+$";

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        if text.is_empty() || text.len() > Self::TEXT_LIMIT {
            return Err(DurationError::Malformed);
        }
        let mut nanos: i128 = 0;
        let mut rest = text;
        while !rest.is_empty() {
            let number_ends = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(DurationError::Malformed)?;
            let (number, unit_and_rest) = rest.split_at(number_ends);
            let unit_ends = unit_and_rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(unit_and_rest.len());
            let (unit, next) = unit_and_rest.split_at(unit_ends);
            let (_, scale) = UNITS.iter().find(|(name, _)| *name == unit).ok_or(DurationError::Malformed)?;
            nanos = nanos.saturating_add(scaled(number, *scale).ok_or(DurationError::Malformed)?);
            rest = next;
        }
        if nanos > Self::MAX.0.as_nanos() {
            return Err(DurationError::TooLong);
        }
        let seconds = i64::try_from(nanos / 1_000_000_000).map_err(|_| DurationError::TooLong)?;
        let rest = i32::try_from(nanos % 1_000_000_000).map_err(|_| DurationError::TooLong)?;
        Ok(Self(SignedDuration::new(seconds, rest)))
    }
}

/// `number` units of so many nanoseconds; at most 32 digits, so that it saturates rather than overflows.
fn scaled(number: &str, scale: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: i128 = whole.parse().ok()?;
    // Beyond nanoseconds nothing counts.
    let fraction = &fraction[..fraction.len().min(15)];
    let part = fraction.parse::<i128>().ok()?.saturating_mul(scale)
        / 10_i128.saturating_pow(u32::try_from(fraction.len()).ok()?);
    Some(whole.saturating_mul(scale).saturating_add(part))
}

impl fmt::Display for Duration {
    /// As Go writes it, less the parts that are nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0.as_secs(), self.0.subsec_millis());
        let parts = [(seconds / 3_600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s"), (millis.into(), "ms")];
        if parts.iter().all(|(number, _)| *number == 0) {
            return f.write_str("0s");
        }
        parts.iter().filter(|(number, _)| *number != 0).try_for_each(|(number, unit)| write!(f, "{number}{unit}"))
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The schema of a duration. A rule instead of a pattern, whose refusal would quote nothing but itself; the second one's own
/// error refuses what is too long even for CEL.
pub(super) fn duration_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "description": "A Go duration, such as 2160h or 90m; at most 87600h. There are no days: 90d is 2160h.",
        "type": "string",
        "maxLength": Duration::TEXT_LIMIT,
        "x-kubernetes-validations": [{
            "rule": format!("self.matches('{WRITTEN}')"),
            "message": "a duration is written in hours, minutes and seconds, such as 2160h or 90m; there are no days: 90d is 2160h",
        }, {
            "rule": format!("!self.matches('{WRITTEN}') || duration(self) <= duration('87600h')"),
            "message": "a duration is at most 87600h (ten years)",
        }],
    })
}

/// A rule instead of a pattern, whose refusal would quote nothing but itself. Whether there is such a time zone, and such a
/// window in every interval, the core says.
pub(super) fn window_schema(_: &mut SchemaGenerator) -> Schema {
    let day = "(Mon|Tue|Wed|Thu|Fri|Sat|Sun)";
    let (days, time) = (format!("{day}(-{day})?"), "([01][0-9]|2[0-3]):[0-5][0-9]");
    let zone = "[A-Za-z][A-Za-z0-9_+/-]*";
    json_schema!({
        "type": "string",
        "maxLength": super::limits::ROTATION_WINDOW,
        "x-kubernetes-validations": [{
            "rule": format!("self.matches('^{days}(,{days})* {time}-({time}|24:00) {zone}$')"),
            "message": "a window is days, hours and a time zone, such as \"Mon-Fri 09:00-16:00 Europe/Berlin\" or \"Mon,Wed 22:00-04:00 UTC\"",
        }],
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn go_durations_are_read_and_written() {
        for (text, seconds, written) in [
            ("2160h", 7_776_000, "2160h"),
            ("90m", 5_400, "1h30m"),
            ("1h30m10s", 5_410, "1h30m10s"),
            ("1.5h", 5_400, "1h30m"),
            ("0s", 0, "0s"),
            ("87600h", 315_360_000, "87600h"),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!((duration.signed().as_secs(), duration.to_string().as_str()), (seconds, written), "{text}");
        }
        assert_eq!("250ms".parse::<Duration>().unwrap().to_string(), "250ms");
    }

    #[test]
    fn what_no_date_could_bear_is_refused() {
        for text in ["99999999999999999999h", "87601h", "99999999999999999999999999999ms", "9999999999999999.9h"] {
            assert_eq!(text.parse::<Duration>(), Err(DurationError::TooLong), "{text}");
        }
        for text in ["", "daily", "-1h", "1", "h", "1d", "1h ", "1..5h", ".5h", "5.h", "1hh", "１h", "1e9h"] {
            assert_eq!(text.parse::<Duration>(), Err(DurationError::Malformed), "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            let _ = text.parse::<Duration>();
        }

        #[test]
        fn what_looks_like_one_never_overflows(text in "([0-9]{1,20}(\\.[0-9]{1,20})?(ms|s|m|h)){1,3}") {
            if let Ok(duration) = text.parse::<Duration>() {
                prop_assert!(duration <= Duration::MAX && duration.signed() >= SignedDuration::ZERO);
            }
        }

        #[test]
        fn what_is_written_reads_as_the_same(millis in 0..315_360_000_000_i64) {
            let duration = Duration(SignedDuration::from_millis(millis));
            prop_assert_eq!(duration.to_string().parse::<Duration>(), Ok(duration));
        }
    }
}
