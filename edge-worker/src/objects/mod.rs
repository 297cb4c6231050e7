//! The Durable Objects.

mod environments;
mod identity;
mod ledger;
mod streams;
