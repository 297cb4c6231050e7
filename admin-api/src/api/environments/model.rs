//! An environment's types.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::rules::check_key;
use crate::http::{Bool, Fields, Int, Patch, Text, set};
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
    }
}

/// An environment as lists show it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnvironmentSummary)]
pub(crate) struct EnvironmentOut {
    id: i64,
    uuid: Uuid,
    name: String,
    api_key: String,
    description: Option<String>,
    project: i64,
    minimum_change_request_approvals: Option<i32>,
    allow_client_traits: bool,
    banner_text: Option<String>,
    banner_colour: Option<String>,
    hide_disabled_flags: Option<bool>,
    /// Another name for `use_identity_composite_key_for_hashing`.
    use_mv_v2_evaluation: bool,
    use_identity_composite_key_for_hashing: bool,
    hide_sensitive_data: bool,
    use_v2_feature_versioning: bool,
    use_identity_overrides_in_local_eval: bool,
    is_creating: bool,
}

impl From<Environment> for EnvironmentOut {
    fn from(environment: Environment) -> Self {
        let Environment {
            id,
            uuid,
            project_id,
            organisation_id: _,
            name,
            api_key,
            description,
            minimum_change_request_approvals,
            allow_client_traits,
            banner_text,
            banner_colour,
            hide_disabled_flags,
            use_identity_composite_key_for_hashing,
            hide_sensitive_data,
            use_identity_overrides_in_local_eval,
        } = environment;
        Self {
            id,
            uuid,
            name,
            api_key,
            description,
            project: project_id,
            minimum_change_request_approvals,
            allow_client_traits,
            banner_text,
            banner_colour,
            hide_disabled_flags,
            use_mv_v2_evaluation: use_identity_composite_key_for_hashing,
            use_identity_composite_key_for_hashing,
            hide_sensitive_data,
            use_v2_feature_versioning: false,
            use_identity_overrides_in_local_eval,
            is_creating: false,
        }
    }
}

/// An environment with its custom fields (of which there are none yet).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Environment)]
pub(crate) struct EnvironmentWithMetadata {
    #[serde(flatten)]
    environment: EnvironmentOut,
    metadata: Vec<serde_json::Value>,
}

impl From<Environment> for EnvironmentWithMetadata {
    fn from(environment: Environment) -> Self {
        Self {
            environment: environment.into(),
            metadata: Vec::new(),
        }
    }
}

/// An environment with what it holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnvironmentRetrieve)]
pub(crate) struct EnvironmentDetail {
    #[serde(flatten)]
    environment: EnvironmentWithMetadata,
    total_segment_overrides: i64,
}

impl EnvironmentDetail {
    /// With so many segment overrides.
    pub(crate) fn new(environment: Environment, total_segment_overrides: i64) -> Self {
        Self {
            environment: environment.into(),
            total_segment_overrides,
        }
    }
}

/// A clone, as the answer to making it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnvironmentClone)]
pub(crate) struct Cloned {
    id: i64,
    name: String,
    api_key: String,
    project: i64,
}

impl From<Environment> for Cloned {
    fn from(environment: Environment) -> Self {
        let Environment {
            id,
            name,
            api_key,
            project_id,
            ..
        } = environment;
        Self {
            id,
            name,
            api_key,
            project: project_id,
        }
    }
}

/// To clone an environment.
#[derive(Debug, ToSchema)]
#[schema(as = EnvironmentCloneRequest)]
#[expect(
    dead_code,
    reason = "describes the body for the document; the route reads it field by field"
)]
pub(crate) struct CloneIn {
    name: String,
}

/// Names of traits.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TraitKeys {
    /// In alphabetical order.
    pub(super) keys: Vec<String>,
}

/// One name of a trait.
#[derive(Debug, ToSchema)]
#[schema(as = DeleteTraitsRequest)]
#[expect(
    dead_code,
    reason = "describes the body for the document; the route reads it field by field"
)]
pub(crate) struct DeleteTraits {
    key: String,
}

