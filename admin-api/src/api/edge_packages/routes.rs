//! The two operations: by client-side key, and by the hash of a server-side one.

use axum::extract::{OriginalUri, Path, State};
use axum::response::{IntoResponse as _, Response};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use yardarm_core::edge::signature;

use crate::access::{Signer, signer};
use crate::app::App;
use crate::http::ApiError;
use crate::sql::api::edge_packages as sql;
use crate::store::{Queries as _, row};

const NOT_FOUND: ApiError = ApiError::NotFound("Environment");

row! {
    /// What is published under a key.
    struct Published {
        api_key: String,
        version: i64,
    }
}

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(get_by_client_key))
        .routes(routes!(get_by_server_key))
}

/// The package of an environment, for an edge that lacks it. The answer is signed like the question, over its bytes.
#[utoipa::path(get, path = "/api/v1/edge/environments/{client_key}/package/",
    operation_id = "edge_environments_package", tag = "Edge",
    params(
        ("client_key" = String, Path),
        ("Yardarm-Timestamp" = i64, Header, description = "Unix seconds at which it was signed"),
        ("Yardarm-Signature" = String, Header, description = "HMAC-SHA-256 with the target's secret, lower-case hex"),
    ),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
async fn get_by_client_key(
    State(app): State<App>,
    Path(api_key): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let signer = signer(&app, "GET", uri.path(), &headers, b"").await?;
    let found = app
        .db()
        .await?
        .maybe(sql::OF_CLIENT_KEY, [&api_key])
        .await?;
    package(&app, &signer, uri.path(), found.ok_or(NOT_FOUND)?).await
}

/// The same by SHA-256 of a server-side key, lower-case hex.
#[utoipa::path(get, path = "/api/v1/edge/environments/by-server-key/{sha256}/package/",
    operation_id = "edge_environments_package_by_server_key", tag = "Edge",
    params(
        ("sha256" = String, Path),
        ("Yardarm-Timestamp" = i64, Header, description = "Unix seconds at which it was signed"),
        ("Yardarm-Signature" = String, Header, description = "HMAC-SHA-256 with the target's secret, lower-case hex"),
    ),
    responses((status = 200, content_type = "application/octet-stream", body = Vec<u8>)))]
async fn get_by_server_key(
    State(app): State<App>,
    Path(sha256): Path<String>,
    OriginalUri(uri): OriginalUri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let signer = signer(&app, "GET", uri.path(), &headers, b"").await?;
    let sha256 = hex::decode(sha256).map_err(|_| NOT_FOUND)?;
    let found = app.db().await?.maybe(sql::OF_SERVER_KEY, [&sha256]).await?;
    package(&app, &signer, uri.path(), found.ok_or(NOT_FOUND)?).await
}

async fn package(
    app: &App,
    signer: &Signer,
    path: &str,
    published: Published,
) -> Result<Response, ApiError> {
    let at_least = u64::try_from(published.version).unwrap_or(0);
    let made = app.packages().get(&published.api_key, at_least).await;
    let (version, package) = made.map_err(ApiError::Internal)?.ok_or(NOT_FOUND)?;
    let db = app.db().await?;
    db.run(sql::FORGET_DELIVERY, [&signer.id, &published.api_key])
        .await?;
    drop(db);
    tracing::info!(
        target_id = signer.id, environment = %published.api_key, version, "pulled by an edge",
    );
    let body = package.bytes();
    let now = app.clock().now().timestamp();
    let signed = signature::sign(signer.secret.as_bytes(), "GET", path, now, &body);
    let headers = [
        (CONTENT_TYPE.as_str(), "application/octet-stream".to_owned()),
        (CACHE_CONTROL.as_str(), "no-store".to_owned()),
        (signature::TIMESTAMP_HEADER, now.to_string()),
        (signature::SIGNATURE_HEADER, signed),
    ];
    Ok((headers, body).into_response())
}
