//! What one identity gets of every feature, and where that comes from: the answer an edge would give,
//! beside the states it was chosen from. Pure.

use std::collections::HashMap;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use yardarm_core::snapshot::document::FeatureState;
use yardarm_core::snapshot::{
    self, OverrideBucket, Publication, Side, Snapshot, Trait, TraitValue, compile,
};

use super::model::{Identity, IdentityTrait};

/// A feature as one identity gets it.
#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = IdentityAllFeatureStates)]
pub(crate) struct ResolvedOut {
    feature: FeatureOut,
    enabled: bool,
    #[schema(value_type = Option<Object>)]
    feature_state_value: Value,
    /// `SEGMENT`, `IDENTITY`, or null for the environment's default.
    overridden_by: Option<&'static str>,
    /// The segment, when one overrides.
    segment: Option<SegmentOut>,
    multivariate_feature_state_values: Vec<ShareOut>,
}

#[derive(Debug, PartialEq, Deserialize, Serialize, ToSchema)]
#[schema(as = IdentityAllFeatureStatesFeature)]
struct FeatureOut {
    id: i64,
    name: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = IdentityAllFeatureStatesSegment)]
struct SegmentOut {
    id: i64,
    name: String,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = IdentityAllFeatureStatesShare)]
struct ShareOut {
    multivariate_feature_option: OptionOut,
    /// In percent.
    percentage_allocation: f64,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = IdentityAllFeatureStatesOption)]
struct OptionOut {
    #[schema(value_type = Option<Object>)]
    value: Value,
}

/// A flag of an edge's answer.
#[derive(Debug, Deserialize)]
struct Flag {
    id: i64,
    feature: FeatureOut,
    feature_state_value: Value,
    identity: Option<i64>,
    enabled: bool,
}

/// Evaluates the publication for an identity. Fails only when core contradicts itself.
pub(super) fn resolve(
    mut publication: Publication,
    identity: &Identity,
    traits: &[IdentityTrait],
) -> anyhow::Result<Vec<ResolvedOut>> {
    let document = &mut publication.document;
    document.hide_disabled_flags = Some(false);
    document.hide_sensitive_data = false;
    document
        .identity_overrides
        .retain(|overridden| overridden.identifier == identity.identifier);
    let id = identity.id.to_string();
    let composite = document.use_identity_composite_key_for_hashing;
    let asker = snapshot::Identity {
        identifier: &identity.identifier,
        hash_key: (!composite).then_some(id.as_str()),
        traits: &traits.iter().filter_map(value).collect::<Vec<_>>(),
    };

    let (package, _) = compile(&publication);
    let snapshot = Snapshot::open(package.snapshot())?;
    let bucket = snapshot
        .override_part(asker.identifier)
        .and_then(|number| package.part(number))
        .map(OverrideBucket::new);
    let mut answer = Vec::new();
    snapshot.write_identity_flags(Side::Server, &asker, bucket.as_ref(), &mut answer);
    let flags: Vec<Flag> = serde_json::from_slice(&answer).context("an edge's answer")?;

    let states = states(&publication);
    Ok(flags
        .into_iter()
        .map(|flag| {
            let origin = states.get(&flag.id);
            let segment = origin.and_then(|(_, segment)| segment.clone());
            let overridden_by = match (&segment, flag.identity) {
                (_, Some(_)) => Some("IDENTITY"),
                (Some(_), None) => Some("SEGMENT"),
                (None, None) => None,
            };
            ResolvedOut {
                feature: flag.feature,
                enabled: flag.enabled,
                feature_state_value: flag.feature_state_value,
                overridden_by,
                segment,
                multivariate_feature_state_values: origin
                    .map(|(state, _)| shares(state))
                    .unwrap_or_default(),
            }
        })
        .collect())
}

/// Every state by its id, with the segment that it overrides for.
fn states(publication: &Publication) -> HashMap<i64, (&FeatureState, Option<SegmentOut>)> {
    let ids = publication.details.as_ref().map(|details| &details.states);
    let id = |state: &FeatureState| Some(ids?.get(&state.featurestate_uuid)?.id);
    let document = &publication.document;
    let of_segments = document.project.segments.iter().flat_map(|segment| {
        let out = SegmentOut {
            id: segment.id,
            name: segment.name.clone(),
        };
        segment
            .feature_states
            .iter()
            .map(move |state| (state, Some(out.clone())))
    });
    let of_identities = document
        .identity_overrides
        .iter()
        .flat_map(|overridden| &overridden.identity_features);
    document
        .feature_states
        .iter()
        .chain(of_identities)
        .map(|state| (state, None))
        .chain(of_segments)
        .filter_map(|(state, segment)| Some((id(state)?, (state, segment))))
        .collect()
}

fn shares(state: &FeatureState) -> Vec<ShareOut> {
    state
        .multivariate_feature_state_values
        .iter()
        .map(|share| ShareOut {
            multivariate_feature_option: OptionOut {
                value: share.multivariate_feature_option.value.clone(),
            },
            percentage_allocation: share.percentage_allocation,
        })
        .collect()
}

/// A stored trait as evaluation sees it; nothing for one without a value.
fn value(stored: &IdentityTrait) -> Option<Trait<'_>> {
    let value = match stored.value_type.as_str() {
        "int" => TraitValue::Int(stored.integer_value?),
        "bool" => TraitValue::Bool(stored.boolean_value?),
        "float" => TraitValue::Float(stored.float_value?),
        _ => TraitValue::Text(stored.string_value.as_deref()?),
    };
    Some(Trait {
        key: &stored.trait_key,
        value,
    })
}
