//! Identity overrides in buckets: one is read for an answer, however many there are.
//!
//! A bucket is a part of a package. It names features by number and says nothing of versions, so that
//! it stays the same, and keeps its name, from one version to the next while nobody in it changes and
//! no feature goes. Inside, an identity is found by a hash table, not by a search.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::document::{Document, FeatureState, IdentityOverride};
use super::fragments::Fragments;
use super::layout::FORMAT;
use super::mapping;
use crate::engine::binary::{self, Pool, Span, Writer, f64_at, u32_at};
use crate::engine::percentage;
use crate::engine::plan::write_variants;

const MAGIC: &[u8; 4] = b"YDOB";
const TABLE: usize = 8;
const IDENTITIES: usize = 16;
const ENTRIES: usize = 24;
const VARIANTS: usize = 32;
const HEADER: usize = 40;

/// Buckets are cut so that on average they are half to all of this large, in bytes.
const BUCKET: usize = 64 * 1024;

/// A bucket of identity overrides: the part of a package that `Snapshot::override_part` names.
#[derive(Debug, Clone, Default)]
pub struct OverrideBucket {
    bytes: Bytes,
}

impl OverrideBucket {
    /// Wraps stored bytes; damaged ones behave as empty.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// Whether the bytes are a bucket at all.
    pub(super) fn is_one(&self) -> bool {
        self.bytes.starts_with(MAGIC) && u32_at(&self.bytes, MAGIC.len()) == FORMAT
    }

    /// The overrides of an identity, by feature.
    pub(super) fn of(&self, identifier: &str) -> Overrides<'_> {
        let bytes = &self.bytes;
        let part = |at: usize| Span::read(bytes, at).of(bytes);
        let identities: &[[u8; 16]] = part(IDENTITIES).as_chunks().0;
        let is_it = |number: u32| {
            identities
                .get(number as usize)
                .is_some_and(|record| Span::read(record, 0).of(bytes) == identifier.as_bytes())
        };
        let found = binary::look_up(part(TABLE), binary::hash(identifier.as_bytes()), is_it);
        let entries: &[[u8; 40]] = part(ENTRIES).as_chunks().0;
        let of_identity = found
            .and_then(|number| identities.get(number as usize))
            .map(|record| Span::read(record, 8))
            .and_then(|range| {
                let at = range.at as usize;
                entries.get(at..at.checked_add(range.len as usize)?)
            });
        Overrides {
            bytes,
            entries: of_identity.unwrap_or_default(),
            variants: part(VARIANTS).as_chunks().0,
        }
    }
}

/// The overrides of one identity, in the order of the features; reading goes along with them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Overrides<'a> {
    bytes: &'a [u8],
    entries: &'a [[u8; 40]],
    variants: &'a [[u8; 24]],
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Override<'a> {
    overrides: Overrides<'a>,
    entry: &'a [u8; 40],
}

impl<'a> Overrides<'a> {
    /// Whether there is one of a feature before this one, among those that were not asked for yet.
    #[inline]
    pub(super) fn has_before(&self, feature: u32) -> bool {
        let next = self.entries.first();
        next.is_some_and(|entry| u32_at(entry, 0) < feature)
    }

    /// The override of a feature. Features are asked for in ascending order.
    #[inline]
    pub(super) fn next_of(&mut self, feature: u32) -> Option<Override<'a>> {
        loop {
            let (entry, rest) = self.entries.split_first()?;
            let of = u32_at(entry, 0);
            if of > feature {
                return None;
            }
            if of == feature {
                return self.take();
            }
            self.entries = rest;
        }
    }

    fn take(&mut self) -> Option<Override<'a>> {
        let (entry, rest) = self.entries.split_first()?;
        self.entries = rest;
        Some(Override {
            overrides: *self,
            entry,
        })
    }
}

impl<'a> Override<'a> {
    pub(super) fn is_enabled(&self) -> bool {
        u32_at(self.entry, 4) != 0
    }

    /// Whether it has variants.
    pub(super) fn is_split(&self) -> bool {
        Span::read(self.entry, 32).len > 0
    }

    /// What comes before the feature.
    pub(super) fn head(&self) -> &'a [u8] {
        Span::read(self.entry, 16).of(self.overrides.bytes)
    }

    /// What comes after the feature, and a comma, with the control value.
    pub(super) fn control_tail(&self) -> &'a [u8] {
        Span::read(self.entry, 24).of(self.overrides.bytes)
    }

    /// What comes after the feature, and a comma, for who hashes by `key`.
    pub(super) fn tail(&self, key: &str) -> &'a [u8] {
        let bytes = self.overrides.bytes;
        let control = Span::read(self.entry, 24);
        let range = Span::read(self.entry, 32);
        if range.len == 0 {
            return control.of(bytes);
        }
        let position = percentage(Span::read(self.entry, 8).of(bytes), key.as_bytes());
        let at = range.at as usize;
        let variants = self
            .overrides
            .variants
            .get(at..at.saturating_add(range.len as usize));
        variants
            .unwrap_or_default()
            .iter()
            .find(|variant| f64_at(*variant, 0) <= position && position < f64_at(*variant, 8))
            .map_or(control, |variant| Span::read(variant, 16))
            .of(bytes)
    }
}

