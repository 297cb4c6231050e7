//! What the database knows of targets and their deliveries.

use chrono::{DateTime, Utc};
use deadpool_postgres::GenericClient;
use tokio_postgres::Error;

use super::Publisher;
use super::export::{Export, is_export};
use super::push::{Address, HeldVersion};
use crate::sql::publish as sql;
use crate::store::{Queries as _, row};

row! {
    /// An edge to publish to.
    pub(crate) struct TargetRow {
        id: i64,
        name: String,
        url: String,
        secret: String,
        enabled: bool,
        last_error: Option<String>,
        created_at: DateTime<Utc>,
    }
}

impl std::fmt::Debug for TargetRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TargetRow")
            .field("id", &self.id)
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl TargetRow {
    /// The store it is, unless it is an edge.
    pub(super) fn export(&self, publisher: &Publisher) -> anyhow::Result<Option<Export>> {
        if !is_export(&self.url) {
            return Ok(None);
        }
        let settings = &publisher.settings().export;
        Ok(Some(Export::open(&self.url, &self.secret, settings)?))
    }

    pub(super) fn address(&self) -> Address {
        Address {
            url: self.url.clone(),
            secret: self.secret.clone(),
        }
    }
}

row! {
    /// What an edge should hold of one client-side key.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Wanted {
        api_key: String,
        version: i64,
        updated_at: DateTime<Utc>,
        gone: bool,
    }
}

/// The target of a job, while it exists and is enabled.
pub(super) async fn enabled(publisher: &Publisher, id: i64) -> anyhow::Result<Option<TargetRow>> {
    let db = publisher.pool().get().await?;
    let target: Option<TargetRow> = db.maybe(sql::TARGET, [&id]).await?;
    Ok(target.filter(|target| target.enabled))
}

/// The same, if it is an edge: a store of files has no identities.
pub(super) async fn enabled_edge(
    publisher: &Publisher,
    id: i64,
) -> anyhow::Result<Option<TargetRow>> {
    let target = enabled(publisher, id).await?;
    Ok(target.filter(|target| !is_export(&target.url)))
}

/// What the target has not confirmed, newest first, but for some keys.
pub(super) async fn lacking(
    db: &impl GenericClient,
    target: i64,
    except: &[String],
    at_most: i64,
) -> Result<Vec<Wanted>, Error> {
    db.all(sql::LACKING, [&target, &except, &at_most]).await
}

/// Records that the target holds a version, or a newer one, that was changed at some moment.
pub(super) async fn confirm(
    db: &impl GenericClient,
    target: i64,
    api_key: &str,
    version: i64,
    changed_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    db.run(
        sql::CONFIRM_DELIVERY,
        [&target, &api_key, &version, &changed_at, &now],
    )
    .await?;
    Ok(())
}

/// Brings the records in line with what the target said it held at `asked_at`. Tells how many
/// environments it holds in a newer version than Postgres has.
pub(super) async fn compare(
    db: &impl GenericClient,
    target: i64,
    held: &[HeldVersion],
    asked_at: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<i64, Error> {
    let keys: Vec<&str> = held
        .iter()
        .map(|held| held.environment_key.as_str())
        .collect();
    let versions: Vec<i64> = held
        .iter()
        .map(|held| i64::try_from(held.version).unwrap_or(i64::MAX))
        .collect();
    db.run(
        sql::FORGET_DELIVERIES,
        [&target, &keys, &versions, &asked_at],
    )
    .await?;
    db.run(sql::CONFIRM_HELD, [&target, &keys, &versions, &now])
        .await?;
    db.one(sql::AHEAD_OF_US, [&keys, &versions]).await
}

/// Records that all is well with the target.
pub(super) async fn succeeded(
    db: &impl GenericClient,
    target: i64,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    db.run(sql::TARGET_SUCCEEDED, [&target, &now]).await?;
    Ok(())
}

/// Records what is wrong with the target.
pub(super) async fn failed(
    db: &impl GenericClient,
    target: i64,
    error: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    db.run(sql::TARGET_FAILED, [&target, &error, &now]).await?;
    Ok(())
}
