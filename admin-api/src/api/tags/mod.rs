//! A tag: a label by which people tell a project's features apart. It changes nothing at the edge.
//! Which features have which is in `features`.

mod model;
mod routes;

pub(crate) use routes::routes;
