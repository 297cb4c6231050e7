//! The edge that this process mounts beside its admin routes: the native one, with identities in
//! Postgres and usage counted into the metrics.

use std::sync::Arc;

use yardarm_core::edge::Effect;
use yardarm_core::edge::usage::Counted;
use yardarm_core::time::Timestamp;
use yardarm_edge::{Edge, NativeHost, SnapshotStore, StreamSettings, Usage};

use crate::store::Pool;
use crate::telemetry::Metrics;

mod identities;
mod traits;

pub use identities::PostgresIdentities;
pub(crate) use traits::Columns;

/// The mounted edge. It takes no publications over HTTP: the database is where it gets them from.
pub fn edge(
    store: SnapshotStore,
    pool: Pool,
    metrics: Metrics,
    streams: StreamSettings,
) -> Edge<PostgresIdentities> {
    let host = NativeHost::new(store, PostgresIdentities::new(pool), None);
    Edge::with_streams(host, Arc::new(CountedUsage(metrics)), streams)
}

/// Counts evaluations; who wants to know which flags they were asks the analytics (not built yet).
struct CountedUsage(Metrics);

impl Usage for CountedUsage {
    fn count(&self, _: &Counted, _: Timestamp) {}

    fn record(&self, effects: Vec<Effect>, _: Timestamp) {
        for effect in effects {
            match effect {
                Effect::Evaluations { rows, .. } => {
                    let count: i64 = rows.iter().map(|row| row.count.max(0)).sum();
                    self.0.evaluated(u64::try_from(count).unwrap_or(0));
                }
            }
        }
    }
}
