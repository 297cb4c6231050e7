//! A feature's types.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::feature_states::{FlagValue, Scalar};
use crate::api::multivariate::{OptionIn, OptionOut, OptionRow};
use crate::http::{ApiTime, Bool, Fields, Patch, Text, set};
use crate::store::row;

row! {
    /// A feature as stored.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Feature {
        id: i64,
        uuid: Uuid,
        project_id: i64,
        name: String,
        kind: String,
        default_enabled: bool,
        initial_value: Option<String>,
        description: Option<String>,
        is_archived: bool,
        is_server_key_only: bool,
        created_at: DateTime<Utc>,
    }
}

row! {
    /// Somebody who looks after a feature.
    #[derive(Clone, Debug)]
    pub(crate) struct Owner {
        feature_id: i64,
        id: i64,
        email: String,
        first_name: String,
        last_name: String,
        last_login: Option<DateTime<Utc>>,
        uuid: Uuid,
    }
}

row! {
    /// A tag that a feature has.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct FeatureTag {
        feature_id: i64,
        tag_id: i64,
    }
}

row! {
    /// What a feature is in an environment, or for the members of a segment there.
    #[derive(Clone, Debug)]
    pub(crate) struct StateRow {
        id: i64,
        feature_id: i64,
        environment_id: i64,
        feature_segment_id: Option<i64>,
        identity_id: Option<i64>,
        enabled: bool,
        value_type: String,
        string_value: Option<String>,
        integer_value: Option<i32>,
        boolean_value: Option<bool>,
    }
}

row! {
    /// How many overrides of a feature an environment has.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Overrides {
        feature_id: i64,
        segments: i64,
        identities: i64,
    }
}

/// Somebody who looks after a feature, as the API shows them.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeatureOwner)]
pub(crate) struct OwnerOut {
    id: i64,
    email: String,
    first_name: String,
    last_name: String,
    last_login: Option<ApiTime>,
    uuid: Uuid,
}

impl From<Owner> for OwnerOut {
    fn from(owner: Owner) -> Self {
        let Owner {
            feature_id: _,
            id,
            email,
            first_name,
            last_name,
            last_login,
            uuid,
        } = owner;
        Self {
            id,
            email,
            first_name,
            last_name,
            last_login: last_login.map(Into::into),
            uuid,
        }
    }
}

/// A feature's state, in short.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FeatureStateInList)]
pub(crate) struct StateOut {
    id: i64,
    #[schema(value_type = Option<Object>)]
    feature_state_value: Scalar,
    environment: i64,
    identity: Option<i64>,
    feature_segment: Option<i64>,
    enabled: bool,
}

impl From<StateRow> for StateOut {
    fn from(state: StateRow) -> Self {
        let StateRow {
            id,
            feature_id: _,
            environment_id,
            feature_segment_id,
            identity_id,
            enabled,
            value_type,
            string_value,
            integer_value,
            boolean_value,
        } = state;
        let value = FlagValue::stored(&value_type, string_value, integer_value, boolean_value);
        Self {
            id,
            feature_state_value: value.scalar(),
            environment: environment_id,
            identity: identity_id,
            feature_segment: feature_segment_id,
            enabled,
        }
    }
}

/// Everything that is shown with a feature.
#[derive(Debug, Default)]
pub(crate) struct Around {
    /// Its options.
    pub(crate) options: Vec<OptionRow>,
    /// Who looks after it.
    pub(crate) owners: Vec<Owner>,
    /// The ids of its tags.
    pub(crate) tags: Vec<i64>,
    /// What it is in the environment that was asked about.
    pub(crate) state: Option<StateRow>,
    /// What it is there for the members of the segment that was asked about.
    pub(crate) segment_state: Option<StateRow>,
    /// How many segments override it there.
    pub(crate) segments: i64,
    /// How many identities override it there.
    pub(crate) identities: i64,
}

/// A feature as the API shows it. Some of its operations leave fields out, each in its own way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Feature)]
pub(crate) struct FeatureOut {
    id: i64,
    name: String,
    /// `STANDARD` or, with options, `MULTIVARIATE`.
    r#type: String,
    default_enabled: bool,
    initial_value: Option<String>,
    created_date: ApiTime,
    description: Option<String>,
    tags: Vec<i64>,
    multivariate_options: Vec<OptionOut>,
    is_archived: bool,
    owners: Vec<OwnerOut>,
    group_owners: Vec<i64>,
    uuid: Uuid,
    project: i64,
    /// In the environment that was asked about.
    environment_feature_state: Option<StateOut>,
    /// There, for the members of the segment that was asked about.
    segment_feature_state: Option<StateOut>,
    num_segment_overrides: i64,
    /// Null for none.
    num_identity_overrides: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_num_identity_overrides_complete: Option<bool>,
    is_server_key_only: bool,
    last_modified_in_any_environment: Option<ApiTime>,
    last_modified_in_current_environment: Option<ApiTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    metadata: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    code_references_counts: Option<[(); 0]>,
}

