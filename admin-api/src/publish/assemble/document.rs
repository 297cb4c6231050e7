//! The publication from its rows: pure, no database.

use std::collections::{BTreeMap, HashMap};

use serde_json::Map;
use sha2::{Digest as _, Sha256};
use yardarm_core::snapshot::document::{
    Document, Feature, FeatureSegment, FeatureState, IdentityOverride, MultivariateOption,
    MultivariateValue, Organisation, Project, Segment,
};
use yardarm_core::snapshot::publication::{Details, FeatureDetails, StateDetails};
use yardarm_core::snapshot::{Publication, ServerKey};

use super::rows::{
    EnvironmentRow, FeatureRow, Rows, SegmentRow, ServerKeyRow, StateRow, WeightedRow,
};
use super::values::{iso, rules, typed};

/// States by what they override.
#[derive(Default)]
struct States {
    defaults: Vec<FeatureState>,
    of_segments: HashMap<i64, Vec<FeatureState>>,
    of_identities: HashMap<i64, Vec<FeatureState>>,
}

pub(super) fn build(api_key: &str, version: u64, rows: Rows) -> Publication {
    let Rows {
        environment,
        features,
        states,
        weighted,
        segments,
        identities,
        server_keys,
    } = rows;
    let details = details(&features, &states, &segments);
    let server_key_only_feature_ids = features
        .iter()
        .filter(|row| row.is_server_key_only)
        .map(|row| row.id)
        .collect();
    let mut states = sort(states, &features, weighted);
    let segments = segments
        .into_iter()
        .map(|row| Segment {
            feature_states: states.of_segments.remove(&row.id).unwrap_or_default(),
            rules: rules(&row.rules),
            id: row.id,
            name: row.name,
            other: Map::new(),
        })
        .collect();
    let identity_overrides = identities
        .into_iter()
        .filter_map(|row| {
            let identity_features = states.of_identities.remove(&row.id)?;
            let composite_key = format!("{api_key}_{}", row.identifier);
            Some(IdentityOverride {
                identity_features,
                environment_api_key: api_key.to_owned(),
                created_date: Some(iso(row.created_at, "+00:00")),
                identity_traits: Vec::new(),
                identity_uuid: Some(uuid_of(&composite_key)),
                django_id: Some(row.id),
                dashboard_alias: None,
                composite_key: Some(composite_key),
                identifier: row.identifier,
                other: Map::new(),
            })
        })
        .collect();
    Publication {
        version,
        updated_at_micros: environment.updated_at.timestamp_micros(),
        document: Document {
            id: environment.id,
            api_key: api_key.to_owned(),
            feature_states: states.defaults,
            identity_overrides,
            updated_at: Some(iso(environment.updated_at, "+00:00")),
            allow_client_traits: environment.allow_client_traits,
            hide_sensitive_data: environment.hide_sensitive_data,
            hide_disabled_flags: environment.hide_disabled_flags,
            use_identity_composite_key_for_hashing: environment
                .use_identity_composite_key_for_hashing,
            use_identity_overrides_in_local_eval: environment.use_identity_overrides_in_local_eval,
            name: environment.name.clone(),
            project: project(environment, segments, server_key_only_feature_ids),
            other: Map::new(),
        },
        details: Some(details),
        server_keys: server_keys.into_iter().map(server_key).collect(),
    }
}

fn project(
    environment: EnvironmentRow,
    segments: Vec<Segment>,
    server_key_only_feature_ids: Vec<i64>,
) -> Project {
    Project {
        id: environment.project_id,
        name: environment.project_name,
        organisation: Organisation {
            id: environment.organisation_id,
            name: environment.organisation_name,
            feature_analytics: environment.feature_analytics,
            stop_serving_flags: environment.stop_serving_flags,
            persist_trait_data: environment.persist_trait_data,
            other: Map::new(),
        },
        hide_disabled_flags: environment.project_hide_disabled_flags,
        segments,
        enable_realtime_updates: environment.enable_realtime_updates,
        server_key_only_feature_ids,
        other: Map::new(),
    }
}

