//! The Lease: who holds it, and whether that one still renews it.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use kube::{Api, Client};

use super::Check;
use crate::config::RunOptions;
use crate::kubernetes::KubernetesError;

pub(super) async fn check(client: &Client, options: &RunOptions) -> Check {
    let what = format!("Lease {}/{}", options.namespace, options.lease_name);
    if !options.leader_election {
        return Check::ok(what, "not used, as S3ACCESS_LEADER_ELECTION says: let one replica run, and no more");
    }
    let leases: Api<Lease> = Api::namespaced(client.clone(), &options.namespace);
    match leases.get_opt(&options.lease_name).await {
        Ok(lease) => judge(what, Timestamp::now(), &lease.and_then(|lease| lease.spec).unwrap_or_default()),
        Err(error) => {
            let error = KubernetesError::of("get Lease", &options.namespace, &options.lease_name, &error);
            Check::failure(what, error, "apply deploy/rbac.yaml")
        }
    }
}

/// That nobody holds it keeps no operator from working: the next one that starts will. So it is no failure.
fn judge(what: String, now: Timestamp, lease: &LeaseSpec) -> Check {
    let Some(holder) = lease.holder_identity.as_deref().filter(|holder| !holder.is_empty()) else {
        return Check::warning(what, "nobody holds it: no operator runs, or it starts just now");
    };
    let since = lease.acquire_time.as_ref().map(|time| format!(" since {}", time.0)).unwrap_or_default();
    let Some(renewed) = lease.renew_time.as_ref().map(|time| time.0) else {
        return Check::warning(what, format!("{holder} holds it{since} and has never renewed it: look at that pod"));
    };
    let age = now.duration_since(renewed);
    let good_for = SignedDuration::from_secs(lease.lease_duration_seconds.unwrap_or_default().max(0).into());
    if age > good_for {
        let ago = age.as_secs();
        return Check::warning(
            what,
            format!(
                "stale: {holder} renewed it {ago} s ago, and it is good for {} s: no operator works, or it does not reach the API server: look at its pods",
                good_for.as_secs()
            ),
        );
    }
    Check::ok(what, format!("{holder} holds it{since}"))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;
    use crate::cli::doctor::Level;

    fn held(renewed: Option<i64>) -> LeaseSpec {
        let time = |second: i64| MicroTime(Timestamp::UNIX_EPOCH + SignedDuration::from_secs(second));
        LeaseSpec {
            holder_identity: Some("pod-1".to_owned()),
            acquire_time: Some(time(0)),
            renew_time: renewed.map(time),
            lease_duration_seconds: Some(15),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_held_stale_or_nobodys() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_secs(100);
        for (lease, level, word) in [
            (held(Some(85)), Level::Ok, "pod-1 holds it since 1970-01-01T00:00:00Z"),
            (held(Some(130)), Level::Ok, "holds it"),
            (held(Some(84)), Level::Warning, "stale: pod-1 renewed it 16 s ago"),
            (held(None), Level::Warning, "never renewed"),
            (LeaseSpec { holder_identity: Some(String::new()), ..held(Some(99)) }, Level::Warning, "nobody holds it"),
            (LeaseSpec { lease_duration_seconds: Some(-1), ..held(Some(99)) }, Level::Warning, "stale"),
            (LeaseSpec::default(), Level::Warning, "nobody holds it"),
        ] {
            let found = judge("Lease".to_owned(), now, &lease);
            assert!(found.level == level && found.found.contains(word), "{found:?}");
        }
    }
}
