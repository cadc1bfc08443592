//! The double over HTTP: the AWS query protocol for IAM and STS, REST for S3, and signatures as AWS checks them.

mod answer;
mod query;
mod quirks;
mod s3;
mod server;
pub(crate) mod sigv4;
mod xml;

pub use server::{Clock, Config, DoubleServer};

use std::net::IpAddr;
use std::time::Duration;

use http::request::Parts;
use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};

use super::authorize::unknown_key;
use super::caller::Caller;
use super::error::{ApiError, Code};
use super::operation::{Kind, Operation};
use super::response::Response;
use super::world::{CallError, Identity, World, wrong_signature};
use query::Form;
use sigv4::{Claim, Signed};

/// How far a signature's time may be off: five minutes (IAM user guide, "Troubleshoot signed requests").
const QUERY_SKEW: SignedDuration = SignedDuration::from_mins(5);

/// What goes back to the client.
#[derive(Debug)]
struct Answer {
    delay: Duration,
    /// `None` closes the connection without a word.
    content: Option<Content>,
}

/// A response of HTTP.
#[derive(Debug)]
struct Content {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Content {
    fn xml(status: StatusCode, body: String) -> Self {
        Self { status, headers: vec![("content-type", "text/xml".to_owned())], body: body.into_bytes() }
    }

    fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// When a request is answered, and from where it came.
#[derive(Debug, Clone, Copy)]
struct Moment {
    now: Timestamp,
    from: IpAddr,
    /// Whether signatures are held against it: not where the clock is the test's, since clients sign by their own.
    is_real: bool,
}

/// Answers a request: one that is signed for S3, and one that is not signed and posts no form, is S3's.
fn answer(world: &mut World, moment: Moment, parts: &Parts, body: &[u8]) -> Answer {
    let request_id = world.ids.request_id();
    let claim = Claim::read(&parts.headers);
    let signed = Signed {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or_default(),
        headers: &parts.headers,
        body,
    };
    let is_query = parts.method == Method::POST && claim.as_ref().is_none_or(|claim| claim.service != "s3");
    if is_query {
        return answer_query(world, moment, claim.as_ref(), &signed, &request_id);
    }
    let content = s3::answer(world, moment, claim.as_ref(), &signed, &request_id);
    Answer { delay: Duration::ZERO, content: Some(content.header("x-amz-request-id", request_id)) }
}

fn answer_query(
    world: &mut World,
    moment: Moment,
    claim: Option<&Claim>,
    signed: &Signed<'_>,
    request_id: &str,
) -> Answer {
    let form = Form::parse(signed.body);
    let (operation, outcome, delay) = match form.operation() {
        Err(error) => (None, Err(CallError::Api(error)), Duration::ZERO),
        Ok(operation) => {
            if let Some(content) = quirks::codeless(world, operation) {
                return Answer { delay: Duration::ZERO, content: Some(content) };
            }
            let (outcome, delay) = call(world, moment, claim, signed, &form, operation);
            (Some(operation), outcome, delay)
        }
    };
    let content = match (operation, outcome) {
        (_, Err(CallError::LostBeforeEffect | CallError::LostAfterEffect)) => return Answer { delay, content: None },
        (_, Err(CallError::Api(error))) => {
            let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            Content::xml(status, answer::failure(operation, &error, request_id))
        }
        (_, Ok(body)) => Content::xml(StatusCode::OK, body(request_id)),
    };
    Answer { delay, content: Some(content.header("x-amzn-requestid", request_id)) }
}

/// Writes the body of an answer for the identifier of the request.
type Body = Box<dyn FnOnce(&str) -> String>;

fn call(
    world: &mut World,
    moment: Moment,
    claim: Option<&Claim>,
    signed: &Signed<'_>,
    form: &Form,
    operation: Operation,
) -> (Result<Body, CallError>, Duration) {
    let service = if operation.kind() == Kind::Sts { "sts" } else { "iam" };
    let identity = identify(world, moment, claim, signed, service);
    let user = match &identity {
        Identity::Caller(Caller::User { name, .. }) => Some(name.as_str()),
        _ => None,
    };
    let request = match form.request(operation, user) {
        Ok(request) => request,
        Err(error) => {
            // Who cannot prove who they are learn nothing about the rest of the request.
            let error = if let Identity::Refused(_, refusal) = identity { refusal } else { error };
            return (Err(CallError::Api(error)), Duration::ZERO);
        }
    };
    let quirks = quirks::of(world);
    let request = match quirks::heeded(&quirks, request) {
        Err(error) => return (Err(CallError::Api(error)), Duration::ZERO),
        Ok(None) => return (Ok(Box::new(move |id| answer::success(operation, &Response::Done, id))), Duration::ZERO),
        Ok(Some(request)) => request,
    };
    let reply = world.call(moment.now, identity, &request);
    let body = reply.result.map(|response| -> Body {
        Box::new(move |request_id| {
            let response = quirks::shown(&quirks, response);
            quirks::sent(&quirks, operation, answer::success(operation, &response, request_id))
        })
    });
    (body, reply.delay)
}

/// Checks a request's signature.
fn identify(world: &mut World, moment: Moment, claim: Option<&Claim>, signed: &Signed<'_>, service: &str) -> Identity {
    let Some(claim) = claim else {
        let error = Code::MissingAuthenticationToken.error("Request is missing Authentication Token");
        return Identity::Refused(String::new(), error);
    };
    match verify(world, moment, claim, signed, service, QUERY_SKEW) {
        Ok(caller) => Identity::Caller(caller),
        Err(error) => Identity::Refused(claim.access_key_id.clone(), error),
    }
}

/// Whom a request was signed by.
fn verify(
    world: &mut World,
    moment: Moment,
    claim: &Claim,
    signed: &Signed<'_>,
    service: &str,
    skew: SignedDuration,
) -> Result<Caller, ApiError> {
    if claim.service != service {
        return Err(
            Code::SignatureDoesNotMatch.error(format!("Credential should be scoped to correct service: '{service}'."))
        );
    }
    let holder = world.holder(moment.now, &claim.access_key_id).ok_or_else(unknown_key)?;
    if !claim.is_signed_with(&holder.credentials.secret_access_key, signed) {
        return Err(wrong_signature());
    }
    let off = moment.now.duration_since(claim.time);
    if moment.is_real && off.abs() > skew {
        let words = if off.is_positive() { "Signature expired" } else { "Signature not yet current" };
        return Err(Code::SignatureDoesNotMatch.error(format!("{words}: {}", claim.time)));
    }
    world.admit(moment.now, holder, claim.token.as_deref(), service, &claim.region)
}
