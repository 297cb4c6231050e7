//! The operations on environments (flagsmith-api.md C.4).

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::model::{Environment, EnvironmentDetail, EnvironmentIn, EnvironmentWithMetadata};
use crate::access::{
    self, Admin, CreateEnvironment, Described, DetailedPermissions, EnvironmentPermission, In,
    Member, MyPermissions, Permission as _, Standing, ViewEnvironment,
};
use crate::app::App;
use crate::http::{Actor, ApiError, Body, Created, Mode, NoContent, Page, PageRequest, Reply};
use crate::publish::{self, Assembled};
use crate::sql::api::environments as sql;
use crate::store::{Db, Entry, Object, Queries as _, Write};

/// The table of this file's operations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(permissions))
        .routes(routes!(get_by_uuid))
        .routes(routes!(get, update, partial_update, delete))
        .routes(routes!(my_permissions))
        .routes(routes!(detailed_permissions))
        .routes(routes!(document))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Required.
    #[param(value_type = i64, required)]
    project: Option<String>,
}

/// The environments of a project that the caller may see.
#[utoipa::path(get, path = "/api/v1/environments/", operation_id = "environments_list",
    tag = "Environments", params(ListQuery, PageRequest),
    responses((status = 200, body = Page<EnvironmentWithMetadata>)), security(("token" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(query): Query<ListQuery>,
    page: PageRequest,
) -> Result<Reply<Page<EnvironmentWithMetadata>>, ApiError> {
    let invalid =
        || ApiError::Refused("Invalid or missing value for project parameter.".to_owned());
    let project: i64 = query
        .project
        .and_then(|project| project.parse().ok())
        .ok_or_else(invalid)?;
    let db = app.db().await?;
    if !db.one::<bool, 1>(sql::PROJECT_EXISTS, [&project]).await? {
        return Err(invalid());
    }
    let count: i64 = db.one(sql::COUNT, [&actor.user_id, &project]).await?;
    let found: Vec<Environment> = db
        .all(
            sql::LIST,
            [&actor.user_id, &project, &page.limit(), &page.offset()],
        )
        .await?;
    Ok(Reply(page.page(
        count,
        found.into_iter().map(Into::into).collect(),
    )?))
}

/// A new environment, in which every feature of the project has its default value.
#[utoipa::path(post, path = "/api/v1/environments/", operation_id = "environments_create",
    tag = "Environments", request_body = EnvironmentIn,
    responses((status = 201, body = EnvironmentWithMetadata)), security(("token" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    body: Body,
) -> Result<Created<EnvironmentWithMetadata>, ApiError> {
    let mut db = app.db().await?;
    let (project, _) =
        access::parent_project::<CreateEnvironment>(&db, &actor, body.parent("project")).await?;
    let mut fields = body.fields(Mode::Full)?;
    let asked = EnvironmentIn::read(&mut fields);
    fields.finish()?;

    let tx = db.write(Some(&actor)).await?;
    tx.run(sql::LOCK_PROJECT, [&project.id]).await?;
    let mut environment = insert(&app, &tx, project.id, asked.name(), asked.api_key()).await?;
    asked.apply(&mut environment);
    save(&tx, &environment).await?;
    tx.run(
        sql::INSERT_STATES,
        [&environment.id, &project.id, &tx.now()],
    )
    .await?;
    tx.run(sql::INSERT_MULTIVARIATE_VALUES, [&environment.id])
        .await?;
    let entry = entry(&environment, "New Environment created");
    tx.commit(entry.publish_environments([environment.id]))
        .await?;
    Ok(Created(environment.into()))
}

/// The bare row, with a key made up where none is chosen.
pub(super) async fn insert(
    app: &App,
    tx: &Write<'_>,
    project: i64,
    name: Option<&str>,
    api_key: Option<&str>,
) -> Result<Environment, ApiError> {
    let key = api_key.map_or_else(|| app.random().short_key(), ToOwned::to_owned);
    let name = name.unwrap_or_default();
    Ok(tx
        .one(sql::INSERT, [&project, &name, &key, &tx.now()])
        .await?)
}

/// One environment.
#[utoipa::path(get, path = "/api/v1/environments/{environment_api_key}/",
    operation_id = "environments_retrieve", tag = "Environments",
    params(("environment_api_key" = String, Path)),
    responses((status = 200, body = EnvironmentDetail)), security(("token" = [])))]
