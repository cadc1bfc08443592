//! A call with its answer, as it may be written down: without secrets, and without what differs from account to account.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::sign::Answer;
use super::tree::Node;
use crate::double::Operation;

/// The account that stands for whichever it was: the double's.
pub const ACCOUNT: &str = "123456789012";
/// Who calls with the credentials that the run was given.
pub const ADMIN: &str = "admin";
/// Parameters that are secrets.
const SECRETS: [&str; 3] = ["Password", "OldPassword", "NewPassword"];
/// Codes of an answer that says "later", and nothing of the call.
const THROTTLED: [&str; 6] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestLimitExceeded",
    "TooManyRequestsException",
];

/// What a server said to a call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// The HTTP status; 0 where there was no answer.
    pub status: u16,
    /// The error's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The error's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The elements of a result by their paths, with the values that can be compared.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub elements: BTreeMap<String, String>,
}

/// A call with its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Its place in the run.
    pub number: usize,
    /// The step of the run that it belongs to.
    pub step: String,
    /// [`ADMIN`], or the stand-in of the access key that it was signed with.
    pub caller: String,
    /// `CreateUser` and the like.
    pub action: String,
    /// All other parameters.
    pub parameters: BTreeMap<String, String>,
    /// When it was answered.
    pub at: Timestamp,
    /// The answer.
    pub said: Said,
}

impl Exchange {
    /// Whether the server only asked to come back later.
    #[must_use]
    pub fn is_throttled(&self) -> bool {
        self.said.code.as_deref().is_some_and(|code| THROTTLED.contains(&code)) || self.said.status == 429
    }

    /// Whether nobody knows what became of it.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.said.status == 0 || (self.said.status >= 500 && self.said.code.is_some())
    }
}

/// Whether a call changes the account, or may.
pub(super) fn is_write(action: &str) -> bool {
    Operation::parse(action).is_none_or(Operation::is_write)
}

/// What stands for account and keys in all that is written down.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// The path under which everything of the run lies.
    pub(super) path: String,
    account: String,
    /// The administrator's ARN, and the root user's.
    caller: Option<(String, String)>,
    keys: Vec<(String, String)>,
}

impl Names {
    pub(super) fn new(account: &str, caller: &str, path: &str) -> Self {
        let partition = caller.split(':').nth(1).unwrap_or_default();
        let root = (caller.to_owned(), format!("arn:{partition}:iam::{ACCOUNT}:root"));
        let caller = (!caller.is_empty()).then_some(root);
        Self { path: path.to_owned(), account: account.to_owned(), caller, keys: Vec::new() }
    }

    /// Gives a key the next stand-in, which has a key id's length.
    pub(super) fn name_key(&mut self, id: &str) -> String {
        let stand_in = format!("AKIAACCEPTANCE{:06}", self.keys.len() + 1);
        self.bind(id, &stand_in);
        stand_in
    }

    /// Has that stand-in mean this key.
    pub(super) fn bind(&mut self, id: &str, stand_in: &str) {
        self.keys.push((id.to_owned(), stand_in.to_owned()));
    }

    /// The text with the stand-ins.
    pub(super) fn hide(&self, text: &str) -> String {
        let text = self.caller.as_ref().map_or(text.to_owned(), |(arn, root)| text.replace(arn, root));
        let text = text.replace(&self.account, ACCOUNT);
        self.keys.iter().fold(text, |text, (id, stand_in)| text.replace(id, stand_in))
    }

    /// The text with what the stand-ins stand for; the account stays.
    pub(super) fn show(&self, text: &str) -> String {
        self.keys.iter().fold(text.to_owned(), |text, (id, stand_in)| text.replace(stand_in, id))
    }

    /// The parameters of a call, but for its name and its version.
    pub(super) fn parameters(&self, form: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let kept = form.iter().filter(|(name, _)| !["Action", "Version"].contains(&name.as_str()));
        let hidden = kept.map(|(name, value)| {
            let secret = SECRETS.contains(&name.as_str());
            (name.clone(), if secret { "<removed>".to_owned() } else { self.hide(value) })
        });
        hidden.collect()
    }

    /// What an answer says.
    pub(super) fn said(&self, action: &str, answer: &Answer) -> Said {
        let Some(root) = Node::parse(&String::from_utf8_lossy(&answer.body)) else {
            return Said { status: answer.status, ..Said::default() };
        };
        if answer.status >= 300 {
            let code = root.find("Code").map(ToOwned::to_owned);
            // What follows shows what was signed, a session's token among it.
            let told = root.find("Message").map(|message| message.lines().next().unwrap_or_default());
            let message = told.map(|message| self.hide(message.trim()));
            return Said { status: answer.status, code, message, elements: BTreeMap::new() };
        }
        let elements = root.elements(action, &self.path, &|text| self.hide(text));
        Said { status: answer.status, code: None, message: None, elements }
    }
}
