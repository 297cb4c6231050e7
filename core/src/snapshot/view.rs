//! The snapshot: an environment ready to answer from, read in place.

use bytes::Bytes;

use crate::engine::Identity;
use crate::time::Timestamp;

/// Which kind of key asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client-side key: server-key-only features are left out.
    Client,
    /// A server-side key.
    Server,
}

/// An environment in its ready-to-read form. Cheap to clone; opening costs the same whatever its size.
#[derive(Debug, Clone)]
pub struct Snapshot {
    bytes: Bytes,
}

/// Why bytes are not a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Not a snapshot or cut short.
    #[error("damaged snapshot: {0}")]
    Damaged(&'static str),
    /// Made by a newer Yardarm.
    #[error("snapshot format {0} is newer than this edge understands")]
    TooNew(u32),
}

/// Switches of the environment and its organisation that the SDK API obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The environment is gone: answer as for an unknown key.
    pub gone: bool,
    /// `environment.allow_client_traits`.
    pub allow_client_traits: bool,
    /// `environment.hide_sensitive_data`.
    pub hide_sensitive_data: bool,
    /// `environment.use_identity_composite_key_for_hashing`.
    pub composite_key_hashing: bool,
    /// `organisation.stop_serving_flags`.
    pub stop_serving_flags: bool,
    /// `organisation.persist_trait_data`.
    pub persist_trait_data: bool,
}

/// A bucket of identity overrides, as `Package::override_bucket` cut it.
#[derive(Debug, Clone, Default)]
pub struct OverrideBucket {
    bytes: Bytes,
}

impl OverrideBucket {
    /// Wraps stored bytes; damaged ones behave as empty.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }
}

impl Snapshot {
    /// Opens stored bytes in constant time. The content hash is checked when a package is taken in,
    /// not here; reads past a damaged offset yield nothing rather than panic.
    pub fn open(_bytes: Bytes) -> Result<Self, SnapshotError> {
        todo!()
    }

    /// The bytes it reads.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The client-side key.
    pub fn environment_key(&self) -> &str {
        todo!()
    }

    /// The environment's version.
    pub fn version(&self) -> u64 {
        todo!()
    }

    /// SHA-256 of the package's content, lower-case hex.
    pub fn content_hash(&self) -> &str {
        todo!()
    }

    /// When the environment last changed.
    pub fn updated_at(&self) -> Timestamp {
        todo!()
    }

    /// `updated_at` as `X-Flagsmith-Document-Updated-At` has it, prepared.
    pub fn updated_at_header(&self) -> &str {
        todo!()
    }

    /// `updated_at` as an HTTP date, prepared.
    pub fn last_modified(&self) -> &str {
        todo!()
    }

    /// Entity tag of the environment document, quoted, prepared.
    pub fn document_etag(&self) -> &str {
        todo!()
    }

    /// Switches.
    pub fn settings(&self) -> Settings {
        todo!()
    }

    /// Whether a server-side key (SHA-256 of its text) opens this environment at `now`.
    pub fn accepts_server_key(&self, _sha256: &[u8; 32], _now: Timestamp) -> bool {
        todo!()
    }

    /// The whole body of `GET /flags/` and its quoted entity tag, prepared.
    pub fn flags(&self, _side: Side) -> (Bytes, &str) {
        todo!()
    }

    /// One flag of `GET /flags/?feature=` by name, without regard to case; a blank name is the first.
    pub fn flag(&self, _side: Side, _name: &str) -> Option<Bytes> {
        todo!()
    }

    /// The body of `GET /flags/<feature id>/multivariate-options/`.
    pub fn multivariate_options(&self, _side: Side, _feature_id: i64) -> Option<Bytes> {
        todo!()
    }

    /// Whether a feature of this name exists (analytics drop the others).
    pub fn has_feature(&self, _name: &str) -> bool {
        todo!()
    }

    /// Which override bucket holds an identifier; `None` where there are no identity overrides.
    pub fn override_bucket(&self, _identifier: &str) -> Option<u32> {
        todo!()
    }

    /// Appends the `flags` array of an identity's answer to `out`: identity overrides, then segment
    /// overrides by priority, then environment defaults; disabled flags hidden where so set.
    pub fn write_identity_flags(
        &self,
        _side: Side,
        _identity: &Identity<'_>,
        _overrides: Option<&OverrideBucket>,
        _out: &mut Vec<u8>,
    ) {
        todo!()
    }

    /// Like [`Self::write_identity_flags`] for one feature (`?feature=`, without regard to case).
    /// False, and nothing written, when there is no such flag to show.
    pub fn write_identity_flag(
        &self,
        _side: Side,
        _identity: &Identity<'_>,
        _overrides: Option<&OverrideBucket>,
        _feature: &str,
        _out: &mut Vec<u8>,
    ) -> bool {
        todo!()
    }

    /// Appends `[{"id":…,"name":…,"description":…}]`, the segments the identity is in (deprecated
    /// `GET /identities/<identifier>/`); without `Details` there is no `description`.
    pub fn write_identity_segments(&self, _identity: &Identity<'_>, _out: &mut Vec<u8>) {
        todo!()
    }
}
