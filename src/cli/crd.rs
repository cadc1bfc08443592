//! `crd`: what `kubectl apply` takes.

use std::io::Write;

use kube::CustomResourceExt;

use super::Error;
use crate::api::S3AccessUser;

pub(super) fn print() -> Result<(), Error> {
    let text = serde_saphyr::to_string(&S3AccessUser::crd())?;
    writeln!(std::io::stdout(), "{}", text.trim_end())?;
    Ok(())
}
