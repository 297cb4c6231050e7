//! The native host: core's ports over [`SnapshotStore`] and any [`Identities`].

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use yardarm_core::edge::upstream::UpstreamStatus;
use yardarm_core::edge::{
    ChangeError, Held, Host, IdentityRecord, Install, KeyRef, TraitChange, Unavailable,
};
use yardarm_core::snapshot::{Package, Snapshot};
use yardarm_core::time::Timestamp;

use crate::identities::Identities;
use crate::pull_through::PullThrough;
use crate::snapshots::SnapshotStore;
use crate::upstream::Upstream;

/// A host that answers from memory and keeps identities wherever `I` does.
pub struct NativeHost<I> {
    snapshots: SnapshotStore,
    identities: I,
    publishing_secret: Option<Vec<u8>>,
    upstream: Option<Arc<Upstream>>,
    pull_through: Option<Arc<PullThrough>>,
    allowed_origins: Option<Vec<String>>,
}

impl<I: Identities> NativeHost<I> {
    /// A host; without a secret it takes no publications over HTTP (those routes answer 404).
    pub fn new(
        snapshots: SnapshotStore,
        identities: I,
        publishing_secret: Option<Vec<u8>>,
    ) -> Self {
        Self {
            snapshots,
            identities,
            publishing_secret,
            upstream: None,
            pull_through: None,
            allowed_origins: None,
        }
    }

    /// The same with an upstream: its environments are served, and without a publishing secret no others,
    /// whatever else is held from before.
    #[must_use]
    pub fn with_upstream(mut self, upstream: Arc<Upstream>) -> Self {
        self.upstream = Some(upstream);
        self
    }

    /// The same with a control plane that is asked of keys which are not held.
    #[must_use]
    pub fn with_pull_through(mut self, pull_through: Arc<PullThrough>) -> Self {
        self.pull_through = Some(pull_through);
        self
    }

    /// The same, readable by pages of these origins only; `*` stands for all.
    #[must_use]
    pub fn with_allowed_origins(mut self, origins: Vec<String>) -> Self {
        self.allowed_origins = Some(origins);
        self
    }

    /// The snapshots, for whoever publishes within the process.
    pub fn snapshots(&self) -> &SnapshotStore {
        &self.snapshots
    }
}

impl<I> fmt::Debug for NativeHost<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeHost")
            .field("snapshots", &self.snapshots)
            .field("takes_publications", &self.publishing_secret.is_some())
            .finish_non_exhaustive()
    }
}

impl<I: Identities> Host for NativeHost<I> {
    fn now(&self) -> Timestamp {
        now()
    }

    fn random(&self) -> [u8; 16] {
        rand::random()
    }

    fn name(&self) -> &'static str {
        "native"
    }

    fn has_streams(&self) -> bool {
        true
    }

    fn publishing_secret(&self) -> Option<Vec<u8>> {
        self.publishing_secret.clone()
    }

    async fn snapshot(&self, key: KeyRef<'_>) -> Result<Option<Snapshot>, Unavailable> {
        let Some(upstream) = &self.upstream else {
            let found = self.snapshots.snapshot(&key);
            return match &self.pull_through {
                Some(control_plane) if found.is_none() => {
                    control_plane.pull(&key, &self.snapshots).await?;
                    Ok(self.snapshots.snapshot(&key))
                }
                _ => Ok(found),
            };
        };
        let is_named = upstream.names(&key);
        if !is_named && self.publishing_secret.is_none() {
            return Ok(None);
        }
        let found = self.snapshots.snapshot(&key);
        // Not unknown, only not read yet.
        if is_named && found.is_none() {
            return Err(Unavailable("upstream was not heard yet".to_owned()));
        }
        Ok(found)
    }

    async fn part(&self, snapshot: &Snapshot, number: u32) -> Result<Option<Bytes>, Unavailable> {
        let package = self.snapshots.package(snapshot);
        Ok(package.and_then(|package| package.part(number)))
    }

    async fn identity(
        &self,
        snapshot: &Snapshot,
        identifier: &str,
    ) -> Result<Option<IdentityRecord>, Unavailable> {
        self.identities
            .identity(snapshot.environment_key(), identifier)
            .await
            .inspect_err(report)
    }

    fn identity_at_hand(
        &self,
        snapshot: &Snapshot,
        identifier: &str,
    ) -> Option<Arc<IdentityRecord>> {
        self.identities
            .at_hand(snapshot.environment_key(), identifier)
    }

    async fn change_identity(
        &self,
        snapshot: &Snapshot,
        identifier: &str,
        change: &TraitChange,
    ) -> Result<Result<IdentityRecord, ChangeError>, Unavailable> {
        let environment_key = snapshot.environment_key();
        self.identities
            .change_identity(environment_key, identifier, change, self.now())
            .await
            .inspect_err(report)
    }

    async fn install(&self, package: &Package) -> Result<Install, Unavailable> {
        self.snapshots.install(package).await.inspect_err(report)
    }

    async fn held(&self) -> Result<Vec<Held>, Unavailable> {
        Ok(self.snapshots.held())
    }

    fn has_upstream(&self) -> bool {
        self.upstream.is_some()
    }

    async fn upstream_status(&self) -> Result<Option<UpstreamStatus>, Unavailable> {
        Ok(self.upstream.as_ref().map(|upstream| upstream.status()))
    }

    fn confirmed_at(&self, snapshot: &Snapshot) -> Option<Timestamp> {
        let upstream = self.upstream.as_ref()?;
        upstream.confirmed_at(snapshot.environment_key())
    }

    fn allowed_origins(&self) -> Option<&[String]> {
        self.allowed_origins.as_deref()
    }
}

/// The time.
pub(crate) fn now() -> Timestamp {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
}

/// Core answers 503 and tells the client nothing more.
fn report(error: &Unavailable) {
    tracing::error!(%error, "a request could not be served");
}
