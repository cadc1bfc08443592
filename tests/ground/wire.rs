//! A wire between the operator and the API server, which can be cut: bytes pass as they are, so TLS is the server's own.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A running wire; dropping it closes it.
#[derive(Debug)]
pub struct Wire {
    address: SocketAddr,
    cut: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    /// Listens on a port of its own, in front of `server`, an `https://host:port`.
    ///
    /// # Errors
    /// Where no port can be bound.
    pub async fn start(server: &str) -> Result<Self> {
        let server = server.strip_prefix("https://").context("the server is no https:// address")?.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (cut, is_cut) = watch::channel(false);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A broken connection is what the caller is to see.
                tokio::spawn(pass(client, server.clone(), is_cut.clone()));
            }
        });
        Ok(Self { address, cut, task })
    }

    /// The server's address by this wire.
    #[must_use]
    pub fn server(&self) -> String {
        format!("https://{}", self.address)
    }

    /// From now on nothing passes and nobody is told; or all does again, on new connections.
    pub fn cut(&self, cut: bool) {
        self.cut.send_replace(cut);
    }
}

async fn pass(mut client: TcpStream, server: String, mut is_cut: watch::Receiver<bool>) {
    let passing = async {
        if let Ok(mut upstream) = TcpStream::connect(&server).await {
            let _ = copy_bidirectional(&mut client, &mut upstream).await;
        }
    };
    let whole = !*is_cut.borrow();
    if whole {
        tokio::select! {
            () = passing => return,
            _ = is_cut.wait_for(|cut| *cut) => {}
        }
    }
    // As in a partition: the connection is there, and no byte passes on it.
    let _ = is_cut.wait_for(|cut| !*cut).await;
}
