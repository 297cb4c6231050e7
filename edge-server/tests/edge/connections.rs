//! Connections: protocols and the end of serving.

use http::StatusCode;
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use yardarm_conformance::environment::Environment;

use crate::running::Running;

#[tokio::test]
async fn http_2_is_spoken_without_tls_on_the_same_port() {
    let directory = TempDir::new().unwrap();
    let edge = Running::start(directory.path()).await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http();
    let health = format!("http://{}/health", edge.address).parse().unwrap();
    let request: hyper_util::client::legacy::ResponseFuture = {
        let client: &Client<_, Empty<bytes::Bytes>> = &client;
        client.get(health)
    };
    let answer = request.await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.version(), http::Version::HTTP_2);
    drop(client);
    edge.stop().await;
}

#[tokio::test]
async fn a_running_request_is_finished_before_the_end() {
    let directory = TempDir::new().unwrap();
    let edge = Running::start(directory.path()).await;
    let environment = Environment::fresh("draining");
    edge.target.publish(&environment.package(1)).await.unwrap();
    let address = edge.address;
    let body = r#"{"identifier":"ann"}"#;
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/v1/identities/ HTTP/1.1\r\nHost: edge\r\nX-Environment-Key: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
        environment.key,
        body.len(),
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    // The interim answer shows that the request runs.
    let mut interim = [0; 25];
    socket.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");

    let stopping = edge.begin_stop();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!stopping.is_finished());
    socket.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    stopping.await.unwrap();
}
