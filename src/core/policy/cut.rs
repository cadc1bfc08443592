//! The end of access that an inactive key does not bring: sessions outlive their key, and go by the policy of their user.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Document;

/// How the statement is named.
const SID: &str = "S3AccessCut";

/// The statement that cuts sessions, whatever else allows what they do: those that were issued before that time, or, where
/// none is given, everything that is done in the user's name.
///
/// STS tells `aws:TokenIssueTime` of sessions alone, so that a statement with a time leaves the key as it is.
pub fn cut(issued_before: Option<Timestamp>) -> Value {
    let mut statement = json!({ "Sid": SID, "Effect": "Deny", "Action": "*", "Resource": "*" });
    if let Some(time) = issued_before {
        // Whole seconds, in the words that IAM takes.
        let time = time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        statement["Condition"] = json!({ "DateLessThan": { "aws:TokenIssueTime": time } });
    }
    statement
}

/// The policy of a user of whom nothing is to work.
pub fn cut_off() -> Document {
    Document::new(vec![cut(None)])
}

/// The document with the cut of all sessions that were issued before, in the place of an earlier cut.
#[must_use]
pub fn with_cut(document: &Document, issued_before: Timestamp) -> Document {
    let statements = document.statements().into_iter().filter(|statement| !is_cut(statement)).cloned();
    document.with_statements(statements.chain([cut(Some(issued_before))]).collect())
}

fn is_cut(statement: &Value) -> bool {
    statement["Sid"] == SID && !statement["Condition"]["DateLessThan"]["aws:TokenIssueTime"].is_null()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_cut_denies_everything_and_with_a_time_only_older_sessions() {
        assert_eq!(cut(None), json!({ "Sid": "S3AccessCut", "Effect": "Deny", "Action": "*", "Resource": "*" }));
        let time = "2026-11-27T21:00:00.123Z".parse().unwrap();
        assert_eq!(
            cut(Some(time))["Condition"],
            json!({ "DateLessThan": { "aws:TokenIssueTime": "2026-11-27T21:00:00Z" } })
        );
        let document = Document::new(vec![json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "*" })]);
        let once = with_cut(&document, time);
        assert_eq!(once.statements().len(), 2);
        assert_eq!(with_cut(&once, time), once, "a cut takes the place of an earlier one");
        assert_eq!(cut_off().statements(), [&cut(None)]);
    }
}
