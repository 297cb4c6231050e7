//! Yardarm's core: Flagsmith's evaluation rules, the snapshot an edge answers from, and the SDK
//! HTTP API, all without I/O.
//!
//! Three rooms, an upper one may use a lower and never the other way:
//!
//! - [`edge`]: the SDK HTTP API over `http` types, and the ports a host implements.
//! - [`snapshot`]: the environment document as it travels, and the ready-to-read binary form.
//! - [`engine`]: evaluation context in, result out.
//!
//! Invariants: nothing here reads a clock, a random source, a file or a socket; nothing awaits
//! anything but a port; evaluation cannot fail and cannot panic, whatever the data.

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod decimal;
pub mod edge;
pub mod engine;
mod hex;
pub mod snapshot;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
