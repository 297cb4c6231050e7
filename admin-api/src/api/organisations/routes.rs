//! The operations on organisations (flagsmith-api.md C.3).

use axum::extract::{Path, State};
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::model::{Organisation, OrganisationIn, OrganisationOut, Seats, SubscriptionMetadata};
use crate::access::{
    self, Admin, Described, In, Member, MyPermissions, OrganisationPermission, Permission as _,
    Role, Standing,
};
use crate::api::projects::{Project, ProjectOut};
use crate::api::usage::total;
use crate::app::App;
use crate::http::{Actor, ApiError, Body, Created, Mode, NoContent, Page, PageRequest, Reply};
use crate::sql::api::organisations as sql;
use crate::store::{Db, Entry, Object, Queries as _, Write};

/// The table of this file's operations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(permissions))
        .routes(routes!(get_by_uuid))
        .routes(routes!(get, update, partial_update, delete))
        .routes(routes!(my_permissions))
        .routes(routes!(subscription_metadata))
        .routes(routes!(projects))
        .routes(routes!(usage))
}

/// The organisations that the caller is in.
#[utoipa::path(get, path = "/api/v1/organisations/", operation_id = "organisations_list",
    tag = "Organisations", params(PageRequest), responses((status = 200, body = Page<OrganisationOut>)),
    security(("token" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    page: PageRequest,
) -> Result<Reply<Page<OrganisationOut>>, ApiError> {
    let db = app.db().await?;
    let count: i64 = db.one(sql::COUNT, [&actor.user_id]).await?;
    let found: Vec<((Organisation, Standing), Seats)> = db
        .all(sql::LIST, [&actor.user_id, &page.limit(), &page.offset()])
        .await?;
    let shown = found
        .into_iter()
        .map(|((organisation, standing), seats)| {
            OrganisationOut::new(organisation, seats, Some(standing))
        })
        .collect();
    Ok(Reply(page.page(count, shown)?))
}

/// A new organisation, of which the caller is admin.
#[utoipa::path(post, path = "/api/v1/organisations/", operation_id = "organisations_create",
    tag = "Organisations", request_body = OrganisationIn,
    responses((status = 201, body = OrganisationOut)), security(("token" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    body: Body,
) -> Result<Created<OrganisationOut>, ApiError> {
    let mut fields = body.fields(Mode::Full)?;
    let asked = OrganisationIn::read(&mut fields);
    fields.finish()?;

    let mut db = app.db().await?;
    let tx = db.write(Some(&actor)).await?;
    let name = asked.name().unwrap_or_default();
    let mut organisation: Organisation = tx.one(sql::INSERT, [&name, &tx.now()]).await?;
    asked.apply(&mut organisation);
    save(&tx, &organisation).await?;
    let role = Role::Admin.key();
    tx.run(
        sql::INSERT_MEMBER,
        [&organisation.id, &actor.user_id, &role, &tx.now()],
    )
    .await?;
    let entry = entry(&organisation, "New Organisation created");
    tx.commit(entry).await?;
    let seats = Seats { num_seats: 1 };
    Ok(Created(OrganisationOut::new(organisation, seats, None)))
}

/// One organisation.
#[utoipa::path(get, path = "/api/v1/organisations/{organisation_pk}/",
    operation_id = "organisations_retrieve", tag = "Organisations",
    params(("organisation_pk" = i64, Path)), responses((status = 200, body = OrganisationOut)),
    security(("token" = [])))]
async fn get(
    State(app): State<App>,
    organisation: In<Organisation, Admin>,
) -> Result<Reply<OrganisationOut>, ApiError> {
    show(&app.db().await?, organisation.it, organisation.standing).await
}

async fn show(
    db: &Db,
    organisation: Organisation,
    standing: Standing,
) -> Result<Reply<OrganisationOut>, ApiError> {
    let seats: Seats = db.one(sql::SEATS, [&organisation.id]).await?;
    Ok(Reply(OrganisationOut::new(
        organisation,
        seats,
        Some(standing),
    )))
}

/// One organisation, by its uuid.
#[utoipa::path(get, path = "/api/v1/organisations/get-by-uuid/{uuid}/",
    operation_id = "organisations_get_by_uuid_retrieve", tag = "Organisations",
    params(("uuid" = Uuid, Path)), responses((status = 200, body = OrganisationOut)),
    security(("token" = [])))]
async fn get_by_uuid(
    State(app): State<App>,
    actor: Actor,
    Path(uuid): Path<String>,
) -> Result<Reply<OrganisationOut>, ApiError> {
    let none = || ApiError::NotFound("Organisation");
    let uuid: Uuid = uuid.parse().map_err(|_| none())?;
    let db = app.db().await?;
    let id: i64 = db.maybe(sql::ID_BY_UUID, [&uuid]).await?.ok_or_else(none)?;
    let (organisation, standing) = access::organisation::<Admin>(&db, &actor, id).await?;
    show(&db, organisation, standing).await
}

/// Changes an organisation; what is left out keeps its value.
#[utoipa::path(put, path = "/api/v1/organisations/{organisation_pk}/",
    operation_id = "organisations_update", tag = "Organisations",
    params(("organisation_pk" = i64, Path)), request_body = OrganisationIn,
    responses((status = 200, body = OrganisationOut)), security(("token" = [])))]
async fn update(
    State(app): State<App>,
    organisation: In<Organisation, Admin>,
    body: Body,
) -> Result<Reply<OrganisationOut>, ApiError> {
    change(&app, organisation, body, Mode::Full).await
}

