//! The types of segment overrides.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::feature_states::{NestedValue, State, ValueIn, WeightOut, WeightRow};
use crate::http::ApiTime;
use crate::store::row;

row! {
    /// An override as stored, with what its segment is called.
    #[derive(Clone, Debug)]
    pub(super) struct FeatureSegment {
        id: i64,
        uuid: Uuid,
        feature_id: i64,
        segment_id: i64,
        environment_id: i64,
        priority: i32,
        segment_name: String,
        is_feature_specific: bool,
    }
}

/// An override as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeatureSegment)]
pub(super) struct FeatureSegmentOut {
    id: i64,
    uuid: Uuid,
    segment: i64,
    /// 0 wins.
    priority: i32,
    environment: i64,
    segment_name: String,
    /// The segment is for this feature only.
    is_feature_specific: bool,
}

impl From<FeatureSegment> for FeatureSegmentOut {
    fn from(row: FeatureSegment) -> Self {
        let FeatureSegment {
            id,
            uuid,
            feature_id: _,
            segment_id,
            environment_id,
            priority,
            segment_name,
            is_feature_specific,
        } = row;
        Self {
            id,
            uuid,
            segment: segment_id,
            priority,
            environment: environment_id,
            segment_name,
            is_feature_specific,
        }
    }
}

/// An override that was just made.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CreatedFeatureSegment)]
pub(super) struct CreatedOut {
    id: i64,
    uuid: Uuid,
    feature: i64,
    segment: i64,
    environment: i64,
    priority: i32,
}

impl From<FeatureSegment> for CreatedOut {
    fn from(row: FeatureSegment) -> Self {
        Self {
            id: row.id,
            uuid: row.uuid,
            feature: row.feature_id,
            segment: row.segment_id,
            environment: row.environment_id,
            priority: row.priority,
        }
    }
}

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SegmentOverrideFeatureSegment)]
struct PlaceOut {
    id: i64,
    segment: i64,
    priority: i32,
    uuid: Uuid,
}

/// An override with its state.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CustomCreateSegmentOverride)]
pub(super) struct OverrideOut {
    id: i64,
    feature: i64,
    enabled: bool,
    feature_state_value: NestedValue,
    feature_segment: PlaceOut,
    deleted_at: Option<ApiTime>,
    uuid: Uuid,
    created_at: ApiTime,
    updated_at: ApiTime,
    live_from: ApiTime,
    environment: i64,
    identity: Option<i64>,
    change_request: Option<i64>,
    multivariate_feature_state_values: Vec<WeightOut>,
}

impl OverrideOut {
    /// An override and its state.
    pub(super) fn new(place: &FeatureSegment, state: &State, weights: &[WeightRow]) -> Self {
        Self {
            id: state.id,
            feature: state.feature_id,
            enabled: state.enabled,
            feature_state_value: state.value().nested(),
            feature_segment: PlaceOut {
                id: place.id,
                segment: place.segment_id,
                priority: place.priority,
                uuid: place.uuid,
            },
            deleted_at: None,
            uuid: state.uuid,
            created_at: state.created_at.into(),
            updated_at: state.updated_at.into(),
            live_from: state.created_at.into(),
            environment: state.environment_id,
            identity: None,
            change_request: None,
            multivariate_feature_state_values: weights.iter().map(WeightOut::from).collect(),
        }
    }
}

/// The body of a new override without a state, for the document.
#[derive(Debug, ToSchema)]
#[schema(as = FeatureSegmentRequest)]
#[expect(
    dead_code,
    reason = "bodies are read field by field; this describes them"
)]
pub(super) struct FeatureSegmentIn {
    feature: i64,
    segment: i64,
    environment: i64,
}

/// One override's new priority, for the document.
#[derive(Debug, ToSchema)]
#[schema(as = FeatureSegmentChangePriorities)]
#[expect(
    dead_code,
    reason = "bodies are read field by field; this describes them"
)]
pub(super) struct PriorityIn {
    id: i64,
    #[schema(minimum = 0)]
    priority: i32,
}

#[derive(Debug, ToSchema)]
#[schema(as = SegmentOverridePlaceRequest)]
#[expect(
    dead_code,
    reason = "bodies are read field by field; this describes them"
)]
struct PlaceIn {
    segment: i64,
    /// Last, if it is left out.
    #[schema(minimum = 0)]
    priority: Option<i32>,
}

#[derive(Debug, ToSchema)]
#[schema(as = SegmentOverrideShareRequest)]
#[expect(
    dead_code,
    reason = "bodies are read field by field; this describes them"
)]
struct ShareIn {
    multivariate_feature_option: i64,
    /// In percent.
    percentage_allocation: f64,
}

/// The body of a new override with its state, for the document.
#[derive(Debug, ToSchema)]
#[schema(as = CustomCreateSegmentOverrideRequest)]
#[expect(
    dead_code,
    reason = "bodies are read field by field; this describes them"
)]
pub(super) struct OverrideIn {
    enabled: Option<bool>,
    feature_segment: PlaceIn,
    feature_state_value: ValueIn,
    multivariate_feature_state_values: Option<Vec<ShareIn>>,
}
