//! Writes go out only while this process leads.

use aws_sdk_iam::config::ConfigBag;
use aws_sdk_iam::config::interceptors::BeforeTransmitInterceptorContextRef;
use aws_sdk_iam::config::{Intercept, RuntimeComponents};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use jiff::Timestamp;

use crate::leadership::Leadership;

/// An SDK interceptor that asks last before each attempt to write: waiting for its turn, for credentials or to be
/// sent again, a call may have outlived the Lease.
#[derive(Debug)]
pub(super) struct OnlyTheLeaderWrites(pub(super) Leadership);

impl Intercept for OnlyTheLeaderWrites {
    fn name(&self) -> &'static str {
        "OnlyTheLeaderWrites"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let writes = bag.load::<Metadata>().is_none_or(|metadata| writes(metadata.name()));
        if writes { self.0.check(Timestamp::now()).map_err(BoxError::from) } else { Ok(()) }
    }
}

/// By AWS's own naming.
fn writes(operation: &str) -> bool {
    !["Get", "List", "Simulate"].iter().any(|verb| operation.starts_with(verb))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use aws_credential_types::Credentials;
    use aws_sdk_iam::Client;
    use aws_sdk_iam::config::retry::RetryConfig;
    use aws_sdk_iam::config::{BehaviorVersion, Builder, Region};
    use tokio::net::TcpListener;

    use super::*;
    use crate::aws::{AwsError, ErrorKind};

    /// A client of a server that takes the leadership away when it is called, and hangs up.
    async fn client(leadership: &Leadership) -> (Client, Arc<AtomicUsize>) {
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let lost = leadership.clone();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = server.accept().await {
                lost.extend(Timestamp::MIN);
                counted.fetch_add(1, Ordering::Relaxed);
                drop(connection);
            }
        });
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::from_keys("AKIAEXAMPLE", "secret", None))
            .endpoint_url(format!("http://{address}"))
            .retry_config(RetryConfig::standard().with_max_attempts(3))
            .interceptor(OnlyTheLeaderWrites(leadership.clone()));
        (Client::from_conf(config.build()), calls)
    }

    #[tokio::test]
    async fn invariant_5_a_write_is_not_sent_again_once_the_lease_has_run_out() {
        let leadership = Leadership::unopposed();
        let (client, calls) = client(&leadership).await;
        let error = client.delete_user().user_name("reports").send().await.unwrap_err();
        assert_eq!(AwsError::of("DeleteUser", "reports", &error).kind, ErrorKind::NotLeading);
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn who_does_not_lead_may_read_and_not_write() {
        let (client, calls) = client(&Leadership::nobody()).await;
        let error = client.create_access_key().user_name("reports").send().await.unwrap_err();
        assert_eq!(AwsError::of("CreateAccessKey", "reports", &error).kind, ErrorKind::NotLeading);
        let error = client.get_user().user_name("reports").send().await.unwrap_err();
        assert_eq!(AwsError::of("GetUser", "reports", &error).kind, ErrorKind::Unreachable);
        assert_eq!(calls.load(Ordering::Relaxed), 3, "the read alone, and as often as the SDK tries");
        let arn = "arn:aws:iam::1:user/reports";
        let error =
            client.simulate_principal_policy().policy_source_arn(arn).action_names("*").send().await.unwrap_err();
        assert_eq!(AwsError::of("SimulatePrincipalPolicy", "reports", &error).kind, ErrorKind::Unreachable);
    }
}
