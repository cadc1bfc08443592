//! What AWS itself was recorded to answer, call by call, and how the double answers the same calls.

mod answer;
mod fact;
mod page;
mod player;

use fact::{Fact, Kind, Verdict};
use player::Player;

const FACTS: &str = include_str!("facts.jsonl");

fn facts() -> Vec<Fact> {
    FACTS.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// What the double makes of each fact.
async fn verdicts(facts: Vec<Fact>) -> Vec<(Fact, Verdict)> {
    let player = Player::start().await.expect("the double");
    let mut verdicts = Vec::new();
    for (number, fact) in facts.into_iter().enumerate() {
        let played = player.play(number, &fact).await;
        let verdict = played.unwrap_or_else(|error| Verdict::Different(Kind::Code, format!("{error:#}")));
        verdicts.push((fact, verdict));
    }
    verdicts
}

#[tokio::test]
async fn the_double_answers_as_aws_was_recorded_to() {
    let verdicts = verdicts(facts()).await;
    let surprises: Vec<String> = verdicts
        .iter()
        .filter(|(fact, verdict)| !fact.expects(verdict))
        .map(|(fact, verdict)| format!("{} ({}): {verdict}", fact.call, fact.when))
        .collect();
    assert!(surprises.is_empty(), "{} surprises:\n{}", surprises.len(), surprises.join("\n"));
    page::check(&verdicts);
}

/// What is made of a fact.
type Change = fn(&mut Fact);

/// Each kind of difference is seen as what it is: the suite could not fail otherwise.
#[tokio::test]
async fn a_fact_that_the_double_does_not_answer_is_a_difference() {
    let changes: [(&str, Change, &str); 5] = [
        ("name taken", |fact| fact.code = Some("NoSuchEntity".into()), "another code"),
        ("name taken", |fact| fact.status = 400, "another code"),
        ("name taken", |fact| fact.message = Some("Taken.".into()), "other words"),
        ("no path, no tags", |fact| drop(fact.has.insert("User.Path".into(), "/x/".into())), "other content"),
        ("no path, no tags", |fact| fact.lacks.push("User.Arn".into()), "other content"),
    ];
    for (when, change, kind) in changes {
        let mut fact = facts().into_iter().find(|fact| fact.call == "CreateUser" && fact.when == when).expect(when);
        change(&mut fact);
        let verdicts = verdicts(vec![fact]).await;
        assert_eq!(verdicts[0].1.kind(), kind, "{}", verdicts[0].1);
        assert!(!verdicts[0].0.expects(&verdicts[0].1));
    }
}

#[test]
fn facts_have_sources_and_names_of_their_own_and_reasons_where_they_differ() {
    let facts = facts();
    let mut names = std::collections::BTreeSet::new();
    for fact in &facts {
        assert!(names.insert((&fact.call, &fact.when)), "{} {}", fact.call, fact.when);
        assert!(fact.source.contains('/') && !fact.steps.is_empty(), "{} {}", fact.call, fact.when);
        assert_eq!(fact.steps.last().map(|(call, _)| call), Some(&fact.call), "{}", fact.when);
        assert!(fact.differs.as_ref().is_none_or(|differs| differs.why.len() > 20), "{}", fact.when);
        assert_eq!(fact.status == 200, fact.code.is_none(), "{} {}", fact.call, fact.when);
    }
}
