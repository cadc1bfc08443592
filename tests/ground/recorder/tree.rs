//! An answer of IAM or STS as a set of elements: what two servers say alike is alike here.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;
use serde_json::{Map, Value};

/// What is a secret, by the names of IAM and STS; nothing of it leaves the recorder.
const SECRETS: [&str; 7] = [
    "SecretAccessKey",
    "SessionToken",
    "Password",
    "ServicePassword",
    "ServiceCredentialSecret",
    "Base32StringSeed",
    "QRCodePNG",
];
/// What an answer says of itself, or of S3's requests, which the recorder does not see.
const LEFT_OUT: [&str; 3] = ["ResponseMetadata", "RequestId", "AccessKeyLastUsed"];
/// What answers about the whole account say of others, and is nobody's business here.
const OF_OTHERS: [&str; 2] = ["RoleDetailList", "GroupDetailList"];
/// What identifiers begin with, by what they identify (IAM user guide, "Unique identifiers").
const PREFIXES: [&str; 4] = ["AIDA", "ANPA", "AGPA", "AROA"];
/// What tells members of a list apart, whatever else two servers say of them.
const IDENTITIES: [&str; 7] = ["AccessKeyId", "VersionId", "Arn", "PolicyArn", "UserName", "Key", "PolicyName"];
/// Lists of whatever there is in the account.
const OF_ACCOUNT: [&str; 5] =
    ["ListUsers", "ListPolicies", "ListGroups", "ListRoles", "GetAccountAuthorizationDetails"];

/// Puts stand-ins into a value.
pub(super) type Hide<'a> = dyn Fn(&str) -> String + 'a;

/// An element with what is in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    name: String,
    text: String,
    children: Vec<Node>,
}

impl Node {
    /// Reads XML; none where it is none.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut reader = quick_xml::Reader::from_str(text);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().ok()? {
                Event::Start(start) => {
                    let name = start.local_name().as_ref().to_owned();
                    open.push(Self { name, ..Self::default() });
                }
                Event::Empty(empty) => {
                    let name = empty.local_name().as_ref().to_owned();
                    open.last_mut()?.children.push(Self { name, ..Self::default() });
                }
                Event::End(_) => {
                    let done = open.pop()?;
                    open.last_mut()?.children.push(done);
                }
                Event::Text(part) => open.last_mut()?.text.push_str(&part),
                Event::CData(part) => open.last_mut()?.text.push_str(&part),
                Event::GeneralRef(reference) => {
                    let letter = reference.resolve_char_ref().ok()?;
                    let named = || resolve_xml_entity(&reference).map(ToOwned::to_owned);
                    let text = letter.map(String::from).or_else(named)?;
                    open.last_mut()?.text.push_str(&text);
                }
                Event::Eof => break,
                _ => {}
            }
        }
        let mut outermost = open.pop().filter(|_| open.is_empty())?;
        outermost.children.pop().filter(|root| root.name != "html")
    }

    /// The text of the first element of that name, at whatever depth.
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        if self.name == name {
            return Some(self.text.trim());
        }
        self.children.iter().find_map(|child| child.find(name))
    }

    /// Its elements by their paths, as they can be compared: with names hidden, since lists are sorted by what they hold.
    /// Of lists of the whole account only what lies under `path`.
    pub(super) fn elements(&self, action: &str, path: &str, hide: &Hide<'_>) -> BTreeMap<String, String> {
        let mut found = BTreeMap::new();
        let of_account = OF_ACCOUNT.contains(&action);
        self.walk("", of_account.then_some(path), hide, &mut found);
        found
    }

    fn walk(&self, above: &str, only: Option<&str>, hide: &Hide<'_>, found: &mut BTreeMap<String, String>) {
        let here = if above.is_empty() { self.name.clone() } else { format!("{above}/{}", self.name) };
        if self.children.is_empty() {
            found.insert(here, hide(&comparable(&self.name, self.text.trim())));
            return;
        }
        // An element that is there says something, be it empty or not.
        let mut lists: BTreeMap<&str, Vec<BTreeMap<String, String>>> = BTreeMap::new();
        for child in &self.children {
            let name = child.name.as_str();
            if LEFT_OUT.contains(&name) || only.is_some_and(|path| child.is_of_others(path)) {
                continue;
            }
            if name == "member" || name == "entry" {
                let mut below = BTreeMap::new();
                // A list inside of one of ours is wholly ours.
                child.walk("", None, hide, &mut below);
                lists.entry(name).or_default().push(below);
            } else {
                child.walk(&here, only, hide, found);
            }
        }
        for (name, mut members) in lists {
            members.sort_by_cached_key(|member| (identity(member), member.clone()));
            for (number, member) in (1..).zip(members) {
                let under = |path: String| format!("{here}/{name}[{number}]{}", path.trim_start_matches(name));
                found.extend(member.into_iter().map(|(path, text)| (under(path), text)));
            }
        }
    }

    /// Whether it is about somebody else's part of the account, or depends on how much of that there is.
    fn is_of_others(&self, path: &str) -> bool {
        let own = |name: &str| self.children.iter().find(|child| child.name == name).map(|child| child.text.trim());
        match self.name.as_str() {
            "member" => !own("Path").is_some_and(|found| found.starts_with(path)),
            "IsTruncated" | "Marker" => true,
            name => OF_OTHERS.contains(&name),
        }
    }
}

