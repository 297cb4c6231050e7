//! The Durable Objects.

mod environments;
pub(crate) mod identity;
mod ledger;
mod outbox;
mod parcels;
mod pulls;
mod streams;

/// What an isolate or another object says to one.
fn message<T: serde::de::DeserializeOwned>(body: &[u8]) -> worker::Result<T> {
    yardarm_core::edge::read_json(body).map_err(worker::Error::RustError)
}
