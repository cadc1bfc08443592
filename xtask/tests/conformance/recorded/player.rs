//! Makes the calls of a fact.

use std::cell::RefCell;
use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use ground::double::{
    Caller, Code, Config, Credentials, DoubleServer, Fault, FaultKind, Lag, Operation, Request, Settings, When,
};
use jiff::SignedDuration;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::answer::Answer;
use super::fact::{AccountKind, CallerKind, Fact, Verdict};
use crate::raw;
use crate::target::{ALL_OF_S3, EVERYTHING};

/// RFC 3986.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const ADMINISTRATOR: &str = "administrator";

/// A double, and who calls it.
struct Stage {
    double: DoubleServer,
    administrator: Credentials,
}

/// The doubles that facts are held against.
pub struct Player {
    usual: Stage,
}

impl Stage {
    async fn start(settings: Settings) -> Result<Self> {
        // Documents come back as they were sent.
        let settings = Settings { reorder_documents: false, ..settings };
        let double = DoubleServer::start(Config { settings, ..Config::default() }).await?;
        let mut stage = Self { administrator: double.admin(), double };
        stage.administrator = stage.user(ADMINISTRATOR).await?;
        Ok(stage)
    }

    async fn of(kind: AccountKind) -> Result<Self> {
        let usual = Settings::default();
        match kind {
            AccountKind::Racing => {
                Self::start(Settings { key_quota_race: Some(SignedDuration::from_hours(1)), ..usual }).await
            }
            AccountKind::Lagging => {
                let stage = Self::start(usual).await?;
                let account = stage.double.account().id.clone();
                stage.double.with(|world| {
                    let settings = world.account_mut(&account).map(|iam| iam.settings_mut());
                    settings.map(|settings| settings.reads = Lag::up_to_seconds(60))
                });
                Ok(stage)
            }
            AccountKind::Full => {
                let stage = Self::start(usual).await?;
                let now = stage.double.now();
                let root = Caller::root(stage.double.account().id.clone());
                stage.double.with(|world| {
                    for number in 1..5_000 {
                        let user_name = format!("full-{number}");
                        let create =
                            Request::CreateUser { user_name, path: None, permissions_boundary: None, tags: Vec::new() };
                        world.call(now, root.clone(), &create).result?;
                    }
                    Ok::<(), ground::double::CallError>(())
                })?;
                Ok(stage)
            }
        }
    }

    /// A user who may do everything, and its key.
    async fn user(&self, name: &str) -> Result<Credentials> {
        let root = self.double.admin();
        for (call, parameters) in [
            ("CreateUser", vec![]),
            ("PutUserPolicy", vec![("PolicyName", "everything"), ("PolicyDocument", EVERYTHING)]),
        ] {
            let named = parameters.into_iter().chain([("UserName", name)]);
            let named = named.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            ensure!(self.call(&root, call, &named).await?.status == 200, "{call} of {name}");
        }
        let named = BTreeMap::from([("UserName".to_owned(), name.to_owned())]);
        let made = self.call(&root, "CreateAccessKey", &named).await?;
        credentials(&|element| made.named().find(|(name, _)| *name == element).map(|(_, text)| text.to_owned()))
    }

    async fn call(&self, who: &Credentials, call: &str, parameters: &BTreeMap<String, String>) -> Result<Answer> {
        let is_sts = matches!(call, "AssumeRole" | "GetCallerIdentity");
        let (service, version) = if is_sts { ("sts", "2011-06-15") } else { ("iam", "2010-05-08") };
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", call).append_pair("Version", version).extend_pairs(parameters);
        let mut request = raw::Request::post("/", "application/x-www-form-urlencoded", form.finish().as_bytes());
        request.sign(&self.double.endpoint(), who, service, self.double.region());
        let answer = raw::send(&self.double.endpoint(), request).await;
        Answer::read(answer.status, &answer.text())
    }

    /// Assumes a role that may do everything.
    async fn role(&self) -> Result<Credentials> {
        let account = self.double.account().id.clone();
        let role = self.double.with(|world| {
            let iam = world.account_mut(&account)?;
            iam.put_role("recorded", &["*"], None, &[EVERYTHING]).ok()
        });
        let parameters = [("RoleArn", role.context("a role")?), ("RoleSessionName", "recorded".to_owned())];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value)).into();
        let assumed = self.call(&self.administrator, "AssumeRole", &parameters).await?;
        let element =
            |element: &str| assumed.named().find(|(name, _)| *name == element).map(|(_, text)| text.to_owned());
        Ok(Credentials { session_token: element("SessionToken"), ..credentials(&element)? })
    }
}

