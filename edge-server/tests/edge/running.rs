//! An edge that runs within a test.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use yardarm_conformance::Target;
use yardarm_edge::{
    DataDirectory, Edge, IdentityFiles, NativeHost, NoUsage, SnapshotStore, StreamSettings,
    Streams, Tls, serve_with,
};

const SECRET: &str = "secret of the tests";

/// An edge, serving until it is stopped.
pub(crate) struct Running {
    pub(crate) target: Target,
    pub(crate) address: SocketAddr,
    pub(crate) streams: Streams,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<()>,
}

impl Running {
    /// Starts on a free port, as the binary does.
    pub(crate) async fn start(directory: &Path) -> Self {
        Self::with_streams(directory, StreamSettings::default()).await
    }

    /// The same with other settings of streams.
    pub(crate) async fn with_streams(directory: &Path, settings: StreamSettings) -> Self {
        Self::with(directory, settings, None).await
    }

    /// The same with a certificate; `target` does not reach it.
    pub(crate) async fn with_tls(directory: &Path, tls: Tls) -> Self {
        Self::with(directory, StreamSettings::default(), Some(tls)).await
    }

    async fn with(directory: &Path, settings: StreamSettings, tls: Option<Tls>) -> Self {
        let owner = Arc::new(DataDirectory::open(directory).unwrap());
        let snapshots = SnapshotStore::open(&directory.join("environments")).unwrap();
        let identities = IdentityFiles::open(&owner, 1 << 20).unwrap();
        let host = NativeHost::new(snapshots, identities, Some(SECRET.as_bytes().to_vec()));
        let edge = Edge::with_streams(host, Arc::new(NoUsage), settings);
        let streams = edge.streams().clone();
        let closing = streams.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let answer = move |request| {
            let edge = edge.clone();
            async move { edge.answer(request).await }
        };
        let serving = tokio::spawn(serve_with(listener, tls, answer, async move {
            let _ = stopped.await;
            closing.close();
        }));
        Self {
            target: Target::new(&format!("http://{address}"), SECRET).unwrap(),
            address,
            streams,
            stop,
            serving,
        }
    }

    /// Asks it to stop; gives what ends when it has.
    pub(crate) fn begin_stop(self) -> JoinHandle<()> {
        self.stop.send(()).unwrap();
        self.serving
    }

    /// Stops it, so that the directory can be used again.
    pub(crate) async fn stop(self) {
        self.begin_stop().await.unwrap();
    }

    pub(crate) async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.target.send(request).await.unwrap()
    }

    /// The first flag's value, or the status that was answered instead.
    pub(crate) async fn value(&self, environment_key: &str) -> Result<String, StatusCode> {
        let answer = self.send(flags(environment_key)).await;
        if answer.status() != StatusCode::OK {
            return Err(answer.status());
        }
        let flags: Value = serde_json::from_slice(answer.body()).unwrap();
        Ok(flags[0]["feature_state_value"].as_str().unwrap().to_owned())
    }
}

/// `GET /flags/` with a key.
pub(crate) fn flags(environment_key: &str) -> Request<Bytes> {
    let request = Request::get("/api/v1/flags/").header("x-environment-key", environment_key);
    request.body(Bytes::new()).unwrap()
}
