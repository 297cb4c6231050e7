//! TLS to Postgres: whom we take for the server, and who we say we are. The words are libpq's.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How sure we want to be of whom we talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    /// Whoever answers: safe from who listens, not from who answers in the server's place.
    Nothing,
    /// Somebody whom one of the authorities knows.
    Authority,
    /// The same, with a certificate for the name that was asked for.
    Name,
}

/// Who vouches for the server.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Roots {
    /// The authorities that the system trusts.
    System,
    /// Those of a PEM file.
    File(String),
}

/// What `sslmode` and its companions ask for.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    mode: SslMode,
    demand: Demand,
    roots: Option<Roots>,
    /// Certificate and key to show the server.
    own: Option<(String, String)>,
}

impl Tls {
    /// Of `sslmode`, `sslrootcert`, `sslcert` and `sslkey`.
    ///
    /// # Errors
    /// When they make no sense together.
    pub(super) fn new(words: [Option<String>; 4]) -> anyhow::Result<Self> {
        let [mode, root, certificate, key] = words;
        let roots = root.map(|root| match root.as_str() {
            "system" => Roots::System,
            _ => Roots::File(root),
        });
        let system = roots == Some(Roots::System);
        let (mode, demand) = match mode.as_deref() {
            None if system => (SslMode::Require, Demand::Name),
            Some("disable") => (SslMode::Disable, Demand::Nothing),
            // Which of the two is tried first makes no difference to who only wants to connect.
            None | Some("prefer" | "allow") => (SslMode::Prefer, Demand::Nothing),
            Some("require") => (SslMode::Require, Demand::Nothing),
            Some("verify-ca") => {
                ensure!(
                    roots.is_some(),
                    "sslmode=verify-ca needs sslrootcert, a file of authorities: anybody gets a certificate from a public one. \
                     With those, use verify-full"
                );
                (SslMode::Require, Demand::Authority)
            }
            Some("verify-full") => (SslMode::Require, Demand::Name),
            Some(other) => bail!(
                "sslmode={other} is none of disable, allow, prefer, require, verify-ca, verify-full"
            ),
        };
        ensure!(
            !system || demand == Demand::Name || mode == SslMode::Disable,
            "sslrootcert=system needs sslmode=verify-full: anybody gets a certificate from a public authority"
        );
        // Who names authorities wants them asked.
        let demand = match (&roots, demand) {
            (Some(_), Demand::Nothing) => Demand::Authority,
            (_, demand) => demand,
        };
        let own = match (certificate, key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => bail!("sslcert and sslkey belong together"),
        };
        Ok(Self {
            mode,
            demand,
            roots,
            own,
        })
    }

    /// Whether TLS is spoken.
    pub(super) fn mode(&self) -> SslMode {
        self.mode
    }

    /// What makes the connections; reads the files.
    ///
    /// # Errors
    /// When a file cannot be read, or the system has no certificates.
    pub(super) fn connector(&self) -> anyhow::Result<MakeRustlsConnect> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(self, Arc::clone(&provider))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.own {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = certificates(certificate)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .with_context(|| format!("sslkey {key} cannot be read"))?;
                builder
                    .with_client_auth_cert(chain, key)
                    .context("sslcert and sslkey cannot be used")?
            }
        };
        // Servers want it where the handshake comes first (`sslnegotiation=direct`), and ignore it elsewhere.
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(MakeRustlsConnect::new(config))
    }
}

impl fmt::Display for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.mode, self.demand) {
            (_, Demand::Name) => "sslmode=verify-full",
            (SslMode::Prefer, _) => "sslmode=prefer",
            (_, Demand::Authority) => "sslmode=verify-ca",
            (SslMode::Disable, _) => "sslmode=disable",
            _ => "sslmode=require",
        })?;
        match &self.roots {
            Some(Roots::File(path)) => write!(f, ", sslrootcert={path}"),
            Some(Roots::System) => f.write_str(", sslrootcert=system"),
            None => Ok(()),
        }
    }
}

/// Judges the server's certificate.
#[derive(Debug)]
struct Verifier {
    demand: Demand,
    named: Vec<CertificateDer<'static>>,
    authorities: RootCertStore,
    provider: Arc<CryptoProvider>,
}

impl Verifier {
    fn new(tls: &Tls, provider: Arc<CryptoProvider>) -> anyhow::Result<Self> {
        let mut authorities = RootCertStore::empty();
        let mut named = Vec::new();
        match &tls.roots {
            Some(Roots::File(path)) => {
                named = certificates(path)?;
                let (_, unusable) = authorities.add_parsable_certificates(named.iter().cloned());
                ensure!(
                    unusable < named.len(),
                    "{path} holds no certificate that can be used"
                );
            }
            _ if tls.demand == Demand::Nothing => {}
            _ => {
                let found = rustls_native_certs::load_native_certs();
                authorities.add_parsable_certificates(found.certs);
                ensure!(
                    !authorities.is_empty(),
                    "this system has no certificates of authorities (Debian: apt install ca-certificates); \
                     or name a file of them with sslrootcert. {:?}",
                    found.errors
                );
            }
        }
        Ok(Self {
            demand: tls.demand,
            named,
            authorities,
            provider,
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.demand == Demand::Nothing {
            return Ok(ServerCertVerified::assertion());
        }
        let certificate = ParsedCertificate::try_from(end_entity)?;
        // Postgres' manual makes a certificate that signs itself, which is an authority's and therefore no server's.
        // Who names that very one trusts it.
        if !self.named.contains(end_entity) {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &self.authorities,
                intermediates,
                now,
                self.provider.signature_verification_algorithms.all,
            )?;
        }
        if self.demand == Demand::Name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    // The server has to hold its certificate's key in any case: channel binding rests on that.

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

fn certificates(path: &str) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_file_iter(Path::new(path))
        .and_then(Iterator::collect)
        .with_context(|| format!("certificates cannot be read from {path}"))?;
    ensure!(!found.is_empty(), "{path} holds no certificate");
    Ok(found)
}
