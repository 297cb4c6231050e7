//! The package: what travels from the control plane to an edge in one signed `PUT`.
//!
//! A header with the content hash and the end of each section, then the snapshot, the document's JSON
//! and the override buckets. The hash covers all of it; where the hash itself stands, in the
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
const BUCKETS: usize = 40;
/// Where the ends of the sections are said, eight bytes each: of the snapshot, of the document, of
/// every bucket.
const ENDS: usize = 44;
const SNAPSHOT: usize = 0;
const DOCUMENT: usize = 1;
const FIRST_BUCKET: usize = 2;

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
        assemble(&snapshot, b"", &[])
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
        if !package.is_whole() {
            return Err(PackageError::Damaged("cut short, or too long"));
        }
        let snapshot = Snapshot::open(package.snapshot()).map_err(|error| match error {
            SnapshotError::Damaged(what) => PackageError::Damaged(what),
            SnapshotError::TooNew(format) => PackageError::TooNew(format),
        })?;
        let hash = package.hash();
        let is_stored = package.bytes.get(HASH..BUCKETS) == Some(hash.as_slice());
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
        self.section(SNAPSHOT)
    }

    /// The environment document's JSON as served to local-evaluation SDKs: without identity overrides
    /// where `use_identity_overrides_in_local_eval` is false.
    pub fn document(&self) -> Bytes {
        self.section(DOCUMENT)
    }

    /// One bucket of identity overrides; `None` past the last.
    pub fn override_bucket(&self, bucket: u32) -> Option<Bytes> {
        (bucket < self.buckets()).then(|| self.section(FIRST_BUCKET + bucket as usize))
    }

    fn buckets(&self) -> u32 {
        u32_at(&self.bytes, BUCKETS)
    }

    fn header_length(&self) -> usize {
        ENDS.saturating_add(self.sections().saturating_mul(8))
    }

    fn sections(&self) -> usize {
        FIRST_BUCKET.saturating_add(self.buckets() as usize)
    }

    /// Where a section ends; the one before the first ends where the header does.
    fn end(&self, section: usize) -> usize {
        let end = u64_at(&self.bytes, ENDS.saturating_add(section.saturating_mul(8)));
        usize::try_from(end).unwrap_or(usize::MAX)
    }

    /// Whether the sections lie one after the other up to the last byte.
    fn is_whole(&self) -> bool {
        let header = self.header_length();
        if header > self.bytes.len() {
            return false;
        }
        let ends: Vec<usize> = (0..self.sections())
            .map(|section| self.end(section))
            .collect();
        header <= ends[SNAPSHOT] && ends.is_sorted() && ends.last() == Some(&self.bytes.len())
    }

    fn section(&self, section: usize) -> Bytes {
        let start = match section.checked_sub(1) {
            Some(before) => self.end(before),
            None => self.header_length(),
        };
        let end = self.end(section);
        if start <= end && end <= self.bytes.len() {
            self.bytes.slice(start..end)
        } else {
            Bytes::new()
        }
    }

    fn hash(&self) -> [u8; 32] {
        content_hash(&self.bytes, self.header_length())
    }
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
    hasher.update([0; BUCKETS - HASH]);
    hasher.update(slice(BUCKETS, start));
    hasher.update([0; layout::HASH.end - layout::HASH.start]);
    hasher.update(slice(end, bytes.len()));
    hasher.finalize().into()
}

/// Puts a package together and writes its hash into it.
pub(super) fn assemble(snapshot: &[u8], document: &[u8], buckets: &[Vec<u8>]) -> Package {
    let sections = FIRST_BUCKET + buckets.len();
    let at = ENDS + sections * 8;
    let mut out = Writer::default();
    out.bytes(MAGIC)
        .u32(FORMAT)
        .bytes(&[0; BUCKETS - HASH])
        .u32(crate::engine::binary::count(buckets.len()));
    let mut end = at;
    let lengths = [snapshot.len(), document.len()].into_iter();
    for length in lengths.chain(buckets.iter().map(Vec::len)) {
        end += length;
        out.u64(end as u64);
    }
    out.bytes(snapshot).bytes(document);
    for bucket in buckets {
        out.bytes(bucket);
    }
    let mut bytes = out.0;
    let hash = content_hash(&bytes, at);
    bytes[HASH..BUCKETS].copy_from_slice(&hash);
    let text = hex::encode(&hash);
    bytes[at + layout::HASH.start..at + layout::HASH.end].copy_from_slice(text.as_bytes());
    Package {
        bytes: Bytes::from(bytes),
    }
}
