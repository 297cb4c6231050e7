//! A project: features and segments, and the environments in which they have values.

mod model;
mod permissions;
mod routes;

pub(crate) use model::{Project, ProjectOut};

use crate::app::App;
use utoipa_axum::router::OpenApiRouter;

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    routes::routes().merge(permissions::routes())
}
