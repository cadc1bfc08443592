//! An S3-compatible system to point an operator at, which misbehaves as it is told.

use std::net::IpAddr;

use anyhow::{Result, bail};
use clap::Args;
use ground::double::{Config, DoubleServer, Operation, Quirk, Settings};

#[derive(Args)]
pub struct Options {
    /// In what it is less than AWS, such as TagsDropped; --list shows all
    quirks: Vec<Quirk>,
    /// Answer a call with nothing but a status of HTTP, such as GetUserPolicy=503
    #[arg(long, value_parser = codeless)]
    codeless: Vec<(Operation, u16)>,
    /// Ignore the conditions of policies
    #[arg(long)]
    ignore_conditions: bool,
    /// Where it listens: an address that the operator reaches
    #[arg(long, default_value = "127.0.0.1")]
    address: IpAddr,
    /// The port; 0 for any that is free
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Print what there is to choose from
    #[arg(long)]
    list: bool,
}

fn codeless(text: &str) -> Result<(Operation, u16), String> {
    let (call, status) = text.split_once('=').ok_or("write CALL=STATUS, such as GetUserPolicy=503")?;
    let operation = Operation::ALL.iter().find(|known| known.as_str() == call).ok_or("no such call of IAM or STS")?;
    let status = status.parse().ok().filter(|status| (400..600).contains(status)).ok_or("no status of an error")?;
    Ok((*operation, status))
}

/// Serves it until it is interrupted.
pub async fn run(options: Options) -> Result<()> {
    if options.list {
        Quirk::ALL.iter().for_each(|quirk| println!("{quirk}"));
        return Ok(());
    }
    let settings = Settings {
        quirks: options.quirks.into_iter().collect(),
        codeless: options.codeless.into_iter().collect(),
        conditions_ignored: options.ignore_conditions,
        ..Settings::default()
    };
    let config = Config { settings, address: options.address, port: options.port, ..Config::default() };
    let system = DoubleServer::start(config).await?;
    let (endpoint, admin) = (system.endpoint(), system.admin());
    println!(
        "# IAM, STS and S3 at {endpoint} until Ctrl-C; kubectl apply this, with the Secret in the operator's namespace.
apiVersion: v1
kind: Secret
metadata:
  name: misbehaving
  namespace: s3-access-system
stringData:
  AWS_ACCESS_KEY_ID: {}
  AWS_SECRET_ACCESS_KEY: {}
---
apiVersion: s3access.dev/v1alpha1
kind: S3AccessClass
metadata:
  name: misbehaving
spec:
  provider: s3-compatible
  region: us-east-1
  credentialsSecretRef:
    name: misbehaving
  endpoints:
    iam: {endpoint}
    s3: {endpoint}
  allowedBuckets:
  - '*'",
        admin.access_key_id, admin.secret_access_key
    );
    std::future::pending::<()>().await;
    bail!("it ended")
}
