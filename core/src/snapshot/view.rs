//! The snapshot: an environment ready to answer from, read in place.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::HeaderMap;
use sha2::{Digest as _, Sha256};

use super::answer::Answer;
use super::layout::{self, Part, document_page, feature, flag, package_part, server_key};
use super::overrides::{self, OverrideBucket};
use super::pages;
use crate::engine::binary::{self, Span, i64_at, u32_at, u64_at};
use crate::engine::{Identity, Patterns};
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
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    bytes: Bytes,
    patterns: Patterns,
    /// Of answers to the client side and to the server side.
    flags_heads: [OnceLock<HeaderMap>; 2],
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
    /// Made by an older Yardarm.
    #[error("snapshot format {0} is older than this edge understands")]
    TooOld(u32),
}

/// What a part of a package is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PartName<'a> {
    /// SHA-256 of its bytes.
    pub sha256: &'a [u8; 32],
    /// How many bytes it has.
    pub length: u32,
}

impl PartName<'_> {
    /// Whether these bytes are that part.
    pub fn is_of(&self, bytes: &[u8]) -> bool {
        bytes.len() == self.length as usize && Sha256::digest(bytes)[..] == self.sha256[..]
    }

    /// The SHA-256 in lower-case hex.
    pub fn to_hex(&self) -> String {
        super::hex::encode(self.sha256)
    }
}

/// A page of the environment document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentPage<'a> {
    /// Its entity tag, quoted.
    pub etag: &'a str,
    /// The parts it is made of, besides part 0.
    pub chunks: std::ops::Range<u32>,
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

impl Snapshot {
    /// The format that this version of Yardarm writes and reads; anything else must be published anew.
    pub const FORMAT: u32 = layout::FORMAT;

    /// Opens stored bytes in constant time. The content hash is checked when a package is taken in,
    /// not here; reads past a damaged offset yield nothing rather than panic.
    pub fn open(bytes: Bytes) -> Result<Self, SnapshotError> {
        if Self::length_of(&bytes)? != bytes.len() {
            return Err(SnapshotError::Damaged("cut short, or too long"));
        }
        Ok(Self::of(bytes))
    }

    /// How many of the bytes are the snapshot that they start with.
    pub(super) fn length_of(bytes: &[u8]) -> Result<usize, SnapshotError> {
        if bytes.starts_with(layout::FIRST_MAGIC) {
            return Err(SnapshotError::TooOld(1));
        }
        if !bytes.starts_with(layout::MAGIC) {
            return Err(SnapshotError::Damaged("not a snapshot"));
        }
        match u32_at(bytes, layout::MAGIC.len()) {
            layout::FORMAT => {}
            newer if newer > layout::FORMAT => return Err(SnapshotError::TooNew(newer)),
            older => return Err(SnapshotError::TooOld(older)),
        }
        let length = u64_at(bytes, layout::LENGTH);
        usize::try_from(length)
            .ok()
            .filter(|length| *length >= layout::HEADER)
            .ok_or(SnapshotError::Damaged("cut short, or too long"))
    }

    /// One that has just been written.
    pub(super) fn made(bytes: Vec<u8>) -> Self {
        Self::of(bytes.into())
    }

    fn of(bytes: Bytes) -> Self {
        Self {
            shared: Arc::new(Shared {
                bytes,
                patterns: Patterns::default(),
                flags_heads: Default::default(),
            }),
        }
    }

    /// The bytes it reads.
    pub fn bytes(&self) -> &Bytes {
        &self.shared.bytes
    }

    /// The client-side key.
    pub fn environment_key(&self) -> &str {
        self.span(Part::EnvironmentKey).text(self.bytes())
    }

    /// The environment's version.
    pub fn version(&self) -> u64 {
        u64_at(self.bytes(), layout::VERSION)
    }

    /// SHA-256 of the package's content, lower-case hex.
    pub fn content_hash(&self) -> &str {
        let hash = self.bytes().get(layout::HASH).unwrap_or_default();
        str::from_utf8(hash).unwrap_or_default()
    }

