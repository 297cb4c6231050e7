//! The rights that handlers name: `In<Project, CreateFeature>`.

use super::permission::{EnvironmentPermission, OrganisationPermission, ProjectPermission};
use super::policy::Need;

/// A right within an organisation.
pub(crate) trait OrganisationRight: Send {
    /// What it asks for.
    const NEED: Need<OrganisationPermission>;
}

/// A right within a project.
pub(crate) trait ProjectRight: Send {
    /// What it asks for.
    const NEED: Need<ProjectPermission>;
}

/// A right within an environment.
pub(crate) trait EnvironmentRight: Send {
    /// What it asks for.
    const NEED: Need<EnvironmentPermission>;
}

/// Belonging to the organisation.
#[derive(Debug)]
pub(crate) enum Member {}
/// Being admin of the resource, which includes every other right in it.
#[derive(Debug)]
pub(crate) enum Admin {}

impl OrganisationRight for Member {
    const NEED: Need<OrganisationPermission> = Need::Member;
}
impl OrganisationRight for Admin {
    const NEED: Need<OrganisationPermission> = Need::Admin;
}
impl ProjectRight for Member {
    const NEED: Need<ProjectPermission> = Need::Member;
}
impl ProjectRight for Admin {
    const NEED: Need<ProjectPermission> = Need::Admin;
}
impl EnvironmentRight for Member {
    const NEED: Need<EnvironmentPermission> = Need::Member;
}
impl EnvironmentRight for Admin {
    const NEED: Need<EnvironmentPermission> = Need::Admin;
}

macro_rules! rights {
    ($right:ident, $permission:ident: $($name:ident),* $(,)?) => {$(
        #[doc = concat!("`", stringify!($permission), "::", stringify!($name), "`.")]
        #[derive(Debug)]
        pub(crate) enum $name {}
        impl $right for $name {
            const NEED: Need<$permission> = Need::Permission($permission::$name);
        }
    )*};
}

rights!(OrganisationRight, OrganisationPermission: CreateProject);
rights!(ProjectRight, ProjectPermission:
    ViewProject, CreateEnvironment, CreateFeature, DeleteFeature, ManageSegments,
    ManageTags);
rights!(EnvironmentRight, EnvironmentPermission:
    ViewEnvironment, UpdateFeatureState, ManageIdentities, ViewIdentities, ManageSegmentOverrides);
