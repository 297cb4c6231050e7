//! A server-side key of an environment (`ser.…`). Only its SHA-256 is kept: it is shown in full once, in the
//! answer that creates it, and by a hint ever after.

mod model;
mod routes;

pub(crate) use routes::routes;