    /// When the environment last changed.
    pub fn updated_at(&self) -> Timestamp {
        Timestamp(i64_at(self.bytes(), layout::UPDATED_AT))
    }

    /// `updated_at` as `X-Flagsmith-Document-Updated-At` has it, prepared.
    pub fn updated_at_header(&self) -> &str {
        self.span(Part::UpdatedAtHeader).text(self.bytes())
    }

    /// `updated_at` as an HTTP date, prepared.
    pub fn last_modified(&self) -> &str {
        self.span(Part::LastModified).text(self.bytes())
    }

    /// How many parts the package has besides the snapshot.
    pub fn parts(&self) -> u32 {
        binary::count(self.part_records().len())
    }

    /// What a part is known by.
    pub fn part_name(&self, number: u32) -> Option<PartName<'_>> {
        let record = self.part_records().get(number as usize)?;
        Some(PartName {
            sha256: record[package_part::HASH..].first_chunk()?,
            length: u32_at(record, package_part::LENGTH),
        })
    }

    /// How many pages the environment document has; a tombstone has none.
    pub fn document_pages(&self) -> u32 {
        binary::count(self.page_records().len())
    }

    /// A page of the environment document, counted from 0.
    pub fn document_page(&self, number: u32) -> Option<DocumentPage<'_>> {
        let record = self.page_records().get(number as usize)?;
        let first = u32_at(record, document_page::FIRST);
        let count = u32_at(record, document_page::COUNT);
        Some(DocumentPage {
            etag: Span::read(record, document_page::ETAG).text(self.bytes()),
            chunks: first..first.saturating_add(count).min(self.parts()),
        })
    }

    /// Puts a page together from part 0 and the page's chunks; `None` where they do not fit each
    /// other.
    pub fn join_document(&self, base: &Bytes, chunks: &[Bytes]) -> Option<Bytes> {
        if chunks.is_empty() {
            return Some(base.clone());
        }
        let split = u32_at(self.bytes(), layout::SPLIT) as usize;
        let (before, after) = base.split_at_checked(split)?;
        Some(pages::join(before, chunks, after).into())
    }

    /// Switches.
    pub fn settings(&self) -> Settings {
        Settings {
            gone: self.has(flag::GONE),
            allow_client_traits: self.has(flag::ALLOW_CLIENT_TRAITS),
            hide_sensitive_data: self.has(flag::HIDE_SENSITIVE_DATA),
            composite_key_hashing: self.has(flag::COMPOSITE_KEY_HASHING),
            stop_serving_flags: self.has(flag::STOP_SERVING_FLAGS),
            persist_trait_data: self.has(flag::PERSIST_TRAIT_DATA),
        }
    }

    /// Whether a server-side key (SHA-256 of its text) opens this environment at `now`.
    pub fn accepts_server_key(&self, sha256: &[u8; 32], now: Timestamp) -> bool {
        let keys = self.server_key_records();
        let hash = |record: &[u8; server_key::SIZE]| *hash_of(record);
        let Ok(found) = keys.binary_search_by(|record| hash(record).cmp(sha256)) else {
            return false;
        };
        let flags = u32_at(&keys[found], server_key::FLAGS);
        let expires_at = Timestamp(i64_at(&keys[found], server_key::EXPIRES_AT));
        let has_expired = flags & server_key::EXPIRES != 0 && expires_at <= now;
        flags & server_key::ACTIVE != 0 && !has_expired
    }

    /// Every server-side key: its SHA-256, whether it has not been revoked, and when it expires.
    pub(super) fn server_keys(
        &self,
    ) -> impl ExactSizeIterator<Item = (&[u8; 32], bool, Option<Timestamp>)> {
        self.server_key_records().iter().map(|record| {
            let flags = u32_at(record, server_key::FLAGS);
            let expires_at = Timestamp(i64_at(record, server_key::EXPIRES_AT));
            (
                hash_of(record),
                flags & server_key::ACTIVE != 0,
                (flags & server_key::EXPIRES != 0).then_some(expires_at),
            )
        })
    }

    /// The whole body of `GET /flags/` and its quoted entity tag, prepared.
    pub fn flags(&self, side: Side) -> (Bytes, &str) {
        let (body, etag) = match side {
            Side::Client => (Part::ClientBody, Part::ClientEtag),
            Side::Server => (Part::ServerBody, Part::ServerEtag),
        };
        (
            self.slice(self.span(body)),
            self.span(etag).text(self.bytes()),
        )
    }

    /// The headers that go with [`Snapshot::flags`], made when they are first asked for and then kept.
    pub(crate) fn flags_head(&self, side: Side, make: impl FnOnce() -> HeaderMap) -> &HeaderMap {
        let head = match side {
            Side::Client => &self.shared.flags_heads[0],
            Side::Server => &self.shared.flags_heads[1],
        };
        head.get_or_init(make)
    }

    /// One flag of `GET /flags/?feature=` by name, without regard to case; a blank name is the first.
    pub fn flag(&self, side: Side, name: &str) -> Option<Bytes> {
        let is_shown = |number: u32| self.answers(number, side);
        let number = if name.is_empty() {
            (0..self.feature_count()).find(|number| is_shown(*number))
        } else {
            self.feature_named(name).filter(|number| is_shown(*number))
        }?;
        Some(self.slice(Span::read(self.feature(number)?, feature::FLAG)))
    }

    /// The body of `GET /flags/<feature id>/multivariate-options/`.
    pub fn multivariate_options(&self, side: Side, feature_id: i64) -> Option<Bytes> {
        let record = self
            .features()
            .iter()
            .find(|record| i64_at(*record, feature::ID) == feature_id)?;
        let is_hidden = side == Side::Client && u32_at(record, feature::SERVER_ONLY) != 0;
        if is_hidden {
            return None;
        }
        let options = Span::read(record, feature::OPTIONS);
        if options.len > 0 {
            return Some(self.slice(options));
        }
        let control = Span::read(record, feature::VALUE).of(self.bytes());
        Some(
            [br#"{"control_value":"#, control, br#","options":[]}"#]
                .concat()
                .into(),
        )
    }

    /// Whether a feature of this name exists (analytics drop the others).
    pub fn has_feature(&self, name: &str) -> bool {
        self.feature_named(name)
            .and_then(|number| self.feature(number))
            .is_some_and(|record| self.name_of(record) == name)
    }

    /// Which part is the bucket that holds an identifier's overrides; `None` where there are no
    /// identity overrides.
    pub fn override_part(&self, identifier: &str) -> Option<u32> {
        let buckets = self.buckets();
        let bucket = overrides::bucket_of(identifier, buckets)?;
        self.parts().checked_sub(buckets)?.checked_add(bucket)
    }

    /// Appends the `flags` array of an identity's answer to `out`: identity overrides, then segment
    /// overrides by priority, then environment defaults; disabled flags hidden where so set.
    ///
    /// What is no bucket counts as an empty one.
    pub fn write_identity_flags(
        &self,
        side: Side,
        identity: &Identity<'_>,
        overrides: Option<&OverrideBucket>,
        out: &mut Vec<u8>,
    ) {
        let key = self.hash_key(identity);
        Answer::new(self, side, identity, &key, overrides).write_all(out);
    }

    /// Like [`Self::write_identity_flags`] for one feature (`?feature=`, without regard to case; a
    /// blank name is the first shown). False, and nothing written, when there is no such flag to show.
    pub fn write_identity_flag(
        &self,
        side: Side,
        identity: &Identity<'_>,
        overrides: Option<&OverrideBucket>,
        feature: &str,
        out: &mut Vec<u8>,
    ) -> bool {
        let key = self.hash_key(identity);
        let mut answer = Answer::new(self, side, identity, &key, overrides);
        if feature.is_empty() {
            return (0..self.feature_count()).any(|number| answer.write(number, out));
        }
        self.feature_named(feature)
            .is_some_and(|number| answer.write(number, out))
    }

    /// Like the two above, by `feature`, for Flagsmith's deprecated routes: those answer the control
    /// value of a multivariate flag.
    pub fn write_identity_controls(
        &self,
        side: Side,
        identity: &Identity<'_>,
        overrides: Option<&OverrideBucket>,
        feature: Option<&str>,
        out: &mut Vec<u8>,
    ) -> bool {
        let key = self.hash_key(identity);
        let answer = Answer::new(self, side, identity, &key, overrides);
        let mut answer = answer.with_controls_only();
        if let Some(name) = feature {
            return self
                .feature_named(name)
                .is_some_and(|number| answer.write(number, out));
        }
        answer.write_all(out);
        true
    }

    /// Appends `[{"id":…,"name":…,"description":…}]`, the segments the identity is in (deprecated
    /// `GET /identities/<identifier>/`); without `Details` there is no `description`.
    pub fn write_identity_segments(&self, identity: &Identity<'_>, out: &mut Vec<u8>) {
        let key = self.hash_key(identity);
        Answer::new(self, Side::Server, identity, &key, None).write_segments(out);
    }

    /// What buckets are hashed by.
    pub(super) fn hash_key<'a>(&self, identity: &Identity<'a>) -> std::borrow::Cow<'a, str> {
        identity.hash_key.map_or_else(
            || {
                [self.environment_key(), "_", identity.identifier]
                    .concat()
                    .into()
            },
            Into::into,
        )
    }

    /// Whether `GET /flags/` shows a feature.
    pub(super) fn answers(&self, number: u32, side: Side) -> bool {
        let Some(record) = self.feature(number) else {
            return false;
        };
        let is_forbidden = side == Side::Client && u32_at(record, feature::SERVER_ONLY) != 0;
        let state = Answer::state(self, number);
        !is_forbidden && state.is_some_and(|state| u32_at(state, layout::state::FLAG) > 0)
    }

    /// The number of a feature by name, without regard to case.
    pub(super) fn feature_named(&self, name: &str) -> Option<u32> {
        let folded = layout::lower_case(name);
        let hash = binary::hash(folded.as_bytes());
        binary::look_up(self.part(Part::NameTable), hash, |number| {
            self.feature(number)
                .is_some_and(|record| layout::lower_case(self.name_of(record)) == folded)
        })
    }

    pub(super) fn name_of(&self, record: &[u8; feature::SIZE]) -> &str {
        Span::read(record, feature::NAME).text(self.bytes())
    }

    fn features(&self) -> &[[u8; feature::SIZE]] {
        self.part(Part::Features).as_chunks().0
    }

    fn feature(&self, number: u32) -> Option<&[u8; feature::SIZE]> {
        self.features().get(number as usize)
    }

    fn feature_count(&self) -> u32 {
        binary::count(self.features().len())
    }

    fn part_records(&self) -> &[[u8; package_part::SIZE]] {
        self.part(Part::PackageParts).as_chunks().0
    }

    fn page_records(&self) -> &[[u8; document_page::SIZE]] {
        self.part(Part::DocumentPages).as_chunks().0
    }

    fn server_key_records(&self) -> &[[u8; server_key::SIZE]] {
        self.part(Part::ServerKeys).as_chunks().0
    }

    /// How many override buckets there are.
    pub(super) fn buckets(&self) -> u32 {
        u32_at(self.bytes(), layout::BUCKETS)
    }

    pub(super) fn patterns(&self) -> &Patterns {
        &self.shared.patterns
    }

    pub(super) fn has(&self, flag: u32) -> bool {
        u32_at(self.bytes(), layout::FLAGS) & flag != 0
    }

    pub(super) fn part(&self, part: Part) -> &[u8] {
        self.span(part).of(self.bytes())
    }

    fn span(&self, part: Part) -> Span {
        let header = self.bytes().first_chunk();
        Span::read(header.unwrap_or(&[0; layout::HEADER]), part.at())
    }

    fn slice(&self, span: Span) -> Bytes {
        self.bytes().slice_ref(span.of(self.bytes()))
    }
}

fn hash_of(record: &[u8; server_key::SIZE]) -> &[u8; 32] {
    const NONE: &[u8; 32] = &[0; 32];
    record[server_key::HASH..].first_chunk().unwrap_or(NONE)
}
