//! What a raw answer of HTTP says where the SDK reads nothing.

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

/// The HTTP status of a raw answer.
pub(super) trait StatusOf {
    /// The status code.
    fn status_code(&self) -> Option<u16>;
    /// The text of the body's first `Code` element.
    fn code_in_body(&self) -> Option<&str>;
}

impl StatusOf for HttpResponse {
    fn status_code(&self) -> Option<u16> {
        Some(self.status().as_u16())
    }

    fn code_in_body(&self) -> Option<&str> {
        let body = std::str::from_utf8(self.body().bytes()?).ok()?;
        let (_, rest) = body.split_once("<Code>")?;
        rest.split_once("</Code>").map(|(code, _)| code)
    }
}
