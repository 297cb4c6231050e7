//! The types of states.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::value::{FlagValue, NestedValue, Scalar};
use super::weights::{WeightOut, WeightRow};
use crate::http::ApiTime;
use crate::store::row;

row! {
    /// A state as stored, with the names of what it is about.
    #[derive(Clone, Debug)]
    pub(crate) struct State {
        id: i64,
        uuid: Uuid,
        environment_id: i64,
        feature_id: i64,
        feature_name: String,
        feature_segment_id: Option<i64>,
        segment_name: Option<String>,
        identity_id: Option<i64>,
        identifier: Option<String>,
        enabled: bool,
        value_type: String,
        string_value: Option<String>,
        integer_value: Option<i32>,
        boolean_value: Option<bool>,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
    }
}

impl State {
    /// Its value.
    pub(crate) fn value(&self) -> FlagValue {
        FlagValue::stored(
            &self.value_type,
            self.string_value.clone(),
            self.integer_value,
            self.boolean_value,
        )
    }

    /// Gives it another value.
    pub(crate) fn set_value(&mut self, value: FlagValue) {
        let FlagValue {
            kind,
            string,
            integer,
            boolean,
        } = value;
        kind.name().clone_into(&mut self.value_type);
        self.string_value = string;
        self.integer_value = integer;
        self.boolean_value = boolean;
    }
}

/// What is shown of every state after its value.
#[derive(Debug, Serialize, ToSchema)]
struct Facts {
    /// Always null: nothing is kept of a state that is deleted.
    deleted_at: Option<ApiTime>,
    uuid: Uuid,
    enabled: bool,
    created_at: ApiTime,
    updated_at: ApiTime,
    live_from: ApiTime,
    version: i32,
    feature: i64,
    environment: i64,
}

impl Facts {
    fn of(state: &State) -> Self {
        Self {
            deleted_at: None,
            uuid: state.uuid,
            enabled: state.enabled,
            created_at: state.created_at.into(),
            updated_at: state.updated_at.into(),
            live_from: state.created_at.into(),
            version: 1,
            feature: state.feature_id,
            environment: state.environment_id,
        }
    }
}

/// What versions and change requests will say of a state.
#[derive(Debug, Default, Serialize, ToSchema)]
struct Later {
    change_request: Option<i64>,
    environment_feature_version: Option<Uuid>,
}

fn shares(weights: &[WeightRow]) -> Vec<WeightOut> {
    weights.iter().map(WeightOut::from).collect()
}

/// A state with its value as a plain one.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeatureState)]
pub(crate) struct FlatOut {
    id: i64,
    #[schema(value_type = Option<Object>)]
    feature_state_value: Scalar,
    multivariate_feature_state_values: Vec<WeightOut>,
    #[serde(flatten)]
    facts: Facts,
    identity: Option<i64>,
    feature_segment: Option<i64>,
    #[serde(flatten)]
    later: Later,
}

impl FlatOut {
    /// A state and its shares.
    pub(crate) fn new(state: &State, weights: &[WeightRow]) -> Self {
        Self {
            id: state.id,
            feature_state_value: state.value().scalar(),
            multivariate_feature_state_values: shares(weights),
            facts: Facts::of(state),
            identity: state.identity_id,
            feature_segment: state.feature_segment_id,
            later: Later::default(),
        }
    }
}

/// What a PATCH of a plain state answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PatchedFeatureState)]
pub(crate) struct PatchedOut {
    feature: i64,
    enabled: bool,
}

impl PatchedOut {
    /// Of a state.
    pub(crate) fn new(state: &State) -> Self {
        Self {
            feature: state.feature_id,
            enabled: state.enabled,
        }
    }
}

/// Whose override a state is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeatureStateIdentity)]
struct IdentityOut {
    id: i64,
    identifier: String,
}

/// A state in a list of an environment's: its value as a plain one, its identity with a name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeatureStateWithIdentity)]
pub(crate) struct ListedOut {
    id: i64,
    #[schema(value_type = Option<Object>)]
    feature_state_value: Scalar,
    multivariate_feature_state_values: Vec<WeightOut>,
    identity: Option<IdentityOut>,
    #[serde(flatten)]
    facts: Facts,
    feature_segment: Option<i64>,
    #[serde(flatten)]
    later: Later,
}

impl ListedOut {
    /// A state and its shares.
    pub(crate) fn new(state: &State, weights: &[WeightRow]) -> Self {
        let identity = state.identity_id.map(|id| IdentityOut {
            id,
            identifier: state.identifier.clone().unwrap_or_default(),
        });
        Self {
            id: state.id,
            feature_state_value: state.value().scalar(),
            multivariate_feature_state_values: shares(weights),
            identity,
            facts: Facts::of(state),
            feature_segment: state.feature_segment_id,
            later: Later::default(),
        }
    }
}

/// A state with its value and what its other columns hold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimpleFeatureState)]
pub(crate) struct NestedOut {
    id: i64,
    feature_state_value: NestedValue,
    multivariate_feature_state_values: Vec<WeightOut>,
    #[serde(flatten)]
    facts: Facts,
    identity: Option<i64>,
    feature_segment: Option<i64>,
    #[serde(flatten)]
    later: Later,
}

impl NestedOut {
    /// A state and its shares.
    pub(crate) fn new(state: &State, weights: &[WeightRow]) -> Self {
        Self {
            id: state.id,
            feature_state_value: state.value().nested(),
            multivariate_feature_state_values: shares(weights),
            facts: Facts::of(state),
            identity: state.identity_id,
            feature_segment: state.feature_segment_id,
            later: Later::default(),
        }
    }
}
