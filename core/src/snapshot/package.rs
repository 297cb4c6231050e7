//! The package: what travels from the control plane to an edge in one signed `PUT`.

use bytes::Bytes;

use super::publication::Publication;

/// A compiled environment as it travels and as hosts store it: the snapshot, the document's JSON and
/// the override buckets, under one content hash.
#[derive(Debug, Clone)]
pub struct Package {
    bytes: Bytes,
}

/// What a host needs to file a package, without opening the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageMeta {
    /// The environment's client-side key.
    pub environment_key: String,
    /// Version of the environment.
    pub version: u64,
    /// SHA-256 of the content, lower-case hex.
    pub content_hash: String,
    /// Microseconds since the epoch.
    pub updated_at_micros: i64,
    /// A tombstone: the environment is gone, its key must be refused.
    pub gone: bool,
    /// SHA-256 of every server-side key (also revoked ones), lower-case hex.
    pub server_keys: Vec<String>,
    /// How many override buckets it has.
    pub override_buckets: u32,
}

/// Why bytes are not a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackageError {
    /// Not a package, cut short, or its content does not fit its hash.
    #[error("damaged package: {0}")]
    Damaged(&'static str),
    /// Made by a newer Yardarm.
    #[error("package format {0} is newer than this edge understands")]
    TooNew(u32),
}

/// Compiles a publication. Never fails: odd data becomes a warning and a defined behaviour.
pub fn compile(_publication: &Publication) -> (Package, Vec<String>) {
    todo!()
}

impl Package {
    /// The tombstone of an environment that was deleted or whose key changed.
    pub fn tombstone(_environment_key: &str, _version: u64, _updated_at_micros: i64) -> Self {
        todo!()
    }

    /// Takes bytes from outside: checks structure, format version and content hash.
    pub fn open(_bytes: Bytes) -> Result<Self, PackageError> {
        todo!()
    }

    /// The bytes to send or store.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Who, which version, which keys.
    pub fn meta(&self) -> PackageMeta {
        todo!()
    }

    /// The section that `Snapshot::open` reads.
    pub fn snapshot(&self) -> Bytes {
        todo!()
    }

    /// The environment document's JSON as served to local-evaluation SDKs: without identity overrides
    /// where `use_identity_overrides_in_local_eval` is false.
    pub fn document(&self) -> Bytes {
        todo!()
    }

    /// One bucket of identity overrides; `None` past the last.
    pub fn override_bucket(&self, _bucket: u32) -> Option<Bytes> {
        todo!()
    }
}
