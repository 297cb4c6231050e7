//! An edge in this process that begins with nothing and asks the application for what it lacks.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use yardarm_edge::{Client, Edge, IdentityFiles, NativeHost, NoUsage, PullThrough, SnapshotStore};

use crate::app::{TestApp, serve};
use crate::edge::stores;

pub(crate) struct PullingEdge {
    pub(crate) snapshots: SnapshotStore,
    edge: Edge<IdentityFiles>,
    control_plane: JoinHandle<()>,
    _folder: TempDir,
}

impl PullingEdge {
    /// One that signs with this secret; the application is on a socket for it.
    pub(crate) async fn of(t: &TestApp, secret: &str) -> Self {
        let (url, control_plane) = serve(t.router.clone()).await;
        let folder = tempfile::tempdir().unwrap();
        let (_, snapshots, identities) = stores(&folder);
        let pull = PullThrough::new(url, secret.into(), Client::new().unwrap());
        let host = NativeHost::new(snapshots.clone(), identities, Some(secret.into()))
            .with_pull_through(Arc::new(pull));
        Self {
            snapshots,
            edge: Edge::new(host, Arc::new(NoUsage)),
            control_plane,
            _folder: folder,
        }
    }

    /// Nobody answers its questions from now on.
    pub(crate) fn cut_off(&self) {
        self.control_plane.abort();
    }

    /// The status and the body of the flags for a key.
    pub(crate) async fn flags(&self, key: &str) -> (StatusCode, String) {
        let request = Request::get("/api/v1/flags/").header("x-environment-key", key);
        let request = request.body(Full::<Bytes>::default()).unwrap();
        let (head, body) = self.edge.answer(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status, String::from_utf8_lossy(&body).into_owned())
    }
}
