//! An environment's types.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::store::row;

row! {
    /// An environment as stored, and the organisation that its project belongs to.
    #[derive(Clone, Debug)]
    pub(crate) struct Environment {
        id: i64,
        uuid: Uuid,
        project_id: i64,
        organisation_id: i64,
        name: String,
        api_key: String,
        description: Option<String>,
        minimum_change_request_approvals: Option<i32>,
        allow_client_traits: bool,
        banner_text: Option<String>,
        banner_colour: Option<String>,
        hide_disabled_flags: Option<bool>,
        use_identity_composite_key_for_hashing: bool,
        hide_sensitive_data: bool,
        use_identity_overrides_in_local_eval: bool,
        created_at: DateTime<Utc>,
        updated_at: DateTime<Utc>,
        version: i64,
    }
}
