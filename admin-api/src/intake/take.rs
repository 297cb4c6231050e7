//! Writing a batch: a handful of statements, however many rows it has.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use yardarm_core::edge::IdentityRecord;
use yardarm_core::edge::delivery::Delivery;

use super::gather::{Gathered, Place, gather};
use crate::edge_host::Columns;
use crate::sql::intake as sql;
use crate::store::{Db, Pool, Queries as _, Write, row};
use crate::usage::{self, UsageStore};

/// How long the id of a batch is remembered.
const REMEMBERED: TimeDelta = TimeDelta::days(7);

/// Who sends a batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sender {
    /// The target's id.
    pub(crate) target_id: i64,
}

/// What became of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// It was taken before.
    pub(crate) already: bool,
    /// How many of its rows could not be used.
    pub(crate) skipped: u64,
}

row! {
    struct EnvironmentRow {
        id: i64,
        api_key: String,
        project_id: i64,
    }
}

row! {
    struct IdentityRow {
        id: i64,
        environment_id: i64,
        identifier: String,
    }
}

/// Takes a batch in, once.
pub(crate) async fn take(
    db: &mut Db,
    store: &UsageStore,
    sender: Sender,
    delivery: &Delivery,
    now: DateTime<Utc>,
) -> anyhow::Result<Taken> {
    if let Some(skipped) = skipped_before(db, &delivery.id).await? {
        return Ok(Taken {
            already: true,
            skipped,
        });
    }
    let mut skipped = usage::take(db, store, delivery, now).await?;

    let places = places(db, delivery).await?;
    let (identities, left_out) = gather(&delivery.identities, &places, now.timestamp_micros());
    skipped += left_out;
    let tx = db.write(None).await?;
    let new = tx
        .run(
            sql::INSERT_BATCH,
            [
                &delivery.id,
                &sender.target_id,
                &delivery.edge,
                &saturating(skipped),
                &saturating(delivery.dropped),
                &now,
            ],
        )
        .await?;
    if new > 0 {
        store_identities(&tx, &identities).await?;
    }
    tx.commit_silently("what SDKs do is no change of anybody's configuration")
        .await?;
    Ok(Taken {
        already: new == 0,
        skipped,
    })
}

async fn skipped_before(db: &Db, id: &str) -> anyhow::Result<Option<u64>> {
    let skipped: Option<i64> = db.maybe(sql::BATCH, [&id]).await?;
    Ok(skipped.map(|skipped| u64::try_from(skipped).unwrap_or(0)))
}

/// The environments that identities of the batch name, by key.
async fn places(db: &Db, delivery: &Delivery) -> anyhow::Result<HashMap<String, Place>> {
    let mut keys: Vec<&str> = delivery
        .identities
        .iter()
        .map(|change| change.environment_key.as_str())
        .filter(|key| !key.contains('\0'))
        .collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<EnvironmentRow> = db.all(sql::ENVIRONMENTS, [&keys]).await?;
    let place = |row: EnvironmentRow| {
        let place = Place {
            environment_id: row.id,
            project_id: row.project_id,
        };
        (row.api_key, place)
    };
    Ok(rows.into_iter().map(place).collect())
}

async fn store_identities(tx: &Write<'_>, identities: &Gathered<'_>) -> anyhow::Result<()> {
    if identities.is_empty() {
        return Ok(());
    }
    let environments: Vec<i64> = identities.keys().map(|(id, _)| *id).collect();
    let identifiers: Vec<&str> = identities.keys().map(|(_, name)| *name).collect();
    let created: Vec<DateTime<Utc>> = identities
        .values()
        .map(|seen| DateTime::from_timestamp_micros(seen.created_at).unwrap_or_default())
        .collect();
    tx.run(
        sql::INSERT_IDENTITIES,
        [&environments, &identifiers, &created],
    )
    .await?;
    let rows: Vec<IdentityRow> = tx
        .all(sql::LOCK_IDENTITIES, [&environments, &identifiers])
        .await?;
    tx.run(
        sql::DATE_IDENTITIES,
        [&environments, &identifiers, &created],
    )
    .await?;
    let mut traits = Traits::default();
    for row in &rows {
        let Some(seen) = identities.get(&(row.environment_id, row.identifier.as_str())) else {
            continue;
        };
        for (key, (value, at)) in &seen.traits {
            match value {
                Some(value) => traits.set(row.id, key, &Columns::from(*value), *at),
                None => traits.delete(row.id, key, *at),
            }
        }
    }
    traits.store(tx).await
}

/// Versions of traits, a column an array.
#[derive(Default)]
struct Traits<'a> {
    identity_ids: Vec<i64>,
    keys: Vec<&'a str>,
    value_types: Vec<&'a str>,
    strings: Vec<Option<&'a str>>,
    integers: Vec<Option<i64>>,
    booleans: Vec<Option<bool>>,
    floats: Vec<Option<f64>>,
    at: Vec<i64>,
    deleted_from: Vec<i64>,
    deleted: Vec<&'a str>,
    deleted_at: Vec<i64>,
}

impl<'a> Traits<'a> {
    fn set(&mut self, identity_id: i64, key: &'a str, value: &Columns<'a>, at: i64) {
        self.identity_ids.push(identity_id);
        self.keys.push(key);
        self.value_types.push(value.value_type);
        self.strings.push(value.string_value);
        self.integers.push(value.integer_value);
        self.booleans.push(value.boolean_value);
        self.floats.push(value.float_value);
        self.at.push(at);
    }

    fn delete(&mut self, identity_id: i64, key: &'a str, at: i64) {
        self.deleted_from.push(identity_id);
        self.deleted.push(key);
        self.deleted_at.push(at);
    }

    async fn store(&self, tx: &Write<'_>) -> anyhow::Result<()> {
        if !self.deleted.is_empty() {
            let forgotten = tx.now().timestamp_micros() - IdentityRecord::DELETED_FOR;
            let most = i64::try_from(IdentityRecord::MOST_DELETED).unwrap_or(i64::MAX);
            tx.run(
                sql::DELETE_TRAITS,
                [
                    &self.deleted_from,
                    &self.deleted,
                    &self.deleted_at,
                    &forgotten,
                ],
            )
            .await?;
            tx.run(sql::FORGET_MOST_DELETED, [&self.deleted_from, &most])
                .await?;
        }
        if !self.keys.is_empty() {
            tx.run(
                sql::UPSERT_TRAITS,
                [
                    &self.identity_ids,
                    &self.keys,
                    &self.value_types,
                    &self.strings,
                    &self.integers,
                    &self.booleans,
                    &self.floats,
                    &self.at,
                ],
            )
            .await?;
        }
        Ok(())
    }
}

/// Forgets batches that no edge repeats any more.
pub(crate) async fn forget_batches(pool: &Pool, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let db = pool.get().await?;
    Ok(db.run(sql::FORGET_BATCHES, [&(now - REMEMBERED)]).await?)
}

/// Forgets deletions of traits that no older change follows any more.
pub(crate) async fn forget_deleted(pool: &Pool, now: DateTime<Utc>) -> anyhow::Result<u64> {
    let before = now.timestamp_micros() - IdentityRecord::DELETED_FOR;
    let db = pool.get().await?;
    Ok(db.run(sql::FORGET_DELETED, [&before]).await?)
}

fn saturating(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