fn credentials(element: &dyn Fn(&str) -> Option<String>) -> Result<Credentials> {
    Ok(Credentials {
        access_key_id: element("AccessKeyId").context("AccessKeyId")?,
        secret_access_key: element("SecretAccessKey").context("SecretAccessKey")?,
        session_token: None,
    })
}

impl Player {
    pub async fn start() -> Result<Self> {
        Ok(Self { usual: Stage::start(Settings::default()).await? })
    }

    /// Makes the calls of a fact, and compares the answer to the last one. Those before have to succeed.
    pub async fn play(&self, number: usize, fact: &Fact) -> Result<Verdict> {
        let own = match fact.settings {
            Some(kind) => Some(Stage::of(kind).await?),
            None => None,
        };
        let stage = own.as_ref().unwrap_or(&self.usual);
        let seen = RefCell::new(known(stage));
        let fill = |text: &str| fill(text, number, &seen.borrow());
        let (last, before) = fact.steps.split_last().context("a call")?;
        let parameters = |step: &(String, BTreeMap<String, String>)| -> BTreeMap<String, String> {
            step.1.iter().map(|(name, value)| (name.clone(), fill(value))).collect()
        };
        let note = |answer: &Answer| {
            seen.borrow_mut().extend(answer.named().map(|(name, text)| (name.to_owned(), text.to_owned())));
        };
        for step in before {
            let answer = stage.call(&stage.administrator, &step.0, &parameters(step)).await?;
            ensure!(answer.status == 200, "{}: {:?}", step.0, answer.text("Error.Message"));
            note(&answer);
        }
        let element = |name: &str| seen.borrow().get(name).cloned();
        let caller = match fact.caller {
            None => stage.administrator.clone(),
            Some(CallerKind::Role) => stage.role().await?,
            Some(CallerKind::Key) => credentials(&element)?,
            Some(CallerKind::User) => stage.user(&fill("{someone}")).await?,
        };
        seen.borrow_mut().entry("AccessKeyId".to_owned()).or_insert_with(|| caller.access_key_id.clone());
        if fact.told {
            tell(stage, fact, fill(fact.message.as_deref().unwrap_or_default()))?;
        }
        let answer = stage.call(&caller, &last.0, &parameters(last)).await?;
        stage.double.with(|world| world.faults().set([]));
        Ok(fact.compare(&answer, &fill))
    }
}

/// Has the double answer the next call as the fact has it.
fn tell(stage: &Stage, fact: &Fact, words: String) -> Result<()> {
    let operation = Operation::parse(&fact.call).context("an operation")?;
    let code = match fact.code.as_deref() {
        Some("ConcurrentModification") => Code::ConcurrentModification,
        Some("EntityTemporarilyUnmodifiable") => Code::EntityTemporarilyUnmodifiable,
        other => anyhow::bail!("{other:?} is no race"),
    };
    // The words of a fault live as long as the process.
    let kind = FaultKind::Answer(code, Box::leak(words.into_boxed_str()));
    stage.double.with(|world| world.faults().set([Fault::new(When::Every(operation), kind)]));
    Ok(())
}

/// What every fact may name.
fn known(stage: &Stage) -> BTreeMap<String, String> {
    let account = &stage.double.account().id;
    let caller = format!("arn:aws:iam::{account}:user/{ADMINISTRATOR}");
    let encoded = utf8_percent_encode(ALL_OF_S3, UNRESERVED).to_string();
    [("account", account.as_str()), ("caller", &caller), ("document", ALL_OF_S3), ("encoded", &encoded)]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into()
}

/// Puts in what `{word}` stands for: what is known by that name, or else a name of the fact's own.
fn fill(text: &str, number: usize, known: &BTreeMap<String, String>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let end = after.find(|letter: char| !letter.is_ascii_alphabetic()).unwrap_or(after.len());
        match after[end..].strip_prefix('}') {
            // `\p{L}` of a pattern is no word.
            Some(after_word) if end > 1 => {
                let word = &after[..end];
                filled.push_str(&known.get(word).cloned().unwrap_or_else(|| format!("{word}-{number}")));
                rest = after_word;
            }
            _ => {
                filled.push('{');
                rest = after;
            }
        }
    }
    filled + rest
}
