//! Version and health (flagsmith-observed.md 4.4, flagsmith-api.md F.3).

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::http::{ApiError, FLAGSMITH_VERSION, Reply};
use crate::sql::api::system as sql;
use crate::store::{Queries as _, row};

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(version))
        .routes(routes!(health))
        .routes(routes!(healthcheck))
        .routes(routes!(liveness))
        .routes(routes!(readiness))
        .routes(routes!(robots))
}

row! {
    #[derive(Clone, Copy, Debug, Serialize, ToSchema)]
    pub(crate) struct SelfHosted {
        has_users: bool,
        has_logins: bool,
    }
}

/// What runs here. `image_tag` is the version of Flagsmith whose API this is, which clients look at.
#[derive(Debug, Serialize, ToSchema)]
struct Version {
    ci_commit_sha: &'static str,
    image_tag: &'static str,
    has_email_provider: bool,
    is_enterprise: bool,
    is_saas: bool,
    self_hosted_data: SelfHosted,
    package_versions: Value,
}

/// What runs here.
#[utoipa::path(get, path = "/version/", operation_id = "version_retrieve", tag = "Other",
    responses((status = 200, body = Version)))]
async fn version(State(app): State<App>) -> Result<Reply<Version>, ApiError> {
    let self_hosted_data: SelfHosted = app.db().await?.one(sql::FACTS, []).await?;
    Ok(Reply(Version {
        ci_commit_sha: option_env!("YARDARM_COMMIT").unwrap_or("unknown"),
        image_tag: FLAGSMITH_VERSION,
        has_email_provider: false,
        is_enterprise: true,
        is_saas: false,
        self_hosted_data,
        package_versions: json!({".": FLAGSMITH_VERSION, "yardarm": env!("CARGO_PKG_VERSION")}),
    }))
}

/// Alive: the process answers. Does not look at the database.
#[utoipa::path(get, path = "/health/liveness/", operation_id = "health_liveness", tag = "Other",
    responses((status = 200)))]
async fn liveness() -> Reply<Value> {
    Reply(json!({"status": "ok"}))
}

/// Ready: the database answers too, at this program's version (the program does not start otherwise).
#[utoipa::path(get, path = "/health/readiness/", operation_id = "health_readiness", tag = "Other",
    responses((status = 200), (status = 503)))]
async fn readiness(State(app): State<App>) -> Response {
    ready(&app).await
}

/// The same as readiness.
#[utoipa::path(get, path = "/health", operation_id = "health", tag = "Other",
    responses((status = 200), (status = 503)))]
async fn health(State(app): State<App>) -> Response {
    ready(&app).await
}

/// The same as readiness.
#[utoipa::path(get, path = "/healthcheck", operation_id = "healthcheck", tag = "Other",
    responses((status = 200), (status = 503)))]
async fn healthcheck(State(app): State<App>) -> Response {
    ready(&app).await
}

async fn ready(app: &App) -> Response {
    let alive = match app.db().await {
        Ok(db) => db.one::<i32, 0>(sql::ALIVE, []).await.is_ok(),
        Err(_) => false,
    };
    if alive {
        let body = json!({"DatabaseBackend": "working", "MigrationsHealthCheck": "working"});
        return Reply(body).into_response();
    }
    let body = json!({"DatabaseBackend": "unavailable", "MigrationsHealthCheck": "unknown"});
    (StatusCode::SERVICE_UNAVAILABLE, Reply(body)).into_response()
}

/// Nothing here is for search engines.
#[utoipa::path(get, path = "/robots.txt", operation_id = "robots", tag = "Other",
    responses((status = 200, content_type = "text/plain", body = String)))]
async fn robots() -> Response {
    let text = HeaderValue::from_static("text/plain");
    (
        [(header::CONTENT_TYPE, text)],
        "User-agent: *\nDisallow: /\n",
    )
        .into_response()
}
