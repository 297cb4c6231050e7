//! Flagsmith's environment document, field for field.
//!
//! Shape: flagsmith-api.md A.5 and flagsmith-observed.md 3.6. What a newer Flagsmith adds is kept in
//! `other`, so a document goes in and out without loss.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One environment with everything its flags depend on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// Numeric id of the environment.
    pub id: i64,
    /// The client-side key.
    pub api_key: String,
    /// The project.
    pub project: Project,
    /// Environment defaults, one per feature.
    pub feature_states: Vec<FeatureState>,
    /// Overrides made for single identities. A publication holds all of them, as remote evaluation
    /// always obeys them; the document that is served leaves them out where
    /// `use_identity_overrides_in_local_eval` is false.
    #[serde(default)]
    pub identity_overrides: Vec<IdentityOverride>,
    /// The environment's name.
    #[serde(default)]
    pub name: String,
    /// Whether a client-side key may set traits.
    #[serde(default = "yes")]
    pub allow_client_traits: bool,
    /// When anything in here last changed, ISO 8601.
    #[serde(default)]
    pub updated_at: Option<String>,
    /// Whether answers hide ids, descriptions and traits.
    #[serde(default)]
    pub hide_sensitive_data: bool,
    /// Whether disabled flags are left out; `None` asks the project.
    #[serde(default)]
    pub hide_disabled_flags: Option<bool>,
    /// Whether bucketing hashes `<api_key>_<identifier>` rather than the identity's id.
    #[serde(default = "yes")]
    pub use_identity_composite_key_for_hashing: bool,
    /// Whether the document as served carries identity overrides; when false, `compile` serves `[]`
    /// in its JSON and keeps them for remote evaluation.
    #[serde(default = "yes")]
    pub use_identity_overrides_in_local_eval: bool,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The project an environment belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Project {
    /// Numeric id.
    pub id: i64,
    /// Name.
    #[serde(default)]
    pub name: String,
    /// The organisation.
    pub organisation: Organisation,
    /// Whether disabled flags are left out where the environment does not say.
    #[serde(default)]
    pub hide_disabled_flags: bool,
    /// Every segment of the project, in document order.
    #[serde(default)]
    pub segments: Vec<Segment>,
    /// Whether changes are streamed.
    #[serde(default)]
    pub enable_realtime_updates: bool,
    /// Ids of features that a client-side key must not see.
    #[serde(default)]
    pub server_key_only_feature_ids: Vec<i64>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The organisation a project belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Organisation {
    /// Numeric id.
    pub id: i64,
    /// Name.
    #[serde(default)]
    pub name: String,
    /// Whether flag analytics are on.
    #[serde(default)]
    pub feature_analytics: bool,
    /// Whether the organisation is disabled from serving flags.
    #[serde(default)]
    pub stop_serving_flags: bool,
    /// Whether traits are stored.
    #[serde(default = "yes")]
    pub persist_trait_data: bool,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A segment and the overrides it carries in this environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    /// Numeric id; the salt of its percentage splits.
    pub id: i64,
    /// Name.
    #[serde(default)]
    pub name: String,
    /// Top-level rules, all of which must match. None at all matches nobody.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Overrides in this environment.
    #[serde(default)]
    pub feature_states: Vec<FeatureState>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A rule: conditions and sub-rules under one quantifier.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// `ALL`, `ANY` or `NONE`; anything else matches nobody.
    #[serde(rename = "type")]
    pub kind: String,
    /// Sub-rules.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Conditions.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// One comparison of a property with a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Condition {
    /// Operator name (flagsmith-api.md B.5).
    pub operator: String,
    /// What to compare with: text, or a list for `IN`.
    #[serde(default)]
    pub value: Value,
    /// Trait name or `$.` path.
    #[serde(default, rename = "property_", alias = "property")]
    pub property: Option<String>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The state of one feature: environment default, segment override or identity override.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureState {
    /// The feature.
    pub feature: Feature,
    /// On or off.
    #[serde(default)]
    pub enabled: bool,
    /// Salt of its buckets (the id of the first state of its lineage).
    #[serde(default)]
    pub django_id: Option<i64>,
    /// Priority, for a segment override.
    #[serde(default)]
    pub feature_segment: Option<FeatureSegment>,
    /// Unique id.
    #[serde(default)]
    pub featurestate_uuid: String,
    /// Value: null, boolean, integer or text.
    #[serde(default)]
    pub feature_state_value: Value,
    /// Weighted values.
    #[serde(default)]
    pub multivariate_feature_state_values: Vec<MultivariateValue>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The feature a state is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// Numeric id.
    pub id: i64,
    /// Name, unique in its project without regard to case.
    pub name: String,
    /// `STANDARD` or `MULTIVARIATE`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Where a segment override stands among others of the same feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FeatureSegment {
    /// 0 is the highest.
    #[serde(default)]
    pub priority: Option<i64>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A weighted value of a multivariate feature state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultivariateValue {
    /// The option chosen.
    pub multivariate_feature_option: MultivariateOption,
    /// Weight in percent, 0 to 100.
    pub percentage_allocation: f64,
    /// Numeric id; options are tried in its order.
    #[serde(default)]
    pub id: Option<i64>,
    /// Unique id, used for the order where `id` is missing.
    #[serde(default)]
    pub mv_fs_value_uuid: String,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// An option of a multivariate feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MultivariateOption {
    /// Value: boolean, integer or text.
    #[serde(default)]
    pub value: Value,
    /// Numeric id.
    #[serde(default)]
    pub id: Option<i64>,
    /// Key, answered as `variant`.
    #[serde(default)]
    pub key: Option<String>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The overrides of one identity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IdentityOverride {
    /// Who.
    pub identifier: String,
    /// The environment's client-side key.
    #[serde(default)]
    pub environment_api_key: String,
    /// When the identity was created, ISO 8601.
    #[serde(default)]
    pub created_date: Option<String>,
    /// The overriding states.
    #[serde(default)]
    pub identity_features: Vec<FeatureState>,
    /// Always empty in what Flagsmith serves.
    #[serde(default)]
    pub identity_traits: Vec<Value>,
    /// Unique id.
    #[serde(default)]
    pub identity_uuid: Option<String>,
    /// Numeric id.
    #[serde(default)]
    pub django_id: Option<i64>,
    /// Name for people.
    #[serde(default)]
    pub dashboard_alias: Option<String>,
    /// `<api_key>_<identifier>`.
    #[serde(default)]
    pub composite_key: Option<String>,
    /// Fields this version does not know.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

const fn yes() -> bool {
    true
}
