//! The certificate of the metrics: from files, or the operator's own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::sync::Mutex;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, version};

/// As a Secret of type kubernetes.io/tls has them.
const CHAIN: &str = "tls.crt";
const KEY: &str = "tls.key";
/// Files are not read more often: a handshake is somebody else's to begin.
const READ_INTERVAL: Duration = Duration::from_secs(1);

/// What the operator shows to whoever reads metrics by TLS.
pub struct Certificate {
    folder: Option<PathBuf>,
    current: Mutex<Current>,
}

struct Current {
    acceptor: TlsAcceptor,
    /// Of the files that were read last, whether or not they could be used; `None` where they could not be read.
    digest: Option<[u8; 32]>,
    read_at: Instant,
}

impl Certificate {
    /// Takes it from `tls.crt` and `tls.key` in the folder; without one, makes a certificate that nobody vouches for.
    ///
    /// # Errors
    /// The files cannot be read, or are no chain and its key.
    pub async fn load(folder: Option<PathBuf>) -> io::Result<Self> {
        let (acceptor, digest) = match &folder {
            Some(folder) => {
                let pem = Pem::read(folder).await?;
                (pem.acceptor().map_err(|error| in_folder(folder, &error))?, Some(pem.digest()))
            }
            None => (self_signed()?, None),
        };
        Ok(Self { folder, current: Mutex::new(Current { acceptor, digest, read_at: Instant::now() }) })
    }

    /// What shakes hands with the next client: by the files as they are now.
    pub(super) async fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().await;
        if let Some(folder) = &self.folder
            && current.read_at.elapsed() >= READ_INTERVAL
        {
            current.refresh(folder).await;
        }
        current.acceptor.clone()
    }
}

impl Current {
    /// What cannot be used is told once, and what was used before stays.
    async fn refresh(&mut self, folder: &Path) {
        self.read_at = Instant::now();
        let found = Pem::read(folder).await;
        let digest = found.as_ref().ok().map(Pem::digest);
        if digest == self.digest {
            return;
        }
        self.digest = digest;
        match found.and_then(|pem| pem.acceptor().map_err(|error| in_folder(folder, &error))) {
            Ok(acceptor) => {
                self.acceptor = acceptor;
                tracing::info!("the certificate of the metrics was renewed");
            }
            Err(error) => tracing::warn!(%error, "the certificate of the metrics is not renewed"),
        }
    }
}

/// A chain of certificates and a key, as text.
struct Pem {
    chain: Vec<u8>,
    key: Vec<u8>,
}

impl Pem {
    async fn read(folder: &Path) -> io::Result<Self> {
        let read = async |name: &str| {
            let path = folder.join(name);
            tokio::fs::read(&path).await.map_err(|error| in_folder(&path, &error))
        };
        Ok(Self { chain: read(CHAIN).await?, key: read(KEY).await? })
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::new()
            .chain_update(Sha256::digest(&self.chain))
            .chain_update(Sha256::digest(&self.key))
            .finalize()
            .into()
    }

    fn acceptor(&self) -> io::Result<TlsAcceptor> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.chain).collect();
        let chain = chain.map_err(|error| io::Error::other(format!("{CHAIN} is no PEM: {error}")))?;
        let key = PrivateKeyDer::from_pem_slice(&self.key);
        acceptor(chain, key.map_err(|error| io::Error::other(format!("{KEY} is no key in PEM: {error}")))?)
    }
}

fn self_signed() -> io::Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).map_err(io::Error::other)?;
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    acceptor(vec![made.cert.der().clone()], key.into())
}

fn acceptor(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> io::Result<TlsAcceptor> {
    let provider = Arc::new(crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&version::TLS13])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key));
    let mut config = config.map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn in_folder(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
