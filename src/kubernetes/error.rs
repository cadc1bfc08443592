//! What a Kubernetes error means to the operator.

use std::fmt;

/// A failed request. It carries the API server's words, never a request's or an object's content.
#[derive(Clone, Debug)]
pub struct KubernetesError {
    /// The request, such as `update Secret`.
    pub operation: &'static str,
    /// `<namespace>/<name>`.
    pub object: String,
    /// The HTTP status, where there was an answer.
    pub code: Option<u16>,
    /// Why it failed.
    pub message: String,
}

impl KubernetesError {
    /// Reads the client's error.
    pub(crate) fn of(operation: &'static str, namespace: &str, name: &str, error: &kube::Error) -> Self {
        let (code, message) = match error {
            kube::Error::Api(status) => (Some(status.code), status.message.clone()),
            // A body that does not parse may hold a Secret's data.
            kube::Error::SerdeError(_) => (None, "the answer does not parse".to_owned()),
            other => (None, other.to_string()),
        };
        Self { operation, object: format!("{namespace}/{name}"), code, message }
    }

    /// Somebody else was faster: read again.
    pub fn is_conflict(&self) -> bool {
        self.code == Some(409)
    }

    /// The API server has read the request and will not carry it out. A time-out or a failure of the server says
    /// nothing of the kind: the write may be in etcd.
    pub fn is_refusal(&self) -> bool {
        self.code.is_some_and(|code| (400..500).contains(&code) && code != 408 && code != 429)
    }

    /// The object, or its namespace, is gone.
    pub fn is_not_found(&self) -> bool {
        self.code == Some(404)
    }

    /// The API server refuses by RBAC, admission, quota, or because the namespace is terminating; a ValidatingAdmissionPolicy
    /// answers as an invalid object does.
    pub fn is_denial(&self) -> bool {
        matches!(self.code, Some(403 | 422))
    }
}

/// A webhook from before `admissionregistration.k8s.io/v1` may have side effects, and the API server then refuses every dry
/// run that it would see.
pub fn knows_no_dry_run(code: u16, message: &str) -> bool {
    code == 400 && message.contains("does not support dry run")
}

impl fmt::Display for KubernetesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.operation, self.object, self.message)
    }
}

impl std::error::Error for KubernetesError {}
