//! An organisation's types.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::access::Standing;
use crate::http::{ApiTime, Bool, Email, Fields, Patch, Text, set};
use crate::store::row;

row! {
    /// An organisation as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct Organisation {
        id: i64,
        uuid: Uuid,
        name: String,
        webhook_notification_email: Option<String>,
        persist_trait_data: bool,
        block_access_to_admin: bool,
        restrict_project_create_to_admin: bool,
        force_2fa: bool,
        created_at: DateTime<Utc>,
    }
}

row! {
    /// How many people are in it.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Seats {
        num_seats: i64,
    }
}

/// An organisation as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Organisation)]
pub(crate) struct OrganisationOut {
    id: i64,
    uuid: Uuid,
    name: String,
    created_date: ApiTime,
    webhook_notification_email: Option<String>,
    num_seats: i64,
    subscription: Subscription,
    /// The caller's; null in the answer to creating one.
    role: Option<&'static str>,
    persist_trait_data: bool,
    block_access_to_admin: bool,
    restrict_project_create_to_admin: bool,
    force_2fa: bool,
}

impl OrganisationOut {
    /// As shown to somebody who stands so to it.
    pub(crate) fn new(
        organisation: Organisation,
        seats: Seats,
        standing: Option<Standing>,
    ) -> Self {
        let Organisation {
            id,
            uuid,
            name,
            webhook_notification_email,
            persist_trait_data,
            block_access_to_admin,
            restrict_project_create_to_admin,
            force_2fa,
            created_at,
        } = organisation;
        Self {
            id,
            uuid,
            name,
            created_date: created_at.into(),
            webhook_notification_email,
            num_seats: seats.num_seats,
            subscription: Subscription::unlimited(id, uuid),
            role: standing
                .and_then(|standing| standing.role)
                .map(crate::access::Role::key),
            persist_trait_data,
            block_access_to_admin,
            restrict_project_create_to_admin,
            force_2fa,
        }
    }
}

/// What Flagsmith's clients expect of a plan. Nothing is sold here: it is always the largest.
#[derive(Debug, Serialize, ToSchema)]
#[expect(clippy::struct_field_names, reason = "the API's names")]
pub(crate) struct Subscription {
    id: i64,
    has_active_billing_periods: bool,
    #[schema(value_type = Option<String>)]
    deleted_at: (),
    uuid: Uuid,
    #[schema(value_type = Option<String>)]
    subscription_id: (),
    #[schema(value_type = Option<String>)]
    subscription_date: (),
    plan: &'static str,
    max_seats: i64,
    max_api_calls: i64,
    #[schema(value_type = Option<String>)]
    cancellation_date: (),
    #[schema(value_type = Option<String>)]
    customer_id: (),
    #[schema(value_type = Option<String>)]
    billing_status: (),
    #[schema(value_type = Option<String>)]
    payment_method: (),
    #[schema(value_type = Option<String>)]
    notes: (),
}

/// Large enough never to be reached, small enough for clients that compare.
const MAX_SEATS: i64 = 100;
const MAX_API_CALLS: i64 = 10_000_000;

impl Subscription {
    fn unlimited(id: i64, uuid: Uuid) -> Self {
        Self {
            id,
            has_active_billing_periods: false,
            deleted_at: (),
            uuid,
            subscription_id: (),
            subscription_date: (),
            plan: "enterprise",
            max_seats: MAX_SEATS,
            max_api_calls: MAX_API_CALLS,
            cancellation_date: (),
            customer_id: (),
            billing_status: (),
            payment_method: (),
            notes: (),
        }
    }
}

/// What the plan allows: null means no limit. The two figures are shown by clients and never enforced.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SubscriptionMetadata {
    max_seats: i64,
    max_api_calls: i64,
    max_projects: Option<i64>,
    payment_source: Option<String>,
    chargebee_email: Option<String>,
    feature_history_visibility_days: Option<i64>,
    audit_log_visibility_days: Option<i64>,
}

impl SubscriptionMetadata {
    /// No limits.
    pub(crate) fn unlimited() -> Self {
        Self {
            max_seats: MAX_SEATS,
            max_api_calls: MAX_API_CALLS,
            max_projects: None,
            payment_source: None,
            chargebee_email: None,
            feature_history_visibility_days: None,
            audit_log_visibility_days: None,
        }
    }
}

/// What a caller says of an organisation.
#[derive(Debug, ToSchema)]
#[schema(as = OrganisationRequest)]
pub(crate) struct OrganisationIn {
    #[schema(required, nullable = false, max_length = 2000)]
    name: Option<String>,
    #[schema(value_type = Option<String>)]
    webhook_notification_email: Patch<String>,
    #[schema(nullable = false)]
    restrict_project_create_to_admin: Option<bool>,
    #[schema(nullable = false)]
    force_2fa: Option<bool>,
}

impl OrganisationIn {
    /// Reads the fields; what is wrong with them is for [`Fields::finish`] to tell.
    pub(crate) fn read(fields: &mut Fields) -> Self {
        Self {
            name: fields.update("name", Text::max(2000)),
            webhook_notification_email: fields.nullable("webhook_notification_email", Email),
            restrict_project_create_to_admin: fields
                .optional("restrict_project_create_to_admin", Bool),
            force_2fa: fields.optional("force_2fa", Bool),
        }
    }

    /// The name, where the caller gives one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Changes the organisation to what the caller said.
    pub(crate) fn apply(self, organisation: &mut Organisation) {
        let Self {
            name,
            webhook_notification_email,
            restrict_project_create_to_admin,
            force_2fa,
        } = self;
        set(&mut organisation.name, name);
        webhook_notification_email.apply(&mut organisation.webhook_notification_email);
        set(
            &mut organisation.restrict_project_create_to_admin,
            restrict_project_create_to_admin,
        );
        set(&mut organisation.force_2fa, force_2fa);
    }
}

row! {
    /// A member as stored.
    #[derive(Clone, Debug)]
    pub(crate) struct MemberRow {
        id: i64,
        email: String,
        first_name: String,
        last_name: String,
        last_login: Option<DateTime<Utc>>,
        uuid: Uuid,
        role: String,
        joined_at: DateTime<Utc>,
    }
}

/// A member as the API shows it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrganisationMember)]
pub(crate) struct MemberOut {
    pub(super) id: i64,
    pub(super) email: String,
    first_name: String,
    last_name: String,
    last_login: Option<ApiTime>,
    uuid: Uuid,
    role: String,
    date_joined: ApiTime,
}

impl From<MemberRow> for MemberOut {
    fn from(member: MemberRow) -> Self {
        let MemberRow {
            id,
            email,
            first_name,
            last_name,
            last_login,
            uuid,
            role,
            joined_at,
        } = member;
        Self {
            id,
            email,
            first_name,
            last_name,
            last_login: last_login.map(Into::into),
            uuid,
            role,
            date_joined: joined_at.into(),
        }
    }
}

/// One person to remove.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemberId {
    pub(super) id: i64,
}

/// A new role.
#[derive(Debug, ToSchema)]
#[schema(as = UpdateRoleRequest)]
#[expect(
    dead_code,
    reason = "describes the body for the document; the route reads it field by field"
)]
pub(crate) struct RoleIn {
    /// `ADMIN` or `USER`.
    role: String,
}
