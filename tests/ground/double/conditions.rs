//! Condition operators and wildcards (IAM user guide, "IAM JSON policy elements: Condition operators").

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a request says about itself: condition keys, lower-cased, and their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    values: BTreeMap<String, Vec<String>>,
    conditions_ignored: bool,
}

impl Context {
    /// A context that says nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same context with one more value of a key such as `s3:prefix`.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<String>) -> Self {
        self.add(key, value);
        self
    }

    /// Adds a value of a key.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.values.entry(key.to_lowercase()).or_default().push(value.into());
    }

    /// The same context on a server that looks at no condition.
    #[must_use]
    pub(super) fn ignoring(self, conditions_ignored: bool) -> Self {
        Self { conditions_ignored, ..self }
    }

    fn get(&self, key: &str) -> &[String] {
        self.values.get(key).map_or(&[], Vec::as_slice)
    }

    /// Fills in policy variables such as `${aws:username}`; a variable without a value makes the pattern void.
    pub(super) fn fill<'a>(&self, pattern: &'a str) -> Option<Cow<'a, str>> {
        let Some(start) = pattern.find("${") else {
            return Some(Cow::Borrowed(pattern));
        };
        let mut filled = pattern[..start].to_owned();
        let mut rest = &pattern[start..];
        while let Some(inner) = rest.strip_prefix("${") {
            let (name, after) = inner.split_once('}')?;
            filled.push_str(self.get(&name.to_lowercase()).first()?);
            let next = after.find("${").unwrap_or(after.len());
            filled.push_str(&after[..next]);
            rest = &after[next..];
        }
        Some(Cow::Owned(filled))
    }
}

/// Which of a key's values have to pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    Single,
    Any,
    All,
}

/// How a value is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Text,
    TextIgnoringCase,
    Pattern,
    Number(Order),
    Date(Order),
    Address,
    Null,
    /// Accepted by the grammar, as by IAM, and never true here: no test of ours sends what it looks at.
    Unsupported,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

/// A condition operator with its prefix and suffix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Operator {
    quantifier: Quantifier,
    comparison: Comparison,
    negated: bool,
    if_exists: bool,
}

impl Operator {
    /// Reads a name such as `ForAnyValue:StringNotLikeIfExists`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (quantifier, name) = if let Some(rest) = name.strip_prefix("ForAnyValue:") {
            (Quantifier::Any, rest)
        } else if let Some(rest) = name.strip_prefix("ForAllValues:") {
            (Quantifier::All, rest)
        } else {
            (Quantifier::Single, name)
        };
        let (name, if_exists) = name.strip_suffix("IfExists").map_or((name, false), |rest| (rest, true));
        let (comparison, negated) = match name {
            "StringEquals" => (Comparison::Text, false),
            "StringNotEquals" => (Comparison::Text, true),
            "Bool" | "StringEqualsIgnoreCase" => (Comparison::TextIgnoringCase, false),
            "StringNotEqualsIgnoreCase" => (Comparison::TextIgnoringCase, true),
            "StringLike" | "ArnLike" | "ArnEquals" => (Comparison::Pattern, false),
            "StringNotLike" | "ArnNotLike" | "ArnNotEquals" => (Comparison::Pattern, true),
            "NumericEquals" => (Comparison::Number(Order::Equal), false),
            "NumericNotEquals" => (Comparison::Number(Order::Equal), true),
            "NumericLessThan" => (Comparison::Number(Order::Less), false),
            "NumericLessThanEquals" => (Comparison::Number(Order::LessOrEqual), false),
            "NumericGreaterThan" => (Comparison::Number(Order::Greater), false),
            "NumericGreaterThanEquals" => (Comparison::Number(Order::GreaterOrEqual), false),
            "DateEquals" => (Comparison::Date(Order::Equal), false),
            "DateNotEquals" => (Comparison::Date(Order::Equal), true),
            "DateLessThan" => (Comparison::Date(Order::Less), false),
            "DateLessThanEquals" => (Comparison::Date(Order::LessOrEqual), false),
            "DateGreaterThan" => (Comparison::Date(Order::Greater), false),
            "DateGreaterThanEquals" => (Comparison::Date(Order::GreaterOrEqual), false),
            "Null" => (Comparison::Null, false),
            "IpAddress" => (Comparison::Address, false),
            "NotIpAddress" => (Comparison::Address, true),
            "BinaryEquals" => (Comparison::Unsupported, false),
            _ => return None,
        };
        Some(Self { quantifier, comparison, negated, if_exists })
    }

    /// Whether its values are times.
    pub(super) fn compares_dates(self) -> bool {
        matches!(self.comparison, Comparison::Date(_))
    }

    /// Whether a request passes the test of a key against the policy's values.
    pub(super) fn holds(self, key: &str, wanted: &[String], context: &Context) -> bool {
        if context.conditions_ignored {
            return true;
        }
        let values = context.get(key);
        if self.comparison == Comparison::Null {
            return wanted.iter().any(|word| word.eq_ignore_ascii_case("true") == values.is_empty());
        }
        if self.comparison == Comparison::Unsupported {
            return false;
        }
        if values.is_empty() {
            return self.if_exists || self.quantifier == Quantifier::All || self.negated;
        }
        // The values of the policy are alternatives; a negated operator holds where none of them matches.
        let passes = |value: &String| wanted.iter().any(|one| self.matches(one, value, context)) != self.negated;
        match self.quantifier {
            Quantifier::Single if self.negated => values.iter().all(passes),
            Quantifier::Single | Quantifier::Any => values.iter().any(passes),
            Quantifier::All => values.iter().all(passes),
        }
    }

    fn matches(self, wanted: &str, value: &str, context: &Context) -> bool {
        let Some(wanted) = context.fill(wanted) else {
            return false;
        };
        match self.comparison {
            Comparison::Text => wanted == value,
            Comparison::TextIgnoringCase => wanted.eq_ignore_ascii_case(value),
            Comparison::Pattern => glob(&wanted, value),
            Comparison::Number(order) => match (value.parse::<f64>(), wanted.parse::<f64>()) {
                (Ok(value), Ok(wanted)) => order.holds(&value, &wanted),
                _ => false,
            },
            Comparison::Date(order) => match (value.parse::<jiff::Timestamp>(), wanted.parse::<jiff::Timestamp>()) {
                (Ok(value), Ok(wanted)) => order.holds(&value, &wanted),
                _ => false,
            },
            Comparison::Address => value.parse().is_ok_and(|value| is_in(value, &wanted)),
            Comparison::Null | Comparison::Unsupported => false,
        }
    }
}

