//! Other servers that stand in for AWS: moto, and versitygw's IAM.

use std::path::Path;

use anyhow::{Context, Result};
use ground::folders::Folder;
use ground::moto::{Account, Moto, Partition};
use ground::versitygw::VersityGw;

use crate::target::Target;

/// A running server; it ends with this.
pub struct Server {
    /// The server, with the key of an administrator.
    pub target: Target,
    _running: Running,
    _folder: Folder,
}

/// What ends with it.
enum Running {
    Moto { _server: Moto },
    VersityGw { _server: VersityGw },
}

/// A moto server that checks signatures and permissions, if `MOTO_SERVER` names its program.
pub async fn moto() -> Result<Option<Server>> {
    let Some(program) = std::env::var_os("MOTO_SERVER") else {
        return Ok(None);
    };
    let folder = Folder::create("conformance")?;
    let python = Path::new(&program).parent().context("the folder of moto_server")?;
    let server = Moto::start(python, folder.path(), Partition::Aws).await?;
    let target = target(server.account());
    Ok(Some(Server { target, _running: Running::Moto { _server: server }, _folder: folder }))
}

/// The IAM of versitygw, if `VERSITYGW` names its program.
pub async fn versitygw() -> Result<Option<Server>> {
    let Some(program) = std::env::var_os("VERSITYGW") else {
        return Ok(None);
    };
    let folder = Folder::create("conformance")?;
    let server = VersityGw::start(Path::new(&program), folder.path()).await?;
    let target = target(server.account());
    Ok(Some(Server { target, _running: Running::VersityGw { _server: server }, _folder: folder }))
}

fn target(account: &Account) -> Target {
    let region = account.partition.region();
    Target::new(account.endpoint.clone(), region, &account.access_key_id, &account.secret_access_key)
}
