//! Native edges on sockets, that can go away and come back, with or without what they held; and how
//! any edge answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use yardarm_edge::{
    DataDirectory, Deliveries, DeliverySettings, Edge, IdentityFiles, NativeHost, NoUsage,
    SnapshotStore,
};

use crate::world::Look;

pub(crate) const SECRET: &str = "between you and me";

/// An edge at a fixed address.
pub(crate) struct RemoteEdge {
    pub(crate) address: SocketAddr,
    folder: TempDir,
    /// Where it sends identities that it has seen.
    home: Option<String>,
    running: Option<(JoinHandle<()>, oneshot::Sender<()>)>,
    pub(crate) http: reqwest::Client,
}

impl RemoteEdge {
    pub(crate) async fn start() -> Self {
        Self::start_from(None).await
    }

    /// One that sends home to this control plane.
    pub(crate) async fn start_from(home: Option<String>) -> Self {
        // reqwest wants one, whether or not anything is encrypted.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut edge = Self {
            address: listener.local_addr().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            home,
            running: None,
            http: reqwest::Client::new(),
        };
        edge.serve(listener).await;
        edge
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn serve(&mut self, listener: TcpListener) {
        let (directory, snapshots, identities) = stores(&self.folder);
        let mut deliveries = None;
        if let Some(home) = &self.home {
            let settings = DeliverySettings {
                control_plane: home.clone(),
                secret: SECRET.as_bytes().to_vec(),
                every: Duration::from_millis(50),
            };
            let way = Deliveries::open(&directory, &settings, None).unwrap();
            way.follow(&identities).await.unwrap();
            deliveries = Some(way);
        }
        drop(directory);
        let host = NativeHost::new(snapshots, identities, Some(SECRET.as_bytes().to_vec()));
        let edge = Edge::new(host, Arc::new(NoUsage));
        let answer = move |request| {
            let edge = edge.clone();
            async move { edge.answer(request).await }
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let (no_more, end) = oneshot::channel::<()>();
            let serve = async {
                yardarm_edge::serve(listener, answer, async {
                    let _ = stopped.await;
                })
                .await;
                drop(no_more);
            };
            let send = async {
                if let Some(deliveries) = deliveries {
                    deliveries
                        .run(async {
                            let _ = end.await;
                        })
                        .await;
                }
            };
            tokio::join!(serve, send);
        });
        self.running = Some((task, stop));
    }

    pub(crate) fn is_up(&self) -> bool {
        self.running.is_some()
    }

    pub(crate) async fn go_down(&mut self) {
        if let Some((task, stop)) = self.running.take() {
            drop(stop);
            task.await.unwrap();
        }
    }

    /// Comes back, with what it held or with nothing.
    pub(crate) async fn come_up(&mut self, emptied: bool) {
        if self.is_up() {
            return;
        }
        if emptied {
            self.folder = tempfile::tempdir().unwrap();
        }
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.serve(listener).await;
    }

    /// Sends traits of an identity, as an SDK does, and gives those it has then.
    pub(crate) async fn identify(
        &self,
        identifier: &str,
        traits: &[(&str, Value)],
    ) -> Vec<(String, Value)> {
        let traits = traits
            .iter()
            .map(|(key, value)| json!({"trait_key": key, "trait_value": value}));
        let body = json!({"identifier": identifier, "traits": traits.collect::<Vec<_>>()});
        let request = self
            .http
            .post(format!("{}/api/v1/identities/", self.url()))
            .header("X-Environment-Key", "env")
            .header("Content-Type", "application/json")
            .body(body.to_string());
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let traits = body["traits"].as_array().unwrap().iter().map(|found| {
            let key = found["trait_key"].as_str().unwrap().to_owned();
            (key, found["trait_value"].clone())
        });
        let mut traits: Vec<_> = traits.collect();
        traits.sort_by(|one, other| one.0.cmp(&other.0));
        traits
    }

    /// What everybody sees, or the status of the refusal.
    pub(crate) async fn flags(&self, key: &str) -> Result<Vec<Look>, StatusCode> {
        let request = self.http.get(format!("{}/api/v1/flags/", self.url()));
        looks(request.header("X-Environment-Key", key), |body| body).await
    }

    /// What somebody in the segment sees.
    pub(crate) async fn flags_in_segment(&self, key: &str) -> Result<Vec<Look>, StatusCode> {
        let body = json!({
            "identifier": "somebody", "transient": true,
            "traits": [{"trait_key": "plan", "trait_value": "pro"}],
        });
        let request = self
            .http
            .post(format!("{}/api/v1/identities/", self.url()))
            .header("X-Environment-Key", key)
            .header("Content-Type", "application/json")
            .body(body.to_string());
        looks(request, |body| body["flags"].clone()).await
    }
}

/// What an edge keeps in its folder.
pub(crate) fn stores(folder: &TempDir) -> (Arc<DataDirectory>, SnapshotStore, IdentityFiles) {
    let directory = Arc::new(DataDirectory::open(folder.path()).unwrap());
    let snapshots = SnapshotStore::open(&directory.path().join("environments")).unwrap();
    let identities = IdentityFiles::open(&directory, 1 << 20).unwrap();
    (directory, snapshots, identities)
}

async fn looks(
    request: reqwest::RequestBuilder,
    flags: impl Fn(Value) -> Value,
) -> Result<Vec<Look>, StatusCode> {
    let answer = request
        .send()
        .await
        .map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    if answer.status() != StatusCode::OK {
        return Err(answer.status());
    }
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    Ok(read_looks(&flags(body)))
}

/// A list of flags, as they look.
pub(crate) fn read_looks(flags: &Value) -> Vec<Look> {
    let look = |flag: &Value| {
        (
            flag["feature"]["name"].as_str().unwrap().to_owned(),
            flag["enabled"].as_bool().unwrap(),
            flag["feature_state_value"].clone(),
        )
    };
    flags.as_array().unwrap().iter().map(look).collect()
}
