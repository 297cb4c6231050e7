//! The queue's statements as functions: enqueue, take, and what can become of what was taken.

use std::time::Duration;

use deadpool_postgres::GenericClient;
use serde_json::Value;
use tokio_postgres::Error;

use super::{Job, Next};
use crate::sql::jobs as sql;
use crate::store::{Queries as _, row};

row! {
    /// A job under a lease.
    #[derive(Debug, Clone)]
    pub(crate) struct TakenJob {
        id: i64,
        kind: String,
        key: String,
        payload: Value,
        generation: i64,
        attempts: i32,
        lease: i64,
        waited_seconds: f64,
    }
}

/// How many jobs of a kind there are.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueDepth {
    /// The kind.
    pub kind: String,
    /// Not being worked on, due or not.
    pub waiting: i64,
    /// Under a lease.
    pub running: i64,
    /// Failed when last tried.
    pub failing: i64,
    /// For how long the oldest has been due, in seconds.
    pub oldest_seconds: f64,
}

/// Asks for a job to be done: now, and once however often it is asked for before it starts.
pub(crate) async fn enqueue<J: Job>(client: &impl GenericClient, job: &J) -> Result<(), Error> {
    let payload = serde_json::to_value(job).unwrap_or(Value::Null);
    client
        .run(sql::ENQUEUE_JOB, [&J::KIND, &job.key(), &payload, &0_f64])
        .await?;
    Ok(())
}

/// Takes due jobs: of each kind at most as many as are free.
pub(crate) async fn take(
    client: &impl GenericClient,
    free: &[(&str, usize)],
    lease: Duration,
) -> Result<Vec<TakenJob>, Error> {
    let kinds: Vec<&str> = free.iter().map(|(kind, _)| *kind).collect();
    let counts: Vec<i64> = free
        .iter()
        .map(|(_, count)| i64::try_from(*count).unwrap_or(i64::MAX))
        .collect();
    client
        .all(sql::TAKE_JOBS, [&kinds, &counts, &lease.as_secs_f64()])
        .await
}

/// Records a success. A job that was enqueued again meanwhile stays, and is due.
pub(crate) async fn succeed(
    client: &impl GenericClient,
    job: &TakenJob,
    next: Next,
) -> Result<(), Error> {
    let pause = match next {
        Next::Done => {
            let gone = client
                .run(sql::COMPLETE_JOB, [&job.id, &job.lease, &job.generation])
                .await?;
            if gone > 0 {
                return Ok(());
            }
            None
        }
        Next::Again(pause) => Some(pause.as_secs_f64()),
    };
    client
        .run(sql::RELEASE_JOB, [&job.id, &job.lease, &pause])
        .await?;
    Ok(())
}

/// Records a failure: due again after the pause.
pub(crate) async fn fail(
    client: &impl GenericClient,
    job: &TakenJob,
    error: &str,
    pause: Duration,
) -> Result<(), Error> {
    client
        .run(
            sql::FAIL_JOB,
            [&job.id, &job.lease, &error, &pause.as_secs_f64()],
        )
        .await?;
    Ok(())
}

/// Prolongs leases and tells which were still held.
pub(crate) async fn renew(
    client: &impl GenericClient,
    leases: &[i64],
    lease: Duration,
) -> Result<Vec<i64>, Error> {
    client
        .all(sql::RENEW_LEASES, [&leases, &lease.as_secs_f64()])
        .await
}

/// Gives back what will not be finished, for another process to take at once.
pub(crate) async fn give_back(client: &impl GenericClient, leases: &[i64]) -> Result<(), Error> {
    client.run(sql::GIVE_BACK_LEASES, [&leases]).await?;
    Ok(())
}

/// The queue's depth by kind.
pub async fn queue_depth(client: &impl GenericClient) -> Result<Vec<QueueDepth>, Error> {
    row! {
        pub(crate) struct Row {
            kind: String,
            waiting: i64,
            running: i64,
            failing: i64,
            oldest_seconds: f64,
        }
    }
    let rows: Vec<Row> = client.all(sql::QUEUE_DEPTH, []).await?;
    let depth = |row: Row| QueueDepth {
        kind: row.kind,
        waiting: row.waiting,
        running: row.running,
        failing: row.failing,
        oldest_seconds: row.oldest_seconds,
    };
    Ok(rows.into_iter().map(depth).collect())
}
