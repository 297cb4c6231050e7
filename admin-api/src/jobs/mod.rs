//! Background work on Postgres.

mod enqueue;

pub(crate) use enqueue::{PUBLISH, enqueue};
