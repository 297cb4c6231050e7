//! Usage: how often SDKs asked, and which flags they evaluated, as edges and this process count it.
//!
//! ```text
//! delivery of an edge ──┐
//! this process's edge ──┴─► take: resolve ─► UsageStore ─┬─ Postgres: raw rows ─► buckets ─► days
//!                                                        ├─ InfluxDB: line protocol … Flux ─► days
//!                                                        └─ nothing
//! ```
//!
//! Counts come by the minute, at most 30 days late, in batches that count once. Not here: the counting
//! (`yardarm_edge`), and who may see the sums (`api`).

mod counts;
mod day;
mod influx;
mod jobs;
mod postgres;
mod resolve;
mod store;

use chrono::{DateTime, Utc};
use yardarm_core::edge::delivery::Delivery;

use crate::store::Db;

pub(crate) use counts::LABELS;
pub(crate) use day::{EvaluationDay, EvaluationQuery, RequestDay, RequestQuery, Span};
pub use influx::{Influx, InfluxSettings, Task, tasks};
pub(crate) use jobs::{Keeper, register, start};
pub use store::{Retention, Settings, UsageStore};

/// Stores what a batch counts, once; tells how many rows could not be used.
pub(crate) async fn take(
    db: &Db,
    store: &UsageStore,
    batch: &Delivery,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    if batch.requests.is_empty() && batch.evaluations.is_empty() {
        return Ok(0);
    }
    let oldest = now - store.retention().accepted();
    let (counts, skipped) = resolve::resolve(db, batch, oldest, now).await?;
    store.write(&batch.id, &counts, now).await?;
    Ok(skipped)
}
