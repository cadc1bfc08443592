//! The test ground: a real Kubernetes control plane, moto as AWS, a recording proxy between, and the operator's own
//! process. Tests and developers' commands stand on it.
#![allow(
    clippy::too_many_arguments,
    clippy::too_many_lines,
    reason = "a double's calls take what AWS's take, and tables of them are long"
)]

pub mod authorities;
pub mod bench;
pub mod cache;
pub mod double;
pub mod folders;
pub mod kubernetes;
pub mod moto;
pub mod namespaces;
pub mod node;
pub mod oci;
pub mod operator;
pub mod ports;
pub mod processes;
pub mod progress;
pub mod proxy;
pub mod recorder;
pub mod rgw;
pub mod snippets;
pub mod stand;
pub mod tools;
pub mod versitygw;
pub mod wait;
pub mod wire;

use std::path::{Path, PathBuf};

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    // The ground's package is `xtask`, one level below the root.
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}
