//! What Yardarm's engine is measured against, natively and in WebAssembly, in one process.
//!
//! A task is one request's work, done so many times by [`tasks::run`]; who runs it keeps the time.

pub mod clock;
pub mod formats;
pub mod profile;
pub mod tasks;
#[cfg(not(target_arch = "wasm32"))]
pub mod theirs;
mod wasm;
