//! Replies in the encoding that the client takes.

use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use tower::ServiceExt as _;

use crate::app::TestApp;

async fn ask(app: &TestApp, path: &str, encoding: &str) -> HeaderMap {
    let request = Request::get(path).header("accept-encoding", encoding);
    let reply = app
        .router
        .clone()
        .oneshot(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(reply.status(), StatusCode::OK);
    reply.headers().clone()
}

#[tokio::test]
async fn long_replies_are_packed_for_who_takes_that() {
    let app = TestApp::start().await;
    let document = "/api/v1/openapi.json";
    let packed = ask(&app, document, "br;q=0.5, gzip").await;
    assert_eq!(packed["content-encoding"], "gzip");
    assert!(
        packed
            .get_all("vary")
            .iter()
            .any(|value| *value == "Accept-Encoding")
    );
    let plain = ask(&app, document, "identity").await;
    assert!(!plain.contains_key("content-encoding"));
    assert!(
        plain
            .get_all("vary")
            .iter()
            .any(|value| *value == "Accept-Encoding")
    );
    let short = ask(&app, "/health/liveness/", "gzip").await;
    assert!(!short.contains_key("content-encoding"));
}
