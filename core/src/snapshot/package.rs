//! The package: one version of an environment as it travels and as hosts store it
//! (docs/adr/0009-parts.md).
//!
//! It is the snapshot and the parts that the snapshot names by number and SHA-256: the environment
//! document and the override buckets. On its way a package is the snapshot, which says how long it is,
//! and then any of its parts in ascending order: a number in four bytes, and as many bytes as the
//! snapshot says the part has. With all of its parts a package is whole; a snapshot alone is the list
//! of what there is. Since the snapshot's content hash covers the hashes of the parts, it stands for
//! all of them.

use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::layout;
use super::view::{Snapshot, SnapshotError};
use super::{compile, hex};
use crate::engine::binary::{Writer, u32_at};

/// Up to this many bytes and parts a package goes in one request, whatever the other side has.
const ONE_REQUEST: (usize, usize) = (1 << 20, 32);
/// Bytes and parts of one request that brings what was lacking. Half of what Workers allow calls to
/// stores within a request on the free plan.
const BATCH: (usize, usize) = (1 << 20, 24);
/// Bytes in front of a part.
const NUMBER: usize = 4;

/// A compiled environment as it travels and as hosts store it: the snapshot, and all of its parts or
/// some. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Package {
    snapshot: Snapshot,
    parts: Arc<[Option<Bytes>]>,
}

/// What a host needs to file a package.
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
    /// Made by an older Yardarm.
    #[error("package format {0} is older than this edge understands")]
    TooOld(u32),
}

impl From<SnapshotError> for PackageError {
    fn from(error: SnapshotError) -> Self {
        match error {
            SnapshotError::Damaged(what) => Self::Damaged(what),
            SnapshotError::TooNew(format) => Self::TooNew(format),
            SnapshotError::TooOld(format) => Self::TooOld(format),
        }
    }
}

impl Package {
    /// The tombstone of an environment that was deleted or whose key changed.
    pub fn tombstone(environment_key: &str, version: u64, updated_at_micros: i64) -> Self {
        compile::tombstone(environment_key, version, updated_at_micros)
    }

    /// A whole one.
    pub(super) fn new(snapshot: Snapshot, parts: impl IntoIterator<Item = Bytes>) -> Self {
        Self {
            snapshot,
            parts: parts.into_iter().map(Some).collect(),
        }
    }

