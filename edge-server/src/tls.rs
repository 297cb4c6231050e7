//! TLS with HTTP/2 by ALPN, from PEM files that may be renewed while the edge runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How long a client may take over the handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// Why files give no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds nothing of the kind.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: pem::Error,
    },
    /// Certificate and key do not belong together, or cannot be used.
    #[error("certificate and key: {0}")]
    Unusable(#[from] rustls::Error),
}

/// A certificate to serve with. Cheap to clone; clones follow the same files.
#[derive(Debug, Clone)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    current: Arc<ArcSwap<ServerConfig>>,
}

impl Tls {
    /// Reads a certificate, with the chain up to its root, and its key.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            current: Arc::new(ArcSwap::from_pointee(read(certificate, key)?)),
        })
    }

    /// Reads the files anew; connections from now on get what they hold. The old certificate stays where
    /// they hold none.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.current
            .store(Arc::new(read(&self.certificate, &self.key)?));
        Ok(())
    }

    /// Reloads whenever a file has changed, for ever.
    pub async fn follow_files(self) {
        let mut seen = self.stamps().await;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let stamps = self.stamps().await;
            if stamps == seen {
                continue;
            }
            match self.reload() {
                Ok(()) => {
                    tracing::info!(certificate = %self.certificate.display(), "certificate renewed");
                    seen = stamps;
                }
                // One of the two may not be there yet: it is tried again.
                Err(error) => tracing::warn!(%error, "the certificate stays as it was"),
            }
        }
    }

    async fn stamps(&self) -> [Option<SystemTime>; 2] {
        let stamp = async |path| tokio::fs::metadata(path).await.ok()?.modified().ok();
        [stamp(&self.certificate).await, stamp(&self.key).await]
    }

    /// The handshake; nothing where it fails.
    pub(crate) async fn accept(&self, socket: TcpStream) -> Option<TlsStream<TcpStream>> {
        let acceptor = TlsAcceptor::from(self.current.load_full());
        match tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => Some(stream),
            Ok(Err(error)) => {
                tracing::debug!(%error, "no TLS handshake");
                None
            }
            Err(_) => None,
        }
    }
}

fn read(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let of = |path: &Path| {
        let path = path.to_owned();
        |error| TlsError::File { path, error }
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(of(certificate))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(of(key))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
