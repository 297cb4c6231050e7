//! What surrounds every answer: headers, redirects, what no handler answers, version and health.

use http::{Method, Request};
use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn headers_that_flagsmith_sends() {
    let t = TestApp::start().await;
    let reply = t.nobody().get("/api/v1/organisations/").await;
    reply.expect(401);
    for (name, value) in [
        ("allow", "GET, POST, HEAD, OPTIONS"),
        ("vary", "Accept, Origin"),
        (
            "cache-control",
            "max-age=0, no-cache, no-store, must-revalidate, private",
        ),
        ("pragma", "no-cache"),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("flagsmith-version", "2.265.0"),
        ("content-type", "application/json"),
    ] {
        assert_eq!(reply.header(name), value, "{name}");
    }
    assert_eq!(reply.header("x-request-id").len(), 16);
    let asked = Request::get("/version/")
        .header("x-request-id", "mine")
        .body("".into())
        .unwrap();
    assert_eq!(t.send(asked).await.header("x-request-id"), "mine");
}

#[tokio::test]
async fn paths_that_lead_nowhere_or_lack_a_slash() {
    let t = TestApp::start().await;
    let lost = t.nobody().get("/api/v1/nope/").await;
    assert_eq!(
        (lost.status.as_u16(), lost.header("content-type")),
        (404, "text/html; charset=utf-8")
    );
    assert!(lost.text.contains("<h1>Not Found</h1>"));
    for method in [Method::GET, Method::POST, Method::PUT] {
        let moved = t
            .nobody()
            .request(method, "/api/v1/organisations?page=2", None)
            .await;
        assert_eq!(moved.status, 301);
        assert_eq!(moved.header("location"), "/api/v1/organisations/?page=2");
    }
    let elsewhere = t.nobody().get("//evil.example/api/v1/organisations").await;
    assert_eq!(
        (elsewhere.status.as_u16(), elsewhere.header("location")),
        (404, "")
    );
}

#[tokio::test]
async fn methods_and_kinds_that_are_not_served() {
    let t = TestApp::start().await;
    let ann = t.person("ann").await;
    let wrong = ann.put("/api/v1/organisations/", json!({})).await;
    assert_eq!(
        wrong.expect(405),
        json!({"detail": "Method \"PUT\" not allowed."})
    );
    let html = Request::get("/api/v1/organisations/")
        .header("accept", "text/html")
        .body("".into())
        .unwrap();
    assert_eq!(
        t.send(html).await.expect(406),
        json!({"detail": "Could not satisfy the request Accept header."})
    );
    let browser = Request::get("/api/v1/users/config/init/")
        .header("accept", "text/html")
        .body("".into())
        .unwrap();
    assert_eq!(
        t.send(browser).await.status,
        400,
        "there is somebody already"
    );
    let options = ann
        .request(Method::OPTIONS, "/api/v1/organisations/", None)
        .await;
    assert_eq!(options.status, 200);
}

#[tokio::test]
async fn any_page_may_call() {
    let t = TestApp::start().await;
    let preflight = Request::options("/api/v1/organisations/")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST")
        .body("".into())
        .unwrap();
    let preflight = t.send(preflight).await;
    assert_eq!(preflight.status, 200);
    assert_eq!(preflight.header("access-control-allow-origin"), "*");
    assert!(
        preflight
            .header("access-control-allow-headers")
            .contains("authorization")
    );
    let simple = Request::get("/api/v1/organisations/")
        .header("origin", "https://app.example.com")
        .body("".into())
        .unwrap();
    let simple = t.send(simple).await;
    assert_eq!(simple.status, 401);
    assert_eq!(simple.header("access-control-allow-origin"), "*");
    assert_eq!(
        simple.header("access-control-expose-headers"),
        "Retry-After"
    );
}

#[tokio::test]
async fn version_and_health() {
    let t = TestApp::start().await;
    let version = t.nobody().get("/version/").await.expect(200);
    assert_eq!(version["package_versions"]["."], "2.265.0");
    assert_eq!(
        version["self_hosted_data"],
        json!({"has_users": false, "has_logins": false})
    );
    assert_eq!(
        t.nobody().get("/health/liveness/").await.expect(200),
        json!({"status": "ok"})
    );
    let working = json!({"DatabaseBackend": "working", "MigrationsHealthCheck": "working"});
    for path in ["/health?format=json", "/healthcheck", "/health/readiness/"] {
        assert_eq!(t.nobody().get(path).await.expect(200), working, "{path}");
    }
    assert_eq!(
        t.nobody().get("/robots.txt").await.text,
        "User-agent: *\nDisallow: /\n"
    );
}
