//! A segment: rules that identities fit or not. It does something where a feature has an override for it
//! (`feature_segments`).

mod model;
mod routes;
mod rows;
mod rules;

pub(crate) use routes::routes;
