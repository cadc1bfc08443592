//! The server: it listens on the loopback address unless told otherwise, and ends with its handle.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_credential_types::Credentials as SdkCredentials;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::{SignedDuration, Timestamp};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::super::caller::Credentials;
use super::super::model::Account;
use super::super::settings::Settings;
use super::super::world::World;
use super::{Moment, answer};

/// What time it is for the double.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// The machine's time; signatures are held against it.
    Real,
    /// So much later than the machine's time; signatures are held against it.
    Ahead(SignedDuration),
    /// A time that stands still until the test moves it.
    Virtual(Timestamp),
}

/// How to start a double.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its first account.
    pub account: Account,
    /// How that account behaves.
    pub settings: Settings,
    /// What time it is.
    pub clock: Clock,
    /// Where it listens: an address that pods reach too, in a network of their own.
    pub address: IpAddr,
    /// The port; 0 for any that is free.
    pub port: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            account: Account { id: "123456789012".to_owned(), partition: "aws".to_owned() },
            settings: Settings::default(),
            clock: Clock::Real,
            address: Ipv4Addr::LOCALHOST.into(),
            port: 0,
        }
    }
}

#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    clock: Mutex<Clock>,
}

impl Shared {
    fn moment(&self, from: IpAddr) -> Moment {
        match *self.clock.lock().unwrap_or_else(PoisonError::into_inner) {
            Clock::Real => Moment { now: Timestamp::now(), from, is_real: true },
            Clock::Ahead(by) => {
                let now = Timestamp::now().checked_add(by).unwrap_or(Timestamp::MAX);
                Moment { now, from, is_real: true }
            }
            Clock::Virtual(now) => Moment { now, from, is_real: false },
        }
    }

    fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        // A test that panicked while it looked left the world whole: every call changes it at once or not at all.
        look(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A double that is served over HTTP until this is dropped.
#[derive(Debug)]
pub struct DoubleServer {
    address: SocketAddr,
    account: Account,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl Drop for DoubleServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl DoubleServer {
    /// Starts a double on the current Tokio runtime.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub async fn start(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind((config.address, config.port)).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new(config.account.clone(), config.settings)),
            clock: Mutex::new(config.clock),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { address, account: config.account, shared, accepting })
    }

    /// The URL of IAM, STS and S3 alike.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The key of the first account's root.
    pub fn admin(&self) -> Credentials {
        self.with(|world| world.account(&self.account.id).map(|iam| iam.root_credentials().clone())).unwrap_or_else(
            || {
                // Only a test that has taken the account out of the world sees this key, which opens nothing.
                Credentials { access_key_id: String::new(), secret_access_key: String::new(), session_token: None }
            },
        )
    }

    /// Looks at the world or changes it. No call is answered meanwhile.
    pub fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        self.shared.with(look)
    }

    /// Sets the clock.
    pub fn set_clock(&self, clock: Clock) {
        *self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner) = clock;
    }

    /// What time it is for the double.
    pub fn now(&self) -> Timestamp {
        self.shared.moment(self.address.ip()).now
    }

    /// The region that clients of the first account's partition sign for.
    pub fn region(&self) -> &'static str {
        match self.account.partition.as_str() {
            "aws-cn" => "cn-north-1",
            "aws-us-gov" => "us-gov-west-1",
            "aws-eusc" => "eusc-de-east-1",
            _ => "us-east-1",
        }
    }

    /// A configuration of the AWS SDK for this endpoint. Nothing comes from the environment.
    pub fn sdk_config(&self, credentials: &Credentials) -> aws_config::SdkConfig {
        let credentials = SdkCredentials::new(
            &credentials.access_key_id,
            &credentials.secret_access_key,
            credentials.session_token.clone(),
            None,
            "double",
        );
        aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .endpoint_url(self.endpoint())
            .region(aws_config::Region::new(self.region()))
            .credentials_provider(aws_credential_types::provider::SharedCredentialsProvider::new(credentials))
            .build()
    }
}

/// Accepts connections; those that are open end with this task.
async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(serve(stream, peer.ip(), Arc::clone(&shared)));
                }
                // Out of file descriptors, most likely: some of them come back.
                Err(error) => {
                    tracing::warn!(%error, "no connection accepted");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, peer: IpAddr, shared: Arc<Shared>) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the connection waits for full packets");
    }
    let service = service_fn(|request| respond(Arc::clone(&shared), peer, request));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    // A lost request or response is an error of the service here: it closes the connection without an answer.
    if let Err(error) = connection.await {
        tracing::debug!(%error, "the connection ended");
    }
}

/// Why a connection is closed without an answer.
#[derive(Debug)]
struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("lost, as the plan of faults has it")
    }
}

impl std::error::Error for Lost {}

async fn respond(shared: Arc<Shared>, peer: IpAddr, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Lost)?.to_bytes();
    let moment = shared.moment(peer);
    let answer = shared.with(|world| answer(world, moment, &parts, &body));
    if !answer.delay.is_zero() {
        tokio::time::sleep(answer.delay).await;
    }
    let content = answer.content.ok_or(Lost)?;
    // Clients that find their clock wrong set it by this header.
    let date = moment.now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let mut response = Response::builder().status(content.status).header("date", date);
    for (name, value) in content.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(Bytes::from(content.body))).map_err(|_| Lost)
}
