//! What the API server says of an object before anything is written: a server-side dry run, with all that admission has to say.

use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::on_one_line;
use crate::kubernetes::knows_no_dry_run;

/// What came of a dry run.
#[derive(Debug)]
pub(super) enum Verdict {
    /// It would be taken.
    Taken,
    /// It would not.
    Refused(String),
    /// Nobody knows: whoever plans may not write it, or the server did not answer.
    Untried(String),
}

impl Verdict {
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_))
    }

    /// Lines for people; none where all is well.
    pub(super) fn told(&self) -> String {
        match self {
            Self::Taken => String::new(),
            Self::Refused(problem) => format!("  the API server refuses it: {}\n", on_one_line(problem)),
            Self::Untried(problem) => format!("  not tried on the API server: {}\n", on_one_line(problem)),
        }
    }
}

/// Has the API server try the object: a replacement where it carries a resource version, else a creation.
pub(super) async fn verdict<K>(api: &Api<K>, object: &K) -> Verdict
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug,
{
    let params = PostParams { dry_run: true, field_manager: Some("s3access-plan".to_owned()) };
    let tried = match object.resource_version() {
        None => api.create(&params, object).await,
        Some(_) => api.replace(&object.name_any(), &params, object).await,
    };
    match tried {
        Ok(_) => Verdict::Taken,
        Err(kube::Error::Api(status)) if is_refusal(status.code, &status.message) => {
            Verdict::Refused(status.message.clone())
        }
        Err(kube::Error::Api(status)) => Verdict::Untried(status.message.clone()),
        Err(error) => Verdict::Untried(error.to_string()),
    }
}

/// A webhook's no may have the code of a missing right.
fn is_refusal(code: u16, message: &str) -> bool {
    let lacks_right = code == 403 && message.contains(" cannot ");
    matches!(code, 400 | 403 | 404 | 409 | 413 | 422) && !lacks_right && !knows_no_dry_run(code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_right_is_no_refusal_of_the_object() {
        let no = r#"s3accessusers.s3access.dev "a" is forbidden: User "x" cannot create resource "s3accessusers""#;
        assert!(!is_refusal(403, no) && !is_refusal(401, "Unauthorized") && !is_refusal(503, "later"));
        assert!(is_refusal(403, "admission webhook \"w\" denied the request: no") && is_refusal(422, "is invalid"));
        assert!(!is_refusal(400, "admission webhook \"w\" does not support dry run"));
    }
}
