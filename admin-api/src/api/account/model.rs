//! An account's types.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::rules::Owner;
use crate::http::ApiTime;
use crate::store::row;

row! {
    /// A person as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct User {
        id: i64,
        uuid: Uuid,
        email: String,
        password_hash: String,
        first_name: String,
        last_name: String,
        sign_up_type: Option<String>,
        is_active: bool,
        is_superuser: bool,
        marketing_consent: bool,
        onboarding: Option<Value>,
        created_at: DateTime<Utc>,
    }
}

impl User {
    /// What a password of theirs must not resemble.
    pub(crate) fn owner(&self) -> Owner<'_> {
        Owner {
            email: &self.email,
            first_name: &self.first_name,
            last_name: &self.last_name,
        }
    }
}

/// The answer to signing up.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UserCreated)]
pub(crate) struct SignedUp {
    first_name: String,
    last_name: String,
    sign_up_type: Option<String>,
    email: String,
    id: i64,
    is_active: bool,
    marketing_consent_given: bool,
    uuid: Uuid,
    /// The session's token.
    key: String,
}

impl SignedUp {
    /// The person, and the token that is shown only here.
    pub(crate) fn new(user: User, key: String) -> Self {
        Self {
            first_name: user.first_name,
            last_name: user.last_name,
            sign_up_type: user.sign_up_type,
            email: user.email,
            id: user.id,
            is_active: user.is_active,
            marketing_consent_given: user.marketing_consent,
            uuid: user.uuid,
            key,
        }
    }
}

/// A person, as shown to themselves.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Me)]
pub(crate) struct Me {
    first_name: String,
    last_name: String,
    sign_up_type: Option<String>,
    id: i64,
    email: String,
    auth_type: &'static str,
    is_superuser: bool,
    date_joined: ApiTime,
    uuid: Uuid,
    #[schema(value_type = Option<String>)]
    pylon_email_signature: (),
    onboarding: Option<Value>,
}

impl From<User> for Me {
    fn from(user: User) -> Self {
        Self {
            first_name: user.first_name,
            last_name: user.last_name,
            sign_up_type: user.sign_up_type,
            id: user.id,
            email: user.email,
            auth_type: "EMAIL",
            is_superuser: user.is_superuser,
            date_joined: user.created_at.into(),
            uuid: user.uuid,
            pylon_email_signature: (),
            onboarding: user.onboarding,
        }
    }
}

/// To sign up.
#[derive(Debug, ToSchema)]
#[schema(as = UserCreateRequest)]
#[expect(
    dead_code,
    clippy::struct_field_names,
    reason = "describes the body for the document; routes read it field by field"
)]
pub(crate) struct SignUp {
    email: String,
    password: String,
    first_name: String,
    last_name: String,
    /// `NO_INVITE`, `INVITE_EMAIL` or `INVITE_LINK`.
    sign_up_type: Option<String>,
    marketing_consent_given: Option<bool>,
    /// Only for the first person of all.
    superuser: Option<bool>,
}

/// To change one's own account.
#[derive(Debug, ToSchema)]
#[schema(as = MeRequest)]
#[expect(
    dead_code,
    reason = "describes the body for the document; routes read it field by field"
)]
pub(crate) struct MeIn {
    first_name: String,
    last_name: String,
    marketing_consent_given: Option<bool>,
}

/// To change one's password.
#[derive(Debug, ToSchema)]
#[schema(as = SetPasswordRequest)]
#[expect(
    dead_code,
    clippy::struct_field_names,
    reason = "describes the body for the document; routes read it field by field"
)]
pub(crate) struct SetPassword {
    new_password: String,
    re_new_password: String,
    current_password: String,
}

/// To change one's e-mail address.
#[derive(Debug, ToSchema)]
#[schema(as = SetEmailRequest)]
#[expect(
    dead_code,
    reason = "describes the body for the document; routes read it field by field"
)]
pub(crate) struct SetEmail {
    new_email: String,
    current_password: String,
}

/// To have a password reset.
#[derive(Debug, ToSchema)]
#[schema(as = ResetPasswordRequest)]
#[expect(
    dead_code,
    reason = "describes the body for the document; routes read it field by field"
)]
pub(crate) struct ResetPassword {
    email: String,
}

/// To delete one's account.
#[derive(Debug, ToSchema)]
#[schema(as = MeDeleteRequest)]
#[expect(
    dead_code,
    reason = "describes the body for the document; routes read it field by field"
)]
pub(crate) struct DeleteMe {
    current_password: String,
    /// Organisations in which nobody else is go too.
    delete_orphan_organisations: Option<bool>,
}

/// How far somebody has come in getting to know the product: kept for dashboards.
pub(crate) fn onboarding(tasks: &Value, integrations: &Value, preferences: &Value) -> Value {
    json!({
        "tasks": tasks,
        "tools": {"completed": true, "integrations": integrations},
        "hosting_preferences": preferences,
    })
}
