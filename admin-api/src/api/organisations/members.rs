//! The operations on an organisation's members.

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::model::{MemberId, MemberOut, MemberRow, Organisation, RoleIn};
use crate::access::{Admin, DetailedPermissions, In, Member, Standing};
use crate::app::App;
use crate::http::{ApiError, Body, Choice, Field as _, FieldErrors, Id, Mode, Reply};
use crate::sql::api::organisations as sql;
use crate::store::{Entry, Object, Queries as _};

/// The table of this file's operations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(update_role))
        .routes(routes!(remove))
        .routes(routes!(detailed_permissions))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// `true` leaves out the caller.
    exclude_current: Option<String>,
}

/// The people in the organisation.
#[utoipa::path(get, path = "/api/v1/organisations/{organisation_pk}/users/",
    operation_id = "organisations_users_list", tag = "Organisations",
    params(("organisation_pk" = i64, Path), ListQuery), responses((status = 200, body = [MemberOut])),
    security(("token" = [])))]
async fn list(
    State(app): State<App>,
    organisation: In<Organisation, Member>,
    Query(query): Query<ListQuery>,
) -> Result<Reply<Vec<MemberOut>>, ApiError> {
    let others_only = query
        .exclude_current
        .is_some_and(|word| word.eq_ignore_ascii_case("true"));
    let except = others_only.then_some(organisation.actor.user_id);
    let members: Vec<MemberRow> = app
        .db()
        .await?
        .all(sql::MEMBERS, [&organisation.it.id, &except])
        .await?;
    Ok(Reply(members.into_iter().map(Into::into).collect()))
}

/// Makes a member admin, or a plain user again.
#[utoipa::path(post, path = "/api/v1/organisations/{organisation_pk}/users/{user_pk}/update-role/",
    operation_id = "organisations_users_update_role_create", tag = "Organisations",
    params(("organisation_pk" = i64, Path), ("user_pk" = i64, Path)), request_body = RoleIn,
    responses((status = 200, body = MemberOut)), security(("token" = [])))]
async fn update_role(
    State(app): State<App>,
    organisation: In<Organisation, Admin>,
    Path((_, user)): Path<(String, String)>,
    body: Body,
) -> Result<Reply<MemberOut>, ApiError> {
    let none = || ApiError::NotFound("FFAdminUser");
    let user: i64 = user.parse().map_err(|_| none())?;
    let mut fields = body.fields(Mode::Full)?;
    let role = fields.required("role", Choice(&["ADMIN", "USER"]));
    fields.finish()?;

    let mut db = app.db().await?;
    let tx = db.write(Some(&organisation.actor)).await?;
    let organisation = organisation.it.id;
    if tx.run(sql::SET_ROLE, [&organisation, &user, &role]).await? == 0 {
        return Err(none());
    }
    let member: MemberRow = tx.one(sql::MEMBER, [&organisation, &user]).await?;
    let log = format!("Role of {} changed to {role}", member.email);
    let entry = Entry::new(Object::User, user, log)
        .uuid(member.uuid)
        .in_organisation(organisation);
    tx.commit(entry).await?;
    Ok(Reply(member.into()))
}

/// Takes people out of the organisation.
#[utoipa::path(post, path = "/api/v1/organisations/{organisation_pk}/remove-users/",
    operation_id = "organisations_remove_users_create", tag = "Organisations",
    params(("organisation_pk" = i64, Path)), request_body = [MemberId],
    responses((status = 200, body = [MemberId])), security(("token" = [])))]
async fn remove(
    State(app): State<App>,
    organisation: In<Organisation, Admin>,
    body: Body,
) -> Result<Reply<Vec<MemberId>>, ApiError> {
    let users = read_ids(body.into_value())?;
    let mut db = app.db().await?;
    let tx = db.write(Some(&organisation.actor)).await?;
    let organisation = organisation.it.id;
    let removed: Vec<i64> = tx.all(sql::REMOVE_MEMBERS, [&organisation, &users]).await?;
    let entries: Vec<Entry> = removed
        .into_iter()
        .map(|user| {
            Entry::new(Object::User, user, "User removed from the organisation")
                .in_organisation(organisation)
        })
        .collect();
    tx.commit(entries).await?;
    Ok(Reply(users.into_iter().map(|id| MemberId { id }).collect()))
}

fn read_ids(body: Value) -> Result<Vec<i64>, ApiError> {
    let Value::Array(items) = body else {
        let message = "Expected a list of items but got type \"dict\".";
        return Err(ApiError::field("non_field_errors", message));
    };
    let mut ids = Vec::new();
    for item in items {
        let id = match item.get("id") {
            Some(id) => Id.read(id).map_err(|messages| {
                let mut errors = FieldErrors::default();
                for message in messages {
                    errors.push("id", message);
                }
                errors
            })?,
            None => return Err(ApiError::field("id", "This field is required.")),
        };
        ids.push(id);
    }
    Ok(ids)
}

/// What a member may do in the organisation.
#[utoipa::path(get,
    path = "/api/v1/organisations/{organisation_pk}/user-detailed-permissions/{user_pk}/",
    operation_id = "organisations_user_detailed_permissions_retrieve", tag = "Organisations",
    params(("organisation_pk" = i64, Path), ("user_pk" = i64, Path)),
    responses((status = 200, body = DetailedPermissions)), security(("token" = [])))]
async fn detailed_permissions(
    State(app): State<App>,
    organisation: In<Organisation, Admin>,
    Path((_, user)): Path<(String, String)>,
) -> Result<Reply<DetailedPermissions>, ApiError> {
    let none = || ApiError::NotFound("FFAdminUser");
    let user: i64 = user.parse().map_err(|_| none())?;
    let standing: Standing = app
        .db()
        .await?
        .maybe(sql::STANDING, [&organisation.it.id, &user])
        .await?
        .ok_or_else(none)?;
    Ok(Reply(standing.into()))
}