/// The bucket an identifier is in, of so many.
pub(super) fn bucket_of(identifier: &str, buckets: u32) -> Option<u32> {
    let last = buckets.checked_sub(1)?;
    // The low bits find the identity inside of its bucket.
    let high_bits = (binary::hash(identifier.as_bytes()) >> 32) as u32;
    Some(high_bits & last)
}

/// Cuts a document's identity overrides into buckets, a power of two in number or none at all.
pub(super) fn write_buckets(
    document: &Document,
    fragments: &Fragments<'_>,
    warnings: &mut Vec<String>,
) -> Vec<Vec<u8>> {
    let features: BTreeMap<&str, u32> = document
        .feature_states
        .iter()
        .map(|state| state.feature.name.as_str())
        .zip(0..)
        .collect();
    let identities = collect(&document.identity_overrides, &features, warnings);
    if identities.is_empty() {
        return Vec::new();
    }
    let size: usize = identities
        .iter()
        .map(|(identifier, states)| {
            let of_states = states.values().map(|state| {
                let per_value = 32 + fragments.tail_and_value(state).0.len() + 20;
                72 + per_value * (1 + state.multivariate_feature_state_values.len())
            });
            identifier.len() + 28 + of_states.sum::<usize>()
        })
        .sum();
    let count = binary::count(size.div_ceil(BUCKET).next_power_of_two());
    let mut buckets = vec![Vec::new(); count as usize];
    for (identifier, states) in &identities {
        if let Some(bucket) = bucket_of(identifier, count) {
            buckets[bucket as usize].push((*identifier, states));
        }
    }
    buckets
        .iter()
        .map(|identities| write_bucket(identities, fragments))
        .collect()
}

type States<'a> = BTreeMap<u32, &'a FeatureState>;

/// The states of each identity by feature. Where there are several of one, the first counts, as it
/// does in Flagsmith's engine.
fn collect<'a>(
    overrides: &'a [IdentityOverride],
    features: &BTreeMap<&str, u32>,
    warnings: &mut Vec<String>,
) -> BTreeMap<&'a str, States<'a>> {
    let mut identities: BTreeMap<&str, States<'_>> = BTreeMap::new();
    for of_identity in overrides {
        for state in &of_identity.identity_features {
            let (identifier, name) = (&of_identity.identifier, &state.feature.name);
            let Some(feature) = features.get(name.as_str()) else {
                warnings.push(format!(
                    "identity {identifier:?} overrides unknown feature {name:?}"
                ));
                continue;
            };
            let states = identities.entry(identifier).or_default();
            if states.contains_key(feature) {
                warnings.push(format!(
                    "identity {identifier:?} overrides feature {name:?} twice"
                ));
            }
            states.entry(*feature).or_insert(state);
        }
    }
    identities
}

fn write_bucket(identities: &[(&str, &States<'_>)], fragments: &Fragments<'_>) -> Vec<u8> {
    let mut texts = Pool::after(HEADER);
    let (mut records, mut entries, mut variants) =
        (Writer::default(), Writer::default(), Writer::default());
    for (identifier, states) in identities {
        records.span(texts.add(identifier)).span(Span {
            at: binary::count(entries.0.len() / 40),
            len: binary::count(states.len()),
        });
        for (feature, state) in *states {
            let values = &state.multivariate_feature_state_values;
            let control = fragments.whole_tail(state, Fragments::control(state));
            entries
                .u32(*feature)
                .u32(u32::from(state.enabled))
                .span(texts.add(format!("{},", mapping::salt(state))))
                .span(texts.add(fragments.head(state)))
                .span(texts.add(control))
                .span(Span {
                    at: binary::count(variants.0.len() / 24),
                    len: binary::count(values.len()),
                });
            let mut ranges = Writer::default();
            write_variants(&mapping::variants(state), &mut ranges);
            for range in ranges.0.as_chunks::<20>().0 {
                let option = &values[u32_at(range, 16) as usize].multivariate_feature_option;
                let tail = fragments.whole_tail(state, Fragments::variant(option));
                variants.bytes(&range[..16]).span(texts.add(tail));
            }
        }
    }
    let hashes: Vec<u64> = identities
        .iter()
        .map(|(identifier, _)| binary::hash(identifier.as_bytes()))
        .collect();
    let mut out = Writer(texts.into_bytes());
    let parts = [
        out.append(&binary::hash_table(hashes.into_iter())),
        out.append(&records.0),
        out.append(&entries.0),
        out.append(&variants.0),
    ];
    let mut header = Writer::default();
    header.bytes(MAGIC).u32(FORMAT);
    for part in parts {
        header.span(part);
    }
    let mut bytes = out.0;
    bytes[..HEADER].copy_from_slice(&header.0);
    bytes
}
