//! Keys that an edge does not hold, and a control plane that is well, away, slow or somebody else.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use yardarm_conformance::environment::Environment;
use yardarm_conformance::{serve, unix_seconds};
use yardarm_core::edge::signature;
use yardarm_edge::{
    Client, DataDirectory, Edge, IdentityFiles, NativeHost, NoUsage, PullThrough, SnapshotStore,
};

const SECRET: &str = "secret of the tests";

/// A control plane that knows one environment.
#[derive(Clone)]
struct ControlPlane {
    url: String,
    asked: Arc<AtomicU32>,
    slowness: Arc<Mutex<Duration>>,
    secret: Arc<Mutex<&'static str>>,
    environment: Environment,
}

impl ControlPlane {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            asked: Arc::default(),
            slowness: Arc::default(),
            secret: Arc::new(Mutex::new(SECRET)),
            environment: Environment::fresh("pulled"),
        };
        let serving = this.clone();
        serve(listener, move |request| {
            let serving = serving.clone();
            async move { Ok::<_, Infallible>(serving.answer(request.uri().path()).await) }
        });
        this
    }

    async fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (slowness, secret) = (*self.slowness.lock().unwrap(), *self.secret.lock().unwrap());
        tokio::time::sleep(slowness).await;
        let ours = format!(
            "/api/v1/edge/environments/{}/package/",
            self.environment.key
        );
        if path != ours {
            let reply = Response::builder().status(StatusCode::NOT_FOUND);
            return reply.body(Full::default()).unwrap();
        }
        let package = self.environment.package(1);
        let now = unix_seconds();
        let signed = signature::sign(secret.as_bytes(), "GET", path, now, &package.bytes());
        Response::builder()
            .header(signature::TIMESTAMP_HEADER, now)
            .header(signature::SIGNATURE_HEADER, signed)
            .body(Full::from(package.bytes()))
            .unwrap()
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }
}

struct Running {
    edge: Edge<IdentityFiles>,
    _folder: TempDir,
}

impl Running {
    fn start(url: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let owner = Arc::new(DataDirectory::open(folder.path()).unwrap());
        let snapshots = SnapshotStore::open(&folder.path().join("environments")).unwrap();
        let identities = IdentityFiles::open(&owner, 1 << 20).unwrap();
        let pull = PullThrough::new(url.to_owned(), SECRET.into(), Client::new().unwrap());
        let host = NativeHost::new(snapshots, identities, Some(SECRET.into()))
            .with_pull_through(Arc::new(pull));
        Self {
            edge: Edge::new(host, Arc::new(NoUsage)),
            _folder: folder,
        }
    }

    async fn status(&self, key: &str) -> u16 {
        ask(&self.edge, key).await
    }

    /// What so many askers at once are answered.
    async fn stampede(&self, key: &str, askers: usize) -> Vec<u16> {
        let mut asking = JoinSet::new();
        for _ in 0..askers {
            let (edge, key) = (self.edge.clone(), key.to_owned());
            asking.spawn(async move { ask(&edge, &key).await });
        }
        asking.join_all().await
    }
}

async fn ask(edge: &Edge<IdentityFiles>, key: &str) -> u16 {
    let request = Request::get("/api/v1/flags/").header("x-environment-key", key);
    let request = request.body(Full::<Bytes>::default()).unwrap();
    edge.answer(request).await.status().as_u16()
}

#[tokio::test]
async fn a_stampede_asks_once() {
    let control_plane = ControlPlane::start().await;
    *control_plane.slowness.lock().unwrap() = Duration::from_millis(100);
    let edge = Running::start(&control_plane.url);
    let key = control_plane.environment.key.clone();
    assert_eq!(edge.stampede(&key, 500).await, [200; 500]);
    assert_eq!(control_plane.asked(), 1);
    assert_eq!(edge.stampede("unknown", 500).await, [403; 500]);
    assert_eq!(control_plane.asked(), 2);
    // The miss is remembered, and so is the environment.
    assert_eq!(edge.status("unknown").await, 403);
    assert_eq!(edge.status(&key).await, 200);
    assert_eq!(control_plane.asked(), 2);
}

#[tokio::test]
async fn keys_that_do_not_exist_cannot_hammer_the_control_plane() {
    let control_plane = ControlPlane::start().await;
    let edge = Running::start(&control_plane.url);
    let begun = Instant::now();
    let mut answered = [0_u32; 2];
    for number in 0..1_000 {
        match edge.status(&format!("unknown{number}")).await {
            403 => answered[0] += 1,
            503 => answered[1] += 1,
            other => panic!("{other}"),
        }
    }
    let may = 101 + u32::try_from(begun.elapsed().as_millis() / 100).unwrap();
    assert!(
        control_plane.asked() <= may,
        "{} {may}",
        control_plane.asked()
    );
    assert_eq!(answered[0], control_plane.asked());
}

#[tokio::test]
async fn a_control_plane_that_is_slow_away_or_somebody_else_costs_little() {
    let control_plane = ControlPlane::start().await;
    let edge = Running::start(&control_plane.url);
    let key = control_plane.environment.key.clone();
    *control_plane.slowness.lock().unwrap() = Duration::from_secs(2);
    let begun = Instant::now();
    assert_eq!(edge.status(&key).await, 503);
    assert!(begun.elapsed() < Duration::from_secs(2));
    // What comes late is there for the next.
    let mut status = 503;
    while status == 503 && begun.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        status = edge.status(&key).await;
    }
    assert_eq!((status, control_plane.asked()), (200, 1));

    *control_plane.slowness.lock().unwrap() = Duration::ZERO;
    *control_plane.secret.lock().unwrap() = "of another";
    let edge = Running::start(&control_plane.url);
    assert_eq!(edge.status(&key).await, 503);

    let edge = Running::start("http://127.0.0.1:1");
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(edge.status(&key).await, 503);
    }
    assert!(begun.elapsed() < Duration::from_secs(2));
}
