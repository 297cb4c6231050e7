//! The package: what travels from the control plane to an edge in one signed `PUT`.
//!
//! A header with the content hash and the length of each section, then the snapshot, the document's
//! JSON and the override buckets. The hash covers all of it; where the hash itself stands, in the
//! header and in the snapshot, zeros are hashed.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::layout;
use super::view::{Snapshot, SnapshotError};
use super::{compile, hex};
use crate::engine::binary::{Writer, u32_at, u64_at};

const MAGIC: &[u8; 4] = b"YDPK";
const FORMAT: u32 = 1;
const HASH: usize = 8;
const SNAPSHOT_LENGTH: usize = 40;
const DOCUMENT_LENGTH: usize = 48;
const BUCKETS: usize = 56;
/// Where the lengths of the buckets start, eight bytes each.
const BUCKET_LENGTHS: usize = 60;

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

impl Package {
    /// The tombstone of an environment that was deleted or whose key changed.
    pub fn tombstone(environment_key: &str, version: u64, updated_at_micros: i64) -> Self {
        let snapshot = compile::tombstone(environment_key, version, updated_at_micros);
        assemble(snapshot, b"", &[])
    }

    /// Takes bytes from outside: checks structure, format version and content hash.
    pub fn open(bytes: Bytes) -> Result<Self, PackageError> {
        if !bytes.starts_with(MAGIC) {
            return Err(PackageError::Damaged("not a package"));
        }
        match u32_at(&bytes, MAGIC.len()) {
            FORMAT => {}
            newer if newer > FORMAT => return Err(PackageError::TooNew(newer)),
            _ => return Err(PackageError::Damaged("format 0")),
        }
        let package = Self { bytes };
        if package.length() != Some(package.bytes.len()) {
            return Err(PackageError::Damaged("cut short, or too long"));
        }
        let snapshot = Snapshot::open(package.snapshot()).map_err(|error| match error {
            SnapshotError::Damaged(what) => PackageError::Damaged(what),
            SnapshotError::TooNew(format) => PackageError::TooNew(format),
        })?;
        let hash = package.hash();
        let is_stored = package.bytes.get(HASH..SNAPSHOT_LENGTH) == Some(hash.as_slice());
        if !is_stored || snapshot.content_hash() != hex::encode(&hash) {
            return Err(PackageError::Damaged("the content does not fit its hash"));
        }
        if snapshot.buckets() != package.buckets() {
            return Err(PackageError::Damaged("override buckets are missing"));
        }
        Ok(package)
    }

    /// The bytes to send or store.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Who, which version, which keys.
    pub fn meta(&self) -> PackageMeta {
        // A package was checked when it was taken in, or made here.
        Snapshot::open(self.snapshot()).map_or_else(
            |_| PackageMeta {
                environment_key: String::new(),
                version: 0,
                content_hash: String::new(),
                updated_at_micros: 0,
                gone: true,
                server_keys: Vec::new(),
                override_buckets: 0,
            },
            |snapshot| PackageMeta {
                environment_key: snapshot.environment_key().to_owned(),
                version: snapshot.version(),
                content_hash: snapshot.content_hash().to_owned(),
                updated_at_micros: snapshot.updated_at().micros(),
                gone: snapshot.settings().gone,
                server_keys: snapshot
                    .server_keys()
                    .map(|(hash, ..)| hex::encode(hash))
                    .collect(),
                override_buckets: self.buckets(),
            },
        )
    }

    /// The section that `Snapshot::open` reads.
    pub fn snapshot(&self) -> Bytes {
        self.section(
            self.header_length(),
            length_at(&self.bytes, SNAPSHOT_LENGTH),
        )
    }

    /// The environment document's JSON as served to local-evaluation SDKs: without identity overrides
    /// where `use_identity_overrides_in_local_eval` is false.
    pub fn document(&self) -> Bytes {
        let at = self
            .header_length()
            .saturating_add(length_at(&self.bytes, SNAPSHOT_LENGTH));
        self.section(at, length_at(&self.bytes, DOCUMENT_LENGTH))
    }

