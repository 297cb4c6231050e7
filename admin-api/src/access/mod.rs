//! Rights as data: which there are, a pure policy that decides, and extractors that load a resource
//! through the caller's rights, so that the right a handler needs stands in its signature.

mod guard;
mod permission;
mod policy;
mod right;
mod signer;
mod superuser;

pub(crate) use guard::{
    In, environment, environment_by_id, organisation, parent_environment, parent_project, project,
};
pub(crate) use permission::{
    Described, EnvironmentPermission, OrganisationPermission, Permission, ProjectPermission,
};
pub(crate) use policy::{DetailedPermissions, MyPermissions, Role, Standing};
pub(crate) use right::*;
pub(crate) use signer::{Signer, signer};
pub(crate) use superuser::Superuser;
