//! Cloning an environment.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::model::{CloneIn, Cloned, Environment};
use super::routes::{entry, insert};
use crate::access::{self, CreateEnvironment, In, ViewEnvironment};
use crate::app::App;
use crate::http::{ApiError, Body, Mode, Reply, Text};
use crate::sql::api::environments as sql;
use crate::store::Queries as _;

/// The table of this file's operations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(clone))
}

/// A new environment with the settings, values and segment overrides of this one, but without its
/// identities and keys.
#[utoipa::path(post, path = "/api/v1/environments/{environment_api_key}/clone/",
    operation_id = "environments_clone_create", tag = "Environments",
    params(("environment_api_key" = String, Path)), request_body = CloneIn,
    responses((status = 200, body = Cloned)), security(("token" = [])))]
async fn clone(
    State(app): State<App>,
    source: In<Environment, ViewEnvironment>,
    body: Body,
) -> Result<Reply<Cloned>, ApiError> {
    let mut db = app.db().await?;
    let (actor, source) = (source.actor, source.it);
    access::parent_project::<CreateEnvironment>(&db, &actor, Some(source.project_id)).await?;
    let mut fields = body.fields(Mode::Full)?;
    let name = fields.required("name", Text::max(2000));
    fields.finish()?;

    let tx = db.write(Some(&actor)).await?;
    tx.run(sql::LOCK_PROJECT, [&source.project_id]).await?;
    let clone = insert(&app, &tx, source.project_id, Some(&name), None).await?;
    tx.run(sql::COPY_SETTINGS, [&source.id, &clone.id]).await?;
    tx.run(sql::COPY_FEATURE_SEGMENTS, [&source.id, &clone.id])
        .await?;
    tx.run(sql::COPY_STATES, [&source.id, &clone.id, &tx.now()])
        .await?;
    tx.run(sql::COPY_MULTIVARIATE_VALUES, [&source.id, &clone.id])
        .await?;
    let entry = entry(&clone, "New Environment created");
    tx.commit(entry.publish_environments([clone.id])).await?;
    Ok(Reply(clone.into()))
}
