//! The accounts of others: there is nothing to see, also for superusers, as in Flagsmith.

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::{Actor, ApiError};

/// The table of this file's operations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get))
}

/// Always 404: one's own account is at `/api/v1/auth/users/me/`.
#[utoipa::path(get, path = "/api/v1/auth/users/{id}/", operation_id = "auth_users_retrieve",
    tag = "Authentication", params(("id" = i64, Path)), responses((status = 404)),
    security(("token" = [])))]
async fn get(_actor: Actor) -> ApiError {
    ApiError::NotFoundBecause("Not found.")
}

/// Always 404.
#[utoipa::path(get, path = "/api/v1/auth/users/", operation_id = "auth_users_list",
    tag = "Authentication", responses((status = 404)), security(("token" = [])))]
pub(super) async fn list(_actor: Actor) -> ApiError {
    ApiError::NotFoundBecause("Not found.")
}