/// Whether an address is in a range in CIDR notation, or is that address.
fn is_in(address: IpAddr, range: &str) -> bool {
    let (network, prefix) = range.split_once('/').map_or((range, None), |(network, prefix)| (network, Some(prefix)));
    let bits = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(u32::from(address)), 32),
        IpAddr::V6(address) => (u128::from(address), 128),
    };
    let Ok(network) = network.parse::<IpAddr>() else { return false };
    let ((address, width), (network, of)) = (bits(address), bits(network));
    let prefix = prefix.map_or(Some(of), |prefix| prefix.parse().ok().filter(|prefix| *prefix <= of));
    let same = |prefix: u32| prefix == 0 || (address ^ network) >> (width - prefix) == 0;
    width == of && prefix.is_some_and(same)
}

/// Whether a text matches a pattern with `*` (any run) and `?` (any one character), with regard to case.
pub(super) fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut read) = (0, 0);
    // Where to go on from when the newest `*` has to swallow one more character.
    let mut retry: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at + 1, read));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == text[read] => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((after, swallowed)) = retry else {
                    return false;
                };
                retry = Some((after, swallowed + 1));
                at = after;
                read = swallowed + 1;
            }
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
}

/// Whether IAM takes a text for a time: seconds since 1970, or ISO 8601 with a year at least. It is lenient there: the
/// rules are those of the recorded documents.
pub(super) fn is_date(text: &str) -> bool {
    if text.contains("${") || text.parse::<i64>().is_ok() {
        return true;
    }
    let (date, time) = text.split_once(['T', 't']).unwrap_or((text, ""));
    let date: Vec<&str> = date.strip_prefix('-').unwrap_or(date).split('-').collect();
    let days = matches!(date[..], [year, ref rest @ ..] if rest.len() <= 2 && is_number(year, 1..=9, 292_278_993));
    let rest = date[1..].iter().zip([12, 31]).all(|(part, most)| *part != "00" && is_number(part, 2..=2, most));
    days && rest && (time.is_empty() || is_time(time))
}

