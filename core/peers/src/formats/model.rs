//! What the other formats store, as plain types: flags, rules and overrides.

use std::collections::BTreeMap;

use serde_json::Value;
use yardarm_core::snapshot::Publication;
use yardarm_core::snapshot::document::{FeatureState, Rule};

/// An environment.
pub(super) struct Model {
    pub(super) environment_key: String,
    pub(super) version: u64,
    /// The body of `GET /flags/`; flags are ranges of it.
    pub(super) body: Vec<u8>,
    pub(super) flags: Vec<Flag>,
    pub(super) rules: Vec<RuleRow>,
    pub(super) buckets: Vec<Vec<(String, Vec<Override>)>>,
}

/// A flag in the body, and the feature in it.
pub(super) struct Flag {
    pub(super) at: u32,
    pub(super) len: u32,
    pub(super) feature_at: u32,
    pub(super) feature_len: u32,
    pub(super) enabled: bool,
}

/// A condition and the places to go on at.
pub(super) struct RuleRow {
    pub(super) operator: u8,
    pub(super) property: String,
    pub(super) value: String,
    pub(super) int: i64,
    pub(super) float: f64,
    pub(super) on_true: u32,
    pub(super) on_false: u32,
}

/// What an identity has in place of a feature's default.
pub(super) struct Override {
    pub(super) feature: u32,
    pub(super) tail: Vec<u8>,
}

/// FNV-1a, for buckets.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Model {
    pub(super) fn new(publication: &Publication) -> Self {
        let document = &publication.document;
        let mut body = vec![b'['];
        let flags = document
            .feature_states
            .iter()
            .map(|state| {
                if body.len() > 1 {
                    body.push(b',');
                }
                let feature = serde_json::to_vec(&feature(state)).expect("JSON");
                let at = body.len();
                body.extend_from_slice(HEAD);
                let feature_at = body.len();
                body.extend_from_slice(&feature);
                write_tail(state, &mut body);
                body.push(b'}');
                let number = |length: usize| u32::try_from(length).expect("small");
                Flag {
                    at: number(at),
                    len: number(body.len() - at),
                    feature_at: number(feature_at),
                    feature_len: number(feature.len()),
                    enabled: state.enabled,
                }
            })
            .collect();
        body.push(b']');
        let mut rules = Vec::new();
        for rule in document
            .project
            .segments
            .iter()
            .flat_map(|segment| &segment.rules)
        {
            add_rules(rule, &mut rules);
        }
        Self {
            environment_key: document.api_key.clone(),
            version: publication.version,
            body,
            flags,
            rules,
            buckets: buckets(publication),
        }
    }
}

/// What comes before the feature.
pub(super) const HEAD: &[u8] = br#"{"feature":"#;
/// What ends an identity's flag.
pub(super) const END: &[u8] = br#","variant":null}"#;

fn feature(state: &FeatureState) -> Value {
    serde_json::json!({"id": state.feature.id, "name": state.feature.name, "type": state.feature.kind})
}

fn write_tail(state: &FeatureState, out: &mut Vec<u8>) {
    let value = serde_json::to_string(&state.feature_state_value).expect("JSON");
    let tail = format!(
        ",\"enabled\":{},\"feature_state_value\":{value}",
        state.enabled
    );
    out.extend_from_slice(tail.as_bytes());
}

fn add_rules(rule: &Rule, rows: &mut Vec<RuleRow>) {
    for condition in &rule.conditions {
        let value = condition.value.as_str().unwrap_or_default().to_owned();
        let next = u32::try_from(rows.len()).expect("small") + 1;
        rows.push(RuleRow {
            operator: 1,
            property: condition.property.clone().unwrap_or_default(),
            int: value.parse().unwrap_or_default(),
            float: value.parse().unwrap_or_default(),
            value,
            on_true: next,
            on_false: next,
        });
    }
    for rule in &rule.rules {
        add_rules(rule, rows);
    }
}

fn buckets(publication: &Publication) -> Vec<Vec<(String, Vec<Override>)>> {
    let document = &publication.document;
    let features: BTreeMap<&str, u32> = document
        .feature_states
        .iter()
        .map(|state| state.feature.name.as_str())
        .zip(0..)
        .collect();
    let identities = &document.identity_overrides;
    if identities.is_empty() {
        return Vec::new();
    }
    let count = (identities.len() * 250)
        .div_ceil(64 * 1024)
        .next_power_of_two();
    let mut buckets: Vec<Vec<_>> = (0..count).map(|_| Vec::new()).collect();
    for identity in identities {
        let overrides = identity.identity_features.iter().map(|state| {
            let mut tail = Vec::new();
            write_tail(state, &mut tail);
            tail.extend_from_slice(END);
            Override {
                feature: features[state.feature.name.as_str()],
                tail,
            }
        });
        let bucket = (hash(&identity.identifier) & (count as u64 - 1)) as usize;
        buckets[bucket].push((identity.identifier.clone(), overrides.collect()));
    }
    for bucket in &mut buckets {
        bucket.sort_by(|a, b| a.0.cmp(&b.0));
    }
    buckets
}
