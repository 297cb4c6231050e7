//! What a write transaction has caused to be published.
//!
//! The database itself enqueues a `publish` job whenever an environment takes a new version, another
//! key, or goes (trigger `environment_published`); here the transaction learns which, so that the
//! process that changed a flag serves it before it answers.

use deadpool_postgres::GenericClient;
use tokio_postgres::Error;

use crate::sql::publish as sql;
use crate::store::Queries as _;

/// Client-side keys whose publication the current transaction has enqueued so far.
pub(crate) async fn changed_keys(tx: &impl GenericClient) -> Result<Vec<String>, Error> {
    tx.all(sql::CHANGED_KEYS, []).await
}
