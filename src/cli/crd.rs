//! `crd`: what `kubectl apply` takes.

use std::io::Write;

use kube::CustomResourceExt;

use super::Error;
use crate::api::{S3AccessClass, S3AccessUser};

pub(super) fn print() -> Result<(), Error> {
    let mut out = std::io::stdout();
    for crd in [S3AccessClass::crd(), S3AccessUser::crd()] {
        writeln!(out, "---\n{}", serde_saphyr::to_string(&crd)?.trim_end())?;
    }
    Ok(())
}
