//! `yardarm-edge` as a person or a supervisor runs it, and what becomes of it when things go wrong
//! (docs/operating.md names these tests).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

mod disk;
mod flood;
mod kill;
mod program;
mod serving;
