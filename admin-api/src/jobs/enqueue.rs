//! Putting work in the queue, inside the transaction that causes it.

use chrono::{DateTime, Utc};
use deadpool_postgres::GenericClient;
use tokio_postgres::Error;

use crate::sql::jobs as sql;
use crate::store::Queries as _;

/// Publishes what Postgres says of the environment with the client-side key `key`.
pub(crate) const PUBLISH: &str = "publish";

/// A job of `kind` about `key`, not before `run_at`. A waiting one with the same kind and key takes it in.
pub(crate) async fn enqueue(
    tx: &impl GenericClient,
    kind: &str,
    key: &str,
    run_at: DateTime<Utc>,
) -> Result<(), Error> {
    tx.run(sql::ENQUEUE, [&kind, &key, &run_at]).await?;
    tx.run(sql::NOTIFY, [&kind]).await?;
    Ok(())
}