fn identity(member: &BTreeMap<String, String>) -> Vec<String> {
    IDENTITIES.iter().map(|name| member.get(&format!("member/{name}")).cloned().unwrap_or_default()).collect()
}

/// A value as far as two servers can agree on it.
fn comparable(name: &str, text: &str) -> String {
    match name {
        _ if SECRETS.contains(&name) => "<removed>".to_owned(),
        "Document" | "PolicyDocument" | "AssumeRolePolicyDocument" if !text.is_empty() => document(text),
        "Marker" => "<marker>".to_owned(),
        "UserId" | "PolicyId" | "GroupId" | "RoleId" => {
            let prefix = text.get(..4).filter(|prefix| PREFIXES.contains(prefix));
            prefix.map_or_else(|| "<id without a prefix>".to_owned(), |prefix| format!("<id {prefix}>"))
        }
        _ => time(text).unwrap_or_else(|| text.to_owned()),
    }
}

fn time(text: &str) -> Option<String> {
    let time: jiff::Timestamp = text.parse().ok()?;
    let whole = time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() == text;
    Some(if whole { "<time>" } else { "<time of another form>" }.to_owned())
}

/// A policy document by its meaning, and how it was encoded.
fn document(text: &str) -> String {
    let plain = text.trim_start().starts_with('{');
    let bytes: Vec<u8> = if plain { text.bytes().collect() } else { percent_decode_str(text).collect() };
    let (how, decoded) = match String::from_utf8(bytes) {
        Ok(decoded) if plain => ("plain", decoded),
        Ok(decoded) => ("percent-encoded as UTF-8", decoded),
        Err(error) => {
            ("percent-encoded as Latin-1", error.into_bytes().into_iter().map(char::from).collect::<String>())
        }
    };
    let meaning = serde_json::from_str(&decoded).map_or(decoded, |value| sorted(value).to_string());
    format!("{how}: {meaning}")
}

/// One value and a list of it are the same to IAM, and so are lists in another order.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let one = |(name, value): (String, Value)| {
                let listed = ["Action", "Resource", "NotAction", "NotResource", "Statement"].contains(&name.as_str());
                let value = if listed && !value.is_array() { Value::Array(vec![value]) } else { value };
                (name, sorted(value))
            };
            let fields: BTreeMap<String, Value> = fields.into_iter().map(one).collect();
            Value::Object(Map::from_iter(fields))
        }
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(sorted).collect();
            items.sort_by_key(ToString::to_string);
            if let [Value::String(_)] = items.as_slice() { items.remove(0) } else { Value::Array(items) }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::{Node, document};

    const USERS: &str = "<ListUsersResponse xmlns=\"x\"><ListUsersResult><Users>\
        <member><Path>/ours/a/</Path><UserName>b &amp; &#233;</UserName><CreateDate>2026-01-01T00:00:00Z</CreateDate></member>\
        <member><Path>/theirs/</Path><UserName>stranger</UserName></member></Users><IsTruncated>true</IsTruncated>\
        </ListUsersResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></ListUsersResponse>";

    #[test]
    fn of_lists_of_the_account_only_ours_is_kept() {
        let elements = Node::parse(USERS).unwrap().elements("ListUsers", "/ours/", &str::to_owned);
        let found: Vec<String> = elements.iter().map(|(path, text)| format!("{path} = {text}")).collect();
        let member = "ListUsersResponse/ListUsersResult/Users/member[1]";
        let expected = [
            format!("{member}/CreateDate = <time>"),
            format!("{member}/Path = /ours/a/"),
            format!("{member}/UserName = b & é"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn secrets_are_removed() {
        let text = "<R><AccessKey><SecretAccessKey>abc</SecretAccessKey><SessionToken>t</SessionToken></AccessKey></R>";
        let elements = Node::parse(text).unwrap().elements("CreateAccessKey", "/", &str::to_owned);
        assert!(elements.values().all(|text| text == "<removed>") && elements.len() == 2, "{elements:?}");
    }

    #[test]
    fn lists_are_sorted_by_what_the_stand_ins_are() {
        let list = |ids: [&str; 2]| {
            format!("<R><K><member><Id>{}</Id></member><member><Id>{}</Id></member></K></R>", ids[0], ids[1])
        };
        let hide = |text: &str| text.replace("x9", "1").replace("y8", "2").replace("b7", "1").replace("a6", "2");
        let elements = |ids| Node::parse(&list(ids)).unwrap().elements("ListAccessKeys", "/", &hide);
        assert_eq!(elements(["x9", "y8"]), elements(["b7", "a6"]));
    }

    #[test]
    fn a_page_of_html_is_no_answer() {
        assert_eq!(Node::parse("<html><title>500</title></html>"), None);
        assert_eq!(Node::parse("<!doctype html>\n<html lang=en>\n<title>500</title>\n<h1>Oh</h1>"), None);
    }

    #[test]
    fn documents_are_compared_by_meaning_and_tell_their_encoding() {
        let one = document(r#"{"Statement":{"Action":"a","Resource":["y","x"]}}"#);
        let other = document(r#"{"Statement":[{"Resource":["x","y"],"Action":["a"]}]}"#);
        assert_eq!(one, other);
        assert_eq!(document("%7B%22Sid%22%3A%22%C3%A9%22%7D"), "percent-encoded as UTF-8: {\"Sid\":\"é\"}");
        assert_eq!(document("%7B%22Sid%22%3A%22%E9%22%7D"), "percent-encoded as Latin-1: {\"Sid\":\"é\"}");
    }
}
