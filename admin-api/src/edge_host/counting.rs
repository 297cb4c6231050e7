//! Usage of the mounted edge: counted in memory, stored now and then.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use yardarm_core::edge::Effect;
use yardarm_core::edge::delivery::Delivery;
use yardarm_core::edge::usage::Counted;
use yardarm_core::time::Timestamp;
use yardarm_edge::{CountedUsage, Usage};

use crate::store::Pool;
use crate::telemetry::Metrics;
use crate::usage::{self, UsageStore};

/// Memory for counts until they are stored, in bytes.
const MOST: usize = 16 << 20;
/// Rows stored at once.
const ROWS: usize = 10_000;
/// How long the end of the process waits for the last counts.
const LAST: Duration = Duration::from_secs(5);

/// Counts, and tells the metrics.
#[derive(Debug)]
pub(crate) struct Counting {
    counted: CountedUsage,
    metrics: Metrics,
    requests: bool,
}

impl Counting {
    /// Nothing counted yet; requests only where they are wanted.
    pub(crate) fn new(metrics: Metrics, requests: bool) -> Self {
        Self {
            counted: CountedUsage::new(MOST),
            metrics,
            requests,
        }
    }
}

impl Usage for Counting {
    fn count(&self, request: &Counted, now: Timestamp) {
        if self.requests {
            self.counted.count(request, now);
        }
    }

    fn record(&self, effects: Vec<Effect>, now: Timestamp) {
        for effect in &effects {
            match effect {
                Effect::Evaluations { rows, .. } => {
                    let count: i64 = rows.iter().map(|row| row.count.max(0)).sum();
                    self.metrics.evaluated(u64::try_from(count).unwrap_or(0));
                }
            }
        }
        self.counted.record(effects, now);
    }
}

/// Stores what was counted, until the process ends and once more then.
#[derive(Debug)]
pub(crate) struct Flushing {
    pub(crate) counting: Arc<Counting>,
    /// The main database.
    pub(crate) pool: Pool,
    pub(crate) store: UsageStore,
    pub(crate) every: Duration,
}

impl Flushing {
    /// Stores now and then until `stop`. What cannot be stored is tried again, under the same id; meanwhile counts gather in
    /// the memory there is for them.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut pending = VecDeque::new();
        while stop.run_until_cancelled(sleep(self.every)).await.is_some() {
            self.flush(&mut pending).await;
        }
        if timeout(LAST, self.flush(&mut pending)).await.is_err() {
            tracing::warn!("the last counts of usage could not be stored in time");
        }
    }

    async fn flush(&self, pending: &mut VecDeque<Delivery>) {
        if pending.is_empty() {
            pending.extend(batches(&self.counting.counted));
        }
        while let Some(batch) = pending.front() {
            match self.take(batch).await {
                Ok(()) => drop(pending.pop_front()),
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::warn!(error, "usage cannot be stored: trying again");
                    return;
                }
            }
        }
    }

    async fn take(&self, batch: &Delivery) -> anyhow::Result<()> {
        if batch.dropped > 0 {
            tracing::warn!(
                dropped = batch.dropped,
                "counts of usage found no room in memory"
            );
        }
        let db = self.pool.get().await?;
        let now = self.pool.clock().now();
        let _skipped = usage::take(&db, &self.store, batch, now).await?;
        Ok(())
    }
}

fn batches(counted: &CountedUsage) -> impl Iterator<Item = Delivery> {
    let batches = counted.take().into_deliveries("mounted", ROWS);
    batches.into_iter().map(|batch| Delivery {
        id: Uuid::new_v4().simple().to_string(),
        ..batch
    })
}
