//! A flag's state: whether it is on, and its value, in one environment. The environment's default, or an
//! override for a segment or for one identity.
//!
//! Three surfaces show the same rows: `environments/{key}/featurestates/` with plain values,
//! `features/featurestates/` with typed ones, and an identity's own, which has its folder but shares
//! [`Change`], [`insert`] and [`save`] (flagsmith-api.md C.5).

mod audit;
mod change;
mod environment_routes;
mod feature_routes;
mod model;
mod rows;
mod value;
mod weights;
mod write;

use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub(crate) use audit::{entries, removed};
pub(crate) use change::{Change, FlatIn, Form, ValueIn};
pub(crate) use model::{FlatOut, ListedOut, PatchedOut, State};
pub(crate) use rows::{Filter, NewState, get, insert, list, options};
pub(crate) use value::{FlagValue, NestedValue, Scalar};
pub(crate) use weights::{Percentage, WeightOut, WeightRow, fits, not_a_list};
pub(crate) use write::{create, initial_value, missing, update};

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    environment_routes::routes().merge(feature_routes::routes())
}
