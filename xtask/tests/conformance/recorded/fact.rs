//! A recorded fact, and what comparing it says.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;

use super::answer::Answer;

/// An answer of AWS to the last of some calls. In parameters and expectations `{user}` is a name that no other fact uses,
/// `{Arn}` the newest element of that name in the answers before, and `{account}`, `{caller}`, `{document}` and `{encoded}`
/// are what they say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    pub call: String,
    pub when: String,
    pub source: String,
    pub status: u16,
    pub code: Option<String>,
    /// `…` stands for what was not written down.
    pub message: Option<String>,
    /// Elements by path, with their texts in order and `|` between: `<21>` is any one of 21 characters, `<set>` means any
    /// order, `<some>` that this one is among others, and nothing that the element is there and empty.
    #[serde(default)]
    pub has: BTreeMap<String, String>,
    /// Elements that are not there.
    #[serde(default)]
    pub lacks: Vec<String>,
    pub steps: Vec<(String, BTreeMap<String, String>)>,
    /// Who makes the last call; an administrator otherwise.
    #[serde(rename = "as")]
    pub caller: Option<CallerKind>,
    /// An account that is not in its usual state.
    pub settings: Option<AccountKind>,
    /// A race that no sequence of calls shows: the double is told to answer so, as tests of races tell it to.
    #[serde(default)]
    pub told: bool,
    /// A difference that stays.
    pub differs: Option<Differs>,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum CallerKind {
    /// An assumed role.
    Role,
    /// A user with a key that the calls before have not made.
    User,
    /// Whoever has the key that the calls before have made.
    Key,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum AccountKind {
    /// It has as many users as it may have.
    Full,
    /// Its replicas are up to a minute behind.
    Lagging,
    /// Its quota of keys counts none that is younger than an hour.
    Racing,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Differs {
    pub how: Kind,
    pub why: String,
}

#[derive(Debug, Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Words,
    Content,
    Code,
}

/// How an answer compares with AWS's.
#[derive(Debug)]
pub enum Verdict {
    Equal,
    Different(Kind, String),
}

impl Verdict {
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Different(Kind::Words, _) => "other words",
            Self::Different(Kind::Content, _) => "other content",
            Self::Different(Kind::Code, _) => "another code",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equal => formatter.write_str(self.kind()),
            Self::Different(_, what) => write!(formatter, "{}: {what}", self.kind()),
        }
    }
}

impl Fact {
    /// Whether the difference, or that there is none, is as it is listed.
    pub fn expects(&self, verdict: &Verdict) -> bool {
        match (verdict, &self.differs) {
            (Verdict::Equal, None) => true,
            (Verdict::Different(kind, _), Some(differs)) => *kind == differs.how,
            _ => false,
        }
    }

    /// Compares an answer; `fill` puts in what the fact leaves open.
    pub fn compare(&self, answer: &Answer, fill: &dyn Fn(&str) -> String) -> Verdict {
        let (status, code) = (answer.status, answer.text("Error.Code"));
        if (status, code) != (self.status, self.code.as_deref()) {
            let wanted = self.code.as_deref();
            return Verdict::Different(Kind::Code, format!("{status} {code:?}, not {} {wanted:?}", self.status));
        }
        if let Some(wanted) = self.message.as_deref().map(fill) {
            let message = answer.text("Error.Message").unwrap_or_default();
            if !fits(&wanted, message) {
                return Verdict::Different(Kind::Words, format!("{message:?}, not {wanted:?}"));
            }
        }
        for (path, wanted) in &self.has {
            let (texts, wanted) = (answer.texts(path), fill(wanted));
            if !holds(&wanted, &texts) {
                return Verdict::Different(Kind::Content, format!("{path} is {texts:?}, not {wanted:?}"));
            }
        }
        match self.lacks.iter().find(|path| answer.has(path)) {
            Some(path) => Verdict::Different(Kind::Content, format!("{path} is there")),
            None => Verdict::Equal,
        }
    }
}

/// Whether a text is as a pattern with `…` says.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut open = false;
    for part in parts {
        open = part.is_empty();
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    open || rest.is_empty()
}

fn holds(wanted: &str, texts: &[&str]) -> bool {
    if let Some(length) = wanted.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) {
        return matches!(texts, [text] if length.parse() == Ok(text.chars().count()));
    }
    if let Some(one) = wanted.strip_prefix("<some>") {
        return texts.contains(&one);
    }
    if let Some(set) = wanted.strip_prefix("<set>") {
        let mut texts = texts.to_vec();
        texts.sort_unstable();
        return texts == set.split('|').collect::<Vec<_>>();
    }
    !texts.is_empty() && texts.join("|") == wanted
}

#[test]
fn expectations_hold_for_what_they_say_only() {
    for (wanted, texts, right) in [
        ("a", &["a"][..], true),
        ("a", &["b"], false),
        ("", &[""], true),
        ("", &[], false),
        ("<3>", &["abc"], true),
        ("<3>", &["abcd"], false),
        ("<some>b", &["a", "b"], true),
        ("<some>c", &["a", "b"], false),
        ("<set>a|b", &["b", "a"], true),
        ("a|b", &["b", "a"], false),
    ] {
        assert_eq!(holds(wanted, texts), right, "{wanted} {texts:?}");
    }
    assert!(fits("a …c", "a bc") && fits("a…", "abc") && !fits("a", "ab") && !fits("a…c", "abcd"));
}
