//! A server-side key's types.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{ApiTime, Bool, Fields, Patch, Text, Timestamp, set};
use crate::store::row;

row! {
    /// A key as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct EnvironmentKey {
        id: i64,
        name: String,
        hint: String,
        active: bool,
        expires_at: Option<DateTime<Utc>>,
        created_at: DateTime<Utc>,
    }
}

/// What people see of a key later: its beginning and end.
pub(super) fn hint(key: &str) -> String {
    let end = key.len().saturating_sub(3);
    format!(
        "{}...{}",
        key.get(..8).unwrap_or_default(),
        key.get(end..).unwrap_or_default()
    )
}

/// A key as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnvironmentAPIKey)]
pub(crate) struct EnvironmentKeyOut {
    id: i64,
    /// In full in the answer to creating it, later its beginning and end.
    key: String,
    active: bool,
    created_at: ApiTime,
    name: String,
    expires_at: Option<ApiTime>,
}

impl EnvironmentKeyOut {
    /// With the key in full.
    pub(super) fn in_full(key: EnvironmentKey, full: String) -> Self {
        Self {
            key: full,
            ..key.into()
        }
    }
}

impl From<EnvironmentKey> for EnvironmentKeyOut {
    fn from(key: EnvironmentKey) -> Self {
        let EnvironmentKey {
            id,
            name,
            hint,
            active,
            expires_at,
            created_at,
        } = key;
        Self {
            id,
            key: hint,
            active,
            created_at: created_at.into(),
            name,
            expires_at: expires_at.map(Into::into),
        }
    }
}

/// What a caller says of a key.
#[derive(Debug, ToSchema)]
#[schema(as = EnvironmentAPIKeyRequest)]
pub(crate) struct EnvironmentKeyIn {
    #[schema(required, nullable = false, max_length = 100)]
    name: Option<String>,
    #[schema(nullable = false)]
    active: Option<bool>,
    #[schema(value_type = Option<ApiTime>)]
    expires_at: Patch<DateTime<Utc>>,
}

impl EnvironmentKeyIn {
    /// Reads the fields; what is wrong with them is for [`Fields::finish`] to tell.
    pub(super) fn read(fields: &mut Fields) -> Self {
        Self {
            name: fields.update("name", Text::max(100)),
            active: fields.optional("active", Bool),
            expires_at: fields.nullable("expires_at", Timestamp),
        }
    }

    /// The name, where the caller gives one.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Changes the key to what the caller said.
    pub(super) fn apply(self, key: &mut EnvironmentKey) {
        let Self {
            name,
            active,
            expires_at,
        } = self;
        set(&mut key.name, name);
        set(&mut key.active, active);
        expires_at.apply(&mut key.expires_at);
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_hint_shows_both_ends() {
        assert_eq!(super::hint("ser.irhVYhoBSfsFNj52NDv66T"), "ser.irhV...66T");
    }
}
