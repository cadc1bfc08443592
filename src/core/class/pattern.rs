//! Patterns with `*` and `?`, and whether one lies wholly inside others. That is decided exactly, by walking both as
//! automata: texts that resemble each other, such as `team-a*` and `team-a-*`, allow quite different things.

use std::cell::Cell;
use std::collections::HashSet;

/// How much work all the proofs about one policy may take together. A proof that would take more proves nothing: what is
/// not proven is refused.
#[derive(Debug)]
pub struct Effort(Cell<usize>);

impl Default for Effort {
    /// A hundred resources against sixty-four patterns take a tenth of it; all of it is some ten milliseconds and two
    /// megabytes.
    fn default() -> Self {
        Self(Cell::new(500_000))
    }
}

impl Effort {
    /// Of so many steps.
    pub fn of(steps: usize) -> Self {
        Self(Cell::new(steps))
    }

    /// Takes so many steps; false where they are not left.
    fn spend(&self, steps: usize) -> bool {
        let left = self.0.get().checked_sub(steps);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// That character. It is kept as it is tried.
    Literal(Option<char>),
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
            Self::Literal(wanted) => c == wanted,
            Self::One | Self::Any => true,
            Self::OneOfSegment | Self::AnyOfSegment => c != Some('/'),
        }
    }

    /// The characters to be tried in its place; `None` stands for one that no pattern names.
    fn tried(&self) -> &[Option<char>] {
        match self {
            Self::Literal(c) => std::slice::from_ref(c),
            Self::One | Self::Any => &[None, Some('/')],
            Self::OneOfSegment | Self::AnyOfSegment => &[None],
        }
    }

    /// Whether there is a character that both take.
    fn shares(self, other: Self) -> bool {
        self.tried().iter().any(|c| other.takes(*c)) || other.tried().iter().any(|c| self.takes(*c))
    }

    fn repeats(self) -> bool {
        matches!(self, Self::Any | Self::AnyOfSegment)
    }
}

/// A set of texts: `*` is any text, `?` any one character, all else itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(Vec<Token>);

impl FromIterator<Token> for Pattern {
    /// Several `*` in a row are one: so a walk is nowhere at more places than the text has characters, and two for each.
    fn from_iter<T: IntoIterator<Item = Token>>(tokens: T) -> Self {
        let mut tokens: Vec<Token> = tokens.into_iter().collect();
        tokens.dedup_by(|next, token| next.repeats() && next == token);
        Self(tokens)
    }
}

impl Pattern {
    /// The pattern of this text.
    pub fn new(text: &str) -> Self {
        text.chars().map(|c| token(c, Token::One, Token::Any)).collect()
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
        Some(tokens.into_iter().collect())
    }

    /// The buckets of that pattern, each with all its objects, as they stand in an ARN: `<bucket>` and `<bucket>/<key>`.
    pub fn buckets(text: &str) -> [Self; 2] {
        let bucket: Self = text.chars().map(|c| token(c, Token::OneOfSegment, Token::AnyOfSegment)).collect();
        let objects = [bucket.0.as_slice(), &[Token::Literal(Some('/')), Token::Any]].concat();
        [bucket, Self(objects)]
    }

    /// Whether every text of this pattern is also one of the others. False too where the effort does not suffice.
    ///
    /// Where this pattern leaves a character open, only two need to be tried: a slash, and one that no pattern names. A text
    /// that gets out does so with these in the places of its wildcards, too: the others take them only where they take
    /// any.
    pub fn is_within(&self, others: &[Self], effort: &Effort) -> bool {
        let start = (0, walks(others));
        let mut todo = vec![start.clone()];
        let mut seen = HashSet::from([start]);
        while let Some((place, outer)) = todo.pop() {
            if outer.is_empty() {
                // However this pattern goes on, none of the others does.
                return false;
            }
            if !effort.spend(1 + outer.len()) {
                return false;
            }
            let Some(token) = self.0.get(place).copied() else {
                if !outer.iter().any(|(other, at)| others.get(*other).is_some_and(|other| other.0.len() == *at)) {
                    return false;
                }
                continue;
            };
            if token.repeats() {
                // It may stand for nothing.
                push((place + 1, outer.clone()), &mut seen, &mut todo);
            }
            let next = if token.repeats() { place } else { place + 1 };
            for c in token.tried() {
                push((next, after(others, &outer, *c)), &mut seen, &mut todo);
            }
        }
        true
    }

