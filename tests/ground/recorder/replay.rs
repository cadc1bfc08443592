//! What the double would have said: the calls of a run once more, in their order, at their times, by the same callers.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Context, Result};
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::exchange::{ACCOUNT, ADMIN, Exchange, Names, Said, is_write};
use super::sign::{self, Service};
use super::tree::Node;
use crate::double::{Account, Clock, Config, DoubleServer, World};

/// How far behind a server's replicas may be.
const LAG: SignedDuration = SignedDuration::from_secs(60);

/// In what two answers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// The status or the code: a client acts otherwise.
    Answer,
    /// The elements of the result.
    Content,
    /// Only the message.
    Words,
}

/// An answer that differs from the double's, in one respect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The number of the call.
    pub number: usize,
    /// Its step.
    pub step: String,
    /// The call.
    pub action: String,
    /// In what respect.
    pub kind: Kind,
    /// Of content, which element, without numbers of list members.
    pub what: String,
    /// What the server said.
    pub server: String,
    /// What the double says.
    pub double: String,
}

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Answers that were compared.
    pub compared: usize,
    /// Answers that were right a minute ago or less: a replica was behind.
    pub late: usize,
    /// Answers that said nothing but "later".
    pub throttled: usize,
    /// Calls that nobody knows the end of: no answer, or a failure of the server.
    pub unknown: usize,
    /// What differs, in the order of the calls.
    pub differences: Vec<Difference>,
}

/// Compares a run with the double.
///
/// # Errors
/// Where the double cannot be asked.
pub async fn replay(exchanges: &[Exchange], partition: &str, path: &str) -> Result<Outcome> {
    let mut playing = Playing::new(partition, path).await?;
    let mut outcome = Outcome::default();
    for exchange in exchanges {
        if exchange.is_throttled() {
            outcome.throttled += 1;
            continue;
        }
        let before = playing.world();
        let said = playing.play(exchange).await?;
        if exchange.is_unknown() {
            // It may have had its effect; a client asks again, and the double goes by that.
            playing.put(before);
            outcome.unknown += 1;
            continue;
        }
        outcome.compared += 1;
        let differences = differences(exchange, &said);
        let refused = exchange.said.status >= 300;
        if !differences.is_empty() && (refused || !is_write(&exchange.action)) && playing.was_so(exchange).await? {
            outcome.late += 1;
            playing.put(before);
            continue;
        }
        if refused && said.status < 300 {
            // What did not happen there did not happen here.
            playing.put(before.clone());
        }
        if !refused && said.status >= 300 && exchange.action == "DeletePolicy" {
            playing.clear_versions(exchange).await?;
        }
        outcome.differences.extend(differences);
        playing.remember(exchange, before);
    }
    Ok(outcome)
}

struct Playing {
    double: DoubleServer,
    connector: SharedHttpConnector,
    service: Service,
    names: Names,
    keys: BTreeMap<String, Credentials>,
    /// The states of the last minute, each with the time at which it ended.
    past: VecDeque<(Timestamp, World)>,
}

impl Playing {
    async fn new(partition: &str, path: &str) -> Result<Self> {
        let account = Account { id: ACCOUNT.to_owned(), partition: partition.to_owned() };
        let double = DoubleServer::start(Config { account, ..Config::default() }).await?;
        let admin = double.admin();
        let admin = Credentials::new(admin.access_key_id, admin.secret_access_key, None, None, "replay");
        let service = Service { url: double.endpoint(), region: double.region().to_owned() };
        let keys = BTreeMap::from([(ADMIN.to_owned(), admin)]);
        let names = Names::new(ACCOUNT, "", path);
        Ok(Self { double, connector: sign::connector()?, service, names, keys, past: VecDeque::new() })
    }

    fn world(&self) -> World {
        self.double.with(|world| world.clone())
    }

    fn put(&self, past: World) {
        self.double.with(|world| *world = past);
    }

    /// Makes the call.
    async fn play(&mut self, exchange: &Exchange) -> Result<Said> {
        self.double.set_clock(Clock::Virtual(exchange.at));
        let is_sts = ["GetCallerIdentity", "AssumeRole", "GetSessionToken"].contains(&exchange.action.as_str());
        let (service, version) = if is_sts { ("sts", "2011-06-15") } else { ("iam", "2010-05-08") };
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", &exchange.action).append_pair("Version", version);
        for (name, value) in &exchange.parameters {
            form.append_pair(name, &self.names.show(value));
        }
        let form = form.finish();
        let unknown = || Credentials::new(self.names.show(&exchange.caller), "unknown", None, None, "replay");
        let caller = self.keys.get(&exchange.caller).cloned().unwrap_or_else(unknown);
        let answer = sign::post(&self.connector, &self.service, service, &caller, form.as_bytes()).await?;
        self.learn(exchange, &String::from_utf8_lossy(&answer.body));
        Ok(self.names.said(&exchange.action, &answer))
    }