    /// One bucket of identity overrides; `None` past the last.
    pub fn override_bucket(&self, bucket: u32) -> Option<Bytes> {
        if bucket >= self.buckets() {
            return None;
        }
        let length = |bucket: u32| length_at(&self.bytes, BUCKET_LENGTHS + bucket as usize * 8);
        let first = self
            .header_length()
            .saturating_add(length_at(&self.bytes, SNAPSHOT_LENGTH))
            .saturating_add(length_at(&self.bytes, DOCUMENT_LENGTH));
        let at = (0..bucket).map(length).fold(first, usize::saturating_add);
        Some(self.section(at, length(bucket)))
    }

    fn buckets(&self) -> u32 {
        u32_at(&self.bytes, BUCKETS)
    }

    fn header_length(&self) -> usize {
        BUCKET_LENGTHS.saturating_add((self.buckets() as usize).saturating_mul(8))
    }

    /// The length that the header says the whole has.
    fn length(&self) -> Option<usize> {
        let header = self.header_length();
        if header > self.bytes.len() {
            return None;
        }
        (0..self.buckets() as usize)
            .map(|bucket| BUCKET_LENGTHS + bucket * 8)
            .chain([SNAPSHOT_LENGTH, DOCUMENT_LENGTH])
            .map(|at| length_at(&self.bytes, at))
            .try_fold(header, usize::checked_add)
    }

    fn section(&self, at: usize, length: usize) -> Bytes {
        match at.checked_add(length) {
            Some(end) if end <= self.bytes.len() => self.bytes.slice(at..end),
            _ => Bytes::new(),
        }
    }

    fn hash(&self) -> [u8; 32] {
        content_hash(&self.bytes, self.header_length())
    }
}

fn length_at(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u64_at(bytes, at)).unwrap_or(usize::MAX)
}

/// SHA-256 of a package whose snapshot starts at `snapshot`, with zeros where the hash stands.
fn content_hash(bytes: &[u8], snapshot: usize) -> [u8; 32] {
    let slice = |from: usize, to: usize| bytes.get(from..to.min(bytes.len())).unwrap_or_default();
    let (start, end) = (
        snapshot.saturating_add(layout::HASH.start),
        snapshot.saturating_add(layout::HASH.end),
    );
    let mut hasher = Sha256::new();
    hasher.update(slice(0, HASH));
    hasher.update([0; SNAPSHOT_LENGTH - HASH]);
    hasher.update(slice(SNAPSHOT_LENGTH, start));
    hasher.update([0; layout::HASH.end - layout::HASH.start]);
    hasher.update(slice(end, bytes.len()));
    hasher.finalize().into()
}

/// Puts a package together and writes its hash into it.
pub(super) fn assemble(snapshot: Vec<u8>, document: &[u8], buckets: &[Vec<u8>]) -> Package {
    let mut out = Writer::default();
    out.bytes(MAGIC)
        .u32(FORMAT)
        .bytes(&[0; SNAPSHOT_LENGTH - HASH])
        .u64(snapshot.len() as u64)
        .u64(document.len() as u64)
        .u32(crate::engine::binary::count(buckets.len()));
    for bucket in buckets {
        out.u64(bucket.len() as u64);
    }
    let at = out.0.len();
    out.bytes(&snapshot).bytes(document);
    drop(snapshot);
    for bucket in buckets {
        out.bytes(bucket);
    }
    let mut bytes = out.0;
    let hash = content_hash(&bytes, at);
    bytes[HASH..SNAPSHOT_LENGTH].copy_from_slice(&hash);
    let text = hex::encode(&hash);
    bytes[at + layout::HASH.start..at + layout::HASH.end].copy_from_slice(text.as_bytes());
    Package {
        bytes: Bytes::from(bytes),
    }
}
