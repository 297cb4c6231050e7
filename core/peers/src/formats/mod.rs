//! The snapshot's format against two alternatives holding the same (docs/adr/0002-snapshot-format.md).
//!
//! All three hold what an answer is copied from, a rule table that is carried along, and identity
//! overrides in buckets apart; all three are asked for the same answer: every flag, one of them
//! overridden for the identity. No rule is evaluated, as that costs the same in each.

mod model;
mod with_rkyv;
mod with_zerocopy;

use std::hint::black_box;

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use yardarm_core::snapshot::{
    Identity, OverrideBucket, Package, Publication, Side, Snapshot, ascii_json, compile,
};

use crate::tasks::publication;
use model::Model;

/// The formats compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Yardarm's own.
    Own,
    /// rkyv 0.8 with checked access, the only one without `unsafe`.
    Rkyv,
    /// zerocopy 0.8: records as types, offsets by hand.
    Zerocopy,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Own, Self::Rkyv, Self::Zerocopy];
}

/// What is stored of an environment in one of the other formats.
struct Stored {
    main: Vec<u8>,
    buckets: Vec<Vec<u8>>,
    document: Vec<u8>,
    hash: [u8; 32],
}

impl Stored {
    fn len(&self) -> usize {
        self.main.len()
            + self.document.len()
            + self.hash.len()
            + self.buckets.iter().map(Vec::len).sum::<usize>()
    }
}

/// An environment of so many features and identity overrides in all three formats.
pub struct Formats {
    publication: Publication,
    own: Package,
    own_snapshot: Bytes,
    rkyv: Stored,
    zerocopy: Stored,
}

/// Who asks; one of those who have an override, where there are any.
const ASKER: &str = "user-000000-of-many";

impl Formats {
    /// Makes up the environment and stores it.
    pub fn new(features: usize, overrides: usize) -> Self {
        let publication = publication(&document(features, overrides));
        let own = compile(&publication).0;
        let formats = Self {
            own_snapshot: own.snapshot(),
            rkyv: store(&publication, with_rkyv::encode),
            zerocopy: store(&publication, with_zerocopy::encode),
            own,
            publication,
        };
        let [own, rkyv, zerocopy] = Format::ALL.map(|format| formats.answer(format));
        assert_eq!(own, rkyv);
        assert_eq!(own, zerocopy);
        formats
    }

    /// Compiles once more; gives the number of bytes.
    pub fn compile(&self, format: Format) -> usize {
        match format {
            Format::Own => compile(&self.publication).0.size(),
            Format::Rkyv => store(&self.publication, with_rkyv::encode).len(),
            Format::Zerocopy => store(&self.publication, with_zerocopy::encode).len(),
        }
    }

    /// Bytes of what an answer is made from, but for the buckets.
    pub fn main_len(&self, format: Format) -> usize {
        match format {
            Format::Own => self.own_snapshot.len(),
            Format::Rkyv => self.rkyv.main.len(),
            Format::Zerocopy => self.zerocopy.main.len(),
        }
    }

    /// Bytes of the buckets.
    pub fn buckets_len(&self, format: Format) -> usize {
        let of = |stored: &Stored| stored.buckets.iter().map(Vec::len).sum();
        match format {
            // The other parts are the document.
            Format::Own => {
                let snapshot = self.own.opened();
                let first = snapshot.override_part(ASKER).map_or(snapshot.parts(), |_| {
                    let page = snapshot.document_pages().saturating_sub(1);
                    snapshot.document_page(page).map_or(0, |page| page.chunks.end.max(1))
                });
                (first..snapshot.parts())
                    .filter_map(|bucket| self.own.part(bucket))
                    .map(|bucket| bucket.len())
                    .sum()
            }
            Format::Rkyv => of(&self.rkyv),
            Format::Zerocopy => of(&self.zerocopy),
        }
    }

