//! The environment document in parts, and the pages it is answered in (docs/adr/0009-parts.md).
//!
//! A document of ordinary size is one part and one page. A larger one is a base, which is everything
//! but the identity overrides, and chunks of overrides. A page is the base with some of the chunks in
//! it, a whole document by itself; the pages differ in `identity_overrides` alone. Where one chunk
//! ends follows from the overrides near that place and not from their number, so that a change in one
//! place leaves the other chunks, and their names, as they were.

use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::document::{Document, FeatureState, IdentityOverride, Project};
use super::{ascii_json, hex};
use crate::engine::binary::{self, count};

/// A document up to this many bytes is one part.
const WHOLE: usize = 512 << 10;
/// A chunk is at least so many bytes,
const MIN_CHUNK: usize = 64 << 10;
/// and ends within as many more on average,
const MORE: usize = 128 << 10;
/// but after so many in any case.
const MAX_CHUNK: usize = 512 << 10;
/// A page is up to so many bytes: what an edge holds in memory several times to answer it once.
const PAGE: usize = 4 << 20;
/// Bytes of overrides on a page, however large the base is.
const MIN_OVERRIDES: usize = 1 << 20;

/// A document cut up.
pub(super) struct Cut {
    /// The base, then the chunks; or the whole document.
    pub(super) parts: Vec<Vec<u8>>,
    /// SHA-256 of each part.
    pub(super) hashes: Vec<[u8; 32]>,
    /// Where in the base the chunks belong.
    pub(super) split: u32,
    /// The pages, at least one.
    pub(super) pages: Vec<Page>,
}

/// A page: the base, and so many chunks.
pub(super) struct Page {
    /// The number of the first chunk, as a part.
    pub(super) first: u32,
    /// How many.
    pub(super) count: u32,
    /// Quoted.
    pub(super) etag: String,
}

/// Cuts a document up as it is served: without identity overrides where it says so.
pub(super) fn write(document: &Document) -> Cut {
    let served: &[IdentityOverride] = if document.use_identity_overrides_in_local_eval {
        &document.identity_overrides
    } else {
        &[]
    };
    let (before, after) = base(document);
    let split = before.len();
    let chunks = chunks(served);
    let overrides: usize = chunks.iter().map(Vec::len).sum();
    let mut parts = Vec::with_capacity(1 + chunks.len());
    if split + overrides + after.len() <= WHOLE {
        parts.push(join(&before, &chunks, &after));
    } else {
        parts.push([before, after].concat());
        parts.extend(chunks);
    }
    let hashes: Vec<[u8; 32]> = parts
        .iter()
        .map(|part| Sha256::digest(part).into())
        .collect();
    let mut pages = Vec::new();
    let room = PAGE.saturating_sub(parts[0].len()).max(MIN_OVERRIDES);
    let mut first = 1;
    while pages.is_empty() || first < parts.len() {
        let mut bytes = 0;
        let fitting = parts[first..].iter().take_while(|chunk| {
            bytes += chunk.len();
            bytes <= room || bytes == chunk.len()
        });
        let end = first + fitting.count();
        pages.push(Page {
            first: count(first),
            count: count(end - first),
            etag: etag(&hashes[0], &hashes[first..end]),
        });
        first = end;
    }
    Cut {
        parts,
        hashes,
        split: count(split),
        pages,
    }
}

/// A page from its base and its chunks, which end with a comma each.
pub(super) fn join<T: AsRef<[u8]>>(before: &[u8], chunks: &[T], after: &[u8]) -> Vec<u8> {
    let overrides: usize = chunks.iter().map(|chunk| chunk.as_ref().len()).sum();
    let mut page = Vec::with_capacity(before.len() + overrides + after.len());
    page.extend_from_slice(before);
    for chunk in chunks {
        page.extend_from_slice(chunk.as_ref());
    }
    if overrides > 0 {
        page.pop_if(|last| *last == b',');
    }
    page.extend_from_slice(after);
    page
}

/// The document's JSON up to its first identity override, and after its last.
fn base(document: &Document) -> (Vec<u8>, Vec<u8>) {
    #[derive(Serialize)]
    struct Before<'a> {
        id: i64,
        api_key: &'a str,
        project: &'a Project,
        feature_states: &'a [FeatureState],
    }
    #[derive(Serialize)]
    struct After<'a> {
        name: &'a str,
        allow_client_traits: bool,
        updated_at: &'a Option<String>,
        hide_sensitive_data: bool,
        hide_disabled_flags: Option<bool>,
        use_identity_composite_key_for_hashing: bool,
        use_identity_overrides_in_local_eval: bool,
        #[serde(flatten)]
        other: &'a Map<String, Value>,
    }
    let mut before = ascii_json::to_vec(&Before {
        id: document.id,
        api_key: &document.api_key,
        project: &document.project,
        feature_states: &document.feature_states,
    });
    before.pop();
    before.extend_from_slice(br#","identity_overrides":["#);
    let rest = ascii_json::to_vec(&After {
        name: &document.name,
        allow_client_traits: document.allow_client_traits,
        updated_at: &document.updated_at,
        hide_sensitive_data: document.hide_sensitive_data,
        hide_disabled_flags: document.hide_disabled_flags,
        use_identity_composite_key_for_hashing: document.use_identity_composite_key_for_hashing,
        use_identity_overrides_in_local_eval: document.use_identity_overrides_in_local_eval,
        other: &document.other,
    });
    let mut after = b"],".to_vec();
    after.extend_from_slice(rest.get(1..).unwrap_or_default());
    (before, after)
}