async fn get(
    State(app): State<App>,
    environment: In<Environment, ViewEnvironment>,
) -> Result<Reply<EnvironmentDetail>, ApiError> {
    show(&app.db().await?, environment.it).await
}

async fn show(db: &Db, environment: Environment) -> Result<Reply<EnvironmentDetail>, ApiError> {
    let overrides: i64 = db
        .one(sql::TOTAL_SEGMENT_OVERRIDES, [&environment.id])
        .await?;
    Ok(Reply(EnvironmentDetail::new(environment, overrides)))
}

/// One environment, by its uuid.
#[utoipa::path(get, path = "/api/v1/environments/get-by-uuid/{uuid}/",
    operation_id = "environments_get_by_uuid_retrieve", tag = "Environments",
    params(("uuid" = Uuid, Path)), responses((status = 200, body = EnvironmentDetail)),
    security(("token" = [])))]
async fn get_by_uuid(
    State(app): State<App>,
    actor: Actor,
    Path(uuid): Path<String>,
) -> Result<Reply<EnvironmentDetail>, ApiError> {
    let none = || ApiError::NotFound("Environment");
    let uuid: Uuid = uuid.parse().map_err(|_| none())?;
    let db = app.db().await?;
    let key: String = db
        .maybe(sql::KEY_BY_UUID, [&uuid])
        .await?
        .ok_or_else(none)?;
    let (environment, _) = access::environment::<ViewEnvironment>(&db, &actor, &key).await?;
    show(&db, environment).await
}

/// Changes an environment; what is left out keeps its value.
#[utoipa::path(put, path = "/api/v1/environments/{environment_api_key}/",
    operation_id = "environments_update", tag = "Environments",
    params(("environment_api_key" = String, Path)), request_body = EnvironmentIn,
    responses((status = 200, body = EnvironmentWithMetadata)), security(("token" = [])))]
async fn update(
    State(app): State<App>,
    environment: In<Environment, Admin>,
    body: Body,
) -> Result<Reply<EnvironmentWithMetadata>, ApiError> {
    change(&app, environment, body, Mode::Full).await
}

/// Changes some of an environment.
#[utoipa::path(patch, path = "/api/v1/environments/{environment_api_key}/",
    operation_id = "environments_partial_update", tag = "Environments",
    params(("environment_api_key" = String, Path)), request_body = EnvironmentIn,
    responses((status = 200, body = EnvironmentWithMetadata)), security(("token" = [])))]
async fn partial_update(
    State(app): State<App>,
    environment: In<Environment, Admin>,
    body: Body,
) -> Result<Reply<EnvironmentWithMetadata>, ApiError> {
    change(&app, environment, body, Mode::Partial).await
}

async fn change(
    app: &App,
    guarded: In<Environment, Admin>,
    body: Body,
    mode: Mode,
) -> Result<Reply<EnvironmentWithMetadata>, ApiError> {
    let mut fields = body.fields(mode)?;
    let asked = EnvironmentIn::read(&mut fields);
    fields.finish()?;

    let mut db = app.db().await?;
    let tx = db.write(Some(&guarded.actor)).await?;
    let mut environment: Environment = tx
        .maybe(sql::LOCK, [&guarded.it.id])
        .await?
        .ok_or(ApiError::NotFound("Environment"))?;
    asked.apply(&mut environment);
    save(&tx, &environment).await?;
    let entry = entry(&environment, "Environment updated");
    tx.commit(entry.publish_environments([environment.id]))
        .await?;
    Ok(Reply(environment.into()))
}

/// Deletes an environment. Its keys stop working at every edge.
#[utoipa::path(delete, path = "/api/v1/environments/{environment_api_key}/",
    operation_id = "environments_destroy", tag = "Environments",
    params(("environment_api_key" = String, Path)), responses((status = 204)),
    security(("token" = [])))]
