//! An organisation: people and the projects they share.

mod members;
mod model;
mod routes;

pub(crate) use model::Organisation;

use crate::app::App;
use utoipa_axum::router::OpenApiRouter;

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    routes::routes().merge(members::routes())
}
