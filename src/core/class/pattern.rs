//! Patterns with `*` and `?`, and whether one lies wholly inside others. That is decided exactly, by walking both as
//! automata: texts that look alike, such as `team-a*` and `team-a-*`, allow quite different things.

use std::collections::{BTreeSet, VecDeque};

/// A walk that is longer than this proves nothing; it would take a pattern made for the purpose.
const STEPS_LIMIT: usize = 5_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// Any one character.
    One,
    /// Any text, also none.
    Any,
    /// Any one character but a slash.
    OneOfSegment,
    /// Any text without a slash, also none.
    AnyOfSegment,
}

impl Token {
    /// Whether it takes this character; `None` stands for all those that no pattern names.
    fn takes(self, c: Option<char>) -> bool {
        match self {
            Self::Literal(wanted) => c == Some(wanted),
            Self::One | Self::Any => true,
            Self::OneOfSegment | Self::AnyOfSegment => c != Some('/'),
        }
    }

    fn repeats(self) -> bool {
        matches!(self, Self::Any | Self::AnyOfSegment)
    }
}

/// A set of texts: `*` is any text, `?` any one character, all else itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Token>);

impl Pattern {
    /// The pattern of this text.
    pub fn new(text: &str) -> Self {
        Self(text.chars().map(|c| token(c, Token::One, Token::Any)).collect())
    }

    /// The same, where letters of either case are one.
    pub fn caseless(text: &str) -> Self {
        Self::new(&text.to_ascii_lowercase())
    }

    /// A pattern that a policy holds, where `${...}` stands for what only AWS knows.
    ///
    /// Answers `None` for a variable that does not end.
    pub fn of_policy(text: &str) -> Option<Self> {
        let mut tokens = Vec::new();
        let mut rest = text;
        while let Some((before, variable)) = rest.split_once("${") {
            tokens.extend(Self::new(before).0);
            tokens.push(Token::Any);
            rest = variable.split_once('}')?.1;
        }
        tokens.extend(Self::new(rest).0);
        Some(Self(tokens))
    }

    /// The buckets of that pattern, each with all its objects, as they stand in an ARN: `<bucket>` and `<bucket>/<key>`.
    pub fn buckets(text: &str) -> [Self; 2] {
        let bucket: Vec<Token> = text.chars().map(|c| token(c, Token::OneOfSegment, Token::AnyOfSegment)).collect();
        let objects = [bucket.as_slice(), &[Token::Literal('/'), Token::Any]].concat();
        [Self(bucket), Self(objects)]
    }

    /// Whether every text of this pattern is also one of the others. False too where it cannot be found out in time.
    pub fn is_within(&self, others: &[Self]) -> bool {
        let literals: BTreeSet<char> = std::iter::once(self)
            .chain(others)
            .flat_map(|pattern| &pattern.0)
            .filter_map(|token| if let Token::Literal(c) = token { Some(*c) } else { None })
            .chain(['/'])
            .collect();
        let alphabet: Vec<Option<char>> = literals.into_iter().map(Some).chain([None]).collect();
        let start =
            (self.closure([0].into()), others.iter().map(|other| other.closure([0].into())).collect::<Vec<_>>());
        let mut seen = BTreeSet::from([start.clone()]);
        let mut queue = VecDeque::from([start]);
        while let Some((inner, outer)) = queue.pop_front() {
            let ends = |pattern: &Self, places: &BTreeSet<usize>| places.contains(&pattern.0.len());
            if ends(self, &inner) && !others.iter().zip(&outer).any(|(other, places)| ends(other, places)) {
                return false;
            }
            for c in &alphabet {
                let next = self.after(&inner, *c);
                if next.is_empty() {
                    continue;
                }
                let next = (next, others.iter().zip(&outer).map(|(other, places)| other.after(places, *c)).collect());
                if seen.insert(next.clone()) {
                    queue.push_back(next);
                }
            }
            if seen.len() > STEPS_LIMIT {
                return false;
            }
        }
        true
    }

    /// Whether the text is one of the pattern's.
    pub fn matches(&self, text: &str) -> bool {
        let end = text.chars().fold(self.closure([0].into()), |places, c| self.after(&places, Some(c)));
        end.contains(&self.0.len())
    }