    /// Takes bytes from outside: checks structure, format version and every hash. What is kept are
    /// copies, so that no part keeps the others in memory.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a body of megabytes is let go of here"
    )]
    pub fn open(bytes: Bytes) -> Result<Self, PackageError> {
        let length = Snapshot::length_of(&bytes)?;
        let (head, mut rest) = bytes
            .split_at_checked(length)
            .ok_or(PackageError::Damaged("cut short"))?;
        let snapshot = Snapshot::open(Bytes::copy_from_slice(head))?;
        if snapshot.content_hash() != hex::encode(&content_hash(head)) {
            return Err(PackageError::Damaged("the content does not fit its hash"));
        }
        let mut parts = vec![None; snapshot.parts() as usize];
        let mut next = 0;
        while !rest.is_empty() {
            let number = u32_at(rest, 0);
            let named = snapshot.part_name(number).filter(|_| number >= next);
            let name = named.ok_or(PackageError::Damaged("a part that it does not name"))?;
            let end = NUMBER.saturating_add(name.length as usize);
            let part = rest
                .get(NUMBER..end)
                .ok_or(PackageError::Damaged("a part is cut short"))?;
            if !name.is_of(part) {
                return Err(PackageError::Damaged("a part does not fit its hash"));
            }
            parts[number as usize] = Some(Bytes::copy_from_slice(part));
            next = number.saturating_add(1);
            rest = &rest[end..];
        }
        Ok(Self {
            snapshot,
            parts: parts.into(),
        })
    }

    /// The bytes to send or store: the snapshot and the parts that are here.
    pub fn bytes(&self) -> Bytes {
        let mut out = Writer(Vec::with_capacity(self.size()));
        out.bytes(self.snapshot.bytes());
        for (number, part) in (0..).zip(&*self.parts) {
            if let Some(part) = part {
                out.u32(number).bytes(part);
            }
        }
        out.0.into()
    }

    /// How many bytes [`Self::bytes`] are.
    pub fn size(&self) -> usize {
        let parts = self.parts.iter().flatten();
        let parts: usize = parts.map(|part| NUMBER + part.len()).sum();
        self.snapshot.bytes().len() + parts
    }

    /// Who, which version, which keys.
    pub fn meta(&self) -> PackageMeta {
        let snapshot = &self.snapshot;
        PackageMeta {
            environment_key: snapshot.environment_key().to_owned(),
            version: snapshot.version(),
            content_hash: snapshot.content_hash().to_owned(),
            updated_at_micros: snapshot.updated_at().micros(),
            gone: snapshot.settings().gone,
            server_keys: snapshot
                .server_keys()
                .map(|(hash, ..)| hex::encode(hash))
                .collect(),
        }
    }

    /// The section that `Snapshot::open` reads.
    pub fn snapshot(&self) -> Bytes {
        self.snapshot.bytes().clone()
    }

    /// The same, opened.
    pub fn opened(&self) -> &Snapshot {
        &self.snapshot
    }

    /// A part by its number; `None` where there is no such part or it is not here.
    pub fn part(&self, number: u32) -> Option<Bytes> {
        self.parts.get(number as usize)?.clone()
    }

    /// A page of the environment document, counted from 0; `None` where there is no such page or parts
    /// of it are not here.
    pub fn document_page(&self, number: u32) -> Option<Bytes> {
        let chunks = self.snapshot.document_page(number)?.chunks;
        let chunks: Option<Vec<Bytes>> = chunks.map(|chunk| self.part(chunk)).collect();
        self.snapshot.join_document(&self.part(0)?, &chunks?)
    }

    /// The numbers of the parts that are not here.
    pub fn missing(&self) -> Vec<u32> {
        let parts = (0..).zip(&*self.parts);
        parts
            .filter_map(|(number, part)| part.is_none().then_some(number))
            .collect()
    }

    /// Whether all parts are here.
    pub fn is_whole(&self) -> bool {
        self.parts.iter().all(Option::is_some)
    }

    /// The same with only these of its parts.
    #[must_use]
    pub fn with_only(&self, numbers: &[u32]) -> Self {
        let mut parts = vec![None; self.parts.len()];
        for number in numbers {
            if let Some(place) = parts.get_mut(*number as usize) {
                *place = self.part(*number);
            }
        }
        Self {
            snapshot: self.snapshot.clone(),
            parts: parts.into(),
        }
    }

    /// The same with the parts that `held` has by SHA-256. They take the place of equal ones that are
    /// here, so that versions which share parts share their memory.
    #[must_use]
    pub fn completed(&self, held: impl Fn(&[u8; 32]) -> Option<Bytes>) -> Self {
        let parts = (0..).zip(&*self.parts).map(|(number, part)| {
            let name = self.snapshot.part_name(number);
            name.and_then(|name| held(name.sha256))
                .or_else(|| part.clone())
        });
        Self {
            snapshot: self.snapshot.clone(),
            parts: parts.collect(),
        }
    }

    /// Every part that is here, by SHA-256.
    pub fn named_parts(&self) -> impl Iterator<Item = (&[u8; 32], &Bytes)> {
        let parts = (0..).zip(&*self.parts);
        parts.filter_map(|(number, part)| {
            let name = self.snapshot.part_name(number)?;
            Some((name.sha256, part.as_ref()?))
        })
    }

    /// What to send first to somebody who may have nothing or much of it: all of a small package, of a
    /// larger one only the snapshot, to be told what is missing.
    pub fn opening(&self) -> Bytes {
        let (bytes, parts) = ONE_REQUEST;
        if self.size() <= bytes && self.parts.len() <= parts {
            self.bytes()
        } else {
            self.snapshot()
        }
    }

    /// What to send of the parts that are missing there, request by request.
    pub fn batches(&self, missing: &[u32]) -> Vec<Package> {
        let (most_bytes, most_parts) = BATCH;
        let mut batches = Vec::new();
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for number in missing {
            let Some(part) = self.part(*number) else {
                continue;
            };
            let is_full = bytes + part.len() > most_bytes || batch.len() >= most_parts;
            if is_full && !batch.is_empty() {
                batches.push(self.with_only(&batch));
                batch.clear();
                bytes = 0;
            }
            bytes += part.len();
            batch.push(*number);
        }
        if !batch.is_empty() {
            batches.push(self.with_only(&batch));
        }
        batches
    }
}

/// SHA-256 of a snapshot with zeros where the hash itself stands.
pub(super) fn content_hash(snapshot: &[u8]) -> [u8; 32] {
    let slice = |from: usize, to: usize| snapshot.get(from..to).unwrap_or_default();
    let mut hasher = Sha256::new();
    hasher.update(slice(0, layout::HASH.start));
    hasher.update([0; layout::HASH.end - layout::HASH.start]);
    hasher.update(slice(layout::HASH.end, snapshot.len()));
    hasher.finalize().into()
}
