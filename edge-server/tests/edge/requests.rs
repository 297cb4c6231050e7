//! What the host adds to a request and a reply.

use bytes::Bytes;
use http::{Request, StatusCode};
use tempfile::TempDir;
use yardarm_conformance::environment::Environment;

use crate::running::{Running, flags};

#[tokio::test]
async fn every_reply_names_its_request() {
    let directory = TempDir::new().unwrap();
    let edge = Running::start(directory.path()).await;
    let mut named = flags("unknown");
    named
        .headers_mut()
        .insert("x-request-id", "from-the-proxy".parse().unwrap());
    let answer = edge.send(named).await;
    assert_eq!(answer.headers()["x-request-id"], "from-the-proxy");
    let first = edge.send(flags("unknown")).await;
    let second = edge.send(flags("unknown")).await;
    assert_ne!(
        first.headers()["x-request-id"],
        second.headers()["x-request-id"]
    );
    edge.stop().await;
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_refused() {
    const LIMIT: usize = 8 << 20;
    let directory = TempDir::new().unwrap();
    let edge = Running::start(directory.path()).await;
    let environment = Environment::fresh("limits");
    edge.target.publish(&environment.package(1)).await.unwrap();
    let post = |bytes: usize| {
        let mut body = br#"{"identifier":"ann"}"#.to_vec();
        body.resize(bytes, b' ');
        Request::post("/api/v1/identities/")
            .header("x-environment-key", &environment.key)
            .header("content-type", "application/json")
            .body(Bytes::from(body))
            .unwrap()
    };
    assert_eq!(edge.send(post(LIMIT)).await.status(), StatusCode::OK);
    assert_eq!(
        edge.send(post(LIMIT + 1)).await.status(),
        StatusCode::PAYLOAD_TOO_LARGE
    );
    edge.stop().await;
}
