//! A publication compiled to a package. It never fails: odd data becomes a warning and a defined
//! behaviour.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::once;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::document::{Document, FeatureState};
use super::fragments::Fragments;
use super::layout::{self, Part, flag};
use super::package::{self, Package};
use super::pages::{self, Cut};
use super::publication::{Publication, ServerKey};
use super::stretches::{Outcome, Stretches};
use super::view::Snapshot;
use super::{mapping, overrides};
use crate::engine::binary::{self, Pool, Span, Writer};
use crate::engine::coerce;
use crate::engine::plan::{self, Plan};
use crate::time::Timestamp;

/// Compiles a publication. Never fails: odd data becomes a warning and a defined behaviour.
pub fn compile(publication: &Publication) -> (Package, Vec<String>) {
    let mut warnings = Vec::new();
    let fragments = Fragments::new(publication);
    let document = pages::write(&publication.document);
    let buckets = overrides::write_buckets(&publication.document, &fragments, &mut warnings);
    let mut section = Section::new(publication, &fragments);
    section.set_flags(settings(&publication.document));
    section.set(layout::BUCKETS, &binary::count(buckets.len()).to_le_bytes());
    section.write_texts();
    section.write_features(&mut warnings);
    let plan = plan::compile(&mapping::context(&publication.document), &mut warnings);
    section.write_states(&Plan::open(&plan));
    section.part(Part::Plan, &plan);
    section.write_segments();
    section.write_server_keys(&publication.server_keys, &mut warnings);
    section.write_pages(&document);
    let hashes = buckets.iter().map(|bucket| Sha256::digest(bucket).into());
    let hashes: Vec<[u8; 32]> = document.hashes.iter().copied().chain(hashes).collect();
    let parts = document.parts.into_iter().chain(buckets).map(Bytes::from);
    let parts: Vec<Bytes> = parts.collect();
    section.write_parts(&hashes, &parts);
    (Package::new(section.finish(), parts), warnings)
}

/// A package that says only that the environment is gone.
pub(super) fn tombstone(environment_key: &str, version: u64, updated_at_micros: i64) -> Package {
    let mut texts = Pool::after(layout::HEADER);
    let key = texts.add(environment_key);
    let mut bytes = texts.into_bytes();
    put(&mut bytes, Part::EnvironmentKey.at(), &span_bytes(key));
    put(&mut bytes, layout::VERSION, &version.to_le_bytes());
    put(
        &mut bytes,
        layout::UPDATED_AT,
        &updated_at_micros.to_le_bytes(),
    );
    put(&mut bytes, layout::FLAGS, &flag::GONE.to_le_bytes());
    Package::new(sealed(bytes), [])
}

fn settings(document: &Document) -> u32 {
    let organisation = &document.project.organisation;
    let hides_disabled = document
        .hide_disabled_flags
        .unwrap_or(document.project.hide_disabled_flags);
    [
        (document.allow_client_traits, flag::ALLOW_CLIENT_TRAITS),
        (document.hide_sensitive_data, flag::HIDE_SENSITIVE_DATA),
        (
            document.use_identity_composite_key_for_hashing,
            flag::COMPOSITE_KEY_HASHING,
        ),
        (organisation.stop_serving_flags, flag::STOP_SERVING_FLAGS),
        (organisation.persist_trait_data, flag::PERSIST_TRAIT_DATA),
        (hides_disabled, flag::HIDE_DISABLED_FLAGS),
    ]
    .into_iter()
    .fold(
        0,
        |flags, (is_set, flag)| if is_set { flags | flag } else { flags },
    )
}

/// A snapshot section being written: header and texts first, tables after them.
struct Section<'a> {
    publication: &'a Publication,
    document: &'a Document,
    fragments: &'a Fragments<'a>,
    /// For each feature whether only server-side keys see it.
    server_only: Vec<bool>,
    hides_disabled: bool,
    texts: Pool,
    tables: Vec<(Part, Vec<u8>)>,
    header: Vec<(usize, Vec<u8>)>,
}

