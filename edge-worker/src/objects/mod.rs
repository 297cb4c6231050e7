//! The Durable Objects.

mod environments;
pub(crate) mod identity;
mod ledger;
mod outbox;
mod parcels;
mod pulls;
mod streams;