    /// Opens the bytes and answers, so many times; nothing is kept in between.
    pub fn run(&self, format: Format, times: u32) -> usize {
        (0..times)
            .map(|_| black_box(self.answer(format)).len())
            .sum()
    }

    fn answer(&self, format: Format) -> Vec<u8> {
        let mut out = Vec::new();
        match format {
            Format::Own => {
                let snapshot = Snapshot::open(black_box(self.own_snapshot.clone())).expect("opens");
                let bucket = snapshot
                    .override_part(ASKER)
                    .and_then(|bucket| self.own.part(bucket))
                    .map(OverrideBucket::new);
                let identity = Identity {
                    identifier: ASKER,
                    hash_key: None,
                    traits: &[],
                };
                snapshot.write_identity_flags(Side::Server, &identity, bucket.as_ref(), &mut out);
            }
            Format::Rkyv => {
                let bucket = bucket_of(&self.rkyv);
                with_rkyv::answer(black_box(&self.rkyv.main), bucket, ASKER, &mut out);
            }
            Format::Zerocopy => {
                let bucket = bucket_of(&self.zerocopy);
                with_zerocopy::answer(black_box(&self.zerocopy.main), bucket, ASKER, &mut out);
            }
        }
        out
    }
}

fn bucket_of(stored: &Stored) -> Option<&[u8]> {
    let last = stored.buckets.len().checked_sub(1)?;
    let number = (model::hash(ASKER) & last as u64) as usize;
    stored.buckets.get(number).map(Vec::as_slice)
}

/// The model in a format, with the document and the hash that any format would need beside it.
fn store(publication: &Publication, encode: impl Fn(&Model) -> (Vec<u8>, Vec<Vec<u8>>)) -> Stored {
    let (main, buckets) = encode(&Model::new(publication));
    let document = ascii_json::to_vec(&publication.document);
    let mut hasher = Sha256::new();
    hasher.update(&main);
    hasher.update(&document);
    for bucket in &buckets {
        hasher.update(bucket);
    }
    Stored {
        main,
        buckets,
        document,
        hash: hasher.finalize().into(),
    }
}

/// An environment of plain features, with a segment of five conditions for every five of them.
fn document(features: usize, overrides: usize) -> Value {
    let state = |id: usize, value: String| {
        json!({
            "feature": {"id": id, "name": format!("feature_{id:04}"), "type": "STANDARD"},
            "enabled": id.is_multiple_of(2), "django_id": id, "feature_segment": null,
            "featurestate_uuid": format!("{id:08}-0000-4000-8000-000000000000"),
            "feature_state_value": value, "multivariate_feature_state_values": []
        })
    };
    let condition = |id: usize| json!({"operator": "EQUAL", "property_": format!("trait_{id}"), "value": format!("value {id}")});
    let segments: Vec<Value> = (0..features / 5)
        .map(|id| {
            let conditions: Vec<Value> = (0..5).map(|n| condition(id % 20 + n)).collect();
            json!({"id": id, "name": format!("segment_{id}"), "feature_states": [], "rules": [
                {"type": "ALL", "conditions": [], "rules": [{"type": "ANY", "rules": [], "conditions": conditions}]}]})
        })
        .collect();
    let identities: Vec<Value> = (0..overrides)
        .map(|number| {
            json!({"identifier": format!("user-{number:06}-of-many"), "environment_api_key": "key",
                "created_date": "2026-01-01T00:00:00.000000+00:00",
                "identity_features": [state(number % features, format!("override-{number}"))],
                "identity_traits": [], "identity_uuid": "00000000-0003-4000-8000-000000000003",
                "django_id": number, "dashboard_alias": null,
                "composite_key": format!("key_user-{number:06}-of-many")})
        })
        .collect();
    json!({"id": 1, "api_key": "key", "project": {"id": 1, "organisation": {"id": 1},
        "segments": segments}, "identity_overrides": identities,
        "feature_states": (0..features).map(|id| state(id, format!("value of feature {id}"))).collect::<Vec<_>>()})
}