impl<'a> Section<'a> {
    fn new(publication: &'a Publication, fragments: &'a Fragments<'a>) -> Self {
        let document = &publication.document;
        let ids = &document.project.server_key_only_feature_ids;
        let ids: BTreeSet<i64> = ids.iter().copied().collect();
        let features = document.feature_states.iter();
        let mut section = Self {
            publication,
            document,
            fragments,
            server_only: features
                .map(|state| ids.contains(&state.feature.id))
                .collect(),
            hides_disabled: settings(document) & flag::HIDE_DISABLED_FLAGS != 0,
            texts: Pool::after(layout::HEADER),
            tables: Vec::new(),
            header: Vec::new(),
        };
        section.set(layout::VERSION, &publication.version.to_le_bytes());
        section.set(
            layout::UPDATED_AT,
            &publication.updated_at_micros.to_le_bytes(),
        );
        section
    }

    fn set(&mut self, at: usize, bytes: &[u8]) {
        self.header.push((at, bytes.to_vec()));
    }

    fn set_flags(&mut self, flags: u32) {
        self.set(layout::FLAGS, &flags.to_le_bytes());
    }

    fn text(&mut self, part: Part, text: &[u8]) -> Span {
        let span = self.texts.append(text);
        self.set(part.at(), &span_bytes(span));
        span
    }

    fn part(&mut self, part: Part, bytes: &[u8]) {
        self.tables.push((part, bytes.to_vec()));
    }

    fn write_texts(&mut self) {
        let updated_at = Timestamp(self.publication.updated_at_micros);
        #[expect(clippy::cast_precision_loss, reason = "Flagsmith answers a float")]
        let seconds = updated_at.micros() as f64 / 1e6;
        self.text(Part::EnvironmentKey, self.document.api_key.as_bytes());
        self.text(
            Part::UpdatedAtHeader,
            coerce::float_text(seconds).as_bytes(),
        );
        self.text(Part::LastModified, updated_at.http_date().as_bytes());
    }

    /// The bodies of `GET /flags/` for both sides, and the features within.
    fn write_features(&mut self, warnings: &mut Vec<String>) {
        let states = &self.document.feature_states;
        let flags: Vec<Flag> = states
            .iter()
            .map(|state| Flag::new(self.fragments, state))
            .collect();
        let is_shown = |number: usize| self.is_shown(&states[number]);

        let (server, places) = body(&flags, is_shown);
        let for_clients = |number: usize| is_shown(number) && !self.server_only[number];
        let (client, _) = body(&flags, for_clients);
        let server_body = self.text(Part::ServerBody, &server);
        let server_etag = self.text(Part::ServerEtag, etag(&server).as_bytes());
        if client == server {
            self.set(Part::ClientBody.at(), &span_bytes(server_body));
            self.set(Part::ClientEtag.at(), &span_bytes(server_etag));
        } else {
            self.text(Part::ClientBody, &client);
            self.text(Part::ClientEtag, etag(&client).as_bytes());
        }

        let mut seen = BTreeSet::new();
        let mut records = Writer::default();
        let mut names = Vec::with_capacity(states.len());
        for (((state, flag), place), server_only) in
            states.iter().zip(&flags).zip(places).zip(&self.server_only)
        {
            let name = &state.feature.name;
            let lower_case = layout::lower_case(name);
            if !seen.insert(lower_case.clone()) {
                warnings.push(format!("feature {name:?} is there twice"));
            }
            names.push(binary::hash(lower_case.as_bytes()));
            let at = match place {
                Some(place) => server_body.at + place,
                // Not in the body, but an override may show it.
                None => self.texts.append(&flag.json).at,
            };
            let feature = Span {
                at: at + flag.feature.at,
                len: flag.feature.len,
            };
            let options = match state.multivariate_feature_state_values.as_slice() {
                [] => Span::default(),
                _ => self.texts.append(&Fragments::options(state)),
            };
            records
                .span(Span {
                    at,
                    len: binary::count(flag.json.len()),
                })
                .span(feature)
                .span(self.texts.add(name))
                .span(options)
                .i64(state.feature.id)
                .u32(u32::from(*server_only))
                .span(Span {
                    at: at + flag.value.at,
                    len: flag.value.len,
                });
        }
        self.part(Part::NameTable, &binary::hash_table(names.into_iter()));
        self.part(Part::Features, &records.0);
    }