fn details(features: &[FeatureRow], states: &[StateRow], segments: &[SegmentRow]) -> Details {
    let feature = |row: &FeatureRow| FeatureDetails {
        created_date: iso(row.created_at, "Z"),
        description: row.description.clone(),
        initial_value: row.initial_value.clone(),
        default_enabled: row.default_enabled,
    };
    let state = |row: &StateRow| StateDetails {
        id: row.id,
        feature_segment: row.feature_segment_id,
        identity: row.identity_id,
    };
    Details {
        features: features.iter().map(|row| (row.id, feature(row))).collect(),
        states: states
            .iter()
            .map(|row| (row.uuid.to_string(), state(row)))
            .collect(),
        segments: segments
            .iter()
            .filter_map(|row| Some((row.id, row.description.clone()?)))
            .collect::<BTreeMap<_, _>>(),
    }
}

/// Sorts states by what they override, each kind in the order of the rows. A state of a feature that
/// is not of the project (which no constraint forbids) is left out.
fn sort(rows: Vec<StateRow>, features: &[FeatureRow], weighted: Vec<WeightedRow>) -> States {
    let features: HashMap<i64, &FeatureRow> = features.iter().map(|row| (row.id, row)).collect();
    let mut values: HashMap<i64, Vec<MultivariateValue>> = HashMap::new();
    for row in weighted {
        values
            .entry(row.feature_state_id)
            .or_default()
            .push(weighted_value(row));
    }
    let mut states = States::default();
    for row in rows {
        let Some(feature) = features.get(&row.feature_id) else {
            continue;
        };
        let list = match (row.segment_id, row.identity_id) {
            (Some(segment), _) => states.of_segments.entry(segment).or_default(),
            (None, Some(identity)) => states.of_identities.entry(identity).or_default(),
            (None, None) => &mut states.defaults,
        };
        list.push(FeatureState {
            feature: Feature {
                id: feature.id,
                name: feature.name.clone(),
                kind: Some(feature.kind.clone()),
                other: Map::new(),
            },
            enabled: row.enabled,
            django_id: Some(row.salt),
            feature_segment: row.priority.map(|priority| FeatureSegment {
                priority: Some(i64::from(priority)),
                other: Map::new(),
            }),
            featurestate_uuid: row.uuid.to_string(),
            feature_state_value: typed(
                &row.value_type,
                row.string_value,
                row.integer_value,
                row.boolean_value,
            ),
            multivariate_feature_state_values: values.remove(&row.id).unwrap_or_default(),
            other: Map::new(),
        });
    }
    states
}

fn weighted_value(row: WeightedRow) -> MultivariateValue {
    MultivariateValue {
        multivariate_feature_option: MultivariateOption {
            value: typed(
                &row.value_type,
                row.string_value,
                row.integer_value,
                row.boolean_value,
            ),
            id: Some(row.option_id),
            key: row.key,
            other: Map::new(),
        },
        percentage_allocation: row.percentage_allocation,
        id: Some(row.id),
        mv_fs_value_uuid: row.uuid.to_string(),
        other: Map::new(),
    }
}

fn server_key(row: ServerKeyRow) -> ServerKey {
    ServerKey {
        sha256: row.sha256,
        active: row.active,
        expires_at_micros: row.expires_at.map(|at| at.timestamp_micros()),
    }
}

/// Flagsmith makes up a new uuid on every request (flagsmith-observed.md 3.6); ours stays the same,
/// so that the same rows give the same document.
fn uuid_of(composite_key: &str) -> String {
    let digest: [u8; 32] = Sha256::digest(composite_key).into();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&digest[..16]);
    uuid::Builder::from_custom_bytes(bytes)
        .into_uuid()
        .to_string()
}
