//! What the S3-compatible system of a class does, as the operator has found by trying it.

use jiff::Timestamp;

use super::Check;
use crate::api::{Capabilities, Capability, ClassProvider, S3AccessClass};

/// What is told of a class's system: each thing that was tried, or only what it lacks.
pub(super) fn judge(who: &str, class: &S3AccessClass, whole: bool) -> Vec<Check> {
    if class.spec.provider != ClassProvider::S3Compatible {
        return Vec::new();
    }
    let what = |name: &str| format!("{who} {name}");
    let Some(found) = class.capabilities() else {
        let problem = "was not tried yet: the operator does so within seconds, while it runs and leads; until then, nobody is served (see the conditions of the class)";
        return vec![Check::warning(what("system"), problem)];
    };
    let mut checks = vec![Check::ok(what("system"), summary(found))];
    for trial in found.trials.iter().filter(|trial| whole || !trial.works) {
        let name = what(&format!("{:?}", trial.name));
        checks.push(match (trial.works, is_needed(trial.name)) {
            (true, _) => Check::ok(name, told(trial.name)),
            (false, true) => Check::failure(name, &trial.message, "nobody is served until then"),
            (false, false) => Check::warning(name, &trial.message),
        });
    }
    if whole {
        let keys = found.condition_keys.join(", ");
        let keys = if keys.is_empty() { "none of those that bind keys to place and time".to_owned() } else { keys };
        checks.push(Check::ok(what("conditions"), format!("it looks at {keys}")));
    }
    checks
}

fn is_needed(name: Capability) -> bool {
    name.needed(false).is_some()
}

fn summary(found: &Capabilities) -> String {
    let server = found.server.as_deref().unwrap_or("a server without a name");
    let at = found.tried_at.as_ref().map_or(Timestamp::UNIX_EPOCH, |at| at.0);
    let lacking = found.trials.iter().filter(|trial| !trial.works).count();
    format!("{server}, tried at {at:.0}: {} of {} tried things work", found.trials.len() - lacking, found.trials.len())
}

/// What it means that it works.
fn told(name: Capability) -> &'static str {
    match name {
        Capability::Ownership => "what proves whose a user is, is kept",
        Capability::PolicyKept => "a policy is kept as it was written",
        Capability::PolicyEnforced => "a user may do what its policy allows, and nothing without one",
        Capability::UnknownKeyRefused => "an unknown key, and one with a wrong secret, is told from one that works",
        Capability::InactiveKeyRefused => "an inactive key is refused, and taken again once it is active",
        Capability::TwoKeys => "one key can follow the other",
        Capability::Prefixes => "a user is kept to the prefixes of its policy",
        Capability::KeyDates => "keys have dates",
        Capability::DeletionGuarded => "no user is deleted with its keys",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use serde_json::json;

    use super::super::Level;
    use super::*;

    fn class(trials: serde_json::Value) -> S3AccessClass {
        let endpoints = json!({ "iam": "https://rgw", "s3": "https://rgw" });
        let spec = json!({ "provider": "s3-compatible", "allowedBuckets": ["*"], "endpoints": endpoints });
        let status = json!({ "capabilities": {
            "endpoints": endpoints, "server": "Ceph Object Gateway", "triedAt": "2026-11-28T00:00:00Z",
            "conditionKeys": ["aws:SourceIp"], "trials": trials,
        } });
        let class = json!({
            "apiVersion": "s3access.dev/v1alpha1", "kind": "S3AccessClass", "metadata": { "name": "ceph" },
            "spec": spec, "status": if trials.is_null() { json!(null) } else { status },
        });
        serde_json::from_value(class).unwrap()
    }

    fn levels(checks: &[Check]) -> Vec<(Level, &str)> {
        checks.iter().map(|check| (check.level, check.what.as_str())).collect()
    }

    #[test]
    fn each_thing_that_was_tried_is_told_with_what_it_costs() {
        let trials = json!([
            { "name": "Ownership", "works": true },
            { "name": "KeyDates", "works": false, "message": "ListAccessKeys shows no CreateDate" },
            { "name": "InactiveKeyRefused", "works": false, "message": "S3 takes them" },
        ]);
        let checks = judge("class ceph", &class(trials.clone()), true);
        let wanted = [
            (Level::Ok, "class ceph system"),
            (Level::Ok, "class ceph Ownership"),
            (Level::Warning, "class ceph KeyDates"),
            (Level::Failure, "class ceph InactiveKeyRefused"),
            (Level::Ok, "class ceph conditions"),
        ];
        assert_eq!(levels(&checks), wanted);
        assert_eq!(checks[0].found, "Ceph Object Gateway, tried at 2026-11-28T00:00:00Z: 1 of 3 tried things work");
        assert_eq!(checks[4].found, "it looks at aws:SourceIp");
        assert_eq!(levels(&judge("class ceph", &class(trials), false)), [wanted[0], wanted[2], wanted[3]]);
    }

    #[test]
    fn a_system_that_was_not_tried_is_said_to_be_so_and_aws_is_not() {
        let untried = class(json!(null));
        assert_eq!(levels(&judge("class ceph", &untried, true)), [(Level::Warning, "class ceph system")]);
        let mut aws = untried;
        aws.spec.provider = ClassProvider::Aws;
        assert!(judge("class aws", &aws, true).is_empty());
    }
}
