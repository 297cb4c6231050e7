//! For tests only (feature `testing`): a host in memory, and the request-to-reply tables that every
//! host answers alike.
//!
//! ```text
//! core/tests/conformance/*.json   the tables
//! core/tests/it                   runs them against MemoryHost
//! tests/conformance               runs them over HTTP against the real hosts
//! ```

use std::pin::pin;
use std::task::{Context, Poll, Waker};

mod memory_host;
mod table;

pub use memory_host::MemoryHost;
pub use table::{Failure, TABLES, Table, Target, run};

/// Runs a future that waits for nothing, as all futures over a [`MemoryHost`] do.
///
/// # Panics
///
/// Where the future does wait.
pub fn run_ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future waits for something"),
    }
}
