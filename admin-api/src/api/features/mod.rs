//! A feature: a named switch of a project. Its values live in `feature_states`, one in every
//! environment; its variants in `multivariate`.

mod model;
mod owners;
mod queries;
mod routes;
mod rules;
mod tags;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub(crate) use model::Feature;
pub(crate) use queries::{find, get};

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    routes::routes().merge(owners::routes())
}
