//! An environment: one set of flag values of a project, with the client-side key that reads them.

mod copy;
mod model;
mod routes;
mod rules;
mod traits;

pub(crate) use model::{Environment, EnvironmentOut};

use crate::app::App;
use utoipa_axum::router::OpenApiRouter;

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    routes::routes()
        .merge(copy::routes())
        .merge(traits::routes())
}
