//! Where things are in a snapshot section. docs/adr/0002-snapshot-format.md tells why.

use crate::engine::binary::Span;

/// First bytes of a snapshot section.
pub(super) const MAGIC: &[u8; 4] = b"YDSN";
/// First bytes of a package in format 1.
pub(super) const FIRST_MAGIC: &[u8; 4] = b"YDPK";
/// The format this version writes, and the only one it reads: a control plane compiles again rather
/// than convert. It grows with every change of a layout, of the override buckets too.
pub(super) const FORMAT: u32 = 4;

/// Length of the whole section.
pub(super) const LENGTH: usize = 8;
/// The content hash in lower-case hex; zero while the content is hashed.
pub(super) const HASH: std::ops::Range<usize> = 16..80;
/// The environment's version.
pub(super) const VERSION: usize = 80;
/// When it last changed, in microseconds.
pub(super) const UPDATED_AT: usize = 88;
/// Switches, see [`flag`].
pub(super) const FLAGS: usize = 96;
/// How many override buckets there are.
pub(super) const BUCKETS: usize = 100;
/// Where in the document's base its chunks of overrides belong.
pub(super) const SPLIT: usize = 104;
const PARTS: usize = 112;
/// Where the header ends.
pub(super) const HEADER: usize = PARTS + Part::COUNT * Span::SIZE;

/// Switches in the header.
pub(super) mod flag {
    pub(in super::super) const GONE: u32 = 1;
    pub(in super::super) const ALLOW_CLIENT_TRAITS: u32 = 2;
    pub(in super::super) const HIDE_SENSITIVE_DATA: u32 = 4;
    pub(in super::super) const COMPOSITE_KEY_HASHING: u32 = 8;
    pub(in super::super) const STOP_SERVING_FLAGS: u32 = 16;
    pub(in super::super) const PERSIST_TRAIT_DATA: u32 = 32;
    pub(in super::super) const HIDE_DISABLED_FLAGS: u32 = 64;
}

/// Parts of a section, in the order of the header.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    EnvironmentKey,
    UpdatedAtHeader,
    LastModified,
    ServerBody,
    ServerEtag,
    ClientBody,
    ClientEtag,
    ServerKeys,
    NameTable,
    Features,
    Stretches,
    States,
    Variants,
    Segments,
    Plan,
    PackageParts,
    DocumentPages,
}

impl Part {
    pub(super) const COUNT: usize = 17;

    /// Where the header says where this part is.
    pub(super) const fn at(self) -> usize {
        PARTS + self as usize * Span::SIZE
    }
}

/// A feature's record.
pub(super) mod feature {
    /// The flag in its default state, without `variant`.
    pub(in super::super) const FLAG: usize = 0;
    /// The feature within it.
    pub(in super::super) const FEATURE: usize = 8;
    /// The name.
    pub(in super::super) const NAME: usize = 16;
    /// The body of its multivariate options, where it has any.
    pub(in super::super) const OPTIONS: usize = 24;
    /// The id.
    pub(in super::super) const ID: usize = 32;
    /// Whether only server-side keys see it.
    pub(in super::super) const SERVER_ONLY: usize = 40;
    /// The value within the flag.
    pub(in super::super) const VALUE: usize = 44;
    /// Bytes of a record.
    pub(in super::super) const SIZE: usize = 52;
}

/// A state's record, one for each state of the plan.
pub(super) mod state {
    /// Where the flag starts where no variant applies, with `variant` and the comma that goes before the next flag.
    pub(in super::super) const AT: usize = 0;
    /// The length of that flag; zero where it is not to be shown.
    pub(in super::super) const FLAG: usize = 4;
    /// The length of that flag and of those that follow in the stretch.
    pub(in super::super) const STRETCH: usize = 8;
    /// The flag with each of its variants, as a range of the part that lists them; empty where it is not to be shown.
    pub(in super::super) const VARIANTS: usize = 12;
    /// Bytes of a record.
    pub(in super::super) const SIZE: usize = 20;
}

/// A server-side key's record; records are sorted by hash.
pub(super) mod server_key {
    /// SHA-256 of the key.
    pub(in super::super) const HASH: usize = 0;
    /// When it stops working, in microseconds.
    pub(in super::super) const EXPIRES_AT: usize = 32;
    /// Bits: 1 active, 2 expires.
    pub(in super::super) const FLAGS: usize = 40;
    /// Bytes of a record.
    pub(in super::super) const SIZE: usize = 44;
    /// Has not been revoked.
    pub(in super::super) const ACTIVE: u32 = 1;
    /// Has a date of expiry.
    pub(in super::super) const EXPIRES: u32 = 2;
}

/// A feature's name as its table is keyed: two names that differ in case alone are one. Letter by
/// letter, so that a sigma is one wherever it stands, as Postgres's `UPPER` has it.
pub(super) fn lower_case(name: &str) -> String {
    name.chars()
        .flat_map(char::to_lowercase)
        .map(|letter| if letter == 'ς' { 'σ' } else { letter })
        .collect()
}

/// A part of the package: the document's base, its chunks, and last the override buckets.
pub(super) mod package_part {
    /// SHA-256 of the part.
    pub(in super::super) const HASH: usize = 0;
    /// Its length.
    pub(in super::super) const LENGTH: usize = 32;
    /// Bytes of a record.
    pub(in super::super) const SIZE: usize = 36;
}

/// A page of the document.
pub(super) mod document_page {
    /// Its first chunk, by the part's number.
    pub(in super::super) const FIRST: usize = 0;
    /// How many chunks.
    pub(in super::super) const COUNT: usize = 4;
    /// Its entity tag, quoted.
    pub(in super::super) const ETAG: usize = 8;
    /// Bytes of a record.
    pub(in super::super) const SIZE: usize = 16;
}
