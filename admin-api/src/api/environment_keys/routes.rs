//! The operations on server-side keys (flagsmith-api.md C.4).

use axum::extract::{Path, State};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::model::{EnvironmentKey, EnvironmentKeyIn, EnvironmentKeyOut, hint};
use crate::access::{Admin, In};
use crate::api::environments::Environment;
use crate::app::App;
use crate::http::{ApiError, Body, Created, Mode, NoContent, Reply, token_sha256};
use crate::sql::api::environment_keys as sql;
use crate::store::{Entry, Object, Queries as _, Write};

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(update, partial_update, delete))
}

const NOT_FOUND: ApiError = ApiError::NotFound("EnvironmentAPIKey");

/// The server-side keys of the environment.
#[utoipa::path(get, path = "/api/v1/environments/{environment_api_key}/api-keys/",
    operation_id = "environments_api_keys_list", tag = "Environments",
    params(("environment_api_key" = String, Path)),
    responses((status = 200, body = [EnvironmentKeyOut])), security(("token" = [])))]
async fn list(
    State(app): State<App>,
    environment: In<Environment, Admin>,
) -> Result<Reply<Vec<EnvironmentKeyOut>>, ApiError> {
    let keys: Vec<EnvironmentKey> = app.db().await?.all(sql::LIST, [&environment.it.id]).await?;
    Ok(Reply(keys.into_iter().map(Into::into).collect()))
}

/// A new server-side key. This answer is the only place where it is shown in full.
#[utoipa::path(post, path = "/api/v1/environments/{environment_api_key}/api-keys/",
    operation_id = "environments_api_keys_create", tag = "Environments",
    params(("environment_api_key" = String, Path)), request_body = EnvironmentKeyIn,
    responses((status = 201, body = EnvironmentKeyOut)), security(("token" = [])))]
async fn create(
    State(app): State<App>,
    environment: In<Environment, Admin>,
    body: Body,
) -> Result<Created<EnvironmentKeyOut>, ApiError> {
    let mut fields = body.fields(Mode::Full)?;
    let asked = EnvironmentKeyIn::read(&mut fields);
    fields.finish()?;

    let mut db = app.db().await?;
    let tx = db.write(Some(&environment.actor)).await?;
    let environment = environment.it;
    let full = format!("ser.{}", app.random().short_key());
    let name = asked.name().unwrap_or_default();
    let mut key: EnvironmentKey = tx
        .one(
            sql::INSERT,
            [
                &environment.id,
                &name,
                &token_sha256(&full),
                &hint(&full),
                &tx.now(),
            ],
        )
        .await?;
    asked.apply(&mut key);
    save(&tx, &key).await?;
    tx.commit(entry(&environment, &key, "New server-side key created"))
        .await?;
    Ok(Created(EnvironmentKeyOut::in_full(key, full)))
}

/// Changes a key; what is left out keeps its value.
#[utoipa::path(put, path = "/api/v1/environments/{environment_api_key}/api-keys/{id}/",
    operation_id = "environments_api_keys_update", tag = "Environments",
    params(("environment_api_key" = String, Path), ("id" = i64, Path)),
    request_body = EnvironmentKeyIn, responses((status = 200, body = EnvironmentKeyOut)),
    security(("token" = [])))]
async fn update(
    State(app): State<App>,
    environment: In<Environment, Admin>,
    Path((_, id)): Path<(String, String)>,
    body: Body,
) -> Result<Reply<EnvironmentKeyOut>, ApiError> {
    change(&app, environment, &id, body, Mode::Full).await
}

/// Changes some of a key.
#[utoipa::path(patch, path = "/api/v1/environments/{environment_api_key}/api-keys/{id}/",
    operation_id = "environments_api_keys_partial_update", tag = "Environments",
    params(("environment_api_key" = String, Path), ("id" = i64, Path)),
    request_body = EnvironmentKeyIn, responses((status = 200, body = EnvironmentKeyOut)),
    security(("token" = [])))]
async fn partial_update(
    State(app): State<App>,
    environment: In<Environment, Admin>,
    Path((_, id)): Path<(String, String)>,
    body: Body,
) -> Result<Reply<EnvironmentKeyOut>, ApiError> {
    change(&app, environment, &id, body, Mode::Partial).await
}

async fn change(
    app: &App,
    environment: In<Environment, Admin>,
    id: &str,
    body: Body,
    mode: Mode,
) -> Result<Reply<EnvironmentKeyOut>, ApiError> {
    let id: i64 = id.parse().map_err(|_| NOT_FOUND)?;
    let mut db = app.db().await?;
    let tx = db.write(Some(&environment.actor)).await?;
    let environment = environment.it;
    let mut key: EnvironmentKey = tx
        .maybe(sql::LOCK, [&environment.id, &id])
        .await?
        .ok_or(NOT_FOUND)?;
    let mut fields = body.fields(mode)?;
    let asked = EnvironmentKeyIn::read(&mut fields);
    fields.finish()?;
    asked.apply(&mut key);
    save(&tx, &key).await?;
    tx.commit(entry(&environment, &key, "Server-side key updated"))
        .await?;
    Ok(Reply(key.into()))
}

/// Deletes a key. It stops working at every edge.
#[utoipa::path(delete, path = "/api/v1/environments/{environment_api_key}/api-keys/{id}/",
    operation_id = "environments_api_keys_destroy", tag = "Environments",
    params(("environment_api_key" = String, Path), ("id" = i64, Path)),
    responses((status = 204)), security(("token" = [])))]
async fn delete(
    State(app): State<App>,
    environment: In<Environment, Admin>,
    Path((_, id)): Path<(String, String)>,
) -> Result<NoContent, ApiError> {
    let id: i64 = id.parse().map_err(|_| NOT_FOUND)?;
    let mut db = app.db().await?;
    let tx = db.write(Some(&environment.actor)).await?;
    let environment = environment.it;
    let key: EnvironmentKey = tx
        .maybe(sql::DELETE, [&environment.id, &id])
        .await?
        .ok_or(NOT_FOUND)?;
    tx.commit(entry(&environment, &key, "Server-side key deleted"))
        .await?;
    Ok(NoContent)
}

async fn save(tx: &Write<'_>, key: &EnvironmentKey) -> Result<(), ApiError> {
    tx.run(
        sql::UPDATE,
        [&key.id, &key.name, &key.active, &key.expires_at],
    )
    .await?;
    Ok(())
}

/// Edges check keys themselves, so that every change of one is published.
fn entry(environment: &Environment, key: &EnvironmentKey, what: &str) -> Entry {
    Entry::new(
        Object::EnvironmentKey,
        key.id,
        format!("{what}: {}", key.name),
    )
    .in_project(environment.organisation_id, environment.project_id)
    .in_environment(environment.id)
    .publish_environments([environment.id])
}
