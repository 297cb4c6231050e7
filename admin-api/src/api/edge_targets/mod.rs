//! The edges to publish to: where they are, what signs for them, and how far behind each is.
//! Flagsmith has nothing of the kind; how the packages get there is `publish`' business.

mod model;
mod routes;
mod rules;

pub(crate) use model::TargetState;
pub(crate) use routes::routes;
