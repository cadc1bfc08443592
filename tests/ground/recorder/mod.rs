//! A reverse proxy in front of IAM and STS that writes down every call with its answer.
//!
//! A signature covers the host that the client believes to speak to, which is this proxy: AWS would refuse it. So the
//! proxy checks each signature itself and signs anew, for the server's own host and region, with the key that the caller
//! has: the administrator's it is given, all others it reads off the answers of CreateAccessKey. A signature that does not
//! fit is signed anew with no key's secret, so that the refusal is the server's own. S3 does not come by here: its
//! requests are large, streamed, and nobody compares them.
//!
//! Calls that change something pass one at a time, with no other call beside them: so the order in which they are written
//! down is the order in which they took effect, and a replay can follow it.

mod exchange;
mod replay;
mod sign;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail};
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use http::request::Parts;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{RwLock, watch};
use tokio::task::{JoinHandle, JoinSet};

pub use exchange::{ACCOUNT, ADMIN, Exchange, Said};
pub use replay::{Difference, Kind, Outcome, replay};
pub use sign::Service;

use crate::double::wire::sigv4::{Claim, Signed};
use crate::wait::eventually;
use exchange::{Names, is_write};
use sign::Answer;
use tree::Node;

/// The server behind the recorder.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its IAM.
    pub iam: Service,
    /// Its STS.
    pub sts: Service,
    /// The administrator's key.
    pub admin: Credentials,
    /// Its account.
    pub account: String,
    /// The administrator's ARN, which may name a person.
    pub caller: String,
    /// The path under which everything of the run lies: no more of the account is written down.
    pub path: String,
}

#[derive(Debug)]
struct State {
    keys: BTreeMap<String, Credentials>,
    names: Names,
    step: String,
    exchanges: Vec<Exchange>,
    is_recording: bool,
    hold: Option<String>,
    held: usize,
}

#[derive(Debug)]
struct Shared {
    upstream: Upstream,
    connector: SharedHttpConnector,
    state: Mutex<State>,
    turn: RwLock<()>,
    calls: watch::Sender<usize>,
}

/// A running recorder; dropping it closes it.
#[derive(Debug)]
pub struct Recorder {
    endpoint: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Recorder {
    /// Listens on a port of its own.
    ///
    /// # Errors
    /// Where no port can be bound.
    pub async fn start(upstream: Upstream) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let state = State {
            keys: BTreeMap::from([(upstream.admin.access_key_id().to_owned(), upstream.admin.clone())]),
            names: Names::new(&upstream.account, &upstream.caller, &upstream.path),
            step: String::new(),
            exchanges: Vec::new(),
            is_recording: false,
            hold: None,
            held: 0,
        };
        let connector = sign::connector()?;
        let (turn, calls) = (RwLock::default(), watch::Sender::new(0));
        let shared = Arc::new(Shared { upstream, connector, state: Mutex::new(state), turn, calls });
        let task = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { endpoint, shared, task })
    }

    /// Its address, for IAM and STS alike.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Writes down and counts from now on: under the path, the account is as a new one.
    pub fn begin(&self) {
        self.shared.calls.send_replace(0);
        self.shared.with(|state| state.is_recording = true);
    }

    /// Writes down no more.
    pub fn end(&self) {
        self.shared.with(|state| state.is_recording = false);
    }

    /// From now on calls belong to this step.
    pub fn step(&self, name: &str) {
        self.shared.with(|state| name.clone_into(&mut state.step));
    }

    /// The calls so far, those that are not written down among them.
    #[must_use]
    pub fn calls(&self) -> usize {
        *self.shared.calls.borrow()
    }

    /// Returns once there were more calls than that.
    pub async fn more_than(&self, limit: usize) {
        let mut calls = self.shared.calls.subscribe();
        // The sender lives as long as this.
        let _ = calls.wait_for(|calls| *calls > limit).await;
    }

    /// What was written down so far.
    #[must_use]
    pub fn exchanges(&self) -> Vec<Exchange> {
        self.shared.with(|state| state.exchanges.clone())
    }

    /// The next call of this action that is not the administrator's takes effect, and its answer is held back for as long
    /// as the caller lives.
    pub fn hold(&self, action: &str) {
        self.shared.with(|state| {
            state.hold = Some(action.to_owned());
            state.held = 0;
        });
    }

    /// Waits until an answer is held back.
    ///
    /// # Errors
    /// Where none is in time.
    pub async fn held(&self, timeout: Duration) -> Result<()> {
        eventually("an answer that is held back", timeout, async || {
            if self.shared.with(|state| state.held) == 0 { bail!("there was no such call") } else { Ok(()) }
        })
        .await
    }

    /// What stands for an access key in what is written down.
    #[must_use]
    pub fn stand_in(&self, access_key_id: &str) -> String {
        self.shared.with(|state| state.names.hide(access_key_id))
    }
}