async fn delete(
    State(app): State<App>,
    environment: In<Environment, Admin>,
) -> Result<NoContent, ApiError> {
    let mut db = app.db().await?;
    let tx = db.write(Some(&environment.actor)).await?;
    let environment = environment.it;
    tx.run(sql::DELETE, [&environment.id]).await?;
    tx.commit(entry(&environment, "Environment deleted"))
        .await?;
    Ok(NoContent)
}

/// The permissions that can be granted in an environment.
#[utoipa::path(get, path = "/api/v1/environments/permissions/",
    operation_id = "environments_permissions_list", tag = "Environments",
    responses((status = 200, body = [Described])), security(("token" = [])))]
async fn permissions(_actor: Actor) -> Reply<Vec<Described>> {
    Reply(EnvironmentPermission::catalogue())
}

/// What the caller may do in the environment.
#[utoipa::path(get, path = "/api/v1/environments/{environment_api_key}/my-permissions/",
    operation_id = "environments_my_permissions_retrieve", tag = "Environments",
    params(("environment_api_key" = String, Path)), responses((status = 200, body = MyPermissions)),
    security(("token" = [])))]
async fn my_permissions(environment: In<Environment, Member>) -> Reply<MyPermissions> {
    Reply(environment.standing.into())
}

/// What somebody may do in the environment, and where that comes from.
#[utoipa::path(get,
    path = "/api/v1/environments/{environment_api_key}/user-detailed-permissions/{user_pk}/",
    operation_id = "environments_user_detailed_permissions_retrieve", tag = "Environments",
    params(("environment_api_key" = String, Path), ("user_pk" = i64, Path)),
    responses((status = 200, body = DetailedPermissions)), security(("token" = [])))]
async fn detailed_permissions(
    State(app): State<App>,
    environment: In<Environment, Admin>,
    Path((_, user)): Path<(String, String)>,
) -> Result<Reply<DetailedPermissions>, ApiError> {
    let none = || ApiError::NotFound("FFAdminUser");
    let user: i64 = user.parse().map_err(|_| none())?;
    let db = app.db().await?;
    let standing: Option<Standing> = db.maybe(sql::STANDING, [&environment.it.id, &user]).await?;
    Ok(Reply(standing.ok_or_else(none)?.into()))
}

/// The environment document: what SDKs evaluate locally.
#[utoipa::path(get, path = "/api/v1/environments/{environment_api_key}/document/",
    operation_id = "environments_document_retrieve", tag = "Environments",
    params(("environment_api_key" = String, Path)), responses((status = 200, body = Value)),
    security(("token" = [])))]
async fn document(
    State(app): State<App>,
    environment: In<Environment, ViewEnvironment>,
) -> Result<Reply<Value>, ApiError> {
    let mut db = app.db().await?;
    let tx = db.read().await?;
    match publish::assemble(&tx, &environment.it.api_key).await? {
        Some(Assembled::Environment(publication)) => {
            let document = serde_json::to_value(&publication.document);
            Ok(Reply(document.map_err(anyhow::Error::from)?))
        }
        _ => Err(ApiError::NotFound("Environment")),
    }
}

async fn save(tx: &Write<'_>, environment: &Environment) -> Result<(), ApiError> {
    let Environment {
        id,
        uuid: _,
        project_id: _,
        organisation_id: _,
        name,
        api_key,
        description,
        minimum_change_request_approvals,
        allow_client_traits,
        banner_text,
        banner_colour,
        hide_disabled_flags,
        use_identity_composite_key_for_hashing,
        hide_sensitive_data,
        use_identity_overrides_in_local_eval,
    } = environment;
    tx.run(
        sql::UPDATE,
        [
            id,
            name,
            api_key,
            description,
            minimum_change_request_approvals,
            allow_client_traits,
            banner_text,
            banner_colour,
            hide_disabled_flags,
            use_identity_composite_key_for_hashing,
            hide_sensitive_data,
            use_identity_overrides_in_local_eval,
        ],
    )
    .await?;
    Ok(())
}

pub(super) fn entry(environment: &Environment, what: &str) -> Entry {
    Entry::new(
        Object::Environment,
        environment.id,
        format!("{what}: {}", environment.name),
    )
    .uuid(environment.uuid)
    .in_project(environment.organisation_id, environment.project_id)
    .in_environment(environment.id)
}
