//! Requests to Kubernetes, as the API server's audit log has them: read on from where the last look ended.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::PathBuf;

use anyhow::Result;
use serde::Deserialize;

/// Requests so far, by `verb resource`, such as `patch s3accessusers/status`.
pub type Requests = BTreeMap<String, u64>;

/// Verbs that change something.
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
/// What says nothing of the work: Events are a courtesy, and the Lease is renewed by the clock.
const APART: [&str; 2] = ["events", "leases"];

/// The requests of one user.
#[derive(Debug)]
pub struct Audit {
    path: PathBuf,
    user: String,
    /// Only in this namespace, where others are at work in the same cluster.
    namespace: Option<String>,
    offset: u64,
    requests: Requests,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    stage: String,
    #[serde(default, rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    object_ref: Option<Object>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    resource: String,
    #[serde(default)]
    namespace: String,
    subresource: Option<String>,
}

impl Audit {
    /// The requests of a user from now on.
    ///
    /// # Errors
    /// Where there is no log.
    pub fn of(path: PathBuf, user: &str, namespace: Option<String>) -> Result<Self> {
        let offset = std::fs::metadata(&path)?.len();
        Ok(Self { path, user: user.to_owned(), namespace, offset, requests: Requests::new() })
    }

    /// The requests so far.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub fn requests(&mut self) -> Result<Requests> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let mut reader = BufReader::new(file);
        let mut line = String::new();
        loop {
            line.clear();
            let length = reader.read_line(&mut line)?;
            // The last line may be half written.
            if !line.ends_with('\n') {
                break;
            }
            self.offset += u64::try_from(length)?;
            if line.contains(&self.user) {
                self.add(&line);
            }
        }
        Ok(self.requests.clone())
    }

    fn add(&mut self, line: &str) {
        let Ok(Line { stage, request_uri, verb, user, object_ref: Some(object) }) = serde_json::from_str::<Line>(line)
        else {
            return;
        };
        // It changes nothing.
        let verb = if request_uri.contains("dryRun=All") { "dry-run".to_owned() } else { verb };
        // A watch is counted when it begins.
        let counted = if verb == "watch" { "ResponseStarted" } else { "ResponseComplete" };
        let elsewhere = self.namespace.as_ref().is_some_and(|namespace| *namespace != object.namespace);
        if user.username != self.user || stage != counted || elsewhere || APART.contains(&object.resource.as_str()) {
            return;
        }
        let resource = match object.subresource {
            Some(subresource) => format!("{}/{subresource}", object.resource),
            None => object.resource,
        };
        *self.requests.entry(format!("{verb} {resource}")).or_default() += 1;
    }
}

/// Whether a request changes something.
#[must_use]
pub fn is_write(request: &str) -> bool {
    WRITES.contains(&request.split(' ').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::folders::Folder;

    fn line(user: &str, stage: &str, verb: &str, resource: &str, namespace: &str) -> String {
        let object = serde_json::json!({ "resource": resource, "namespace": namespace });
        let user = serde_json::json!({ "username": user });
        serde_json::json!({ "stage": stage, "verb": verb, "user": user, "objectRef": object }).to_string() + "\n"
    }

    #[test]
    fn requests_of_others_events_and_earlier_ones_do_not_count() {
        let folder = Folder::create("audit").unwrap();
        let path = folder.path().join("audit.log");
        std::fs::write(&path, line("us", "ResponseComplete", "create", "secrets", "here")).unwrap();
        let mut audit = Audit::of(path.clone(), "us", Some("here".to_owned())).unwrap();
        let half = line("us", "ResponseComplete", "patch", "secrets", "here");
        let (first, second) = half.split_at(20);
        let new = [
            line("us", "ResponseComplete", "create", "secrets", "here"),
            line("us", "ResponseComplete", "create", "secrets", "here")
                .replace(r#""user""#, r#""requestURI":"/x?&dryRun=All","user""#),
            line("us", "ResponseComplete", "create", "secrets", "there"),
            line("them", "ResponseComplete", "create", "secrets", "here"),
            line("us", "ResponseComplete", "create", "events", "here"),
            line("us", "ResponseStarted", "watch", "secrets", "here"),
            line("us", "ResponseComplete", "watch", "secrets", "here"),
        ];
        let append = |text: &str| {
            let mut log = std::fs::read_to_string(&path).unwrap();
            log.push_str(text);
            std::fs::write(&path, log).unwrap();
        };
        append(&(new.concat() + first));
        let expected = |patches: &[(&str, u64)]| -> Requests {
            let counts = [("create secrets", 1), ("dry-run secrets", 1), ("watch secrets", 1)];
            counts.iter().chain(patches).map(|(request, count)| ((*request).to_owned(), *count)).collect()
        };
        assert_eq!(audit.requests().unwrap(), expected(&[]));
        append(second);
        assert_eq!(audit.requests().unwrap(), expected(&[("patch secrets", 1)]));
    }

    #[test]
    fn reads_and_writes_are_told_apart() {
        assert!(is_write("patch s3accessusers/status") && !is_write("get secrets") && !is_write("watch secrets"));
        assert!(!is_write("dry-run secrets"));
    }
}
