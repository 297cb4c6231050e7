//! Configuration: one small struct a concern, from flags and environment variables.

mod database;
mod logging;
mod server;

pub use database::{Database, Opened};
pub use logging::{LogFormat, Logging};
pub use server::Server;
