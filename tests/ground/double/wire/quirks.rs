//! In what the double can be less than AWS: what becomes of a request before it is carried out, and of an answer before it is
//! sent.

use std::collections::BTreeSet;

use http::StatusCode;
use serde_json::Value;

use super::super::error::{ApiError, Code};
use super::super::operation::Operation;
use super::super::request::Request;
use super::super::response::Response;
use super::super::settings::Quirk;
use super::super::world::World;
use super::Content;

/// The quirks of the world's only account; none where there are several.
pub(super) fn of(world: &World) -> BTreeSet<Quirk> {
    world.only_account().map(|iam| iam.settings().quirks.clone()).unwrap_or_default()
}

/// An answer of nothing but a status.
pub(super) fn codeless(world: &World, operation: Operation) -> Option<Content> {
    let status = StatusCode::from_u16(*world.only_account()?.settings().codeless.get(&operation)?).ok()?;
    Some(Content { status, headers: Vec::new(), body: Vec::new() })
}

/// The request as far as the server heeds it; `None`: not at all, and it says that all went well.
pub(super) fn heeded(quirks: &BTreeSet<Quirk>, request: Request) -> Result<Option<Request>, ApiError> {
    let has = |quirk| quirks.contains(&quirk);
    Ok(match request {
        Request::CreateUser { user_name, path, permissions_boundary, tags } => Some(Request::CreateUser {
            user_name,
            path: path.filter(|_| !has(Quirk::PathsDropped)),
            permissions_boundary,
            tags: if has(Quirk::TagsDropped) { Vec::new() } else { tags },
        }),
        Request::TagUser { .. } | Request::UntagUser { .. } if has(Quirk::TagsDropped) => None,
        Request::UpdateUser { new_path: Some(_), .. } if has(Quirk::PathsDropped) => None,
        Request::PutUserPolicy { ref policy_document, .. }
            if has(Quirk::MultipartRefused) && policy_document.contains("Multipart") =>
        {
            return Err(Code::MalformedPolicyDocument.error("not a valid action: 's3:ListMultipartUploadParts'"));
        }
        request => Some(request),
    })
}

/// The answer as the server has it.
pub(super) fn shown(quirks: &BTreeSet<Quirk>, response: Response) -> Response {
    match response {
        Response::InlinePolicy { user_name, policy_name, document } if quirks.contains(&Quirk::PoliciesAltered) => {
            let mut read: Value = serde_json::from_str(&document).unwrap_or_default();
            for statement in read["Statement"].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
                statement.remove("Condition");
            }
            Response::InlinePolicy { user_name, policy_name, document: read.to_string() }
        }
        response => response,
    }
}

/// The body of an answer as the server sends it.
pub(super) fn sent(quirks: &BTreeSet<Quirk>, operation: Operation, body: String) -> String {
    let has = |quirk| quirks.contains(&quirk);
    let of_keys = matches!(operation, Operation::ListAccessKeys | Operation::CreateAccessKey);
    let body = if has(Quirk::DatesMissing) && of_keys { without(&body, "CreateDate") } else { body };
    if has(Quirk::MetadataFirst) { metadata_first(&body) } else { body }
}

/// A text of XML without the elements of a name that hold a text.
fn without(body: &str, element: &str) -> String {
    let (start, end) = (format!("<{element}>"), format!("</{element}>"));
    let mut parts = body.split(&start);
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once(&end).map_or(part, |(_, rest)| rest))
}

fn metadata_first(body: &str) -> String {
    const METADATA: &str = "<ResponseMetadata>";
    const END: &str = "</ResponseMetadata>";
    let parts = body.split_once(METADATA).and_then(|(before, rest)| {
        let (metadata, after) = rest.split_once(END)?;
        let (prolog, inner) = before.split_once("Response xmlns")?;
        let (attribute, result) = inner.split_once('>')?;
        Some(format!("{prolog}Response xmlns{attribute}>{METADATA}{metadata}{END}{result}{after}"))
    });
    parts.unwrap_or_else(|| body.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_parts_where_the_server_puts_them() {
        let body = "<ListResponse xmlns=\"x\"><ListResult><CreateDate>1</CreateDate><B/><CreateDate>2</CreateDate></ListResult><ResponseMetadata>r</ResponseMetadata></ListResponse>";
        let first = "<ListResponse xmlns=\"x\"><ResponseMetadata>r</ResponseMetadata><ListResult><CreateDate>1</CreateDate><B/><CreateDate>2</CreateDate></ListResult></ListResponse>";
        assert_eq!(metadata_first(body), first);
        assert_eq!(without(body, "CreateDate").matches("CreateDate").count(), 0);
        assert!(without(body, "CreateDate").contains("<ListResult><B/></ListResult>"));
    }
}