impl Shared {
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// With what a request is to be signed: the caller's own key, if its signature is good.
    fn identify(&self, parts: &Parts, body: &[u8]) -> Option<(Credentials, &'static str)> {
        let claim = Claim::read(&parts.headers)?;
        let known = self.with(|state| state.keys.get(&claim.access_key_id).cloned());
        let signed = Signed {
            method: parts.method.as_str(),
            path: parts.uri.path(),
            query: parts.uri.query().unwrap_or_default(),
            headers: &parts.headers,
            body,
        };
        let service = if claim.service == "sts" { "sts" } else { "iam" };
        let good = known.filter(|known| {
            claim.is_signed_with(known.secret_access_key(), &signed) && claim.token.as_deref() == known.session_token()
        });
        let nobody = || Credentials::new(&claim.access_key_id, "the-secret-of-nobody", None, None, "recorder");
        Some((good.unwrap_or_else(nobody), service))
    }

    /// Carries a call to the server, and writes it down; whether its answer is to be held back.
    async fn forward(&self, credentials: &Credentials, service: &str, body: &[u8]) -> Result<(Answer, bool)> {
        let form: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
        let action = form.get("Action").cloned().unwrap_or_default();
        let _alone = if is_write(&action) { Some(self.turn.write().await) } else { None };
        let _beside = if is_write(&action) { None } else { Some(self.turn.read().await) };
        self.calls.send_modify(|calls| *calls += 1);
        let place = if service == "sts" { &self.upstream.sts } else { &self.upstream.iam };
        let answer = sign::post(&self.connector, place, service, credentials, body).await;
        let is_admin = credentials.access_key_id() == self.upstream.admin.access_key_id();
        let is_held = self.with(|state| {
            if let Ok(answer) = &answer {
                state.learn(&action, answer);
            }
            state.write_down(is_admin, credentials, &form, answer.as_ref().ok());
            let hold = !is_admin && state.hold.as_deref() == Some(action.as_str());
            if hold {
                state.hold = None;
                state.held += 1;
            }
            hold
        });
        Ok((answer?, is_held))
    }
}

impl State {
    /// A new key signs from now on.
    fn learn(&mut self, action: &str, answer: &Answer) {
        let made = || {
            let root = Node::parse(&String::from_utf8_lossy(&answer.body))?;
            Some((root.find("AccessKeyId")?.to_owned(), root.find("SecretAccessKey")?.to_owned()))
        };
        if action == "CreateAccessKey"
            && answer.status == 200
            && let Some((id, secret)) = made()
        {
            self.names.name_key(&id);
            self.keys.insert(id.clone(), Credentials::new(id, secret, None, None, "recorder"));
        }
    }

    fn write_down(
        &mut self,
        is_admin: bool,
        credentials: &Credentials,
        form: &BTreeMap<String, String>,
        answer: Option<&Answer>,
    ) {
        if !self.is_recording {
            return;
        }
        let action = form.get("Action").cloned().unwrap_or_default();
        let caller = if is_admin { ADMIN.to_owned() } else { self.names.hide(credentials.access_key_id()) };
        self.exchanges.push(Exchange {
            number: self.exchanges.len() + 1,
            step: self.step.clone(),
            caller,
            parameters: self.names.parameters(form),
            at: Timestamp::now(),
            said: answer.map(|answer| self.names.said(&action, answer)).unwrap_or_default(),
            action,
        });
    }
}

/// Accepts connections; those that are open end with this task.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, shared.clone()))),
                // Out of file descriptors, most likely: some of them come back.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| respond(shared.clone(), request));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    // A connection that ends early is the caller's affair.
    let _ = connection.await;
}

async fn respond(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
    let Some((credentials, service)) = shared.identify(&parts, &body) else {
        return Err(std::io::Error::other("a request that is not signed"));
    };
    // A caller that is killed has sent its call all the same: the call goes on, and is written down.
    let forwarding = tokio::spawn(async move { shared.forward(&credentials, service, &body).await });
    let (answer, is_held) = forwarding.await.map_err(std::io::Error::other)?.map_err(std::io::Error::other)?;
    if is_held {
        // Until the caller hangs up.
        std::future::pending::<()>().await;
    }
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(answer.body))).map_err(std::io::Error::other)
}
