//! The core's tests from outside, in one binary.

mod engine_conformance;
mod shared;
mod snapshot_answers;
