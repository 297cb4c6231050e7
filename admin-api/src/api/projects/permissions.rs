//! What others may do in a project.

use axum::extract::{Path, State};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Project;
use crate::access::{Admin, DetailedPermissions, In, MyPermissions, Standing};
use crate::app::App;
use crate::http::{ApiError, Reply};
use crate::sql::api::projects as sql;
use crate::store::Queries as _;

/// The table of this file's operations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(detailed))
        .routes(routes!(all))
}

/// What somebody may do in the project, and where that comes from.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/user-detailed-permissions/{user_pk}/",
    operation_id = "projects_user_detailed_permissions_retrieve", tag = "Projects",
    params(("project_pk" = i64, Path), ("user_pk" = i64, Path)),
    responses((status = 200, body = DetailedPermissions)), security(("token" = [])))]
async fn detailed(
    State(app): State<App>,
    project: In<Project, Admin>,
    Path((_, user)): Path<(String, String)>,
) -> Result<Reply<DetailedPermissions>, ApiError> {
    Ok(Reply(standing(&app, &project.it, &user).await?.into()))
}

/// What somebody may do in the project.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/all-user-permissions/{user_pk}/",
    operation_id = "projects_all_user_permissions_retrieve", tag = "Projects",
    params(("project_pk" = i64, Path), ("user_pk" = i64, Path)),
    responses((status = 200, body = MyPermissions)), security(("token" = [])))]
async fn all(
    State(app): State<App>,
    project: In<Project, Admin>,
    Path((_, user)): Path<(String, String)>,
) -> Result<Reply<MyPermissions>, ApiError> {
    Ok(Reply(standing(&app, &project.it, &user).await?.into()))
}

async fn standing(app: &App, project: &Project, user: &str) -> Result<Standing, ApiError> {
    let none = || ApiError::NotFound("FFAdminUser");
    let user: i64 = user.parse().map_err(|_| none())?;
    let db = app.db().await?;
    db.maybe(sql::STANDING, [&project.id, &user])
        .await?
        .ok_or_else(none)
}
