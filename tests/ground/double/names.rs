//! What IAM accepts as names, paths and tags: IAM API reference, the pattern and length of each parameter, and the
//! recorded answers.

use super::error::{ApiError, Code};
use super::limits;
use super::model::{Tag, Tags};

/// The error of a parameter that breaks the model's constraints. IAM no longer repeats the value (recorded).
pub(super) fn invalid(parameter: &str, constraint: &str) -> ApiError {
    Code::ValidationError.error(format!(
        "1 validation error detected: Value at '{parameter}' failed to satisfy constraint: {constraint}"
    ))
}

/// The same of STS, which still repeats it.
pub(super) fn invalid_in_sts(parameter: &str, value: &str, constraint: &str) -> ApiError {
    Code::ValidationError.error(format!(
        "1 validation error detected: Value '{value}' at '{parameter}' failed to satisfy constraint: {constraint}"
    ))
}

/// Refuses what is shorter or longer than a parameter may be; in characters.
pub(super) fn check_length(parameter: &str, value: &str, shortest: usize, longest: usize) -> Result<(), ApiError> {
    let length = value.chars().count();
    if length < shortest {
        return Err(invalid(parameter, &format!("Member must have length greater than or equal to {shortest}")));
    }
    if length > longest {
        return Err(invalid(parameter, &format!("Member must have length less than or equal to {longest}")));
    }
    Ok(())
}

/// Whether a text is of `[\w+=,.@-]*`.
pub(super) fn is_name(text: &str) -> bool {
    text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_+=,.@-".contains(letter))
}

/// `[\w+=,.@-]+`, with a length of at least one.
pub(super) fn check_name(parameter: &str, value: &str, limit: usize) -> Result<(), ApiError> {
    check_length(parameter, value, 1, limit)?;
    if is_name(value) {
        return Ok(());
    }
    Err(Code::ValidationError.error(format!(
        "The specified value for {parameter} is invalid. It must contain only alphanumeric characters and/or the \
         following: +=,.@_-"
    )))
}

/// A path: `/`, or printable ASCII that begins and ends with a slash, 512 characters at most.
pub(super) fn check_path(value: &str) -> Result<(), ApiError> {
    check_length("path", value, 1, limits::PATH_CHARACTERS)?;
    let printable = value.chars().all(|letter| ('\u{21}'..='\u{7f}').contains(&letter));
    if printable && value.starts_with('/') && value.ends_with('/') {
        return Ok(());
    }
    Err(Code::ValidationError.error(
        "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric \
         characters and/or / characters.",
    ))
}

/// How a name is told apart from others: without regard to case (IAM user guide, "IAM identifiers").
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]*`
fn tag_characters(text: &str) -> bool {
    text.chars().all(|letter| letter.is_alphanumeric() || letter == ' ' || "_.:/=+-@".contains(letter))
}

/// Whose tags they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tagged {
    /// A user's: keys that differ in case only are one.
    User,
    /// A managed policy's: they are two (recorded).
    Policy,
}

impl Tagged {
    /// By what a key is told apart from others.
    fn key(self, key: &str) -> String {
        match self {
            Self::User => fold(key),
            Self::Policy => key.to_owned(),
        }
    }

    /// Checks the tags of one call.
    pub(super) fn check(self, tags: &[Tag]) -> Result<(), ApiError> {
        check_number("tags", tags.len())?;
        for (index, tag) in tags.iter().enumerate() {
            check_tag(index + 1, tag)?;
        }
        let keys: std::collections::BTreeSet<String> = tags.iter().map(|tag| self.key(&tag.key)).collect();
        if keys.len() == tags.len() {
            return Ok(());
        }
        Err(Code::InvalidInput.error(match self {
            Self::User => "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            Self::Policy => "Duplicate tag keys found.",
        }))
    }

    /// Adds tags to those that are there, each one in place of that of its key.
    pub(super) fn merge(self, present: &Tags, added: &[Tag]) -> Result<Tags, ApiError> {
        let mut merged = present.clone();
        merged.extend(added.iter().map(|tag| (self.key(&tag.key), tag.clone())));
        if merged.len() > limits::TAGS {
            return Err(Code::LimitExceeded
                .error(format!("The number of tags has reached the maximum limit: {}", limits::TAGS)));
        }
        Ok(merged)
    }

    /// Removes tags; a key that is not there is no error.
    pub(super) fn remove(self, present: &Tags, keys: &[String]) -> Tags {
        let mut rest = present.clone();
        for key in keys {
            rest.remove(&self.key(key));
        }
        rest
    }
}

fn check_number(parameter: &str, number: usize) -> Result<(), ApiError> {
    if number > limits::TAGS {
        return Err(invalid(parameter, &format!("Member must have length less than or equal to {}", limits::TAGS)));
    }
    Ok(())
}

fn check_tag(position: usize, tag: &Tag) -> Result<(), ApiError> {
    let parameter = format!("tags.{position}.member.key");
    check_length(&parameter, &tag.key, 1, limits::TAG_KEY_CHARACTERS)?;
    let pattern = r"Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]";
    if !tag_characters(&tag.key) {
        return Err(invalid(&parameter, &format!("{pattern}+")));
    }
    let parameter = format!("tags.{position}.member.value");
    check_length(&parameter, &tag.value, 0, limits::TAG_VALUE_CHARACTERS)?;
    if !tag_characters(&tag.value) {
        return Err(invalid(&parameter, &format!("{pattern}*")));
    }
    // What begins so is AWS's own.
    if fold(&tag.key).starts_with("aws:") {
        return Err(Code::InvalidInput.error("System tags cannot be added/updated by requester"));
    }
    Ok(())
}

/// Checks the keys of tags that are to be removed.
pub(super) fn check_tag_keys(keys: &[String]) -> Result<(), ApiError> {
    check_number("tagKeys", keys.len())?;
    let fits = |key: &String| (1..=limits::TAG_KEY_CHARACTERS).contains(&key.chars().count()) && tag_characters(key);
    if keys.iter().all(fits) {
        return Ok(());
    }
    Err(invalid(
        "tagKeys",
        r"Member must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+, Member must not be null]",
    ))
}
