//! A project's types.

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::http::{Bool, Fields, Int, Patch, Text, set};
use crate::store::row;

row! {
    /// A project as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct Project {
        id: i64,
        uuid: Uuid,
        organisation_id: i64,
        name: String,
        hide_disabled_flags: bool,
        prevent_flag_defaults: bool,
        enable_realtime_updates: bool,
        only_allow_lower_case_feature_names: bool,
        feature_name_regex: Option<String>,
        stale_flags_limit_days: i32,
        minimum_change_request_approvals: Option<i32>,
        enforce_feature_owners: bool,
    }
}

row! {
    /// What a project holds.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Totals {
        features: i64,
        segments: i64,
    }
}

/// A project as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Project)]
pub(crate) struct ProjectOut {
    id: i64,
    uuid: Uuid,
    name: String,
    organisation: i64,
    hide_disabled_flags: bool,
    enable_dynamo_db: bool,
    migration_status: &'static str,
    use_edge_identities: bool,
    prevent_flag_defaults: bool,
    enable_realtime_updates: bool,
    only_allow_lower_case_feature_names: bool,
    feature_name_regex: Option<String>,
    show_edge_identity_overrides_for_feature: bool,
    stale_flags_limit_days: i32,
    edge_v2_migration_status: &'static str,
    minimum_change_request_approvals: Option<i32>,
    enforce_feature_owners: bool,
}

impl From<Project> for ProjectOut {
    fn from(project: Project) -> Self {
        let Project {
            id,
            uuid,
            organisation_id,
            name,
            hide_disabled_flags,
            prevent_flag_defaults,
            enable_realtime_updates,
            only_allow_lower_case_feature_names,
            feature_name_regex,
            stale_flags_limit_days,
            minimum_change_request_approvals,
            enforce_feature_owners,
        } = project;
        Self {
            id,
            uuid,
            name,
            organisation: organisation_id,
            hide_disabled_flags,
            enable_dynamo_db: false,
            migration_status: "NOT_APPLICABLE",
            use_edge_identities: false,
            prevent_flag_defaults,
            enable_realtime_updates,
            only_allow_lower_case_feature_names,
            feature_name_regex,
            show_edge_identity_overrides_for_feature: false,
            stale_flags_limit_days,
            edge_v2_migration_status: "NOT_STARTED",
            minimum_change_request_approvals,
            enforce_feature_owners,
        }
    }
}

/// A project with its limits and what it holds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ProjectRetrieve)]
pub(crate) struct ProjectDetail {
    #[serde(flatten)]
    project: ProjectOut,
    max_segments_allowed: i32,
    max_features_allowed: i32,
    max_segment_overrides_allowed: i32,
    total_features: i64,
    total_segments: i64,
}

impl ProjectDetail {
    /// With Flagsmith's limits, which clients show; none of them is enforced.
    pub(crate) fn new(project: Project, totals: Totals) -> Self {
        Self {
            project: project.into(),
            max_segments_allowed: 500,
            max_features_allowed: 1000,
            max_segment_overrides_allowed: 2000,
            total_features: totals.features,
            total_segments: totals.segments,
        }
    }
}

/// What a caller says of a project: to create one, or to change one.
#[derive(Debug, ToSchema)]
#[schema(as = ProjectRequest)]
pub(crate) struct ProjectIn {
    #[schema(required, nullable = false, max_length = 2000)]
    name: Option<String>,
    #[schema(nullable = false)]
    hide_disabled_flags: Option<bool>,
    #[schema(nullable = false)]
    prevent_flag_defaults: Option<bool>,
    #[schema(nullable = false)]
    enable_realtime_updates: Option<bool>,
    #[schema(nullable = false)]
    only_allow_lower_case_feature_names: Option<bool>,
    #[schema(value_type = Option<String>)]
    feature_name_regex: Patch<String>,
    #[schema(nullable = false)]
    stale_flags_limit_days: Option<i32>,
    #[schema(value_type = Option<i32>)]
    minimum_change_request_approvals: Patch<i32>,
    #[schema(nullable = false)]
    enforce_feature_owners: Option<bool>,
}

impl ProjectIn {
    /// Reads the fields; what is wrong with them is for [`Fields::finish`] to tell.
    pub(crate) fn read(fields: &mut Fields) -> Self {
        Self {
            name: fields.update("name", Text::max(2000)),
            hide_disabled_flags: fields.optional("hide_disabled_flags", Bool),
            prevent_flag_defaults: fields.optional("prevent_flag_defaults", Bool),
            enable_realtime_updates: fields.optional("enable_realtime_updates", Bool),
            only_allow_lower_case_feature_names: fields
                .optional("only_allow_lower_case_feature_names", Bool),
            feature_name_regex: fields.nullable("feature_name_regex", Text::max(255)),
            stale_flags_limit_days: fields
                .optional("stale_flags_limit_days", Int::between(0, i32::MAX)),
            minimum_change_request_approvals: fields.nullable(
                "minimum_change_request_approvals",
                Int::between(0, i32::MAX),
            ),
            enforce_feature_owners: fields.optional("enforce_feature_owners", Bool),
        }
    }

    /// The name, where the caller gives one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Changes the project to what the caller said.
    pub(crate) fn apply(self, project: &mut Project) {
        let Self {
            name,
            hide_disabled_flags,
            prevent_flag_defaults,
            enable_realtime_updates,
            only_allow_lower_case_feature_names,
            feature_name_regex,
            stale_flags_limit_days,
            minimum_change_request_approvals,
            enforce_feature_owners,
        } = self;
        set(&mut project.name, name);
        set(&mut project.hide_disabled_flags, hide_disabled_flags);
        set(&mut project.prevent_flag_defaults, prevent_flag_defaults);
        set(
            &mut project.enable_realtime_updates,
            enable_realtime_updates,
        );
        set(
            &mut project.only_allow_lower_case_feature_names,
            only_allow_lower_case_feature_names,
        );
        feature_name_regex.apply(&mut project.feature_name_regex);
        set(&mut project.stale_flags_limit_days, stale_flags_limit_days);
        minimum_change_request_approvals.apply(&mut project.minimum_change_request_approvals);
        set(&mut project.enforce_feature_owners, enforce_feature_owners);
    }
}