/// Changes some of an organisation.
#[utoipa::path(patch, path = "/api/v1/organisations/{organisation_pk}/",
    operation_id = "organisations_partial_update", tag = "Organisations",
    params(("organisation_pk" = i64, Path)), request_body = OrganisationIn,
    responses((status = 200, body = OrganisationOut)), security(("token" = [])))]
async fn partial_update(
    State(app): State<App>,
    organisation: In<Organisation, Admin>,
    body: Body,
) -> Result<Reply<OrganisationOut>, ApiError> {
    change(&app, organisation, body, Mode::Partial).await
}

async fn change(
    app: &App,
    guarded: In<Organisation, Admin>,
    body: Body,
    mode: Mode,
) -> Result<Reply<OrganisationOut>, ApiError> {
    let mut fields = body.fields(mode)?;
    let asked = OrganisationIn::read(&mut fields);
    fields.finish()?;

    let mut db = app.db().await?;
    let tx = db.write(Some(&guarded.actor)).await?;
    let mut organisation: Organisation = tx
        .maybe(sql::LOCK, [&guarded.it.id])
        .await?
        .ok_or(ApiError::Forbidden)?;
    asked.apply(&mut organisation);
    save(&tx, &organisation).await?;
    let entry = entry(&organisation, "Organisation updated");
    // Its name is part of every environment document.
    tx.commit(entry.publish_organisation(organisation.id))
        .await?;
    show(&db, organisation, guarded.standing).await
}

/// Deletes an organisation with all its projects. Their environments' keys stop working at every edge.
#[utoipa::path(delete, path = "/api/v1/organisations/{organisation_pk}/",
    operation_id = "organisations_destroy", tag = "Organisations",
    params(("organisation_pk" = i64, Path)), responses((status = 204)), security(("token" = [])))]
async fn delete(
    State(app): State<App>,
    organisation: In<Organisation, Admin>,
) -> Result<NoContent, ApiError> {
    let mut db = app.db().await?;
    let tx = db.write(Some(&organisation.actor)).await?;
    let organisation = organisation.it;
    tx.run(sql::DELETE, [&organisation.id]).await?;
    tx.commit(entry(&organisation, "Organisation deleted"))
        .await?;
    Ok(NoContent)
}

/// The permissions that can be granted in an organisation.
#[utoipa::path(get, path = "/api/v1/organisations/permissions/",
    operation_id = "organisations_permissions_list", tag = "Organisations",
    responses((status = 200, body = [Described])), security(("token" = [])))]
async fn permissions(_actor: Actor) -> Reply<Vec<Described>> {
    Reply(OrganisationPermission::catalogue())
}

/// What the caller may do in the organisation.
#[utoipa::path(get, path = "/api/v1/organisations/{organisation_pk}/my-permissions/",
    operation_id = "organisations_my_permissions_retrieve", tag = "Organisations",
    params(("organisation_pk" = i64, Path)), responses((status = 200, body = MyPermissions)),
    security(("token" = [])))]
async fn my_permissions(organisation: In<Organisation, Member>) -> Reply<MyPermissions> {
    Reply(organisation.standing.into())
}

/// The limits of the plan: none.
#[utoipa::path(get, path = "/api/v1/organisations/{organisation_pk}/get-subscription-metadata/",
    operation_id = "organisations_get_subscription_metadata_retrieve", tag = "Organisations",
    params(("organisation_pk" = i64, Path)), responses((status = 200, body = SubscriptionMetadata)),
    security(("token" = [])))]
async fn subscription_metadata(
    _organisation: In<Organisation, Member>,
) -> Reply<SubscriptionMetadata> {
    Reply(SubscriptionMetadata::unlimited())
}

/// The organisation's projects.
#[utoipa::path(get, path = "/api/v1/organisations/{organisation_pk}/projects/",
    operation_id = "organisations_projects_retrieve", tag = "Organisations",
    params(("organisation_pk" = i64, Path)), responses((status = 200, body = [ProjectOut])),
    security(("token" = [])))]
async fn projects(
    State(app): State<App>,
    organisation: In<Organisation, Admin>,
) -> Result<Reply<Vec<ProjectOut>>, ApiError> {
    let projects: Vec<Project> = app
        .db()
        .await?
        .all(sql::PROJECTS, [&organisation.it.id])
        .await?;
    Ok(Reply(projects.into_iter().map(Into::into).collect()))
}

/// How many requests there were in 30 days.
#[utoipa::path(get, path = "/api/v1/organisations/{organisation_pk}/usage/",
    operation_id = "organisations_usage_retrieve", tag = "Organisations",
    params(("organisation_pk" = i64, Path)), responses((status = 200)), security(("token" = [])))]
async fn usage(
    State(app): State<App>,
    organisation: In<Organisation, Admin>,
) -> Result<Reply<Value>, ApiError> {
    let events = total(&app, &organisation.it).await?;
    Ok(Reply(json!({"events": events})))
}

async fn save(tx: &Write<'_>, organisation: &Organisation) -> Result<(), ApiError> {
    tx.run(
        sql::UPDATE,
        [
            &organisation.id,
            &organisation.name,
            &organisation.webhook_notification_email,
            &organisation.restrict_project_create_to_admin,
            &organisation.force_2fa,
        ],
    )
    .await?;
    Ok(())
}

fn entry(organisation: &Organisation, what: &str) -> Entry {
    Entry::new(
        Object::Organisation,
        organisation.id,
        format!("{what}: {}", organisation.name),
    )
    .uuid(organisation.uuid)
    .in_organisation(organisation.id)
}
