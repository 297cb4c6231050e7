//! The real component as an edge of an existing Flagsmith, which is played by a server here: what it serves, that it asks
//! once each interval and on condition, changes, pages, upstream down, what `/health` says, a restart.
//!
//! Skipped, with a word, until `SPIN_FEATURES=upstream scripts/build-spin` has built the component.

#![expect(clippy::unwrap_used, reason = "a test's own steps must not fail")]

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use yardarm_conformance::Target;
use yardarm_conformance::environment::Environment;

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
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let this = Arc::clone(&flagsmith);
                tokio::spawn(async move {
                    let answer = service_fn(|request| {
                        let answer = this.answer(&request);
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    let connection = http1::Builder::new();
                    // A component that has gone away is no news.
                    drop(
                        connection
                            .serve_connection(TokioIo::new(stream), answer)
                            .await,
                    );
                });
            }
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

/// One test at a time: a request waits 1.5 s at most, also while another host compiles the component.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The host with the component.
struct Running {
    process: Child,
    target: Target,
}

impl Running {
    /// `None`, with a word, where there is no component.
    fn start(upstream: &str, pairs: &Value, state: &Path) -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let component = root.join("build/spin-upstream/yardarm.wasm");
        if !component.exists() {
            eprintln!("skipped: no build/spin-upstream/yardarm.wasm (scripts/build-spin makes it)");
            return None;
        }
        let mut host = Command::new(env!("CARGO_BIN_EXE_yardarm-spin-host"));
        host.args(["--listen", "127.0.0.1:0", "--allow", upstream]);
        for variable in [
            format!("upstream_url={upstream}/api/v1"),
            format!("environment_key_pairs={pairs}"),
            "api_poll_frequency_seconds=1".to_owned(),
            "grace_seconds=2".to_owned(),
        ] {
            host.args(["--variable", &variable]);
        }
        let mut process = host
            .arg("--component")
            .arg(component)
            .arg("--state")
            .arg(state)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line.trim().rsplit(' ').next().unwrap();
        let target = Target::new(url, "").unwrap();
        Some(Self { process, target })
    }

    async fn get(&self, path: &str, key: &str) -> Response<Bytes> {
        let request = Request::get(path).header("x-environment-key", key);
        let request = request.body(Bytes::new()).unwrap();
        self.target.send(request).await.unwrap()
    }

    async fn flags(&self, key: &str) -> (StatusCode, String) {
        let reply = self.get("/api/v1/flags/", key).await;
        let text = String::from_utf8(reply.body().to_vec()).unwrap();
        (reply.status(), text)
    }

    /// Asks until the answer has the text.
    async fn until(&self, path: &str, key: &str, text: &str) {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let reply = self.get(path, key).await;
            if String::from_utf8_lossy(reply.body()).contains(text) {
                return;
            }
            assert!(Instant::now() < end, "no {text}: {reply:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
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
    let Some(running) = Running::start(&url, &pairs, state.path()) else {
        return;
    };
    // Who asks first waits for the first look, and one looks for all.
    let first = (0..20).map(|_| running.flags(key));
    for (status, text) in futures_util::future::join_all(first).await {
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains(&Environment::value(1)), "{text}");
    }
    assert!(flagsmith.now.lock().unwrap().asked <= 2);
    assert_eq!(running.flags("another").await.0, StatusCode::FORBIDDEN);
    assert_eq!(running.flags(SERVER_KEY).await.0, StatusCode::OK);
    let ann = "/api/v1/identities/?identifier=ann";
    running.until(ann, key, "for ann").await;
    let document = running
        .get("/api/v1/environment-document", SERVER_KEY)
        .await;
    assert_eq!(document.status(), StatusCode::OK);
    running.until("/health", "", r#""status":"ok""#).await;

    flagsmith.set(|now| now.version = 2);
    running
        .until("/api/v1/flags/", key, &Environment::value(2))
        .await;
    let age = running.get("/api/v1/flags/", key).await;
    assert!(
        age.headers().contains_key("yardarm-snapshot-age"),
        "{age:?}"
    );
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    running.flags(key).await;
    running.until("/health", "", r#""problem":null"#).await;
    assert!(flagsmith.now.lock().unwrap().not_modified > 0);

    flagsmith.set(|now| now.is_down = true);
    running.until("/proxy/health", "", "stale").await;
    let (status, text) = running.flags(key).await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains(&Environment::value(2)), "{text}");
    drop(running);

    let running = Running::start(&url, &pairs, state.path()).unwrap();
    let (status, text) = running.flags(key).await;
    assert_eq!(status, StatusCode::OK, "{text}");
    flagsmith.set(|now| {
        now.is_down = false;
        now.version = 3;
    });
    running
        .until("/api/v1/flags/", key, &Environment::value(3))
        .await;
}

#[tokio::test]
async fn what_was_never_read_is_not_unknown() {
    let _turn = TURN.lock().await;
    let pairs = json!([{ "server_side_key": SERVER_KEY, "client_side_key": "client" }]);
    let state = tempfile::tempdir().unwrap();
    let Some(running) = Running::start("http://127.0.0.1:9", &pairs, state.path()) else {
        return;
    };
    assert_eq!(
        running.flags("client").await.0,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(running.flags("another").await.0, StatusCode::FORBIDDEN);
    let health = running.get("/health", "").await;
    assert_eq!(health.status(), StatusCode::SERVICE_UNAVAILABLE);
    let health: Value = serde_json::from_slice(health.body()).unwrap();
    assert_eq!(health["environments"][0]["environment_key"], "client");
    assert!(health["environments"][0]["problem"].is_string(), "{health}");
}
