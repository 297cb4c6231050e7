//! The table of resources.

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use crate::api;
use crate::app::App;
use crate::http::{Envelope, cors, document, envelope, not_found};

/// Every route with its documentation; the paths stand in full at their handlers.
fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(document())
        .merge(api::account::routes())
        .merge(api::environment_keys::routes())
        .merge(api::environments::routes())
        .merge(api::identities::routes())
        .merge(api::organisations::routes())
        .merge(api::projects::routes())
        .merge(api::sessions::routes())
        .merge(api::setup::routes())
        .merge(api::system::routes())
}

/// The OpenAPI document of every route.
pub fn openapi() -> OpenApi {
    routes().into_openapi()
}

/// The whole admin API.
pub fn router(app: App) -> Router {
    let (router, document) = routes().split_for_parts();
    let around = Envelope::new(app.clone(), &document);
    router
        .fallback(not_found)
        .with_state(app)
        .layer(from_fn_with_state(around, envelope))
        .layer(from_fn(cors))
}