    fn is_shown(&self, state: &FeatureState) -> bool {
        state.enabled || !self.hides_disabled
    }

    /// What every state comes to, in the order of the plan. Flags that follow each other in many answers do
    /// so here, to be copied at once: those without variants, in the order of the features.
    fn write_states(&mut self, plan: &Plan<'_>) {
        let fragments = self.fragments;
        let defaults = &self.document.feature_states;
        let features: BTreeMap<&str, (usize, Vec<u8>)> = defaults
            .iter()
            .enumerate()
            .map(|(number, state)| {
                let feature = fragments.feature(&state.feature);
                (state.feature.name.as_str(), (number, feature))
            })
            .collect();
        let of_segments = self.document.project.segments.iter();
        let groups = once(defaults).chain(of_segments.map(|segment| &segment.feature_states));
        let states = groups
            .enumerate()
            .flat_map(|(group, states)| states.iter().map(move |state| (group, state)));
        // What overrides a feature that is not there is never chosen.
        let states: Vec<_> = states
            .map(|(group, state)| (group, state, features.get(state.feature.name.as_str())))
            .collect();
        let mut order: Vec<usize> = (0..states.len()).collect();
        order.sort_by_key(|number| {
            let (group, _, feature) = states[*number];
            (group, feature.map(|(place, _)| place))
        });
        let mut flags = vec![Span::default(); states.len()];
        for number in order {
            if let (_, state, Some((_, feature))) = states[number] {
                let control = Fragments::control(state);
                let flag = self
                    .is_shown(state)
                    .then(|| fragments.flag(state, feature, control));
                flags[number] = self.texts.append(&flag.unwrap_or_default());
            }
        }
        let outcomes = states
            .iter()
            .zip(&flags)
            .map(|((_, state, _), flag)| Outcome {
                flag: *flag,
                is_split: flag.len > 0 && !state.multivariate_feature_state_values.is_empty(),
            });
        let outcomes: Vec<Outcome> = outcomes.collect();
        let stretches = Stretches::find(plan, &self.server_only, &outcomes);
        let mut ends = Writer::default();
        for end in stretches.ends {
            ends.u32(end);
        }
        let (mut records, mut variants) = (Writer::default(), Writer::default());
        for (((_, state, feature), flag), stretch) in
            states.into_iter().zip(flags).zip(stretches.lengths)
        {
            let first = binary::count(variants.0.len() / Span::SIZE);
            let is_shown = self.is_shown(state);
            let values = state.multivariate_feature_state_values.iter();
            for value in values.filter(|_| is_shown) {
                let flag = feature.map(|(_, feature)| {
                    let option = Fragments::variant(&value.multivariate_feature_option);
                    self.texts.append(&fragments.flag(state, feature, option))
                });
                variants.span(flag.unwrap_or_default());
            }
            let range = Span {
                at: first,
                len: binary::count(variants.0.len() / Span::SIZE) - first,
            };
            records.span(flag).u32(stretch).span(range);
        }
        self.part(Part::Stretches, &ends.0);
        self.part(Part::States, &records.0);
        self.part(Part::Variants, &variants.0);
    }

    fn write_segments(&mut self) {
        let mut records = Writer::default();
        for segment in &self.document.project.segments {
            let json = self.fragments.segment(segment.id, &segment.name);
            records.span(self.texts.append(&json));
        }
        self.part(Part::Segments, &records.0);
    }

