//! An environment: one set of flag values of a project, with the client-side key that reads them.

mod model;

pub(crate) use model::Environment;
