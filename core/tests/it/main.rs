//! The core's tests from outside, in one binary.

#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "tests read files and say when they skip"
)]

mod edge_host;
mod edge_recorded;
mod edge_recorded_world;
mod edge_robust;
mod edge_stream;
mod edge_tables;
mod engine_conformance;
mod generated;
mod laws;
mod ofrep;
mod packages;
mod reference;
mod shared;
mod snapshot_answers;
mod snapshot_words;
mod upstream;
