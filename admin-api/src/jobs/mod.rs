//! Background work on Postgres: a job is a row, enqueued inside the transaction that causes it, so
//! that it exists exactly when the change does.
//!
//! Work is done at least once: a process may die at any point, and another one, or the same
//! restarted, does the job again when its lease has run out. So jobs bring about a state ("this edge
//! holds what Postgres says") rather than repeat an event. A job is unique by kind and key, never
//! runs twice at the same time while leases hold, and runs once more when it is enqueued while it
//! runs.
//!
//! Not here: what the jobs do (`publish`), and schedules by the clock on the wall.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

mod listener;
mod queue;
mod runner;

pub(crate) use listener::PUBLICATION;
pub use listener::{Heard, Listener};
pub(crate) use queue::enqueue;
pub use queue::{QueueDepth, queue_depth};
pub use runner::{Runner, Settings};

/// A kind of job. The value itself is the job's payload, stored as JSON: fields may be added with a
/// default, and none may go while rows of an older version may be waiting.
pub trait Job: Serialize + DeserializeOwned + Send + 'static {
    /// Name of the kind in the database.
    const KIND: &'static str;

    /// How many of the kind one process runs at once.
    const AT_ONCE: usize;

    /// What it works with.
    type Context: Clone + Send + Sync + 'static;

    /// What makes it the same job as another of its kind.
    fn key(&self) -> String;

    /// Does the work. On an error it is tried again after [`Job::backoff`].
    fn run(self, context: &Self::Context) -> impl Future<Output = anyhow::Result<Next>> + Send;

    /// How long to wait after the given number of failures in a row (at least 1).
    fn backoff(attempts: u32) -> Duration {
        backoff(attempts, Duration::from_mins(5))
    }
}

/// What comes after a job that succeeded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing.
    Done,
    /// The same again after a pause.
    Again(Duration),
}

/// 1, 2, 4, 8… seconds, at most `cap`. Without jitter: jobs of one kind fail for reasons of their own,
/// and an edge that comes back takes all of its work from one job.
pub(crate) fn backoff(attempts: u32, cap: Duration) -> Duration {
    let doublings = attempts.saturating_sub(1).min(30);
    Duration::from_secs(1 << doublings).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_from_a_second_to_its_cap() {
        let cap = Duration::from_mins(5);
        let seconds: Vec<u64> = (0..12).map(|n| backoff(n, cap).as_secs()).collect();
        assert_eq!(seconds, [1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff(u32::MAX, cap), cap);
    }
}
