//! The table of resources.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use http::header::CONTENT_TYPE;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use yardarm_edge::Edge;

use crate::api;
use crate::app::App;
use crate::edge_host::PostgresIdentities;
use crate::http::{Envelope, cors, document, envelope, not_found, packed};
use crate::telemetry::{self, Metrics};

/// Every route with its documentation; the paths stand in full at their handlers.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(document())
        .merge(api::account::routes())
        .merge(api::edge_deliveries::routes())
        .merge(api::edge_packages::routes())
        .merge(api::edge_targets::routes())
        .merge(api::environment_keys::routes())
        .merge(api::environments::routes())
        .merge(api::feature_segments::routes())
        .merge(api::feature_states::routes())
        .merge(api::features::routes())
        .merge(api::identities::routes())
        .merge(api::multivariate::routes())
        .merge(api::organisations::routes())
        .merge(api::projects::routes())
        .merge(api::segments::routes())
        .merge(api::sessions::routes())
        .merge(api::setup::routes())
        .merge(api::system::routes())
        .merge(api::tags::routes())
        .merge(api::usage::routes())
}

/// The `OpenAPI` document of every route.
pub fn openapi() -> OpenApi {
    routes().into_openapi()
}

/// The whole admin API.
pub fn router(app: App) -> Router {
    let (router, document) = routes().split_for_parts();
    let around = Envelope::new(app.clone(), &document);
    let json = document.to_json().unwrap_or_default();
    let json = move || async move { ([(CONTENT_TYPE, "application/json")], json) };
    router
        .route("/api/v1/openapi.json", get(json))
        .fallback(not_found)
        .with_state(app)
        .layer(from_fn_with_state(around, envelope))
        .layer(from_fn(cors))
        .layer(from_fn(packed))
}

/// All that a process answers: the admin API, the SDK API of its own edge, and its metrics, which may
/// want a bearer token.
pub fn whole(
    app: App,
    edge: &Edge<PostgresIdentities>,
    metrics: Metrics,
    metrics_token: Option<&str>,
) -> Router {
    let page = telemetry::page(
        app.pool().clone(),
        metrics.clone(),
        edge.streams().clone(),
        metrics_token,
    );
    router(app)
        .merge(page)
        .merge(yardarm_edge::router(edge))
        .layer(from_fn_with_state(metrics, telemetry::watch))
}
