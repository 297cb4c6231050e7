//! The traits that an environment's identities have, as a whole.

use axum::extract::State;
use http::StatusCode;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::model::{DeleteTraits, Environment, TraitKeys};
use super::routes::entry;
use crate::access::{In, ManageIdentities, ViewEnvironment};
use crate::app::App;
use crate::http::{ApiError, Body, Reply};
use crate::publish::bury_trait_everywhere;
use crate::sql::api::environments as sql;
use crate::store::Queries as _;

/// The table of this file's operations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(trait_keys))
        .routes(routes!(delete_traits))
}

/// The names of all traits that identities of the environment have.
#[utoipa::path(get, path = "/api/v1/environments/{environment_api_key}/trait-keys/",
    operation_id = "environments_trait_keys_retrieve", tag = "Environments",
    params(("environment_api_key" = String, Path)), responses((status = 200, body = TraitKeys)),
    security(("token" = [])))]
async fn trait_keys(
    State(app): State<App>,
    environment: In<Environment, ViewEnvironment>,
) -> Result<Reply<TraitKeys>, ApiError> {
    let keys = app
        .db()
        .await?
        .all(sql::TRAIT_KEYS, [&environment.it.id])
        .await?;
    Ok(Reply(TraitKeys { keys }))
}

/// Deletes a trait from every identity of the environment.
#[utoipa::path(post, path = "/api/v1/environments/{environment_api_key}/delete-traits/",
    operation_id = "environments_delete_traits_create", tag = "Environments",
    params(("environment_api_key" = String, Path)), request_body = DeleteTraits,
    responses((status = 200)), security(("token" = [])))]
async fn delete_traits(
    State(app): State<App>,
    environment: In<Environment, ManageIdentities>,
    body: Body,
) -> Result<StatusCode, ApiError> {
    let Some(key) = body.text("key").map(ToOwned::to_owned) else {
        return Err(ApiError::BadRequest(
            "Couldn't delete trait keys.".to_owned(),
        ));
    };
    let mut db = app.db().await?;
    let tx = db.write(Some(&environment.actor)).await?;
    bury_trait_everywhere(&tx, environment.it.id, &key).await?;
    tx.run(sql::DELETE_TRAITS, [&environment.it.id, &key])
        .await?;
    tx.commit(entry(
        &environment.it,
        &format!("Trait {key} deleted from every identity"),
    ))
    .await?;
    Ok(StatusCode::OK)
}
