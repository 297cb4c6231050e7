//! Configuration: one small struct a concern, from flags and environment variables.

mod database;
mod logging;
mod operation;
mod server;
mod usage;

pub use database::{Database, Opened};
pub use logging::{LogFormat, Logging};
pub use operation::Operation;
pub use server::Server;
pub use usage::{Sink, Usage};
