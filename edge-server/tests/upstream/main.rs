//! The native edge of an existing Flagsmith, which is here a small one with bad days.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod flagsmith;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use yardarm_core::edge::upstream::{KeyPair, Root};
use yardarm_edge::{
    Client, DataDirectory, Edge, IdentityFiles, NativeHost, NoUsage, SnapshotStore, Upstream,
    UpstreamSettings,
};

use crate::flagsmith::{CLIENT_KEY, Flagsmith, Mood, SERVER_KEY};

const INTERVAL: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_millis(200);

/// An edge within this process, without a socket.
struct Running {
    edge: Edge<IdentityFiles>,
    upstream: Arc<Upstream>,
    looking: JoinHandle<()>,
}

impl Running {
    fn start(directory: &Path, url: &str, pairs: &[(&str, &str)]) -> Self {
        let pairs = pairs
            .iter()
            .map(|(server, client)| KeyPair::new(server, client).unwrap())
            .collect();
        Self::with(
            directory,
            UpstreamSettings {
                root: Root::parse(url).unwrap(),
                pairs,
                interval: INTERVAL,
                timeout: TIMEOUT,
                grace: Some(Duration::from_secs(1)),
            },
        )
    }

    fn with(directory: &Path, settings: UpstreamSettings) -> Self {
        let owner = Arc::new(DataDirectory::open(directory).unwrap());
        let snapshots = SnapshotStore::open(&directory.join("environments")).unwrap();
        let identities = IdentityFiles::open(&owner, 1 << 20).unwrap();
        let upstream = Arc::new(Upstream::new(settings, directory.join("upstream.json")));
        let host = NativeHost::new(snapshots.clone(), identities, None)
            .with_upstream(Arc::clone(&upstream))
            .with_allowed_origins(vec!["https://app.example".to_owned()]);
        let looking = Arc::clone(&upstream).run(snapshots, Client::new().unwrap());
        Self {
            edge: Edge::new(host, Arc::new(NoUsage)),
            upstream,
            looking: tokio::spawn(looking),
        }
    }

    async fn stop(self) {
        self.upstream.remember();
        self.looking.abort();
        let _ = self.looking.await;
    }

    async fn get(&self, path: &str, key: &str) -> Response<Bytes> {
        let request = Request::get(path)
            .header("x-environment-key", key)
            .header("origin", "https://app.example");
        let (head, body) = self
            .edge
            .answer(request.body(Full::<Bytes>::default()).unwrap())
            .await
            .into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }

    /// What the flag is worth, or the status that was answered instead.
    async fn value(&self, key: &str) -> Value {
        let answer = self.get("/api/v1/flags/", key).await;
        if answer.status() != 200 {
            return json!(answer.status().as_u16());
        }
        let flags: Value = serde_json::from_slice(answer.body()).unwrap();
        flags[0]["feature_state_value"].clone()
    }

    async fn health(&self) -> (u16, Value) {
        let answer = self.get("/proxy/health", "").await;
        let body = serde_json::from_slice(answer.body()).unwrap();
        (answer.status().as_u16(), body)
    }

    /// Waits until it serves a value and knows that upstream says so.
    async fn serves(&self, value: &str) {
        let is_so =
            || async { self.value(CLIENT_KEY).await == value && self.health().await.0 == 200 };
        until(value, is_so).await;
    }
}

/// Waits for something to become true.
async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "{what} never came"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

const PAIR: (&str, &str) = (SERVER_KEY, CLIENT_KEY);

#[tokio::test]
async fn serves_what_upstream_has_and_follows_its_changes() {
    let (flagsmith, directory) = (Flagsmith::start().await, TempDir::new().unwrap());
    let edge = Running::start(directory.path(), &flagsmith.url, &[PAIR]);
    edge.serves("first").await;
    assert_eq!(edge.value(SERVER_KEY).await, "first");
    assert_eq!(edge.value("ser.other").await, 403);
    assert_eq!(edge.value("other").await, 403);

    let answer = edge.get("/api/v1/flags/", CLIENT_KEY).await;
    let flags: Value = serde_json::from_slice(answer.body()).unwrap();
    let slim = json!([{"feature": {"id": 7, "name": "banner", "type": "STANDARD"}, "enabled": true,
                       "feature_state_value": "first"}]);
    assert_eq!(flags, slim);
    assert_eq!(answer.headers()["yardarm-snapshot-age"], "0");
    assert_eq!(
        answer.headers()["access-control-allow-origin"],
        "https://app.example"
    );
    // edge-proxy's path has no slash.
    for path in [
        "/api/v1/environment-document",
        "/api/v1/environment-document/",
    ] {
        let answer = edge.get(path, SERVER_KEY).await;
        assert_eq!(answer.status(), 200, "{path}");
        let document: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(document["api_key"], CLIENT_KEY);
    }
    assert_eq!(edge.get("/proxy/health/liveness", "").await.status(), 200);
    let (status, health) = edge.health().await;
    assert_eq!(
        (status, &health["status"], &health["reason"]),
        (200, &json!("ok"), &json!(null))
    );
    let of_environment = &health["environments"][0];
    assert_eq!(of_environment["environment_key"], CLIENT_KEY);
    assert_eq!(
        of_environment["last_successful_update"],
        health["last_successful_update"]
    );

    until("304", || async { flagsmith.state().unchanged > 2 }).await;
    {
        let mut state = flagsmith.state();
        (state.value, state.updated_at) = ("second", "2026-01-01T00:00:02+00:00");
    }
    edge.serves("second").await;
    edge.stop().await;
}

