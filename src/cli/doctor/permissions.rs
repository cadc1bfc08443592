//! What the shipped IAM policy allows, put as questions about one account. There is no other list: the policies of
//! `deploy/iam` are read as they are.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::aws::Question;
use crate::core::iam::Account;

const NEEDED: &str = include_str!("../../../deploy/iam/operator-policy.aws.json");
const LEFTOVERS: &str = include_str!("../../../deploy/iam/operator-policy.leftovers.aws.json");
const MIGRATION: &str = include_str!("../../../deploy/iam/operator-policy.migration.aws.json");
const OWN_KEY: &str = include_str!("../../../deploy/iam/operator-policy.own-key.aws.json");
const COMPATIBLE: &str = include_str!("../../../deploy/iam/operator-policy.s3-compatible.json");
/// Not a name that anything could have been given: asked for, never made.
pub(super) const NOBODY: &str = "s3-access-operator-doctor-looks-for-nobody";
/// The sweep's: without it, the operator reads each user by itself.
pub(super) const SWEEP: &str = "iam:GetAccountAuthorizationDetails";

/// Where the permissions are to hold, and for what.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    pub(super) account: &'a Account,
    /// The path of users and policies.
    pub(super) path: &'a str,
    pub(super) cluster_id: &'a str,
    /// The boundary that every user is given.
    pub(super) boundary: Option<&'a str>,
}

/// A statement of a policy, or a part of it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) sid: String,
    pub(super) question: Question,
    /// Reads, whatever they are about: one of nobody tells whether they are allowed.
    pub(super) reads_anything: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Policy {
    statement: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    sid: String,
    action: Vec<String>,
    resource: Words,
    #[serde(default)]
    condition: BTreeMap<String, BTreeMap<String, Words>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Words {
    One(String),
    Many(Vec<String>),
}

impl Words {
    fn all(&self) -> &[String] {
        match self {
            Self::One(word) => std::slice::from_ref(word),
            Self::Many(words) => words,
        }
    }
}

/// What the operator needs; of an S3-compatible system less.
pub(super) fn needed(scope: Scope<'_>, compatible: bool) -> Vec<Asked> {
    asked(if compatible { COMPATIBLE } else { NEEDED }, scope)
}

/// What may be missing, by the name of the policy that grants it.
pub(super) fn optional(scope: Scope<'_>) -> [(&'static str, Vec<Asked>); 2] {
    [("leftovers", asked(LEFTOVERS, scope)), ("migration", asked(MIGRATION, scope))]
}

/// What rotating the key of that user takes, of the user itself.
pub(super) fn own_key(user_arn: &str) -> Question {
    let policy: Policy = serde_json::from_str(OWN_KEY).unwrap_or_default();
    let actions = policy.statement.into_iter().flat_map(|statement| statement.action).collect();
    Question { actions, resource: user_arn.to_owned(), context: BTreeMap::new() }
}

fn asked(policy: &str, scope: Scope<'_>) -> Vec<Asked> {
    let policy: Policy = serde_json::from_str(policy).unwrap_or_default();
    let mut asked = Vec::new();
    for statement in policy.statement {
        let reads =
            statement.action.iter().all(|action| action.starts_with("iam:Get") || action.starts_with("iam:List"));
        let reads_anything = reads && statement.condition.is_empty();
        // Where every user is given a boundary none is ever taken away, and the bounded variant denies it.
        let is_needed = |action: &String| scope.boundary.is_none() || action != "iam:DeleteUserPermissionsBoundary";
        let actions: Vec<String> = statement.action.iter().filter(|action| is_needed(action)).cloned().collect();
        for resource in statement.resource.all() {
            for context in scope.contexts(&statement.condition) {
                let question = Question { actions: actions.clone(), resource: scope.fill(resource), context };
                asked.push(Asked { sid: statement.sid.clone(), question, reads_anything });
            }
        }
    }
    asked
}

impl Scope<'_> {
    /// An ARN that the pattern of the policy is meant for: of nobody, in this account and under this path.
    fn fill(&self, pattern: &str) -> String {
        let Account { id, partition } = self.account;
        let filled =
            pattern.replace("arn:aws:", &format!("arn:{partition}:")).replace(":iam::*:", &format!(":iam::{id}:"));
        if filled.ends_with("/*") || filled.ends_with("-*") {
            filled.replace("/s3access/", self.path).replace('*', NOBODY)
        } else {
            filled
        }
    }

    /// Condition keys under which the statement applies, one for each of a key's alternatives.
    fn contexts(&self, condition: &BTreeMap<String, BTreeMap<String, Words>>) -> Vec<BTreeMap<String, String>> {
        let boundary = self.boundary.map(|arn| ("iam:PermissionsBoundary".to_owned(), arn.to_owned()));
        let mut contexts = vec![boundary.into_iter().collect::<BTreeMap<_, _>>()];
        for (key, words) in condition.values().flatten() {
            let with = |context: &BTreeMap<String, String>, pattern: &String| {
                let value = match pattern.as_str() {
                    "*" if key.ends_with("/cluster") => self.cluster_id.to_owned(),
                    "*" => NOBODY.to_owned(),
                    pattern => self.fill(pattern),
                };
                let mut context = context.clone();
                context.insert(key.clone(), value);
                context
            };
            contexts = contexts
                .iter()
                .flat_map(|context| words.all().iter().map(move |pattern| with(context, pattern)))
                .collect();
        }
        contexts
    }
}

/// Actions that are denied, by the statement that should allow them.
#[derive(Default)]
pub(super) struct Missing(BTreeMap<String, BTreeSet<String>>);

