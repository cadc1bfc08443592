//! A proxy between the operator and its AWS server: it records every call, and loses, holds or falsifies answers.
//!
//! Requests pass byte for byte, so their signatures stay good.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::wait::eventually;

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection breaks before the server sees the request.
    LostRequest,
    /// The server acts, and the connection breaks before its answer.
    LostAnswer,
    /// The server acts, and its answer is held back for as long as the caller lives.
    HeldAnswer,
    /// The server does not see the request; the caller gets this error.
    Error {
        /// The HTTP status.
        status: u16,
        /// The error code.
        code: &'static str,
    },
}

/// A call that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `CreateUser` and the like.
    pub action: String,
    /// The id of the access key that signed it; empty where none did.
    pub key: String,
    /// The HTTP status; none where the answer was lost.
    pub status: Option<u16>,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    faults: Vec<(String, Fault)>,
    down: bool,
    dark: bool,
    slow: Duration,
}

/// A running proxy; dropping it closes it.
#[derive(Debug)]
pub struct Proxy {
    endpoint: String,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    /// Listens on a port of its own, in front of `upstream`, an `http://host:port` of this machine, and at the same address.
    ///
    /// # Errors
    /// Where no port can be bound.
    pub async fn start(upstream: &str) -> Result<Self> {
        let upstream = upstream.strip_prefix("http://").context("the upstream is no http:// address")?.to_owned();
        let (host, _) = upstream.rsplit_once(':').context("the upstream has no port")?;
        let listener = TcpListener::bind(format!("{host}:0")).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (state, upstream) = (shared.clone(), upstream.clone());
                // A broken connection is what the caller is to see, and no failure of the proxy.
                tokio::spawn(async move { drop(serve(client, &upstream, &state).await) });
            }
        });
        Ok(Self { endpoint, state, task })
    }

    /// Its address.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The next call of this action meets the fault; once.
    pub fn inject(&self, action: &str, fault: Fault) {
        self.with(|state| state.faults.push((action.to_owned(), fault)));
    }

    /// From now on every connection breaks, or none does.
    pub fn set_down(&self, down: bool) {
        self.with(|state| state.down = down);
    }

    /// From now on nobody is answered, until the caller hangs up; or everybody is again.
    pub fn set_dark(&self, dark: bool) {
        self.with(|state| state.dark = dark);
    }

    /// From now on each answer is held back for so long.
    pub fn set_slow(&self, slow: Duration) {
        self.with(|state| state.slow = slow);
    }

    /// The calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.with(|state| state.calls.clone())
    }

    /// How often each action was called so far.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, usize> {
        self.with(|state| {
            state.calls.iter().fold(BTreeMap::new(), |mut counts, call| {
                *counts.entry(call.action.clone()).or_default() += 1;
                counts
            })
        })
    }

    /// Forgets the calls so far.
    pub fn forget(&self) {
        self.with(|state| state.calls.clear());
    }

    /// Waits until an action has been called.
    ///
    /// # Errors
    /// Where it is not called in time.
    pub async fn called(&self, action: &str, timeout: Duration) -> Result<()> {
        eventually(&format!("a call of {action}"), timeout, async || {
            let counts = self.counts();
            if counts.contains_key(action) { Ok(()) } else { bail!("called so far: {counts:?}") }
        })
        .await
    }

    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn serve(mut client: TcpStream, upstream: &str, state: &Mutex<State>) -> Result<()> {
    while let Some(request) = read_message(&mut client).await? {
        let action = action_of(&request);
        let dark = state.lock().unwrap_or_else(PoisonError::into_inner).dark;
        if dark {
            let _ = client.read(&mut [0]).await;
            return Ok(());
        }
        let fault = {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.down {
                return Ok(());
            }
            let found = state.faults.iter().position(|(wanted, _)| *wanted == action);
            found.map(|index| state.faults.remove(index).1)
        };
        let record = |status: Option<u16>| {
            let call = Call { action: action.clone(), key: key_of(&request), status };
            state.lock().unwrap_or_else(PoisonError::into_inner).calls.push(call);
        };
        match &fault {
            Some(Fault::LostRequest) => {
                record(None);
                return Ok(());
            }
            Some(Fault::Error { status, code }) => {
                record(Some(*status));
                client.write_all(error_answer(*status, code).as_bytes()).await?;
                continue;
            }
            _ => {}
        }
        let mut server = TcpStream::connect(upstream).await?;
        server.write_all(&request).await?;
        let answer = read_message(&mut server).await?.context("the server closed without an answer")?;
        match fault {
            Some(Fault::LostAnswer) => {
                record(None);
                return Ok(());
            }
            Some(Fault::HeldAnswer) => {
                record(None);
                // Until the caller hangs up.
                let _ = client.read(&mut [0]).await;
                return Ok(());
            }
            _ => {}
        }
        record(status_of(&answer));
        let slow = state.lock().unwrap_or_else(PoisonError::into_inner).slow;
        tokio::time::sleep(slow).await;
        client.write_all(&answer).await?;
    }
    Ok(())
}

/// One HTTP/1.1 message with a Content-Length or in chunks, or up to the end of the stream; none at its orderly end.
async fn read_message(stream: &mut TcpStream) -> Result<Option<Vec<u8>>> {
    let mut message = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        if let Some(end) = message.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&message[..end]).to_ascii_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
            let whole = match length {
                Some(length) => message.len() >= end + 4 + length,
                // Ceph RGW answers so where it lists.
                None if head.contains("transfer-encoding: chunked") => message.ends_with(b"\r\n0\r\n\r\n"),
                None => !head.starts_with("http/"),
            };
            if whole {
                return Ok(Some(message));
            }
        }
        match stream.read(&mut buffer).await? {
            0 if message.is_empty() => return Ok(None),
            0 => return Ok(Some(message)),
            count => message.extend_from_slice(&buffer[..count]),
        }
    }
}

fn action_of(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    let action = text.split(['&', '\n', '?', ' ']).find_map(|field| field.strip_prefix("Action="));
    action.unwrap_or("other").trim().to_owned()
}

fn key_of(request: &[u8]) -> String {
    let text = String::from_utf8_lossy(request);
    let scope = text.split_once("Credential=").map_or("", |(_, scope)| scope);
    scope.split('/').next().unwrap_or_default().to_owned()
}

fn status_of(answer: &[u8]) -> Option<u16> {
    String::from_utf8_lossy(answer.get(..16)?).split(' ').nth(1)?.parse().ok()
}

fn error_answer(status: u16, code: &str) -> String {
    let body = format!(
        "<ErrorResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>injected</Message></Error><RequestId>injected</RequestId></ErrorResponse>"
    );
    format!("HTTP/1.1 {status} Injected\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}