    /// Whether some text is of both patterns. True too where the effort does not suffice.
    ///
    /// A walk through both at once; where both leave a character open, one that no pattern names is of both.
    pub fn meets(&self, other: &Self, effort: &Effort) -> bool {
        let mut todo = vec![(0, 0)];
        let mut seen = HashSet::from([(0, 0)]);
        while let Some((place, at)) = todo.pop() {
            if !effort.spend(1) {
                return true;
            }
            let (left, right) = (self.0.get(place).copied(), other.0.get(at).copied());
            let repeats = |token: Option<Token>| token.is_some_and(Token::repeats);
            let mut next = Vec::new();
            match (left, right) {
                (None, None) => return true,
                (Some(left), Some(right)) if left.shares(right) => {
                    let step = |place: usize, token: Token| if token.repeats() { place } else { place + 1 };
                    next.push((step(place, left), step(at, right)));
                }
                _ => {}
            }
            // What repeats may stand for nothing.
            next.extend(repeats(left).then_some((place + 1, at)));
            next.extend(repeats(right).then_some((place, at + 1)));
            todo.extend(next.into_iter().filter(|places| seen.insert(*places)));
        }
        false
    }

    /// Whether the text is one of the pattern's.
    pub fn matches(&self, text: &str) -> bool {
        let alone = std::slice::from_ref(self);
        let end = text.chars().fold(walks(alone), |places, c| after(alone, &places, Some(c)));
        end.contains(&(0, self.0.len()))
    }
}

/// Where walks through several patterns may be: pattern and place, sorted.
type Places = Vec<(usize, usize)>;

/// The walks before the first character.
fn walks(patterns: &[Pattern]) -> Places {
    let mut places = Places::new();
    (0..patterns.len()).for_each(|pattern| add(patterns, &mut places, (pattern, 0)));
    tidy(places)
}

/// The walks after one more character.
fn after(patterns: &[Pattern], places: &Places, c: Option<char>) -> Places {
    let mut next = Places::new();
    for (pattern, place) in places {
        let Some(token) = patterns.get(*pattern).and_then(|pattern| pattern.0.get(*place)) else { continue };
        if token.takes(c) {
            add(patterns, &mut next, (*pattern, if token.repeats() { *place } else { place + 1 }));
        }
    }
    tidy(next)
}

/// Adds a place, and those that are reached from it without a character.
fn add(patterns: &[Pattern], places: &mut Places, (pattern, mut place): (usize, usize)) {
    places.push((pattern, place));
    let tokens = patterns.get(pattern).map(|pattern| pattern.0.as_slice()).unwrap_or_default();
    while tokens.get(place).is_some_and(|token| token.repeats()) {
        place += 1;
        places.push((pattern, place));
    }
}

fn tidy(mut places: Places) -> Places {
    places.sort_unstable();
    places.dedup();
    places
}

fn push(state: (usize, Places), seen: &mut HashSet<(usize, Places)>, todo: &mut Vec<(usize, Places)>) {
    if seen.insert(state.clone()) {
        todo.push(state);
    }
}

