//! What Yardarm's engine is measured against, natively and in WebAssembly, in one process.
//!
//! A task is one request's work, done so many times by [`tasks::run`]; who runs it keeps the time.

pub mod profile;
pub mod tasks;
mod wasm;
