//! The environment document as an evaluation context (flagsmith-api.md B.6).

use serde_json::{Number, json};

use super::document::{Document, FeatureState, MultivariateValue, Rule};
use crate::engine;

/// The context that evaluates as the document does, for nobody in particular: without identity
/// overrides, which are looked up by key and not by evaluation.
///
/// Features, segments, overrides and variants stand in the document's order.
pub fn context(document: &Document) -> engine::Context {
    engine::Context {
        environment: engine::Environment {
            key: document.api_key.clone(),
            name: document.name.clone(),
            ..engine::Environment::default()
        },
        features: document
            .feature_states
            .iter()
            .map(|state| (state.feature.name.clone(), feature(state)))
            .collect(),
        segments: document
            .project
            .segments
            .iter()
            .map(|segment| {
                let id = segment.id.to_string();
                let mapped = engine::Segment {
                    key: id.clone(),
                    name: segment.name.clone(),
                    rules: segment.rules.iter().map(rule).collect(),
                    overrides: segment.feature_states.iter().map(feature).collect(),
                    metadata: Some(json!({ "id": segment.id, "source": "api" })),
                };
                (id, mapped)
            })
            .collect(),
        ..engine::Context::default()
    }
}

/// The salt of a state's buckets.
pub(super) fn salt(state: &FeatureState) -> String {
    state
        .django_id
        .map_or_else(|| state.featurestate_uuid.clone(), |id| id.to_string())
}

pub(super) fn variants(state: &FeatureState) -> Vec<engine::Variant> {
    let values = &state.multivariate_feature_state_values;
    values.iter().map(variant).collect()
}

fn feature(state: &FeatureState) -> engine::Feature {
    #[expect(clippy::cast_precision_loss, reason = "priorities are small")]
    let priority = |priority: i64| priority as f64;
    engine::Feature {
        key: salt(state),
        name: state.feature.name.clone(),
        enabled: state.enabled,
        value: state.feature_state_value.clone(),
        variants: variants(state),
        priority: state
            .feature_segment
            .as_ref()
            .and_then(|segment| segment.priority)
            .map(priority),
        metadata: Some(json!({ "id": state.feature.id })),
    }
}

#[expect(clippy::cast_precision_loss, reason = "only the order matters")]
fn variant(value: &MultivariateValue) -> engine::Variant {
    let uuid = || u128::from_str_radix(&value.mv_fs_value_uuid.replace('-', ""), 16).ok();
    engine::Variant {
        value: value.multivariate_feature_option.value.clone(),
        weight: Number::from_f64(value.percentage_allocation).unwrap_or_else(|| Number::from(0)),
        priority: value
            .id
            .map(|id| id as f64)
            .or_else(|| uuid().map(|uuid| uuid as f64)),
        key: value.multivariate_feature_option.key.clone(),
    }
}

fn rule(rule: &Rule) -> engine::Rule {
    engine::Rule {
        kind: rule.kind.clone(),
        conditions: rule
            .conditions
            .iter()
            .map(|condition| engine::Condition {
                operator: condition.operator.clone(),
                property: condition.property.clone(),
                value: condition.value.clone(),
            })
            .collect(),
        rules: rule.rules.iter().map(self::rule).collect(),
    }
}
