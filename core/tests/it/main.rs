//! The core's tests from outside, in one binary.

mod edge_robust;
mod edge_tables;
mod engine_conformance;
mod shared;
mod snapshot_answers;
