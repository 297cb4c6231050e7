//! The real component asks its control plane of keys that it does not hold: once for all who wait, signed both ways,
//! for no longer than a request may wait, and not again of what it was told.
//!
//! Skipped, with a word, until `scripts/build-spin` has built the component.

#![expect(clippy::unwrap_used, reason = "a test's own steps must not fail")]

mod running;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use running::{Running, SECRET, TURN, component};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use yardarm_conformance::environment::Environment;
use yardarm_conformance::{serve, sha256_hex, unix_seconds};
use yardarm_core::edge::signature;
use yardarm_core::snapshot::{Package, Publication, compile};
use yardarm_core::time::Timestamp;

/// A control plane that has one package.
struct ControlPlane {
    package: Package,
    secret: &'static str,
    /// How long an answer takes.
    takes: Duration,
    asked: AtomicUsize,
}

impl ControlPlane {
    fn new(package: Package, takes: Duration) -> Self {
        Self {
            package,
            secret: SECRET,
            takes,
            asked: AtomicUsize::new(0),
        }
    }

    async fn serve(self) -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let this = Arc::new(self);
        let control_plane = Arc::clone(&this);
        serve(listener, move |request| {
            let this = Arc::clone(&control_plane);
            async move { Ok::<_, Infallible>(this.answer(request).await) }
        });
        (url, this)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET {
            // What comes home is another test's.
            return status(StatusCode::SERVICE_UNAVAILABLE);
        }
        let header = |name| request.headers().get(name).unwrap().to_str().unwrap();
        let path = request.uri().path();
        let (timestamp, by) = (
            header(signature::TIMESTAMP_HEADER),
            header(signature::SIGNATURE_HEADER),
        );
        let now = Timestamp::from_secs(unix_seconds());
        signature::verify(
            SECRET.as_bytes(),
            "GET",
            path,
            Some(timestamp),
            Some(by),
            b"",
            now,
        )
        .unwrap();
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(self.takes).await;
        let meta = self.package.meta();
        let named =
            path == format!(
                "/api/v1/edge/environments/{}/package/",
                meta.environment_key
            ) || meta.server_keys.iter().any(|hash| {
                path == format!("/api/v1/edge/environments/by-server-key/{hash}/package/")
            });
        if !named {
            return status(StatusCode::NOT_FOUND);
        }
        let (body, now) = (self.package.bytes(), unix_seconds());
        let signed = signature::sign(self.secret.as_bytes(), "GET", path, now, &body);
        Response::builder()
            .header(signature::TIMESTAMP_HEADER, now)
            .header(signature::SIGNATURE_HEADER, signed)
            .body(Full::new(body))
            .unwrap()
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

/// The same environment with a server-side key.
fn with_server_key(environment: &Environment, key: &str) -> Package {
    let page = environment.package(1).document_page(0).unwrap();
    let document: Value = serde_json::from_slice(&page).unwrap();
    let publication: Publication = serde_json::from_value(json!({
        "version": 1,
        "updated_at_micros": 1_767_225_600_000_000_i64,
        "server_keys": [{ "sha256": sha256_hex(key), "active": true }],
        "document": document,
    }))
    .unwrap();
    compile(&publication).0
}

/// The component, without anything in its store.
struct Cold {
    running: Running,
    _state: TempDir,
}

impl Cold {
    /// `None`, with a word, where there is no component.
    fn start(control_plane: &str, allowed: &str) -> Option<Self> {
        let state = tempfile::tempdir().unwrap();
        let variables = [("control_plane_url", control_plane)];
        let running = Running::start_calling(&component()?, state.path(), allowed, &variables);
        Some(Self {
            running,
            _state: state,
        })
    }

    async fn flags(&self, key: &str) -> StatusCode {
        self.running.get("/api/v1/flags/", key).await.0
    }
}

#[tokio::test]
async fn a_stampede_on_a_cold_edge_is_one_question() {
    let _turn = TURN.lock().await;
    let environment = Environment::fresh("stampede");
    let control_plane = ControlPlane::new(environment.package(3), Duration::from_millis(200));
    let (url, control_plane) = control_plane.serve().await;
    let Some(edge) = Cold::start(&url, &url) else {
        return;
    };
    // More than one instance answers at once.
    let asking = (0..50).map(|_| edge.flags(&environment.key));
    let statuses = futures_util::future::join_all(asking).await;
    assert!(
        statuses.iter().all(|status| *status == StatusCode::OK),
        "{statuses:?}"
    );
    assert_eq!(control_plane.asked(), 1);
}

#[tokio::test]
async fn what_there_is_not_is_asked_once_and_a_server_side_key_leads_there_too() {
    let _turn = TURN.lock().await;
    let environment = Environment::fresh("unknown");
    let package = with_server_key(&environment, "ser.pulled");
    let control_plane = ControlPlane::new(package, Duration::ZERO);
    let (url, control_plane) = control_plane.serve().await;
    let Some(edge) = Cold::start(&url, &url) else {
        return;
    };
    let asking = (0..20).map(|_| edge.flags("nobody's"));
    for status in futures_util::future::join_all(asking).await {
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    // Another instance, as this one is dropped after a second.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(edge.flags("nobody's").await, StatusCode::FORBIDDEN);
    assert_eq!(control_plane.asked(), 1);
    assert_eq!(edge.flags("ser.pulled").await, StatusCode::OK);
    assert_eq!(edge.flags(&environment.key).await, StatusCode::OK);
    assert_eq!(control_plane.asked(), 2);
}

#[tokio::test]
async fn nobody_waits_for_a_slow_control_plane_and_its_answer_is_there_for_the_next() {
    let _turn = TURN.lock().await;
    let environment = Environment::fresh("slow");
    let control_plane = ControlPlane::new(environment.package(1), Duration::from_secs(3));
    let (url, control_plane) = control_plane.serve().await;
    let Some(edge) = Cold::start(&url, &url) else {
        return;
    };
    let began = Instant::now();
    let asking = (0..5).map(|_| edge.flags(&environment.key));
    for status in futures_util::future::join_all(asking).await {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
    assert!(began.elapsed() < Duration::from_millis(2_900));
    let until = began + Duration::from_secs(30);
    while edge.flags(&environment.key).await != StatusCode::OK {
        assert!(Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(control_plane.asked(), 1);
}

#[tokio::test]
async fn what_cannot_be_told_is_no_refusal() {
    let _turn = TURN.lock().await;
    let environment = Environment::fresh("trouble");
    let mut liar = ControlPlane::new(environment.package(1), Duration::ZERO);
    liar.secret = "another";
    let (liar, _) = liar.serve().await;
    let honest = ControlPlane::new(environment.package(1), Duration::ZERO);
    let (honest, not_asked) = honest.serve().await;
    // One that signs with another secret, one that may not be called, and one that is not there.
    for (url, allowed) in [
        (liar.as_str(), liar.as_str()),
        (&honest, "http://127.0.0.1:9"),
        ("http://127.0.0.1:9", "http://127.0.0.1:9"),
    ] {
        let Some(edge) = Cold::start(url, allowed) else {
            return;
        };
        assert_eq!(
            edge.flags(&environment.key).await,
            StatusCode::SERVICE_UNAVAILABLE,
            "{url}"
        );
        let package = environment.package(2);
        edge.running.target.publish(&package).await.unwrap();
        assert_eq!(edge.flags(&environment.key).await, StatusCode::OK);
    }
    assert_eq!(not_asked.asked(), 0);
}