    /// Where a walk may be without taking a character.
    fn closure(&self, mut places: BTreeSet<usize>) -> BTreeSet<usize> {
        let mut next: Vec<usize> = places.iter().copied().collect();
        while let Some(place) = next.pop() {
            if self.0.get(place).is_some_and(|token| token.repeats()) && places.insert(place + 1) {
                next.push(place + 1);
            }
        }
        places
    }

    /// Where a walk may be after a character.
    fn after(&self, places: &BTreeSet<usize>, c: Option<char>) -> BTreeSet<usize> {
        let step = |place: &usize| {
            let token = self.0.get(*place)?;
            token.takes(c).then_some(if token.repeats() { *place } else { place + 1 })
        };
        self.closure(places.iter().filter_map(step).collect())
    }
}

fn token(c: char, one: Token, any: Token) -> Token {
    match c {
        '*' => any,
        '?' => one,
        c => Token::Literal(c),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn within(inner: &str, buckets: &[&str]) -> bool {
        let others: Vec<Pattern> = buckets.iter().flat_map(|bucket| Pattern::buckets(bucket)).collect();
        Pattern::of_policy(inner).is_some_and(|inner| inner.is_within(&others))
    }

    #[test]
    fn invariant_7_what_looks_alike_is_told_apart() {
        for inner in ["team-a-x", "team-a-x/*", "team-a-x/2026/*", "team-a-*", "team-a-?/x", "team-a-${aws:username}/*"]
        {
            assert!(within(inner, &["team-a-*"]), "{inner}");
        }
        for inner in [
            "team-a",
            "team-a*",
            "team-ab",
            "team-*",
            "*",
            "?eam-a-x",
            "*/team-a-x",
            "team-b/team-a-x",
            "${aws:username}",
            "${x",
        ] {
            assert!(!within(inner, &["team-a-*"]), "{inner}");
        }
        assert!(within("logs-?", &["logs-*"]) && !within("logs-*", &["logs-?"]));
        assert!(within("*", &["*"]) && within("*/*", &["*"]));
        assert!(within("a*", &["a*", "b*"]) && !within("*", &["a*", "b*"]));
        assert!(!within("a/b", &["a?b"]), "a bucket's pattern does not reach over the slash");
    }

    #[test]
    fn a_pattern_made_to_take_for_ever_is_refused() {
        let inner = format!("{}*", "*a".repeat(20));
        let others: Vec<Pattern> = (0..12).map(|n| Pattern::new(&format!("*a{}b", "?".repeat(n * 3)))).collect();
        assert!(!Pattern::new(&inner).is_within(&others));
    }

    /// Texts over few letters, so that patterns often meet.
    fn text() -> impl Strategy<Value = String> {
        "[ab/]{0,6}"
    }

    fn pattern() -> impl Strategy<Value = String> {
        "[ab/*?]{0,5}"
    }

    /// The textbook matcher, which shares no code with the walk.
    fn matches(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|taken| matches(rest, &text[taken..])),
            Some((c, rest)) => text.split_first().is_some_and(|(t, text)| (*c == '?' || c == t) && matches(rest, text)),
        }
    }

    fn matched(pattern: &str, text: &str) -> bool {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        matches(&chars(pattern), &chars(text))
    }

    /// Every text of up to five letters.
    fn all_texts() -> Vec<String> {
        let mut all = vec![String::new()];
        let mut last = all.clone();
        for _ in 0..5 {
            last = last.iter().flat_map(|text| ["a", "b", "/", "c"].map(|c| format!("{text}{c}"))).collect();
            all.extend(last.clone());
        }
        all
    }

    proptest! {
        #[test]
        fn a_text_matches_as_the_textbook_says(pattern in pattern(), text in text()) {
            prop_assert_eq!(Pattern::new(&pattern).matches(&text), matched(&pattern, &text));
        }

        #[test]
        fn invariant_7_within_means_that_no_text_gets_out(inner in "[ab/*?]{0,3}", others in proptest::collection::vec(pattern(), 1..3)) {
            let outer: Vec<Pattern> = others.iter().map(|other| Pattern::new(other)).collect();
            let escapes = all_texts().into_iter().find(|text| matched(&inner, text) && !others.iter().any(|other| matched(other, text)));
            // A pattern of three tokens that gets out does so with a text of five letters: `*` needs no more to tell.
            if Pattern::new(&inner).is_within(&outer) {
                prop_assert_eq!(escapes, None);
            } else if others.iter().all(|other| other.len() <= 2) {
                prop_assert!(escapes.is_some());
            }
        }
    }
}
