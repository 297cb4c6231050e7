//! Rows into a publication: the environment document with what `/flags/` shows beyond it.
//!
//! The order of everything follows flagsmith-observed.md 3.3, 3.6 and 5: features, segments and
//! identities by id, weighted values by id, a segment's overrides by priority. Archived, disabled and
//! server-key-only features are part of the document; what is shown of them is decided at the edge.

use anyhow::Context as _;
use deadpool_postgres::GenericClient;
use yardarm_core::snapshot::Publication;

use crate::sql::publish as sql;
use crate::store::Queries as _;

mod document;
mod rows;
mod values;

use rows::{EnvironmentRow, Rows, TombstoneRow};

/// What is to be published under a client-side key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Assembled {
    /// An environment.
    Environment(Box<Publication>),
    /// It is gone.
    Tombstone {
        /// Its version.
        version: u64,
        /// When it went, in microseconds since the epoch.
        updated_at_micros: i64,
    },
}

/// Reads what is to be published under a key; `None` when there was never anything. The client must
/// be inside a REPEATABLE READ transaction.
pub(crate) async fn assemble(
    tx: &impl GenericClient,
    api_key: &str,
) -> anyhow::Result<Option<Assembled>> {
    let environment: Option<EnvironmentRow> = tx.maybe(sql::ENVIRONMENT, [&api_key]).await?;
    let Some(environment) = environment else {
        let tombstone: Option<TombstoneRow> = tx.maybe(sql::TOMBSTONE, [&api_key]).await?;
        return tombstone
            .map(|row| {
                Ok(Assembled::Tombstone {
                    version: u64::try_from(row.version).context("a negative version")?,
                    updated_at_micros: row.updated_at.timestamp_micros(),
                })
            })
            .transpose();
    };
    let (project, id) = (environment.project_id, environment.id);
    let rows = Rows {
        features: tx.all(sql::FEATURES, [&project]).await?,
        states: tx.all(sql::FEATURE_STATES, [&id]).await?,
        weighted: tx.all(sql::MULTIVARIATE_VALUES, [&id]).await?,
        segments: tx.all(sql::SEGMENTS, [&project, &id]).await?,
        identities: tx.all(sql::OVERRIDDEN_IDENTITIES, [&id]).await?,
        server_keys: tx.all(sql::SERVER_KEYS, [&id]).await?,
        environment,
    };
    let version = u64::try_from(rows.environment.version).context("a negative version")?;
    let publication = document::build(api_key, version, rows);
    Ok(Some(Assembled::Environment(Box::new(publication))))
}
