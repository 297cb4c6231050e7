//! The first administrator: a page and a call that work as long as nobody has an account.

mod routes;

pub(crate) use routes::routes;
