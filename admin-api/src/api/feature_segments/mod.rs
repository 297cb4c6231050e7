//! A segment override: that a feature has a state of its own for the members of a segment in an
//! environment, and which override wins. The state itself is in `feature_states`.

mod model;
mod override_routes;
mod routes;
mod rows;
mod rules;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    routes::routes().merge(override_routes::routes())
}