/// The overrides in chunks, each override with a comma behind it.
fn chunks(overrides: &[IdentityOverride]) -> Vec<Vec<u8>> {
    let mut chunks = Vec::new();
    let mut chunk = Vec::new();
    for of_identity in overrides {
        let start = chunk.len();
        ascii_json::write(of_identity, &mut chunk);
        chunk.push(b',');
        if chunk.len() >= MAX_CHUNK
            || (chunk.len() >= MIN_CHUNK && ends_here(of_identity, chunk.len() - start))
        {
            chunks.push(std::mem::take(&mut chunk));
        }
    }
    if !chunk.is_empty() {
        chunks.push(chunk);
    }
    chunks
}

/// Whether a chunk may end behind this override: once in [`MORE`] bytes, always at the same ones.
fn ends_here(of_identity: &IdentityOverride, length: usize) -> bool {
    let drawn = binary::hash(of_identity.identifier.as_bytes()) >> 32;
    u128::from(drawn) * (MORE as u128) < (length as u128) << 32
}

/// A strong entity tag (RFC 9110, 8.8.3): of the content itself where there is one part.
fn etag(base: &[u8; 32], chunks: &[[u8; 32]]) -> String {
    let mut hash = *base;
    if !chunks.is_empty() {
        hash = Sha256::digest([&[*base], chunks].concat().as_flattened()).into();
    }
    format!("\"{}\"", hex::encode(&hash[..16]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document(identities: impl IntoIterator<Item = usize>) -> Document {
        let overrides: Vec<Value> = identities
            .into_iter()
            .map(|n| {
                json!({"identifier": format!("user-{n}"), "environment_api_key": "key",
                "identity_features": [{"feature": {"id": 1, "name": "f"}, "enabled": true,
                    "django_id": n, "feature_state_value": "x".repeat(n % 400)}]})
            })
            .collect();
        serde_json::from_value(
            json!({"id": 1, "api_key": "key", "project": {"id": 1, "organisation": {"id": 1},
            "identity_overrides": []}, "feature_states": [], "identity_overrides": overrides,
            "name": "\u{e9} \"identity_overrides\":[]", "later": {"identity_overrides": []}}),
        )
        .expect("a document")
    }

    fn page(pages: &Cut, number: usize) -> Vec<u8> {
        let (before, after) = pages.parts[0].split_at(pages.split as usize);
        let page = &pages.pages[number];
        let first = page.first as usize;
        join(
            before,
            &pages.parts[first..first + page.count as usize],
            after,
        )
    }

    #[test]
    fn an_ordinary_document_is_one_part_as_it_always_was() {
        for identities in [0, 1, 2, 300] {
            let document = document(0..identities);
            let pages = write(&document);
            assert_eq!(pages.parts, [ascii_json::to_vec(&document)], "{identities}");
            assert_eq!(pages.pages.len(), 1);
            assert_eq!(pages.pages[0].count, 0);
        }
    }

    #[test]
    fn pages_are_documents_and_together_have_every_override() {
        let document = document(0..14_000);
        let pages = write(&document);
        assert!(pages.pages.len() > 1, "{} pages", pages.pages.len());
        let mut all = Vec::new();
        for number in 0..pages.pages.len() {
            let json = page(&pages, number);
            assert!(json.len() <= PAGE + MAX_CHUNK, "{}", json.len());
            let mut page: Document = serde_json::from_slice(&json).expect("a document");
            all.append(&mut page.identity_overrides);
            assert_eq!(
                page,
                Document {
                    identity_overrides: Vec::new(),
                    ..document.clone()
                }
            );
        }
        assert_eq!(all, document.identity_overrides);
        let tags: std::collections::BTreeSet<_> =
            pages.pages.iter().map(|page| &page.etag).collect();
        assert_eq!(tags.len(), pages.pages.len());
        assert!(
            pages.parts[1..]
                .iter()
                .all(|part| part.len() <= MAX_CHUNK + 1_000)
        );
    }

    #[test]
    fn a_change_in_one_place_leaves_the_other_chunks_alone() {
        let before = write(&document(0..4_000));
        for changed in [
            document((0..4_000).filter(|n| *n != 3)),
            document((0..4_000).map(|n| if n == 2_000 { 77_777 } else { n })),
            document(0..4_001),
            document([60_000].into_iter().chain(0..4_000)),
        ] {
            let after = write(&changed);
            let new = after
                .hashes
                .iter()
                .filter(|hash| !before.hashes.contains(hash));
            assert!(new.count() <= 3);
        }
    }

    #[test]
    fn without_overrides_in_local_evaluation_there_is_only_the_base() {
        let mut document = document(0..3_000);
        document.use_identity_overrides_in_local_eval = false;
        let pages = write(&document);
        assert_eq!((pages.parts.len(), pages.pages.len()), (1, 1));
        document.identity_overrides.clear();
        assert_eq!(pages.parts[0], ascii_json::to_vec(&document));
    }
}
