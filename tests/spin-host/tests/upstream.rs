//! The real component as an edge of an existing Flagsmith, which is played by a server here: what it serves, that it asks
//! once each interval and on condition, changes, pages, upstream down, what `/health` says, a restart.
//!
//! Skipped, with a word, until `SPIN_FEATURES=upstream scripts/build-spin` has built the component.

#![expect(clippy::unwrap_used, reason = "a test's own steps must not fail")]

mod running;

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use running::{Running, TURN, component_with_upstream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use yardarm_conformance::environment::Environment;
use yardarm_conformance::serve;

const SERVER_KEY: &str = "ser.spin-upstream";

/// A Flagsmith with one environment.
#[derive(Default)]
struct Flagsmith {
    key: String,
    now: Mutex<State>,
}

#[derive(Default)]
struct State {
    version: u64,
    /// Whether it is out of order.
    is_down: bool,
    asked: u32,
    not_modified: u32,
}

impl Flagsmith {
    async fn serve(key: &str) -> (String, Arc<Self>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let this = Arc::new(Self {
            key: key.to_owned(),
            now: Mutex::new(State {
                version: 1,
                ..State::default()
            }),
        });
        let flagsmith = Arc::clone(&this);
        serve(listener, move |request| {
            let answer = flagsmith.answer(&request);
            async move { Ok::<_, Infallible>(answer) }
        });
        (url, this)
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.now.lock().unwrap());
    }

    /// The document on two pages: the second has the override of one identity.
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let mut now = self.now.lock().unwrap();
        let mut reply = Response::new(Full::default());
        let is_second = request.uri().query() == Some("page_id=2");
        if now.is_down {
            *reply.status_mut() = StatusCode::BAD_GATEWAY;
            return reply;
        }
        assert_eq!(request.uri().path(), "/api/v1/environment-document/");
        assert_eq!(request.headers()["x-environment-key"], SERVER_KEY);
        now.asked += u32::from(!is_second);
        let tag = format!("\"{}\"", now.version);
        if request
            .headers()
            .get("if-none-match")
            .is_some_and(|sent| *sent == tag)
        {
            now.not_modified += 1;
            *reply.status_mut() = StatusCode::NOT_MODIFIED;
            return reply;
        }
        let environment = Environment {
            key: self.key.clone(),
        };
        let package = environment.package(now.version);
        let page = package.document_page(0).unwrap();
        let mut document: Value = serde_json::from_slice(&page).unwrap();
        document["updated_at"] = json!(format!("2026-01-01T00:00:{:02}+00:00", now.version));
        if is_second {
            let mut state = document["feature_states"][0].take();
            state["feature_state_value"] = json!("for ann");
            document["identity_overrides"] = json!([{
                "identifier": "ann",
                "identity_uuid": "00000000-0000-4000-8000-000000000009",
                "created_date": "2026-01-01T00:00:00+00:00",
                "environment_api_key": self.key,
                "identity_features": [state],
                "identity_traits": []
            }]);
            document["feature_states"] = json!([]);
        } else {
            let link = "</api/v1/environment-document/?page_id=2>; rel=\"next\"";
            reply.headers_mut().insert("link", link.parse().unwrap());
        }
        reply.headers_mut().insert("etag", tag.parse().unwrap());
        *reply.body_mut() = Full::new(document.to_string().into());
        reply
    }
}

/// The host with the component; `None`, with a word, where there is none.
fn start(upstream: &str, pairs: &Value, state: &Path) -> Option<Running> {
    let component = component_with_upstream()?;
    let (url, pairs) = (format!("{upstream}/api/v1"), pairs.to_string());
    let variables = [
        ("upstream_url", url.as_str()),
        ("environment_key_pairs", &pairs),
        ("api_poll_frequency_seconds", "1"),
        ("grace_seconds", "2"),
    ];
    Some(Running::start_calling(
        &component, state, upstream, &variables,
    ))
}

async fn flags(running: &Running, key: &str) -> (StatusCode, String) {
    let (status, body) = running.get("/api/v1/flags/", key).await;
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Asks until the answer has the text.
async fn until(running: &Running, path: &str, key: &str, text: &str) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let reply = running.reply(path, key).await;
        if String::from_utf8_lossy(reply.body()).contains(text) {
            return;
        }
        assert!(Instant::now() < end, "no {text}: {reply:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn an_existing_flagsmith_at_the_edge() {
    let _turn = TURN.lock().await;
    let environment = Environment::fresh("upstream");
    let key = environment.key.as_str();
    let (url, flagsmith) = Flagsmith::serve(key).await;
    let pairs = json!([{ "server_side_key": SERVER_KEY, "client_side_key": key }]);
    let state = tempfile::tempdir().unwrap();
    let Some(running) = start(&url, &pairs, state.path()) else {
        return;
    };
    // Who asks first waits for the first look, and one looks for all.
    let first = (0..20).map(|_| flags(&running, key));
    for (status, text) in futures_util::future::join_all(first).await {
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains(&Environment::value(1)), "{text}");
    }
    assert!(flagsmith.now.lock().unwrap().asked <= 2);
    assert_eq!(flags(&running, "another").await.0, StatusCode::FORBIDDEN);
    assert_eq!(flags(&running, SERVER_KEY).await.0, StatusCode::OK);
    let ann = "/api/v1/identities/?identifier=ann";
    until(&running, ann, key, "for ann").await;
    let document = running
        .reply("/api/v1/environment-document", SERVER_KEY)
        .await;
    assert_eq!(document.status(), StatusCode::OK);
    until(&running, "/health", "", r#""status":"ok""#).await;

    flagsmith.set(|now| now.version = 2);
    until(&running, "/api/v1/flags/", key, &Environment::value(2)).await;
    let age = running.reply("/api/v1/flags/", key).await;
    assert!(
        age.headers().contains_key("yardarm-snapshot-age"),
        "{age:?}"
    );
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    flags(&running, key).await;
    until(&running, "/health", "", r#""problem":null"#).await;
    assert!(flagsmith.now.lock().unwrap().not_modified > 0);

    flagsmith.set(|now| now.is_down = true);
    until(&running, "/proxy/health", "", "stale").await;
    let (status, text) = flags(&running, key).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains(&Environment::value(2)), "{text}");
    drop(running);

    let running = start(&url, &pairs, state.path()).unwrap();
    let (status, text) = flags(&running, key).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    flagsmith.set(|now| {
        now.is_down = false;
        now.version = 3;
    });
    until(&running, "/api/v1/flags/", key, &Environment::value(3)).await;
}

#[tokio::test]
async fn what_was_never_read_is_not_unknown() {
    let _turn = TURN.lock().await;
    let pairs = json!([{ "server_side_key": SERVER_KEY, "client_side_key": "client" }]);
    let state = tempfile::tempdir().unwrap();
    let Some(running) = start("http://127.0.0.1:9", &pairs, state.path()) else {
        return;
    };
    assert_eq!(
        flags(&running, "client").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(flags(&running, "another").await.0, StatusCode::FORBIDDEN);
    let health = running.reply("/health", "").await;
    assert_eq!(health.status(), StatusCode::SERVICE_UNAVAILABLE);
    let health: Value = serde_json::from_slice(health.body()).unwrap();
    assert_eq!(health["environments"][0]["environment_key"], "client");
    assert!(health["environments"][0]["problem"].is_string(), "{health}");
}
