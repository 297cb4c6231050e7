//! What monitoring, load balancers and clients ask of the program itself.

mod routes;

pub(crate) use routes::routes;
