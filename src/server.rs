//! `/healthz`, `/readyz` and `/metrics`; the last one also by TLS, to whoever may read it.

mod certificate;
mod gate;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

pub use self::certificate::Certificate;
pub use self::gate::Gate;
use crate::kubernetes::Verdict;
use crate::metrics::Metrics;

/// What the endpoints tell.
#[derive(Clone)]
pub struct Health {
    ready: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
}

impl Health {
    /// Not ready yet.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { ready: Arc::new(AtomicBool::new(false)), metrics }
    }

    /// The process works or stands by.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }
}

/// A request's head takes no longer, or it is somebody who holds the connection open.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// No connection lives longer: a scrape takes a moment.
const LIFETIME: Duration = Duration::from_secs(30);
/// Connections at once, at some twenty kilobytes each: beyond these the oldest is ended, if it had the time to ask.
const CONNECTIONS: usize = 100;
/// Beyond these the oldest is ended in any case.
const MOST_CONNECTIONS: usize = 400;
/// Whoever has something to ask has asked by then.
const TIME_TO_ASK: Duration = Duration::from_millis(250);

/// An address, and what is served there.
pub struct Endpoint {
    address: SocketAddr,
    router: Router,
    what: &'static str,
    certificate: Option<Arc<Certificate>>,
}

impl Endpoint {
    /// What the kubelet asks for, and metrics for everybody.
    pub fn open(address: SocketAddr, health: Health) -> Self {
        let router = probes().route("/metrics", get(metrics)).with_state(health);
        Self { address, router, what: "/healthz, /readyz and /metrics", certificate: None }
    }

    /// What the kubelet asks for, and no metrics.
    pub fn probes(address: SocketAddr, health: Health) -> Self {
        Self { address, router: probes().with_state(health), what: "/healthz and /readyz", certificate: None }
    }

    /// Metrics by TLS, for whoever the gate lets in.
    pub fn guarded(address: SocketAddr, health: Health, gate: Gate, certificate: Certificate) -> Self {
        let router = Router::new().route("/metrics", get(guarded)).with_state((health, Arc::new(gate)));
        Self { address, router, what: "/metrics by TLS", certificate: Some(Arc::new(certificate)) }
    }

    /// Serves until told to stop. Whoever in the pod network holds connections open is cut off: one more than the limit ends
    /// the oldest, so that the kubelet is always served.
    ///
    /// # Errors
    /// The address cannot be bound, or the listener fails.
    pub async fn serve(self, stop: CancellationToken) -> std::io::Result<()> {
        let listener = TcpListener::bind(self.address).await?;
        tracing::info!(address = %listener.local_addr()?, "serving {}", self.what);
        let mut open: VecDeque<(Instant, AbortHandle)> = VecDeque::new();
        loop {
            let stream = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => stream,
                    // The other side has gone, or this process has no more files: both pass.
                    Err(error) => {
                        tracing::debug!(%error, "a connection was not accepted");
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        continue;
                    }
                },
            };
            open.retain(|(_, connection)| !connection.is_finished());
            let is_full = |(since, _): &(Instant, AbortHandle)| {
                open.len() >= MOST_CONNECTIONS || open.len() >= CONNECTIONS && since.elapsed() >= TIME_TO_ASK
            };
            if open.front().is_some_and(is_full)
                && let Some((_, oldest)) = open.pop_front()
            {
                oldest.abort();
            }
            let connection = connected(stream, self.router.clone(), self.certificate.clone());
            let serving = tokio::spawn(tokio::time::timeout(LIFETIME, connection));
            open.push_back((Instant::now(), serving.abort_handle()));
        }
    }
}

/// One connection to its end. How it ends is the other side's affair.
async fn connected(stream: TcpStream, router: Router, certificate: Option<Arc<Certificate>>) {
    let Some(certificate) = certificate else { return http(stream, router).await };
    let handshake = async { certificate.acceptor().await.accept(stream).await };
    if let Ok(Ok(stream)) = tokio::time::timeout(HEAD_TIMEOUT, handshake).await {
        http(stream, router).await;
    }
}

async fn http(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let _ = connection.await;
}

fn probes() -> Router<Health> {
    Router::new().route("/healthz", get(|| async { "ok" })).route("/readyz", get(ready))
}

async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.ready.load(Ordering::Relaxed) {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting")
    }
}

/// Whoever has no token, none that is known, or no right to read, learns nothing else.
async fn guarded(State((health, gate)): State<(Health, Arc<Gate>)>, headers: HeaderMap) -> Response {
    let unknown = || (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], "").into_response();
    let Some(token) = bearer(&headers) else { return unknown() };
    match gate.verdict(token).await {
        Some(Verdict::Allowed) => metrics(State(health)).await.into_response(),
        Some(Verdict::Forbidden) => StatusCode::FORBIDDEN.into_response(),
        Some(Verdict::Unknown) => unknown(),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// The token of a request (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

async fn metrics(State(health): State<Health>) -> impl IntoResponse {
    match health.metrics.render() {
        Ok(text) => (
            StatusCode::OK,
            [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")],
            text,
        ),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, [(header::CONTENT_TYPE, "text/plain")], String::new()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn status(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn who_holds_connections_open_keeps_nobody_from_the_endpoints() {
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let stop = CancellationToken::new();
        let serving =
            tokio::spawn(Endpoint::open(address, Health::new(Arc::new(Metrics::default()))).serve(stop.clone()));
        while TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
        let mut held = Vec::new();
        for _ in 0..MOST_CONNECTIONS * 2 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost:").await.unwrap();
            held.push(stream);
        }
        assert_eq!(status(address, "/healthz").await, "HTTP/1.1 200 OK");
        assert_eq!(status(address, "/metrics").await, "HTTP/1.1 200 OK");
        // The oldest were cut off: nothing more comes of them.
        let mut rest = Vec::new();
        let _ = held[0].read_to_end(&mut rest).await;
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 4"), "{rest:?}");
        stop.cancel();
        serving.await.unwrap().unwrap();
    }
}
