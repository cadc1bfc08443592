//! `rotate`: asks the operator for a new key, by the annotation that anybody else would set.

use std::io::Write;

use clap::Args;
use jiff::Timestamp;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::{Error, users};
use crate::api::{S3AccessUser, annotations};
use crate::kubernetes::client;

#[derive(Args, Debug)]
pub(super) struct Options {
    /// The S3AccessUser
    name: String,
    /// Its namespace [default: the kubeconfig's]
    #[arg(short, long)]
    namespace: Option<String>,
}

pub(super) async fn run(options: &Options) -> Result<(), Error> {
    let users: Api<S3AccessUser> = users(client().await?, options.namespace.as_deref());
    let patch = json!({ "metadata": { "annotations": { annotations::ROTATE: Timestamp::now().to_string() } } });
    let user = users.patch(&options.name, &PatchParams::default(), &Patch::Merge(&patch)).await?;
    let advice =
        if user.spec.suspend { "it is suspended: a key is made once spec.suspend is false" } else { "see `status`" };
    Ok(writeln!(std::io::stdout(), "{}: a new access key is asked for; {advice}", options.name)?)
}
