//! HTTPS: HTTP/2 by ALPN, and a certificate that is renewed.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode, Version};
use http_body_util::Empty;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use yardarm_edge::Tls;

use crate::running::Running;

/// Writes a new certificate for `localhost` and its key.
fn write_certificate(folder: &Path) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    made.cert.der().clone()
}

async fn connect(
    edge: &Running,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let socket = TcpStream::connect(edge.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, socket)
        .await
}

#[tokio::test]
async fn the_protocol_is_negotiated() {
    let directory = TempDir::new().unwrap();
    let certificate = write_certificate(directory.path());
    let file = |name| directory.path().join(name);
    let tls = Tls::open(&file("cert.pem"), &file("key.pem")).unwrap();
    let edge = Running::with_tls(&directory.path().join("data"), tls).await;

    let stream = connect(&edge, &certificate, &["h2", "http/1.1"])
        .await
        .unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = TokioIo::new(stream);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://localhost/health").body(Empty::<Bytes>::new());
    let answer = client.send_request(request.unwrap()).await.unwrap();
    assert_eq!(
        (answer.status(), answer.version()),
        (StatusCode::OK, Version::HTTP_2)
    );
    drop(client);

    let stream = connect(&edge, &certificate, &["http/1.1"]).await.unwrap();
    let io = TokioIo::new(stream);
    let (mut client, connection) = hyper::client::conn::http1::handshake(io).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("/health")
        .header("host", "localhost")
        .body(Empty::<Bytes>::new());
    let answer = client.send_request(request.unwrap()).await.unwrap();
    assert_eq!(
        (answer.status(), answer.version()),
        (StatusCode::OK, Version::HTTP_11)
    );
    drop(client);
    edge.stop().await;
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_a_broken_one_is_not() {
    let directory = TempDir::new().unwrap();
    let file = |name| directory.path().join(name);
    let old = write_certificate(directory.path());
    let tls = Tls::open(&file("cert.pem"), &file("key.pem")).unwrap();
    let edge = Running::with_tls(&file("data"), tls.clone()).await;
    let new = write_certificate(directory.path());
    connect(&edge, &old, &[]).await.unwrap();
    tls.reload().unwrap();
    connect(&edge, &new, &[]).await.unwrap();
    assert!(connect(&edge, &old, &[]).await.is_err());

    std::fs::write(file("key.pem"), "half a key").unwrap();
    tls.reload().unwrap_err();
    connect(&edge, &new, &[]).await.unwrap();
    edge.stop().await;
}

#[test]
fn files_that_are_none_are_named() {
    let directory = TempDir::new().unwrap();
    write_certificate(directory.path());
    let file = |name| directory.path().join(name);
    let error = |cert, key| Tls::open(&file(cert), &file(key)).unwrap_err().to_string();
    assert!(error("nothing.pem", "key.pem").contains("nothing.pem"));
    assert!(error("cert.pem", "cert.pem").contains("cert.pem"));
}
