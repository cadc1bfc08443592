//! The operator's binary.
use kube::CustomResourceExt;
fn main() {
    println!(
        "{}",
        serde_json::to_string_pretty(&s3_access_operator::api::S3AccessUser::crd()).unwrap_or_default()
    );
}
