//! A project: features and segments, and the environments in which they have values.

mod model;
mod routes;

pub(crate) use model::{Project, ProjectOut};
pub(crate) use routes::routes;