#[tokio::test]
async fn entity_tags_tell_changes_within_a_second() {
    let (flagsmith, directory) = (Flagsmith::start().await, TempDir::new().unwrap());
    flagsmith.state().has_etags = true;
    let edge = Running::start(directory.path(), &flagsmith.url, &[PAIR]);
    edge.serves("first").await;
    until("304", || async { flagsmith.state().unchanged > 2 }).await;
    flagsmith.state().value = "second";
    edge.serves("second").await;
    edge.stop().await;
}

#[tokio::test]
async fn pages_are_put_together() {
    let (flagsmith, directory) = (Flagsmith::start().await, TempDir::new().unwrap());
    flagsmith.state().overrides = vec![("alice", "for alice"), ("bob", "for bob"), ("c", "for c")];
    let edge = Running::start(directory.path(), &flagsmith.url, &[PAIR]);
    edge.serves("first").await;
    for (who, value) in [("alice", "for alice"), ("c", "for c"), ("dora", "first")] {
        let path = format!("/api/v1/identities/?identifier={who}");
        let answer = edge.get(&path, CLIENT_KEY).await;
        let identity: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(identity["flags"][0]["feature_state_value"], value, "{who}");
    }
    edge.stop().await;
}

#[tokio::test]
async fn on_bad_days_the_last_good_flags_serve() {
    let (flagsmith, directory) = (Flagsmith::start().await, TempDir::new().unwrap());
    let edge = Running::start(directory.path(), &flagsmith.url, &[PAIR]);
    edge.serves("first").await;
    flagsmith.state().value = "second";
    for (mood, told) in [
        (Mood::Status(500), "status 500"),
        (Mood::Status(403), "refuses the server-side key"),
        (Mood::Silent, "no answer in time"),
        (Mood::Says("<html>".to_owned()), "no JSON object"),
        (Mood::Breaks, "EOF while parsing"),
    ] {
        flagsmith.state().mood = mood.clone();
        let problem = || async {
            let (_, health) = edge.health().await;
            let problem = health["environments"][0]["problem"].as_str();
            problem.is_some_and(|problem| problem.contains(told))
        };
        until(told, problem).await;
        assert_eq!(edge.value(CLIENT_KEY).await, "first", "{mood:?}");
    }
    until("stale", || async { edge.health().await.0 == 503 }).await;
    let (_, health) = edge.health().await;
    assert_eq!(health["reason"], "environment document(s) stale.");
    assert_eq!(edge.value(CLIENT_KEY).await, "first");
    let age =
        edge.get("/api/v1/flags/", CLIENT_KEY).await.headers()["yardarm-snapshot-age"].clone();
    assert!(age.to_str().unwrap().parse::<u32>().unwrap() >= 1);

    {
        let mut state = flagsmith.state();
        (state.mood, state.updated_at) = (Mood::Redirects, "2026-01-01T00:00:02+00:00");
    }
    edge.serves("second").await;
    edge.stop().await;
}

#[tokio::test]
async fn a_restart_with_upstream_down_serves_from_disk() {
    let (flagsmith, directory) = (Flagsmith::start().await, TempDir::new().unwrap());
    let edge = Running::start(directory.path(), &flagsmith.url, &[PAIR]);
    edge.serves("first").await;
    let (_, before) = edge.health().await;
    edge.stop().await;

    flagsmith.state().mood = Mood::Silent;
    let edge = Running::start(directory.path(), &flagsmith.url, &[PAIR]);
    assert_eq!(edge.value(CLIENT_KEY).await, "first");
    assert_eq!(edge.value(SERVER_KEY).await, "first");
    let (_, after) = edge.health().await;
    assert!(after["last_successful_update"].as_str() >= before["last_successful_update"].as_str());
    edge.stop().await;

    // The same document under a new key: the old one is refused at once, the new one not yet known.
    let edge = Running::start(directory.path(), &flagsmith.url, &[("ser.new", CLIENT_KEY)]);
    assert_eq!(edge.value(CLIENT_KEY).await, "first");
    assert_eq!(edge.value(SERVER_KEY).await, 403);
    assert_eq!(edge.value("ser.new").await, 503);
    edge.stop().await;

    // An environment that is no longer configured is no longer served.
    let edge = Running::start(directory.path(), &flagsmith.url, &[("ser.b", "b")]);
    assert_eq!(edge.value(CLIENT_KEY).await, 403);
    assert_eq!(edge.value("b").await, 503);
    let (status, health) = edge.health().await;
    assert_eq!(status, 503);
    assert_eq!(health["reason"], "environment document(s) not updated.");
    edge.stop().await;
}

#[tokio::test]
async fn a_version_only_grows_and_the_same_document_is_stored_once() {
    let (flagsmith, directory) = (Flagsmith::start().await, TempDir::new().unwrap());
    let file = || {
        let mut files = std::fs::read_dir(directory.path().join("environments")).unwrap();
        let file = files.next().unwrap().unwrap();
        (
            std::fs::read(file.path()).unwrap(),
            file.metadata().unwrap().modified().unwrap(),
        )
    };
    let edge = Running::start(directory.path(), &flagsmith.url, &[PAIR]);
    edge.serves("first").await;
    let stored = file();
    edge.stop().await;
    let asked = flagsmith.state().asked;
    let edge = Running::start(directory.path(), &flagsmith.url, &[PAIR]);
    until("another look", || async {
        flagsmith.state().asked > asked + 2
    })
    .await;
    assert!(file() == stored, "the same document was stored again");

    // A replica that lags behind.
    {
        let mut state = flagsmith.state();
        (state.value, state.updated_at) = ("older", "2026-01-01T00:00:00+00:00");
    }
    let problem = || async { edge.health().await.1["environments"][0]["problem"].is_string() };
    until("a problem", problem).await;
    assert_eq!(edge.value(CLIENT_KEY).await, "first");
    edge.stop().await;
}
