//! What IAM accepts as names, paths and tags (IAM API reference, the pattern and length of each parameter).

use super::error::{ApiError, Code};
use super::limits;
use super::model::{Tag, Tags};

/// The error of a parameter that breaks the model's constraints, in the words of AWS's validation.
pub(super) fn invalid(parameter: &str, value: &str, constraint: &str) -> ApiError {
    Code::ValidationError.error(format!(
        "1 validation error detected: Value '{value}' at '{parameter}' failed to satisfy constraint: {constraint}"
    ))
}

/// `[\w+=,.@-]+`, with a length of at least one.
pub(super) fn check_name(parameter: &str, value: &str, limit: usize) -> Result<(), ApiError> {
    if value.is_empty() {
        return Err(invalid(parameter, value, "Member must have length greater than or equal to 1"));
    }
    if value.chars().count() > limit {
        return Err(invalid(parameter, value, &format!("Member must have length less than or equal to {limit}")));
    }
    if value.chars().all(|letter| letter.is_ascii_alphanumeric() || "_+=,.@-".contains(letter)) {
        return Ok(());
    }
    Err(Code::ValidationError.error(format!(
        "The specified value for {parameter} is invalid. It must contain only alphanumeric characters and/or the \
         following: +=,.@_-"
    )))
}

/// The name of a user: 64 characters.
pub(super) fn check_user_name(value: &str) -> Result<(), ApiError> {
    check_name("userName", value, limits::USER_NAME_CHARACTERS)
}

/// A path: `/`, or printable ASCII that begins and ends with a slash, 512 characters at most.
pub(super) fn check_path(value: &str) -> Result<(), ApiError> {
    let printable = value.chars().all(|letter| ('\u{21}'..='\u{7f}').contains(&letter));
    let framed = value.starts_with('/') && value.ends_with('/');
    if value.chars().count() > limits::PATH_CHARACTERS {
        let limit = limits::PATH_CHARACTERS;
        return Err(invalid("path", value, &format!("Member must have length less than or equal to {limit}")));
    }
    if printable && framed {
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

fn check_tag(position: usize, tag: &Tag) -> Result<(), ApiError> {
    check_tag_key(&format!("tags.{position}.member.key"), &tag.key)?;
    let parameter = format!("tags.{position}.member.value");
    if tag.value.chars().count() > limits::TAG_VALUE_CHARACTERS {
        let limit = limits::TAG_VALUE_CHARACTERS;
        return Err(invalid(&parameter, &tag.value, &format!("Member must have length less than or equal to {limit}")));
    }
    if tag_characters(&tag.value) {
        return Ok(());
    }
    let constraint = r"Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]*";
    Err(invalid(&parameter, &tag.value, constraint))
}

/// The key of a tag; `aws:` is AWS's own.
pub(super) fn check_tag_key(parameter: &str, key: &str) -> Result<(), ApiError> {
    if key.is_empty() {
        return Err(invalid(parameter, key, "Member must have length greater than or equal to 1"));
    }
    if key.chars().count() > limits::TAG_KEY_CHARACTERS {
        let limit = limits::TAG_KEY_CHARACTERS;
        return Err(invalid(parameter, key, &format!("Member must have length less than or equal to {limit}")));
    }
    if !tag_characters(key) {
        let constraint = r"Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+";
        return Err(invalid(parameter, key, constraint));
    }
    if fold(key).starts_with("aws:") {
        return Err(Code::InvalidInput.error("System tags cannot be added/updated by requester"));
    }
    Ok(())
}

/// Adds tags to those that are there, each one replacing a tag whose key differs in case at most.
pub(super) fn merge_tags(present: &Tags, added: &[Tag]) -> Result<Tags, ApiError> {
    let mut merged = present.clone();
    let mut seen = std::collections::BTreeSet::new();
    for (index, tag) in added.iter().enumerate() {
        check_tag(index + 1, tag)?;
        if !seen.insert(fold(&tag.key)) {
            return Err(
                Code::InvalidInput.error("Duplicate tag keys found. Please note that Tag keys are case insensitive.")
            );
        }
        merged.insert(fold(&tag.key), tag.clone());
    }
    if merged.len() > limits::TAGS {
        return Err(
            Code::LimitExceeded.error(format!("The number of tags has reached the maximum limit: {}", limits::TAGS))
        );
    }
    Ok(merged)
}

/// Removes tags; a key that is not there is no error.
pub(super) fn remove_tags(present: &Tags, keys: &[String]) -> Result<Tags, ApiError> {
    let mut rest = present.clone();
    for (index, key) in keys.iter().enumerate() {
        check_tag_key(&format!("tagKeys.{}.member", index + 1), key)?;
        rest.remove(&fold(key));
    }
    Ok(rest)
}
