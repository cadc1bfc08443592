//! One way for every call: when the account's rate limiter lets it go, and with errors that name operation and object.

use std::error::Error;
use std::future::Future;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_sdk_iam::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::interceptors::context::InterceptorContext;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::retries::classifiers::{ClassifyRetry, RetryAction};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument, info_span};

use super::error::label_of;
use super::rate_limiter::{Event, RateLimiter, WaitingCall};
use super::raw::StatusOf;
use super::{AwsError, ErrorKind, Result};
use crate::core::priority::Priority;
use crate::metrics::Metrics;
use crate::traces::TARGET;

/// A call that is throttled so often has failed.
const TRIES: u32 = 6;
/// The pause before the second try, twice as long before the third, and so on; the rate comes on top of it.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Pages of a list of what one user or policy has, and items in them: more than IAM's quotas allow for. A server can fill the
/// memory with more.
pub(super) const PAGES: usize = 100;
const ITEMS: usize = 10_000;

tokio::task_local! {
    static PRIORITY: Priority;
}

/// Makes all calls of the future as urgent as that. Without, they are background.
pub async fn at_priority<F: Future>(priority: Priority, future: F) -> F::Output {
    PRIORITY.scope(priority, future).await
}

/// The pages of a list, read one after the other. They come to an end, whatever the server says.
pub struct Pages<'a> {
    operation: &'static str,
    object: &'a str,
    left: usize,
    marker: Option<String>,
}

impl<'a> Pages<'a> {
    /// The pages of what that operation lists of the object, and at most so many.
    pub fn of(operation: &'static str, object: &'a str, at_most: usize) -> Self {
        Self { operation, object, left: at_most, marker: None }
    }

    /// Where the next page begins; `None` for the first.
    pub fn marker(&self) -> Option<&str> {
        self.marker.as_deref()
    }

    /// Takes from a page where the next one begins. Returns whether there is one.
    ///
    /// # Errors
    /// It would be the same page again, or one too many.
    pub fn go_on(&mut self, next: Option<String>) -> Result<bool> {
        self.left = self.left.saturating_sub(1);
        if next.is_some() && (self.left == 0 || next == self.marker) {
            return Err(AwsError::endless(self.operation, self.object));
        }
        self.marker = next;
        Ok(self.marker.is_some())
    }
}

/// The calls of an account. Nobody is kept waiting before the first of them.
pub(super) struct Lane {
    /// Calls a second, by each session in the lane; the lowest holds.
    limits: Mutex<Vec<NonZeroU32>>,
    events: OnceLock<mpsc::UnboundedSender<Event>>,
    started: Instant,
    metrics: Arc<Metrics>,
}

impl Lane {
    /// At most so many requests a second, and fewer where AWS throttles; others live in the account too.
    pub(super) fn new(requests_per_second: NonZeroU32, metrics: Arc<Metrics>) -> Self {
        let limits = Mutex::new(vec![requests_per_second]);
        Self { limits, events: OnceLock::new(), started: Instant::now(), metrics }
    }

    /// One more session is in the lane.
    pub(super) fn limit(&self, requests_per_second: NonZeroU32) {
        self.change_limits(|limits| limits.push(requests_per_second));
    }

    /// One of its sessions has left the lane.
    pub(super) fn unlimit(&self, requests_per_second: NonZeroU32) {
        self.change_limits(|limits| {
            // The last one's limit stays: what it has begun may still call.
            if let Some(at) = limits.iter().position(|limit| *limit == requests_per_second).filter(|_| limits.len() > 1)
            {
                limits.remove(at);
            }
        });
    }

