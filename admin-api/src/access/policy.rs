//! The policy: who may do what, from facts about the caller alone (flagsmith-api.md C.0, C.3).

use serde::Serialize;
use tokio_postgres::{Error, Row};
use utoipa::ToSchema;

use crate::store::FromRow;

/// What somebody is in an organisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// May do everything.
    Admin,
    /// May do what is granted.
    User,
}

impl Role {
    /// Flagsmith's word for it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Admin => "ADMIN",
            Self::User => "USER",
        }
    }
}

/// How the caller stands to a resource: everything that decides about its rights.
///
/// Grants for a project or an environment will be facts here too, once they can be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Role in the organisation that the resource belongs to; `None` for strangers.
    pub(crate) role: Option<Role>,
}

impl FromRow for Standing {
    /// Reads the column `role`.
    fn from_row(row: &Row) -> Result<Self, Error> {
        let role: Option<String> = row.try_get("role")?;
        Ok(Self {
            role: role.map(|role| {
                if role == Role::Admin.key() {
                    Role::Admin
                } else {
                    Role::User
                }
            }),
        })
    }
}

/// What a right asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need<P> {
    /// To be in the organisation at all.
    Member,
    /// This permission, or more.
    Permission(P),
    /// All permissions there are.
    Admin,
}

impl Standing {
    /// Every permission on the resource.
    pub(crate) fn is_admin(self) -> bool {
        self.role == Some(Role::Admin)
    }

    /// In the organisation.
    pub(crate) fn is_member(self) -> bool {
        self.role.is_some()
    }

    /// Has what `need` asks for.
    pub(crate) fn may<P>(self, need: &Need<P>) -> bool {
        match need {
            Need::Member => self.is_member(),
            Need::Permission(_) | Need::Admin => self.is_admin(),
        }
    }
}

/// What the caller may do, as `…/my-permissions/` answers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MyPermissions {
    permissions: Vec<&'static str>,
    admin: bool,
    tag_based_permissions: Vec<&'static str>,
}

impl From<Standing> for MyPermissions {
    fn from(standing: Standing) -> Self {
        Self {
            permissions: Vec::new(),
            admin: standing.is_admin(),
            tag_based_permissions: Vec::new(),
        }
    }
}

/// What somebody may do, and where that comes from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DetailedPermissions {
    admin: bool,
    permissions: Vec<&'static str>,
    is_directly_granted: bool,
    derived_from: DerivedFrom,
}

#[derive(Debug, Serialize, ToSchema)]
struct DerivedFrom {
    groups: Vec<i64>,
    roles: Vec<i64>,
}

impl From<Standing> for DetailedPermissions {
    fn from(standing: Standing) -> Self {
        Self {
            admin: standing.is_admin(),
            permissions: Vec::new(),
            is_directly_granted: standing.role == Some(Role::Admin),
            derived_from: DerivedFrom {
                groups: Vec::new(),
                roles: Vec::new(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admins_may_everything_members_belong_strangers_nothing() {
        let needs = [Need::Member, Need::Permission(()), Need::Admin];
        let may = |role| needs.each_ref().map(|need| Standing { role }.may(need));
        assert_eq!(may(Some(Role::Admin)), [true, true, true]);
        assert_eq!(may(Some(Role::User)), [true, false, false]);
        assert_eq!(may(None), [false, false, false]);
    }
}