/// What a caller says of an environment: to create one, or to change one.
#[derive(Debug, ToSchema)]
#[schema(as = EnvironmentRequest)]
pub(crate) struct EnvironmentIn {
    #[schema(required, nullable = false, max_length = 2000)]
    name: Option<String>,
    /// The client-side key. Left out of a new environment, one is made up. The old key dies at once.
    #[schema(nullable = false, max_length = 100)]
    api_key: Option<String>,
    #[schema(value_type = Option<String>)]
    description: Patch<String>,
    #[schema(value_type = Option<i32>)]
    minimum_change_request_approvals: Patch<i32>,
    #[schema(nullable = false)]
    allow_client_traits: Option<bool>,
    #[schema(value_type = Option<String>)]
    banner_text: Patch<String>,
    #[schema(value_type = Option<String>)]
    banner_colour: Patch<String>,
    #[schema(value_type = Option<bool>)]
    hide_disabled_flags: Patch<bool>,
    #[schema(nullable = false)]
    use_identity_composite_key_for_hashing: Option<bool>,
    #[schema(nullable = false)]
    hide_sensitive_data: Option<bool>,
    #[schema(nullable = false)]
    use_identity_overrides_in_local_eval: Option<bool>,
}

impl EnvironmentIn {
    /// Reads the fields; what is wrong with them is for [`Fields::finish`] to tell.
    pub(crate) fn read(fields: &mut Fields) -> Self {
        let api_key = fields.optional("api_key", Text::max(100));
        if let Some(message) = api_key.as_deref().and_then(check_key) {
            fields.error("api_key", message);
        }
        Self {
            name: fields.update("name", Text::max(2000)),
            api_key,
            description: fields.nullable("description", Text::max(20_000).or_blank()),
            minimum_change_request_approvals: fields.nullable(
                "minimum_change_request_approvals",
                Int::between(0, i32::MAX),
            ),
            allow_client_traits: fields.optional("allow_client_traits", Bool),
            banner_text: fields.nullable("banner_text", Text::max(255).or_blank()),
            banner_colour: fields.nullable("banner_colour", Text::max(7).or_blank()),
            hide_disabled_flags: fields.nullable("hide_disabled_flags", Bool),
            use_identity_composite_key_for_hashing: fields
                .optional("use_identity_composite_key_for_hashing", Bool),
            hide_sensitive_data: fields.optional("hide_sensitive_data", Bool),
            use_identity_overrides_in_local_eval: fields
                .optional("use_identity_overrides_in_local_eval", Bool),
        }
    }

    /// The name, where the caller gives one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The client-side key, where the caller gives one.
    pub(crate) fn api_key(&self) -> Option<&str> {
        self.api_key.as_deref()
    }

    /// Changes the environment to what the caller said.
    pub(crate) fn apply(self, environment: &mut Environment) {
        let Self {
            name,
            api_key,
            description,
            minimum_change_request_approvals,
            allow_client_traits,
            banner_text,
            banner_colour,
            hide_disabled_flags,
            use_identity_composite_key_for_hashing,
            hide_sensitive_data,
            use_identity_overrides_in_local_eval,
        } = self;
        set(&mut environment.name, name);
        set(&mut environment.api_key, api_key);
        description.apply(&mut environment.description);
        minimum_change_request_approvals.apply(&mut environment.minimum_change_request_approvals);
        set(&mut environment.allow_client_traits, allow_client_traits);
        banner_text.apply(&mut environment.banner_text);
        banner_colour.apply(&mut environment.banner_colour);
        hide_disabled_flags.apply(&mut environment.hide_disabled_flags);
        set(
            &mut environment.use_identity_composite_key_for_hashing,
            use_identity_composite_key_for_hashing,
        );
        set(&mut environment.hide_sensitive_data, hide_sensitive_data);
        set(
            &mut environment.use_identity_overrides_in_local_eval,
            use_identity_overrides_in_local_eval,
        );
    }
}
