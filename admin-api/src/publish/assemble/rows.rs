//! The rows that a publication is made of, as the statements give them.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::store::row;

/// Everything of one environment, read in one snapshot of the database.
pub(super) struct Rows {
    pub(super) environment: EnvironmentRow,
    pub(super) features: Vec<FeatureRow>,
    pub(super) states: Vec<StateRow>,
    pub(super) weighted: Vec<WeightedRow>,
    pub(super) segments: Vec<SegmentRow>,
    pub(super) identities: Vec<IdentityRow>,
    pub(super) server_keys: Vec<ServerKeyRow>,
}

row! {
    pub(crate) struct EnvironmentRow {
        id: i64,
        name: String,
        version: i64,
        updated_at: DateTime<Utc>,
        allow_client_traits: bool,
        hide_disabled_flags: Option<bool>,
        hide_sensitive_data: bool,
        use_identity_composite_key_for_hashing: bool,
        use_identity_overrides_in_local_eval: bool,
        project_id: i64,
        project_name: String,
        project_hide_disabled_flags: bool,
        enable_realtime_updates: bool,
        organisation_id: i64,
        organisation_name: String,
        feature_analytics: bool,
        stop_serving_flags: bool,
        persist_trait_data: bool,
    }
}

row! {
    pub(crate) struct TombstoneRow {
        version: i64,
        updated_at: DateTime<Utc>,
    }
}

row! {
    pub(crate) struct FeatureRow {
        id: i64,
        name: String,
        kind: String,
        created_at: DateTime<Utc>,
        description: Option<String>,
        initial_value: Option<String>,
        default_enabled: bool,
        is_server_key_only: bool,
    }
}

row! {
    pub(crate) struct StateRow {
        id: i64,
        uuid: Uuid,
        feature_id: i64,
        feature_segment_id: Option<i64>,
        segment_id: Option<i64>,
        priority: Option<i32>,
        identity_id: Option<i64>,
        enabled: bool,
        value_type: String,
        string_value: Option<String>,
        integer_value: Option<i32>,
        boolean_value: Option<bool>,
        salt: i64,
    }
}

row! {
    pub(crate) struct WeightedRow {
        feature_state_id: i64,
        id: i64,
        uuid: Uuid,
        percentage_allocation: f64,
        option_id: i64,
        key: Option<String>,
        value_type: String,
        string_value: Option<String>,
        integer_value: Option<i32>,
        boolean_value: Option<bool>,
    }
}

row! {
    pub(crate) struct SegmentRow {
        id: i64,
        name: String,
        description: Option<String>,
        rules: Value,
    }
}

row! {
    pub(crate) struct IdentityRow {
        id: i64,
        identifier: String,
        created_at: DateTime<Utc>,
    }
}

row! {
    pub(crate) struct ServerKeyRow {
        sha256: String,
        active: bool,
        expires_at: Option<DateTime<Utc>>,
    }
}
