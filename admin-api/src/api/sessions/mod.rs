//! A session: logging in and out. Each login gives a token of its own, of which only the hash is kept.

mod routes;

pub(crate) use routes::routes;
