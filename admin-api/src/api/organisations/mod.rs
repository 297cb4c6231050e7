//! An organisation: people and the projects they share.

mod model;

pub(crate) use model::Organisation;