    fn change_limits(&self, change: impl FnOnce(&mut Vec<NonZeroU32>)) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut limits);
        if let Some(events) = self.events.get() {
            let _ = events.send(Event::Limited(lowest(&limits)));
        }
    }

    fn events(&self) -> &mpsc::UnboundedSender<Event> {
        if let Some(events) = self.events.get() {
            return events;
        }
        // Held until the events are there, so that no change of the limits falls between.
        let limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        self.events.get_or_init(|| {
            let (events, noted) = mpsc::unbounded_channel();
            let limiter = RateLimiter::new(lowest(&limits), Duration::ZERO);
            // It ends with the lane.
            tokio::spawn(release(limiter, noted, self.started));
            events
        })
    }

    /// Waits until the rate limiter lets the call go.
    pub(super) async fn acquire(&self, operation: &'static str) {
        let (go, gone) = oneshot::channel();
        let priority = PRIORITY.try_with(|priority| *priority).unwrap_or(Priority::Background);
        let call = WaitingCall { operation, priority, go };
        if self.events().send(Event::Waits(call)).is_ok() {
            // Without an answer the process ends, and nobody need be kept waiting.
            let _ = gone.await;
        }
    }

    /// Counts a request that no client of the SDK has sent, and slows down where it was throttled.
    pub(super) fn count(&self, operation: &'static str, code: &str, status: u16, took: Duration) {
        self.metrics.aws_request(operation.to_owned(), label_of(code, status), Some(took));
        if ErrorKind::of_code(code, Some(status)) == ErrorKind::Throttled {
            self.throttled(operation, self.started.elapsed().saturating_sub(took));
        }
    }

    /// All items of a list, each page in its turn. `page` parts an answer into its items, and where the next page begins.
    pub(super) async fn list<O, E, F, T>(
        &self,
        operation: &'static str,
        object: &str,
        send: impl Fn(Option<String>) -> F,
        page: impl Fn(O) -> (Vec<T>, Option<String>),
    ) -> Result<Vec<T>>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = std::result::Result<O, SdkError<E, HttpResponse>>>,
    {
        let (mut items, mut pages) = (Vec::new(), Pages::of(operation, object, PAGES));
        loop {
            let (more, next) = page(self.call(operation, object, || send(pages.marker.clone())).await?);
            items.extend(more);
            if items.len() > ITEMS {
                return Err(AwsError::endless(operation, object));
            }
            if !pages.go_on(next)? {
                return Ok(items);
            }
        }
    }

    /// Waits for the rate limiter, then sends. What was throttled had no effect, whatever it was, so it waits there again, by
    /// which the rate has gone down, and is sent again.
    pub(super) async fn call<O, E, F>(&self, operation: &'static str, object: &str, send: impl Fn() -> F) -> Result<O>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Future<Output = std::result::Result<O, SdkError<E, HttpResponse>>>,
    {
        let mut pause = FIRST_PAUSE;
        let mut tried = 0;
        loop {
            self.acquire(operation).await;
            let sent_at = self.started.elapsed();
            let span = info_span!(
                target: TARGET, "aws", otel.name = operation, otel.kind = "client", object,
                otel.status_code = Empty, "error.type" = Empty
            );
            let error = match send().instrument(span.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => AwsError::of(operation, object, &error),
            };
            span.record("otel.status_code", "ERROR").record("error.type", &error.code);
            if error.kind == ErrorKind::Throttled {
                self.throttled(operation, sent_at);
            }
            tried += 1;
            if error.kind != ErrorKind::Throttled || tried >= TRIES {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    fn throttled(&self, operation: &'static str, sent_at: Duration) {
        self.metrics.throttled();
        let _ = self.events().send(Event::Throttled(operation, sent_at));
    }
}

/// Calls a second.
fn lowest(limits: &[NonZeroU32]) -> f64 {
    limits.iter().min().map_or(1.0, |limit| f64::from(limit.get()))
}

/// Lets calls go until nobody is left who could make one.
async fn release(mut limiter: RateLimiter, mut events: mpsc::UnboundedReceiver<Event>, started: Instant) {
    loop {
        while let Ok(event) = events.try_recv() {
            limiter.note(event, started.elapsed());
        }
        let wait = limiter.release(started.elapsed());
        let event = match wait {
            Some(wait) => tokio::select! {
                biased;
                event = events.recv() => event,
                () = tokio::time::sleep(wait) => continue,
            },
            None => events.recv().await,
        };
        match event {
            Some(event) => limiter.note(event, started.elapsed()),
            None => return,
        }
    }
}

/// Keeps the SDK from trying again by itself what was throttled: that would go past the lane.
#[derive(Debug)]
pub(super) struct ThrottledIsForTheLane;

impl ClassifyRetry for ThrottledIsForTheLane {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let code = context.response().and_then(StatusOf::code_in_body);
        match code.map(|code| ErrorKind::of_code(code, None)) {
            Some(ErrorKind::Throttled) => RetryAction::RetryForbidden,
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "ThrottledIsForTheLane"
    }
}
