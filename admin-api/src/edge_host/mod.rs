//! The edge that this process mounts beside its admin routes: the native one, with identities in
//! Postgres, and usage counted in memory and stored now and then.

use std::sync::Arc;

use yardarm_edge::{Edge, NativeHost, SnapshotStore, StreamSettings};

use crate::store::Pool;

mod counting;
mod identities;
mod traits;

pub(crate) use counting::{Counting, Flushing};
pub use identities::PostgresIdentities;
pub(crate) use traits::{Columns, TraitRow};

/// The mounted edge. It takes no publications over HTTP: the database is where it gets them from.
pub(crate) fn edge(
    store: SnapshotStore,
    pool: Pool,
    counting: Arc<Counting>,
    streams: StreamSettings,
) -> Edge<PostgresIdentities> {
    let host = NativeHost::new(store, PostgresIdentities::new(pool), None);
    Edge::with_streams(host, counting, streams)
}
