//! The core's tests from outside, in one binary.

#![expect(clippy::disallowed_methods, reason = "tests read files")]

mod edge_robust;
mod edge_tables;
mod engine_conformance;
mod generated;
mod laws;
mod reference;
mod shared;
mod snapshot_answers;