    fn write_server_keys(&mut self, keys: &[ServerKey], warnings: &mut Vec<String>) {
        let mut sorted = BTreeMap::new();
        for key in keys {
            match super::hex::decode::<32>(&key.sha256) {
                Some(hash) => {
                    sorted.insert(hash, key);
                }
                None => warnings
                    .push("a server-side key's hash is no SHA-256 and is left out".to_owned()),
            }
        }
        let mut records = Writer::default();
        for (hash, key) in sorted {
            let active = if key.active {
                layout::server_key::ACTIVE
            } else {
                0
            };
            let expires = key
                .expires_at_micros
                .map_or(0, |_| layout::server_key::EXPIRES);
            records
                .bytes(&hash)
                .i64(key.expires_at_micros.unwrap_or_default())
                .u32(active | expires);
        }
        self.part(Part::ServerKeys, &records.0);
    }

    /// Which parts the package has.
    fn write_parts(&mut self, hashes: &[[u8; 32]], parts: &[Bytes]) {
        let mut records = Writer::default();
        for (hash, part) in hashes.iter().zip(parts) {
            records.bytes(hash).u32(binary::count(part.len()));
        }
        self.part(Part::PackageParts, &records.0);
    }

    /// How the document is put together.
    fn write_pages(&mut self, document: &Cut) {
        self.set(layout::SPLIT, &document.split.to_le_bytes());
        let mut records = Writer::default();
        for page in &document.pages {
            records
                .u32(page.first)
                .u32(page.count)
                .span(self.texts.add(&page.etag));
        }
        self.part(Part::DocumentPages, &records.0);
    }

    fn finish(self) -> Snapshot {
        let mut out = Writer(self.texts.into_bytes());
        let mut header = self.header;
        for (part, bytes) in self.tables {
            let span = out.append(&bytes);
            header.push((part.at(), span_bytes(span).to_vec()));
        }
        for (at, bytes) in header {
            put(&mut out.0, at, &bytes);
        }
        sealed(out.0)
    }
}

/// A flag in its default state, without `variant`.
struct Flag {
    json: Vec<u8>,
    /// The feature within.
    feature: Span,
    /// The value within.
    value: Span,
}

impl Flag {
    fn new(fragments: &Fragments<'_>, state: &FeatureState) -> Self {
        let mut json = fragments.head(state);
        let feature = fragments.feature(&state.feature);
        let span = Span {
            at: binary::count(json.len()),
            len: binary::count(feature.len()),
        };
        json.extend_from_slice(&feature);
        let (tail, value) = fragments.tail_and_value(state);
        let value = Span {
            at: binary::count(json.len()) + value.at,
            len: value.len,
        };
        json.extend_from_slice(&tail);
        json.push(b'}');
        Self {
            json,
            feature: span,
            value,
        }
    }
}

/// The array of the flags that are shown, and where each of them is in it.
fn body(flags: &[Flag], is_shown: impl Fn(usize) -> bool) -> (Vec<u8>, Vec<Option<u32>>) {
    let mut body = vec![b'['];
    let places = flags
        .iter()
        .enumerate()
        .map(|(number, flag)| {
            is_shown(number).then(|| {
                if body.len() > 1 {
                    body.push(b',');
                }
                let place = binary::count(body.len());
                body.extend_from_slice(&flag.json);
                place
            })
        })
        .collect();
    body.push(b']');
    (body, places)
}

/// A strong entity tag (RFC 9110, 8.8.3) of a body.
fn etag(body: &[u8]) -> String {
    let hash = Sha256::digest(body);
    format!("\"{}\"", super::hex::encode(&hash[..16]))
}

fn span_bytes(span: Span) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&span.at.to_le_bytes());
    bytes[4..].copy_from_slice(&span.len.to_le_bytes());
    bytes
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// With what every section starts with, and the hash of its content.
fn sealed(mut bytes: Vec<u8>) -> Snapshot {
    let length = bytes.len() as u64;
    put(&mut bytes, 0, layout::MAGIC);
    put(&mut bytes, 4, &layout::FORMAT.to_le_bytes());
    put(&mut bytes, layout::LENGTH, &length.to_le_bytes());
    let hash = super::hex::encode(&package::content_hash(&bytes));
    put(&mut bytes, layout::HASH.start, hash.as_bytes());
    Snapshot::made(bytes)
}
