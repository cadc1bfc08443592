//! Why a spec is refused: what every check of the core answers.

use crate::api::Reason;

/// Why the spec cannot be carried out, in words that say what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The reason of the Ready condition.
    pub reason: Reason,
    /// What is wrong and what to do.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// With the reason InvalidSpec.
    pub(super) fn invalid_spec(message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidSpec, message)
    }

    /// With the reason InvalidPolicy.
    pub(super) fn invalid_policy(message: impl Into<String>) -> Self {
        Self::new(Reason::InvalidPolicy, message)
    }
}

/// The known name that resembles the text most, where one does: at most every fourth letter is another, at least two. For a
/// message that says what was meant.
pub fn nearest<T: AsRef<str> + Ord>(text: &str, known: impl IntoIterator<Item = T>) -> Option<T> {
    let lower = text.to_ascii_lowercase();
    let most = (lower.len() / 4).clamp(2, 5);
    let alike = known.into_iter().filter(|name| name.as_ref().len().abs_diff(lower.len()) <= most);
    let distances = alike.map(|name| (strsim::levenshtein(&lower, &name.as_ref().to_ascii_lowercase()), name));
    distances.filter(|(distance, _)| *distance <= most).min().map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_resembles_a_name_is_told_it() {
        let names = ["GetObject", "GetObjectAcl", "PutObject"];
        for (text, expected) in [
            ("GetObjct", Some("GetObject")),
            ("getobjects", Some("GetObject")),
            ("PutObjectt", Some("PutObject")),
            ("Frobnicate", None),
            ("", None),
        ] {
            assert_eq!(nearest(text, names), expected, "{text}");
        }
    }
}
