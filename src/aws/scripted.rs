//! For tests: a server that answers each request as a closure says, without a network.

use std::fmt;
use std::sync::Arc;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;

type Answer = Arc<dyn Fn(&HttpRequest) -> (u16, String) + Send + Sync>;

/// A client whose requests get that status and body.
pub(super) fn answering(answer: impl Fn(&HttpRequest) -> (u16, String) + Send + Sync + 'static) -> SharedHttpClient {
    let scripted = Scripted(Arc::new(answer));
    http_client_fn(move |_, _| SharedHttpConnector::new(scripted.clone()))
}

#[derive(Clone)]
struct Scripted(Answer);

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scripted")
    }
}

impl HttpConnector for Scripted {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (status, body) = (self.0)(&request);
        let status = StatusCode::try_from(status).unwrap_or_else(|_| unreachable!("no status: {status}"));
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, SdkBody::from(body))))
    }
}
