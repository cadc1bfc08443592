//! The answers of a server that is not AWS, on their way to the SDK: put into the order that it reads, and bounded; what the
//! server calls itself is noted.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;

/// More than any answer to the calls that such a system is asked: a policy of 2,048 characters, or a page of names.
const LONGEST: usize = 256 * 1024;
/// Of the header `Server`.
const LONGEST_NAME: usize = 64;

/// What the servers of one system call themselves, in the header `Server` of their answers.
#[derive(Clone, Debug, Default)]
pub(in crate::aws) struct Servers(Arc<Mutex<Option<String>>>);

impl Servers {
    /// The last name that was told.
    pub(in crate::aws) fn name(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, answer: &HttpResponse) {
        let Some(name) = answer.headers().get("server") else { return };
        let name = name.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').take(LONGEST_NAME).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
    }
}

/// A client of HTTP whose answers are put right.
#[derive(Clone)]
pub(in crate::aws) struct Answers<C> {
    inner: C,
    servers: Servers,
}

impl<C> fmt::Debug for Answers<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answers")
    }
}

impl Answers<SharedHttpClient> {
    /// Those of that client.
    pub(in crate::aws) fn of(inner: SharedHttpClient, servers: Servers) -> SharedHttpClient {
        SharedHttpClient::new(Self { inner, servers })
    }
}

impl HttpClient for Answers<SharedHttpClient> {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let inner = self.inner.http_connector(settings, components);
        SharedHttpConnector::new(Answers { inner, servers: self.servers.clone() })
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.inner.connector_metadata()
    }
}

impl HttpConnector for Answers<SharedHttpConnector> {
    fn call(&self, request: aws_smithy_runtime_api::client::orchestrator::HttpRequest) -> HttpConnectorFuture {
        let (sent, servers) = (self.inner.call(request), self.servers.clone());
        HttpConnectorFuture::new(async move {
            let mut answer = sent.await?;
            servers.note(&answer);
            let text = body_of(&mut answer, LONGEST).await?;
            *answer.body_mut() = SdkBody::from(result_first(text));
            Ok(answer)
        })
    }
}

/// The body of an answer, all in memory.
pub(super) async fn body_of(answer: &mut HttpResponse, longest: usize) -> Result<Vec<u8>, ConnectorError> {
    let mut body = ByteStream::new(answer.take_body());
    let mut bytes = Vec::new();
    while let Some(part) = body.next().await {
        bytes.extend_from_slice(&part.map_err(|error| ConnectorError::io(error.into()))?);
        if bytes.len() > longest {
            return Err(ConnectorError::io(format!("an answer of more than {longest} bytes").into()));
        }
    }
    Ok(bytes)
}

/// The same answer with `ResponseMetadata` after the result. The SDK takes the first element of an answer of the query
/// protocol for the result; Ceph RGW has the metadata there in some.
fn result_first(answer: Vec<u8>) -> Vec<u8> {
    reordered(&answer).unwrap_or(answer)
}

fn reordered(answer: &[u8]) -> Option<Vec<u8>> {
    const OPEN: &str = "<ResponseMetadata>";
    const CLOSE: &str = "</ResponseMetadata>";
    let text = std::str::from_utf8(answer).ok()?;
    let (head, rest) = text.split_once(OPEN)?;
    let (metadata, rest) = rest.split_once(CLOSE)?;
    let end = rest.rfind("</").filter(|_| is_open_root(head.trim_end()))?;
    let (result, root) = rest.split_at(end);
    Some([head, result, OPEN, metadata, CLOSE, root].concat().into_bytes())
}

/// Whether a text ends with the start tag of a document's root: nothing of it has been closed, and no other was opened.
fn is_open_root(text: &str) -> bool {
    let tags = text.matches('<').count() - text.matches("<?").count();
    tags == 1 && text.ends_with('>') && !text.ends_with("/>")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_right(answer: &str) -> String {
        String::from_utf8(result_first(answer.as_bytes().to_vec())).unwrap_or_default()
    }

    #[test]
    fn the_result_comes_first() {
        for root in ["<ListUserPoliciesResponse xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\">", "<AResponse>"] {
            for prolog in ["", "<?xml version=\"1.0\" encoding=\"UTF-8\"?>", "<?xml version=\"1.0\"?>\n"] {
                let name = if root.contains("List") { "ListUserPoliciesResponse" } else { "AResponse" };
                let metadata = "<ResponseMetadata><RequestId>tx1</RequestId></ResponseMetadata>";
                let result = "<ListUserPoliciesResult><PolicyNames/></ListUserPoliciesResult>";
                let wrong = format!("{prolog}{root}{metadata}{result}</{name}>");
                let right = format!("{prolog}{root}{result}{metadata}</{name}>");
                assert_eq!(put_right(&wrong), right);
                assert_eq!(put_right(&right), right, "what is right stays");
            }
        }
    }

    #[test]
    fn whatever_else_a_server_says_stays_as_it_is() {
        for text in [
            "",
            "nonsense",
            "<ResponseMetadata>",
            "<ResponseMetadata></ResponseMetadata>",
            "</x><ResponseMetadata></ResponseMetadata>",
            "<a><b><ResponseMetadata>1</ResponseMetadata></b></a>",
            "<a><b/><ResponseMetadata>1</ResponseMetadata></a>",
            "<a/><ResponseMetadata>1</ResponseMetadata><b/>",
            "<ErrorResponse><Error><Code>NoSuchEntity</Code></Error></ErrorResponse>",
        ] {
            assert_eq!(put_right(text), text);
        }
        let bytes = vec![0xff, 0xfe, b'<'];
        assert_eq!(result_first(bytes.clone()), bytes);
    }
}