    /// What happened there happens here: a policy that was deleted with its versions is gone.
    async fn clear_versions(&mut self, exchange: &Exchange) -> Result<()> {
        let arn = exchange.parameters.get("PolicyArn").map(|arn| self.names.show(arn)).unwrap_or_default();
        let versions: Vec<u32> = self.double.with(|world| {
            let policy = world.account(ACCOUNT).and_then(|iam| iam.state().policy(&arn).ok().cloned());
            policy.into_iter().flat_map(|policy| policy.versions.keys().copied().collect::<Vec<_>>()).collect()
        });
        for version in versions {
            let mut clears = Exchange { action: "DeletePolicyVersion".to_owned(), ..exchange.clone() };
            clears.parameters.insert("VersionId".to_owned(), format!("v{version}"));
            // The default one stays, and goes with the policy.
            self.play(&clears).await?;
        }
        self.play(exchange).await.map(drop)
    }

    /// The double's new key is the one that the server made.
    fn learn(&mut self, exchange: &Exchange, body: &str) {
        let made = || {
            let stand_in = exchange.said.elements.iter().find(|(path, _)| path.ends_with("/AccessKeyId"))?.1;
            let root = Node::parse(body)?;
            Some((stand_in.clone(), root.find("AccessKeyId")?.to_owned(), root.find("SecretAccessKey")?.to_owned()))
        };
        if exchange.action == "CreateAccessKey"
            && let Some((stand_in, id, secret)) = made()
        {
            self.names.bind(&id, &stand_in);
            self.keys.insert(stand_in, Credentials::new(id, secret, None, None, "replay"));
        }
    }

    /// Whether the server's answer was right within the last minute.
    async fn was_so(&mut self, exchange: &Exchange) -> Result<bool> {
        let now = self.world();
        let mut was = false;
        for (_, state) in self.past.clone().into_iter().rev().filter(|(end, _)| exchange.at.duration_since(*end) <= LAG)
        {
            self.put(state);
            let said = self.play(exchange).await.context("asking an earlier state")?;
            was = differences(exchange, &said).is_empty();
            if was {
                break;
            }
        }
        self.put(now);
        Ok(was)
    }

    /// Keeps the state before a change for as long as a replica may show it.
    fn remember(&mut self, exchange: &Exchange, before: World) {
        if is_write(&exchange.action) && exchange.said.status < 300 {
            self.past.push_back((exchange.at, before));
        }
        while self.past.front().is_some_and(|(end, _)| exchange.at.duration_since(*end) > LAG) {
            self.past.pop_front();
        }
    }
}

/// In what the server's answer differs from the double's.
fn differences(exchange: &Exchange, double: &Said) -> Vec<Difference> {
    let server = &exchange.said;
    let difference = |kind, what: &str, server: String, double: String| Difference {
        number: exchange.number,
        step: exchange.step.clone(),
        action: exchange.action.clone(),
        kind,
        what: what.to_owned(),
        server,
        double,
    };
    if (server.status, &server.code) != (double.status, &double.code) {
        return vec![difference(Kind::Answer, "", in_words(server), in_words(double))];
    }
    if server.message != double.message {
        let message = |said: &Said| said.message.clone().unwrap_or_default();
        return vec![difference(Kind::Words, "", message(server), message(double))];
    }
    let mut found = BTreeMap::new();
    for path in server.elements.keys().chain(double.elements.keys()) {
        let (one, other) = (server.elements.get(path), double.elements.get(path));
        if one != other {
            let shown =
                |value: Option<&String>| value.map_or("no such element".to_owned(), |value| format!("{value:?}"));
            found.entry(without_numbers(path)).or_insert((shown(one), shown(other)));
        }
    }
    let found = found.into_iter();
    found.map(|(path, (one, other))| difference(Kind::Content, &path, one, other)).collect()
}

fn in_words(said: &Said) -> String {
    match (&said.code, &said.message) {
        (Some(code), message) => format!("{} {code}: {}", said.status, message.as_deref().unwrap_or_default()),
        (None, _) if said.status < 300 => said.status.to_string(),
        (None, _) => format!("{} without a code", said.status),
    }
}

/// `Users/member[2]/Path` is about all members.
fn without_numbers(path: &str) -> String {
    let parts = path.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest));
    parts.collect()
}