/// `hh:mm:ss.fraction`, with `Z` or an offset in hours and minutes, and whatever may be left out at the end.
fn is_time(text: &str) -> bool {
    let (time, offset) = match text.find(['Z', 'z', '+', '-']) {
        Some(at) => (&text[..at], &text[at..]),
        None => (text, "Z"),
    };
    let offset_fits = matches!(offset, "Z" | "z") || {
        let parts: Vec<&str> = offset[1..].split(':').collect();
        parts.len() <= 2 && parts.iter().zip([23, 59]).all(|(part, most)| is_number(part, 2..=2, most))
    };
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    let clock_fits =
        parts.len() <= 3 && is_number(parts[0], 1..=2, 23) && parts[1..].iter().all(|part| is_number(part, 2..=2, 59));
    offset_fits && clock_fits && is_number(fraction, 1..=9, u32::MAX)
}

fn is_number(text: &str, digits: std::ops::RangeInclusive<usize>, most: u32) -> bool {
    digits.contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit())
        && text.parse::<u32>().is_ok_and(|number| number <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(operator: &str, wanted: &[&str], context: &Context) -> Option<bool> {
        let wanted: Vec<String> = wanted.iter().map(|value| (*value).to_owned()).collect();
        Operator::parse(operator).map(|operator| operator.holds("s3:prefix", &wanted, context))
    }

    #[test]
    fn wildcards_match_as_in_arns() {
        assert!(glob("arn:aws:s3:::*", "arn:aws:s3:::bucket/key"));
        assert!(glob("a*b*c", "a-b-b-c"));
        assert!(glob("s3:Get?bject", "s3:GetObject"));
        assert!(glob("*", ""));
        assert!(!glob("a*b", "a-b-c"));
        assert!(!glob("?", ""));
        assert!(!glob("2026/*", "2025/x"));
    }

    #[test]
    fn an_absent_key_fails_a_test_unless_it_is_negated_or_optional() {
        let empty = Context::new();
        assert_eq!(holds("StringLike", &["2026/*"], &empty), Some(false));
        assert_eq!(holds("StringLikeIfExists", &["2026/*"], &empty), Some(true));
        assert_eq!(holds("StringNotLike", &["2026/*"], &empty), Some(true));
        assert_eq!(holds("Null", &["true"], &empty), Some(true));
        assert_eq!(holds("ForAllValues:StringEquals", &["x"], &empty), Some(true));
        assert_eq!(holds("ForAnyValue:StringEquals", &["x"], &empty), Some(false));
    }

    #[test]
    fn values_of_the_policy_are_alternatives() {
        let context = Context::new().with("s3:prefix", "2026/05/");
        assert_eq!(holds("StringLike", &["2025/*", "2026/*"], &context), Some(true));
        assert_eq!(holds("StringNotLike", &["2025/*", "2026/*"], &context), Some(false));
        assert_eq!(holds("StringEquals", &["2026/"], &context), Some(false));
        assert_eq!(holds("Null", &["true"], &context), Some(false));
        assert_eq!(holds("NoSuchOperator", &["x"], &context), None);
    }

    #[test]
    fn numbers_and_dates_are_compared_by_value() {
        let context = Context::new().with("s3:prefix", "10");
        assert_eq!(holds("NumericLessThanEquals", &["9"], &context), Some(false));
        assert_eq!(holds("NumericGreaterThan", &["9"], &context), Some(true));
        let context = Context::new().with("s3:prefix", "2026-01-02T00:00:00Z");
        assert_eq!(holds("DateLessThan", &["2026-01-10T00:00:00Z"], &context), Some(true));
    }

    #[test]
    fn an_address_is_in_a_range_of_its_own_kind() {
        let from = |address: &str| Context::new().with("s3:prefix", address);
        for (range, address, inside) in [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.2", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("anywhere", "10.0.0.0", false),
        ] {
            assert_eq!(holds("IpAddress", &[range], &from(address)), Some(inside), "{address} in {range}");
            assert_eq!(holds("NotIpAddress", &[range], &from(address)), Some(!inside), "{address} in {range}");
        }
        let blind = Context::new().ignoring(true);
        assert_eq!(holds("IpAddress", &["10.0.0.0/8"], &blind), Some(true), "a server that looks at no condition");
    }

    #[test]
    fn a_policy_variable_is_filled_in_or_makes_the_pattern_void() {
        let context = Context::new().with("aws:username", "reports");
        assert_eq!(context.fill("home/${aws:username}/*").as_deref(), Some("home/reports/*"));
        assert_eq!(context.fill("home/${aws:PrincipalTag/team}/*"), None);
        assert_eq!(context.fill("plain").as_deref(), Some("plain"));
    }
}