fn token(c: char, one: Token, any: Token) -> Token {
    match c {
        '*' => any,
        '?' => one,
        c => Token::Literal(Some(c)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn within(inner: &str, buckets: &[&str]) -> bool {
        let others: Vec<Pattern> = buckets.iter().flat_map(|bucket| Pattern::buckets(bucket)).collect();
        Pattern::of_policy(inner).is_some_and(|inner| inner.is_within(&others, &Effort::default()))
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
        assert!(!Pattern::new(&inner).is_within(&others, &Effort::default()));
    }

    /// One action of 2,000 wildcards took 15 seconds once; a thousand patterns take no more than a moment.
    #[test]
    fn a_long_walk_ends_in_time() {
        let started = std::time::Instant::now();
        let inner = Pattern::caseless(&format!("s3:{}", "*a".repeat(2_000)));
        assert!(inner.is_within(&[Pattern::caseless("s3:*")], &Effort::default()));
        let hard: Vec<Pattern> = (0..64).map(|n| Pattern::new(&format!("*{}b*", "?".repeat(n)))).collect();
        for text in ["*a", "*ab?", "?*a*"] {
            let _ = Pattern::new(&text.repeat(40)).is_within(&hard, &Effort::default());
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
    }

    /// Two thousand in one place took 46 seconds once.
    #[test]
    fn wildcards_in_a_row_cost_what_one_costs() {
        assert_eq!(Pattern::new(&format!("a{}b", "*".repeat(2_000))), Pattern::new("a*b"));
        assert_eq!(Pattern::of_policy("a*${aws:username}**b"), Some(Pattern::new("a*b")));
        assert_eq!(Pattern::buckets("a**"), Pattern::buckets("a*"));
        assert_ne!(Pattern::new("a??"), Pattern::new("a?"));
    }

    #[test]
    fn what_takes_too_long_is_taken_to_meet() {
        let (left, right) = (Pattern::new(&"*a".repeat(600)), Pattern::new(&format!("{}c", "*b".repeat(1_000))));
        assert!(left.meets(&right, &Effort::default()), "nothing was proven");
        assert!(!Pattern::new("*a").meets(&Pattern::new("*b"), &Effort::default()));
    }

    #[test]
    fn the_effort_is_one_for_all_proofs_of_a_policy() {
        let effort = Effort::default();
        let (inner, outer) = (Pattern::new("team-a.data/*"), [Pattern::new("team-a.*")]);
        let proven = (0..100_000).take_while(|_| inner.is_within(&outer, &effort)).count();
        assert!((1_000..100_000).contains(&proven), "{proven}");
        assert!(!inner.is_within(&outer, &effort));
    }

    #[test]
    fn a_bucket_meets_no_object_and_a_wildcard_meets_both() {
        let [bucket, object] = Pattern::buckets("*");
        for (text, of_bucket, of_object) in
            [("reports", true, false), ("reports/*", false, true), ("reports*", true, true), ("a", true, false)]
        {
            let met = [&bucket, &object].map(|kind| Pattern::new(text).meets(kind, &Effort::default()));
            assert_eq!(met, [of_bucket, of_object], "{text}");
        }
        let spent = Effort(Cell::new(0));
        assert!(Pattern::new("a").meets(&Pattern::new("b"), &spent), "without effort, nothing is known");
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
        fn invariant_7_patterns_meet_where_a_text_is_of_both(left in "[ab/*?]{0,4}", right in "[ab/*?]{0,4}") {
            let both = all_texts().into_iter().find(|text| matched(&left, text) && matched(&right, text));
            let meets = Pattern::new(&left).meets(&Pattern::new(&right), &Effort::default());
            prop_assert_eq!(meets, Pattern::new(&right).meets(&Pattern::new(&left), &Effort::default()));
            if both.is_some() {
                prop_assert!(meets, "{:?}", both);
            } else if left.len() + right.len() <= 5 {
                // Of both there is a text no longer than they are together, if there is any.
                prop_assert!(!meets);
            }
        }

        #[test]
        fn invariant_7_buckets_meet_as_the_textbook_says(left in "[ab*?]{0,4}", resource in "[ab/*?]{0,4}") {
            let [bucket, objects] = Pattern::buckets(&left);
            let resource_pattern = Pattern::new(&resource);
            let found = bucket.meets(&resource_pattern, &Effort::default()) || objects.meets(&resource_pattern, &Effort::default());
            // A bucket ends where the slash stands.
            let of_bucket = |text: &str| matched(&left, text.split('/').next().unwrap_or_default());
            let both = all_texts().into_iter().find(|text| of_bucket(text) && matched(&resource, text));
            prop_assert!(found || both.is_none(), "{:?}", both);
            if both.is_none() && left.len() + resource.len() <= 4 {
                prop_assert!(!found);
            }
        }

        #[test]
        fn invariant_7_within_means_that_no_text_gets_out(inner in "[ab/*?]{0,3}", others in proptest::collection::vec(pattern(), 1..3)) {
            let outer: Vec<Pattern> = others.iter().map(|other| Pattern::new(other)).collect();
            let escapes = all_texts().into_iter().find(|text| matched(&inner, text) && !others.iter().any(|other| matched(other, text)));
            // A pattern of three tokens that gets out does so with a text of five letters: `*` needs no more to tell.
            if Pattern::new(&inner).is_within(&outer, &Effort::default()) {
                prop_assert_eq!(escapes, None);
            } else if others.iter().all(|other| other.len() <= 2) {
                prop_assert!(escapes.is_some());
            }
        }
    }
}
