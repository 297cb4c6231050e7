//! Identities with their traits in the control plane's Postgres.

use chrono::{DateTime, Utc};
use yardarm_core::edge::delivery::TraitVersion;
use yardarm_core::edge::{ChangeError, IdentityRecord, StoredTrait, TraitChange, Unavailable};
use yardarm_core::time::Timestamp;
use yardarm_edge::Identities;

use super::traits::{Columns, TraitRow, difference, marks};
use crate::sql::edge_host as sql;
use crate::store::{Pool, Queries as _, Write, row};

/// Identities in Postgres. One identity's changes take turns on the lock of its row.
#[derive(Debug, Clone)]
pub struct PostgresIdentities {
    pool: Pool,
}

row! {
    pub(crate) struct IdentityRow {
        id: i64,
        created_at: DateTime<Utc>,
    }
}

row! {
    struct DeletedRow {
        trait_key: String,
        deleted_at_micros: i64,
    }
}

impl From<DeletedRow> for TraitVersion {
    fn from(row: DeletedRow) -> Self {
        Self::deletion(row.trait_key, row.deleted_at_micros)
    }
}

impl IdentityRow {
    fn with(self, traits: Vec<StoredTrait>) -> IdentityRecord {
        IdentityRecord {
            id: Some(self.id),
            created_at_micros: self.created_at.timestamp_micros(),
            traits,
            // Only changes need them.
            deleted: Vec::new(),
        }
    }
}

/// Either the identity as changed, or why the change is refused.
type Changed = Result<IdentityRecord, ChangeError>;

impl PostgresIdentities {
    /// On the database behind `pool`.
    pub fn new(pool: Pool) -> Self {
        Self { pool }
    }

    async fn load(
        &self,
        api_key: &str,
        identifier: &str,
    ) -> anyhow::Result<Option<IdentityRecord>> {
        let db = self.pool.get().await?;
        let row: Option<IdentityRow> = db.maybe(sql::IDENTITY, [&api_key, &identifier]).await?;
        let Some(row) = row else { return Ok(None) };
        let traits: Vec<TraitRow> = db.all(sql::TRAITS, [&row.id]).await?;
        Ok(Some(row.with(traits.into_iter().map(Into::into).collect())))
    }

    async fn change(
        &self,
        api_key: &str,
        identifier: &str,
        change: &TraitChange,
        now: DateTime<Utc>,
    ) -> anyhow::Result<Changed> {
        let mut db = self.pool.get().await?;
        let tx = db.write(None).await?;
        let (row, created) = get_or_create(&tx, api_key, identifier, now).await?;
        let traits: Vec<TraitRow> = tx.all(sql::TRAITS, [&row.id]).await?;
        let row_id = row.id;
        let mut record = row.with(traits.into_iter().map(Into::into).collect());
        if !created && record.is_unchanged_by(change) {
            return Ok(Ok(record));
        }
        let deleted: Vec<DeletedRow> = tx.all(sql::DELETED, [&row_id]).await?;
        record.deleted = deleted.into_iter().map(Into::into).collect();
        let before = record.clone();
        if let Err(refused) = record.apply(change, Timestamp(now.timestamp_micros())) {
            // The transaction is dropped: an identity that a refused change would have made is not.
            return Ok(Err(refused));
        }
        save(&tx, &before, &mut record, created).await?;
        tx.commit_silently("traits that SDKs set are no change of anybody's configuration")
            .await?;
        Ok(Ok(record))
    }
}

/// The identity's row, locked, and whether it is new.
async fn get_or_create(
    tx: &Write<'_>,
    api_key: &str,
    identifier: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<(IdentityRow, bool)> {
    if let Some(row) = tx
        .maybe(sql::LOCK_IDENTITY, [&api_key, &identifier])
        .await?
    {
        return Ok((row, false));
    }
    if let Some(row) = tx
        .maybe(sql::INSERT_IDENTITY, [&api_key, &identifier, &now])
        .await?
    {
        return Ok((row, true));
    }
    let row = tx
        .maybe(sql::LOCK_IDENTITY, [&api_key, &identifier])
        .await?;
    let row = row.ok_or_else(|| anyhow::anyhow!("the environment or the identity was deleted"))?;
    Ok((row, false))
}

/// Writes what has changed. A new identity's traits get their ids; those that are new on an existing
/// one are answered without (flagsmith-observed.md 3.4).
async fn save(
    tx: &Write<'_>,
    before: &IdentityRecord,
    record: &mut IdentityRecord,
    created: bool,
) -> anyhow::Result<()> {
    let mut ids = Vec::new();
    let marks = marks(before, record);
    if !marks.exhumed.is_empty() {
        tx.run(sql::EXHUME, [&record.id, &marks.exhumed]).await?;
    }
    if !marks.buried.is_empty() {
        tx.run(sql::BURY, [&record.id, &marks.buried, &marks.buried_at])
            .await?;
    }
    let difference = difference(&before.traits, &record.traits);
    if !difference.delete.is_empty() {
        tx.run(sql::DELETE_TRAITS, [&difference.delete]).await?;
    }
    for (id, changed) in difference.update {
        let columns = Columns::from(&changed.value);
        tx.run(
            sql::UPDATE_TRAIT,
            [
                &id,
                &columns.value_type,
                &columns.string_value,
                &columns.integer_value,
                &columns.boolean_value,
                &columns.float_value,
                &changed.changed_at_micros,
            ],
        )
        .await?;
    }
    for place in difference.insert {
        let new = &record.traits[place];
        let columns = Columns::from(&new.value);
        let id: i64 = tx
            .one(
                sql::INSERT_TRAIT,
                [
                    &record.id,
                    &new.key,
                    &columns.value_type,
                    &columns.string_value,
                    &columns.integer_value,
                    &columns.boolean_value,
                    &columns.float_value,
                    &new.changed_at_micros,
                ],
            )
            .await?;
        ids.push((place, id));
    }
    if created {
        for (place, id) in ids {
            record.traits[place].id = Some(id);
        }
    }
    Ok(())
}

impl Identities for PostgresIdentities {
    async fn identity(
        &self,
        environment_key: &str,
        identifier: &str,
    ) -> Result<Option<IdentityRecord>, Unavailable> {
        self.load(environment_key, identifier)
            .await
            .map_err(unavailable)
    }

    async fn change_identity(
        &self,
        environment_key: &str,
        identifier: &str,
        change: &TraitChange,
        now: Timestamp,
    ) -> Result<Changed, Unavailable> {
        let now = DateTime::from_timestamp_micros(now.micros()).unwrap_or_default();
        self.change(environment_key, identifier, change, now)
            .await
            .map_err(unavailable)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unavailable(error: anyhow::Error) -> Unavailable {
    Unavailable(format!("{error:#}"))
}