impl FeatureOut {
    /// A feature with everything.
    pub(crate) fn new(feature: Feature, around: Around) -> Self {
        let Feature {
            id,
            uuid,
            project_id,
            name,
            kind,
            default_enabled,
            initial_value,
            description,
            is_archived,
            is_server_key_only,
            created_at,
        } = feature;
        let Around {
            options,
            owners,
            tags,
            state,
            segment_state,
            segments,
            identities,
        } = around;
        Self {
            id,
            name,
            r#type: kind,
            default_enabled,
            initial_value,
            created_date: created_at.into(),
            description,
            tags,
            multivariate_options: options.into_iter().map(Into::into).collect(),
            is_archived,
            owners: owners.into_iter().map(Into::into).collect(),
            group_owners: Vec::new(),
            uuid,
            project: project_id,
            environment_feature_state: state.map(Into::into),
            segment_feature_state: segment_state.map(Into::into),
            num_segment_overrides: segments,
            num_identity_overrides: (identities > 0).then_some(identities),
            is_num_identity_overrides_complete: Some(true),
            is_server_key_only,
            last_modified_in_any_environment: None,
            last_modified_in_current_environment: None,
            metadata: Some([]),
            code_references_counts: Some([]),
        }
    }

    /// As it is shown when it is new.
    pub(crate) fn created(self) -> Self {
        Self {
            code_references_counts: None,
            ..self
        }
    }

    /// As a PATCH shows it.
    pub(crate) fn patched(self) -> Self {
        Self {
            is_num_identity_overrides_complete: None,
            ..self
        }
    }

    /// As it is shown by its uuid.
    pub(crate) fn by_uuid(self) -> Self {
        Self {
            code_references_counts: None,
            metadata: None,
            ..self
        }
    }
}

/// A feature after its owners changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProjectFeature)]
pub(crate) struct OwnedOut {
    id: i64,
    name: String,
    created_date: ApiTime,
    description: Option<String>,
    initial_value: Option<String>,
    default_enabled: bool,
    r#type: String,
    owners: Vec<OwnerOut>,
    group_owners: Vec<i64>,
    is_server_key_only: bool,
}

impl OwnedOut {
    /// A feature and its owners.
    pub(crate) fn new(feature: Feature, owners: Vec<Owner>) -> Self {
        Self {
            id: feature.id,
            name: feature.name,
            created_date: feature.created_at.into(),
            description: feature.description,
            initial_value: feature.initial_value,
            default_enabled: feature.default_enabled,
            r#type: feature.kind,
            owners: owners.into_iter().map(Into::into).collect(),
            group_owners: Vec::new(),
            is_server_key_only: feature.is_server_key_only,
        }
    }
}

/// What a caller says about any feature, new or not.
#[derive(Debug)]
pub(crate) struct FeatureIn {
    description: Patch<String>,
    is_archived: Option<bool>,
    is_server_key_only: Option<bool>,
}

impl FeatureIn {
    /// Reads the fields; what is wrong with them is for [`Fields::finish`] to tell.
    pub(crate) fn read(fields: &mut Fields) -> Self {
        if let Some(errors) = super::rules::unknown_metadata(fields.raw("metadata")) {
            fields.set_error("metadata", errors);
        }
        Self {
            description: fields.nullable("description", Text::max(10_000).or_blank()),
            is_archived: fields.optional("is_archived", Bool),
            is_server_key_only: fields.optional("is_server_key_only", Bool),
        }
    }

    /// Changes the feature to what the caller said.
    pub(crate) fn apply(self, feature: &mut Feature) {
        let Self {
            description,
            is_archived,
            is_server_key_only,
        } = self;
        description.apply(&mut feature.description);
        set(&mut feature.is_archived, is_archived);
        set(&mut feature.is_server_key_only, is_server_key_only);
    }
}

/// The body of a new feature, for the document.
#[derive(Debug, ToSchema)]
#[schema(as = CreateFeature)]
#[expect(
    dead_code,
    reason = "bodies are read field by field; this describes them"
)]
pub(crate) struct CreateIn {
    /// Unique in the project, whatever the case.
    #[schema(max_length = 2000)]
    name: String,
    /// `STANDARD` or `MULTIVARIATE`; options decide.
    r#type: Option<String>,
    /// Whether it is on in environments that have nothing else to say.
    default_enabled: Option<bool>,
    /// Its value there; typed by how it is written.
    #[schema(max_length = 20_000)]
    initial_value: Option<String>,
    description: Option<String>,
    is_archived: Option<bool>,
    /// Not for client-side keys.
    is_server_key_only: Option<bool>,
    tags: Option<Vec<i64>>,
    /// Ids of the people who look after it; by default whoever makes it.
    owners: Option<Vec<i64>>,
    multivariate_options: Option<Vec<OptionIn>>,
}

/// The body of a change of a feature, for the document.
#[derive(Debug, ToSchema)]
#[schema(as = UpdateFeature)]
#[expect(
    dead_code,
    reason = "bodies are read field by field; this describes them"
)]
pub(crate) struct UpdateIn {
    description: Option<String>,
    is_archived: Option<bool>,
    is_server_key_only: Option<bool>,
    tags: Option<Vec<i64>>,
    /// All options: those with an id are changed, those without are new, the others go.
    multivariate_options: Option<Vec<OptionIn>>,
}
