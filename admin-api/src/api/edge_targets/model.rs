//! A target as stored, as shown and as asked for.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::rules;
use crate::http::{ApiTime, Bool, Fields, Text, set};
use crate::publish::is_export;
use crate::store::row;

row! {
    /// A target with what it should hold and has confirmed.
    pub(crate) struct TargetState {
        id: i64,
        name: String,
        url: String,
        enabled: bool,
        last_error: Option<String>,
        last_error_at: Option<DateTime<Utc>>,
        last_success_at: Option<DateTime<Utc>>,
        created_at: DateTime<Utc>,
        environments_total: i64,
        environments_confirmed: i64,
        lacking: i64,
        version_wanted: i64,
        version_held: i64,
        lag_seconds: f64,
        last_confirmed_at: Option<DateTime<Utc>>,
        last_confirmed_after: Option<f64>,
    }
}

row! {
    /// What of a target can be changed.
    pub(crate) struct Target {
        id: i64,
        name: String,
        url: String,
        secret: String,
        enabled: bool,
    }
}

/// An edge to publish to. Its secret is never shown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EdgeTarget)]
pub(crate) struct TargetOut {
    id: i64,
    name: String,
    /// `edge`, or `export` for a store of static files (a URL of `s3:` or `file:`).
    kind: &'static str,
    url: String,
    enabled: bool,
    created_at: ApiTime,
    environments: EnvironmentsOut,
    version: VersionOut,
    lag: LagOut,
    /// The change that it confirmed last; null until there is one.
    last_confirmation: Option<ConfirmationOut>,
    /// Why the last attempt failed; null while all is well.
    last_error: Option<String>,
    last_error_at: Option<ApiTime>,
    /// When it last confirmed something or told what it holds.
    last_success_at: Option<ApiTime>,
}

/// How many environments there are, and how many of them the target has in their newest version.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EdgeTargetEnvironments)]
pub(crate) struct EnvironmentsOut {
    total: i64,
    confirmed: i64,
}

/// The newest version there is, and the one up to which the target has everything.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EdgeTargetVersion)]
pub(crate) struct VersionOut {
    wanted: i64,
    held: i64,
}

/// How far the target is behind: environments (and keys to be refused) to deliver, versions between
/// held and wanted, and seconds since the oldest of these changes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EdgeTargetLag)]
pub(crate) struct LagOut {
    environments: i64,
    versions: i64,
    seconds: f64,
}

/// How long a change took from its commit until the target confirmed that it serves it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EdgeTargetConfirmation)]
pub(crate) struct ConfirmationOut {
    at: ApiTime,
    seconds: f64,
}

impl From<TargetState> for TargetOut {
    fn from(state: TargetState) -> Self {
        let TargetState {
            id,
            name,
            url,
            enabled,
            last_error,
            last_error_at,
            last_success_at,
            created_at,
            environments_total,
            environments_confirmed,
            lacking,
            version_wanted,
            version_held,
            lag_seconds,
            last_confirmed_at,
            last_confirmed_after,
        } = state;
        let last_confirmation = last_confirmed_at.zip(last_confirmed_after);
        Self {
            id,
            name,
            kind: if is_export(&url) { "export" } else { "edge" },
            url,
            enabled,
            created_at: created_at.into(),
            environments: EnvironmentsOut {
                total: environments_total,
                confirmed: environments_confirmed,
            },
            version: VersionOut {
                wanted: version_wanted,
                held: version_held,
            },
            lag: LagOut {
                environments: lacking,
                versions: version_wanted - version_held,
                seconds: lag_seconds,
            },
            last_confirmation: last_confirmation.map(|(at, seconds)| ConfirmationOut {
                at: at.into(),
                seconds,
            }),
            last_error,
            last_error_at: last_error_at.map(Into::into),
            last_success_at: last_success_at.map(Into::into),
        }
    }
}

/// What a caller says of a target. The secret may be left out of a change, PUT or PATCH: it then stays.
#[derive(ToSchema)]
#[schema(as = EdgeTargetRequest)]
pub(crate) struct TargetIn {
    #[schema(required, nullable = false, max_length = 200)]
    name: Option<String>,
    #[schema(required, nullable = false, max_length = 2000)]
    url: Option<String>,
    #[schema(write_only, nullable = false, max_length = 500)]
    secret: Option<String>,
    #[schema(nullable = false)]
    enabled: Option<bool>,
}

impl TargetIn {
    /// Reads the fields; what is wrong with them is for [`Fields::finish`] to tell.
    pub(crate) fn read(fields: &mut Fields, is_new: bool) -> Self {
        let text = Text::max(500).verbatim();
        let mut asked = Self {
            name: fields.update("name", Text::max(200)),
            url: fields.update("url", Text::max(2000)),
            secret: None,
            enabled: fields.optional("enabled", Bool),
        };
        // A folder opens without one.
        let is_folder = asked
            .url
            .as_deref()
            .is_some_and(|url| url.starts_with("file:"));
        asked.secret = if is_new && !is_folder {
            fields.update("secret", text)
        } else {
            fields.optional("secret", text)
        };
        if let Some(objection) = asked.url.as_deref().and_then(rules::objection) {
            fields.error("url", objection);
        }
        asked
    }

    /// Changes the target to what the caller said.
    pub(crate) fn apply(self, target: &mut Target) {
        let Self {
            name,
            url,
            secret,
            enabled,
        } = self;
        set(&mut target.name, name);
        set(&mut target.url, url);
        set(&mut target.secret, secret);
        set(&mut target.enabled, enabled);
    }
}
