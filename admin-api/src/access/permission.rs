//! Every right there is, with Flagsmith's key and the words of its catalogues
//! (`GET …/permissions/`; flagsmith-api.md C.3).

use serde::Serialize;
use utoipa::ToSchema;

/// One line of a catalogue.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub(crate) struct Described {
    /// The key by which it is granted.
    key: &'static str,
    /// What it allows.
    description: &'static str,
    /// It can be granted for features with certain tags only.
    supports_tag: bool,
}

/// A right within an organisation, a project or an environment.
pub(crate) trait Permission: Copy + PartialEq + 'static {
    /// All of them, in the catalogue's order.
    const ALL: &'static [Self];
    /// What the catalogue says of it.
    fn describe(self) -> Described;

    /// The catalogue.
    fn catalogue() -> Vec<Described> {
        Self::ALL
            .iter()
            .map(|permission| permission.describe())
            .collect()
    }
}

macro_rules! permissions {
    ($(#[$meta:meta])* $name:ident { $($variant:ident: $key:literal, $tag:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($variant,)* }

        impl Permission for $name {
            const ALL: &'static [Self] = &[$(Self::$variant,)*];

            fn describe(self) -> Described {
                match self {
                    $(Self::$variant => Described { key: $key, description: $text, supports_tag: $tag },)*
                }
            }
        }
    };
}

permissions! {
    /// Within an organisation.
    OrganisationPermission {
        CreateProject: "CREATE_PROJECT", false, "Allows the user to create projects in this organisation.";
        ManageUserGroups: "MANAGE_USER_GROUPS", false, "Allows the user to manage the groups in the organisation and their members.";
    }
}

permissions! {
    /// Within a project.
    ProjectPermission {
        ViewProject: "VIEW_PROJECT", false, "View permission for the given project.";
        CreateEnvironment: "CREATE_ENVIRONMENT", false, "Ability to create an environment in the given project.";
        DeleteFeature: "DELETE_FEATURE", true, "Ability to delete features in the given project.";
        CreateFeature: "CREATE_FEATURE", false, "Ability to create features in the given project.";
        ManageSegments: "MANAGE_SEGMENTS", false, "Ability to manage segments in the given project.";
        ManageProjectLevelChangeRequests: "MANAGE_PROJECT_LEVEL_CHANGE_REQUESTS", false, "Ability to create, delete, and publish change requests associated with a project.";
        ApproveProjectLevelChangeRequests: "APPROVE_PROJECT_LEVEL_CHANGE_REQUESTS", false, "Ability to approve project level change requests.";
        CreateProjectLevelChangeRequests: "CREATE_PROJECT_LEVEL_CHANGE_REQUESTS", false, "Ability to create project level change requests.";
        ManageTags: "MANAGE_TAGS", false, "Allows the user to manage tags in the given project.";
        ViewAuditLog: "VIEW_AUDIT_LOG", false, "Allows the user to view the audit logs for this project.";
    }
}

permissions! {
    /// Within an environment.
    EnvironmentPermission {
        ViewEnvironment: "VIEW_ENVIRONMENT", false, "View permission for the given environment.";
        UpdateFeatureState: "UPDATE_FEATURE_STATE", true, "Update the state or value for a given feature state.";
        ManageIdentities: "MANAGE_IDENTITIES", false, "Manage identities in the given environment.";
        CreateChangeRequest: "CREATE_CHANGE_REQUEST", true, "Permission to create change requests in the given environment.";
        ApproveChangeRequest: "APPROVE_CHANGE_REQUEST", true, "Permission to approve change requests in the given environment.";
        ViewIdentities: "VIEW_IDENTITIES", false, "View identities in the given environment.";
        ManageSegmentOverrides: "MANAGE_SEGMENT_OVERRIDES", true, "Permission to manage segment overrides in the given environment";
    }
}