impl Missing {
    pub(super) fn add(&mut self, sid: &str, actions: Vec<String>) {
        if !actions.is_empty() {
            self.0.entry(sid.to_owned()).or_default().extend(actions);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (number, (sid, actions)) in self.0.iter().enumerate() {
            let separator = if number == 0 { "" } else { "; " };
            let actions = actions.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            write!(f, "{separator}{actions} (statement {sid})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::LONGEST;

    const BOUNDARY: &str = "arn:aws-cn:iam::1:policy/s3access-boundary";

    fn questions(boundary: Option<&str>) -> Vec<Asked> {
        let account = Account { id: "123456789012".to_owned(), partition: "aws-cn".to_owned() };
        needed(Scope { account: &account, path: "/team/", cluster_id: "c1", boundary }, false)
    }

    fn of<'a>(asked: &'a [Asked], sid: &str) -> Vec<&'a Question> {
        asked.iter().filter(|asked| asked.sid == sid).map(|asked| &asked.question).collect()
    }

    #[test]
    fn every_statement_of_each_policy_is_asked_about() {
        let account = Account { id: "1".to_owned(), partition: "aws".to_owned() };
        let scope = Scope { account: &account, path: "/", cluster_id: "c1", boundary: None };
        let [(_, leftovers), (_, migration)] = optional(scope);
        let all = [
            (NEEDED, needed(scope, false)),
            (COMPATIBLE, needed(scope, true)),
            (LEFTOVERS, leftovers),
            (MIGRATION, migration),
        ];
        for (policy, asked) in all {
            let policy: serde_json::Value = serde_json::from_str(policy).unwrap();
            let pairs = |statement: &serde_json::Value| -> Vec<(String, String)> {
                let actions = statement["Action"].as_array().unwrap();
                let sid = statement["Sid"].as_str().unwrap();
                actions.iter().map(|action| (sid.to_owned(), action.as_str().unwrap().to_owned())).collect()
            };
            let wanted: BTreeSet<_> = policy["Statement"].as_array().unwrap().iter().flat_map(pairs).collect();
            let found = asked
                .iter()
                .flat_map(|asked| asked.question.actions.iter().map(|action| (asked.sid.clone(), action.clone())));
            assert_eq!(found.collect::<BTreeSet<_>>(), wanted);
            for Asked { question, .. } in asked {
                let values = question.context.values().chain([&question.resource]);
                assert!(values.clone().all(|value| value == "*" || !value.contains('*')), "{question:?}");
            }
        }
    }

    #[test]
    fn a_question_is_about_the_partition_the_account_and_the_path() {
        let asked = questions(None);
        let [changed] = of(&asked, "ChangeOurUsers")[..] else { panic!("{asked:?}") };
        assert_eq!(changed.resource, format!("arn:aws-cn:iam::123456789012:user/team/{NOBODY}"));
        assert_eq!(changed.context["aws:ResourceTag/s3access.dev/cluster"], "c1");
        let [attached] = of(&asked, "AttachOurPolicies")[..] else { panic!("{asked:?}") };
        assert_eq!(attached.context["iam:PolicyARN"], format!("arn:aws-cn:iam::123456789012:policy/team/{NOBODY}"));
        let [one, other] = of(&asked, "AttachPoliciesOfAwsForS3")[..] else { panic!("{asked:?}") };
        assert_eq!(one.context["iam:PolicyARN"], "arn:aws-cn:iam::aws:policy/AmazonS3FullAccess");
        assert_ne!(one.context, other.context);
        let [reads] = of(&asked, "ReadUsers")[..] else { panic!("{asked:?}") };
        assert_eq!(reads.resource, format!("arn:aws-cn:iam::123456789012:user/{NOBODY}"));
        assert!(asked.iter().all(|asked| asked.reads_anything == asked.sid.starts_with("Read")));
    }

    #[test]
    fn under_a_boundary_every_question_has_it_and_none_takes_it_away() {
        let asked = questions(Some(BOUNDARY));
        let takes_away = "iam:DeleteUserPermissionsBoundary".to_owned();
        for Asked { question, .. } in &asked {
            assert_eq!(question.context["iam:PermissionsBoundary"], BOUNDARY);
            assert!(!question.actions.contains(&takes_away));
        }
        assert!(questions(None).iter().any(|asked| asked.question.actions.contains(&takes_away)));
    }

    #[test]
    fn the_question_about_the_own_key_is_about_the_user_that_asks() {
        let question = own_key("arn:aws:iam::1:user/op");
        assert_eq!((question.actions.len(), question.resource.as_str()), (5, "arn:aws:iam::1:user/op"));
        assert!(question.actions.contains(&"iam:CreateAccessKey".to_owned()));
    }

    #[test]
    fn what_is_missing_is_told_by_statement() {
        let mut missing = Missing::default();
        missing.add("A", Vec::new());
        assert!(missing.is_empty());
        missing.add("A", vec!["iam:TagUser".to_owned(), "iam:CreateUser".to_owned()]);
        missing.add("B", vec!["iam:TagUser".to_owned()]);
        missing.add("A", vec!["iam:TagUser".to_owned()]);
        assert_eq!(missing.to_string(), "iam:CreateUser, iam:TagUser (statement A); iam:TagUser (statement B)");
        let mut all = Missing::default();
        questions(None).into_iter().for_each(|asked| all.add(&asked.sid, asked.question.actions));
        assert!(all.to_string().len() + 500 < LONGEST, "there is no room for it: {all}");
    }
}
