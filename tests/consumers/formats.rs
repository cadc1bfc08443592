//! How consumers whose own code is too large to install read what they are given, by their documentation.

use std::collections::BTreeMap;

/// Lines of `name=value`.
pub fn properties(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(|line| line.split_once('=').unwrap());
    lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
