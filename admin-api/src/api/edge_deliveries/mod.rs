//! Batches that edges send home. Nobody logs in here: a batch is signed with the secret of the target
//! that its edge is. What becomes of it is `intake`'s business.

mod model;
mod routes;

pub(crate) use routes::routes;
