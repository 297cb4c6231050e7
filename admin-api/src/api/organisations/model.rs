//! An organisation's types.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::store::row;

row! {
    /// An organisation as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct Organisation {
        id: i64,
        uuid: Uuid,
        name: String,
        webhook_notification_email: Option<String>,
        persist_trait_data: bool,
        stop_serving_flags: bool,
        block_access_to_admin: bool,
        restrict_project_create_to_admin: bool,
        feature_analytics: bool,
        force_2fa: bool,
        created_at: DateTime<Utc>,
    }
}
