//! The native edge on real sockets, with a data directory of its own for each test.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod connections;
mod encodings;
mod requests;
mod running;
mod slow_clients;
mod streams;
mod table;
mod tls;
mod versions;
