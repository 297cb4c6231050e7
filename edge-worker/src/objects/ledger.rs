//! The tables of the object that files publications: the current version of every environment, and
//! which versions have parts in KV and until when.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use worker::{SqlStorage, SqlStorageValue, State};
use yardarm_core::snapshot::Snapshot;

use crate::environments::Row;
use crate::store::Key;

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS environments (
  environment_key TEXT PRIMARY KEY,
  version INTEGER NOT NULL,
  content_hash TEXT NOT NULL,
  gone INTEGER NOT NULL,
  server_keys TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
  environment_key TEXT NOT NULL,
  version INTEGER NOT NULL,
  override_buckets INTEGER NOT NULL,
  server_keys TEXT NOT NULL,
  -- Milliseconds since the epoch; null for the current version.
  delete_at INTEGER,
  PRIMARY KEY (environment_key, version)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS parts_delete_at ON parts (delete_at) WHERE delete_at IS NOT NULL;
";

/// What lies in KV under one version of an environment.
#[derive(Debug, Deserialize)]
pub(super) struct Parts {
    pub(super) environment_key: String,
    pub(super) version: u64,
    pub(super) override_buckets: u32,
    /// JSON array of SHA-256 in hex.
    pub(super) server_keys: String,
}

impl Parts {
    /// The keys of these parts.
    pub(super) fn keys(&self) -> impl Iterator<Item = Key<'_>> {
        let (environment, version) = (self.environment_key.as_str(), self.version);
        let fixed = [
            Key::Snapshot(environment, version),
            Key::Document(environment, version),
        ];
        let buckets = 0..self.override_buckets;
        fixed
            .into_iter()
            .chain(buckets.map(move |bucket| Key::Overrides(environment, version, bucket)))
    }
}

/// The tables.
pub(super) struct Ledger(SqlStorage);

impl Ledger {
    pub(super) fn open(state: &State) -> worker::Result<Self> {
        let sql = state.storage().sql();
        sql.exec(TABLES, None)?;
        Ok(Self(sql))
    }

    /// The version held of an environment.
    pub(super) fn version(&self, environment: &str) -> worker::Result<Option<u64>> {
        #[derive(Deserialize)]
        struct Found {
            version: u64,
        }
        let query = "SELECT version FROM environments WHERE environment_key = ?";
        let found: Option<Found> = self.first(query, vec![environment.into()])?;
        Ok(found.map(|row| row.version))
    }

    /// Which of these have a newer version, and which.
    pub(super) fn newer_than(
        &self,
        versions: &[(String, u64)],
    ) -> worker::Result<Vec<(String, u64)>> {
        let mut newer = Vec::new();
        for (environment, version) in versions {
            if let Some(held) = self.version(environment)?
                && held > *version
            {
                newer.push((environment.clone(), held));
            }
        }
        Ok(newer)
    }

    /// Everything held, tombstones included.
    pub(super) fn held(&self) -> worker::Result<Vec<Row>> {
        let query = "SELECT environment_key, version, content_hash, gone FROM environments ORDER BY environment_key";
        self.0.exec(query, None)?.to_array()
    }

    /// Server keys (SHA-256, hex) that lead to the version held.
    pub(super) fn server_keys(&self, environment: &str) -> worker::Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Found {
            server_keys: String,
        }
        let query = "SELECT server_keys FROM environments WHERE environment_key = ?";
        match self.first::<Found>(query, vec![environment.into()])? {
            Some(row) => Ok(serde_json::from_str(&row.server_keys)?),
            None => Ok(Vec::new()),
        }
    }

    /// Notes parts that are about to be written, to be deleted at `delete_at` unless committed.
    pub(super) fn announce(&self, parts: &Parts, delete_at: i64) -> worker::Result<()> {
        self.run(
            "INSERT INTO parts (environment_key, version, override_buckets, server_keys, delete_at)
             VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (environment_key, version) DO UPDATE SET
               override_buckets = excluded.override_buckets,
               server_keys = excluded.server_keys,
               delete_at = excluded.delete_at",
            vec![
                parts.environment_key.as_str().into(),
                integer(parts.version)?,
                SqlStorageValue::try_from_i64(parts.override_buckets.into())?,
                parts.server_keys.as_str().into(),
                SqlStorageValue::try_from_i64(delete_at)?,
            ],
        )
    }

    /// The parts noted for a version.
    pub(super) fn parts(&self, environment: &str, version: u64) -> worker::Result<Option<Parts>> {
        let query = "SELECT environment_key, version, override_buckets, server_keys FROM parts
                     WHERE environment_key = ? AND version = ?";
        self.first(query, vec![environment.into(), integer(version)?])
    }

    /// Makes a snapshot the version held; the parts of every other version go at `delete_at`, unless
    /// they go before.
    pub(super) fn switch(
        &self,
        snapshot: &Snapshot,
        parts: &Parts,
        delete_at: i64,
    ) -> worker::Result<()> {
        let version = integer(parts.version)?;
        self.run(
            "INSERT INTO environments (environment_key, version, content_hash, gone, server_keys)
             VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (environment_key) DO UPDATE SET
               version = excluded.version,
               content_hash = excluded.content_hash,
               gone = excluded.gone,
               server_keys = excluded.server_keys",
            vec![
                parts.environment_key.as_str().into(),
                version.clone(),
                snapshot.content_hash().into(),
                SqlStorageValue::try_from_i64(snapshot.settings().gone.into())?,
                parts.server_keys.as_str().into(),
            ],
        )?;
        self.run(
            "UPDATE parts SET delete_at = min(coalesce(delete_at, ?1), ?1) WHERE environment_key = ?2 AND version <> ?3",
            vec![
                SqlStorageValue::try_from_i64(delete_at)?,
                parts.environment_key.as_str().into(),
                version.clone(),
            ],
        )?;
        self.run(
            "UPDATE parts SET delete_at = NULL WHERE environment_key = ? AND version = ?",
            vec![parts.environment_key.as_str().into(), version],
        )
    }

    /// A version whose parts are to be deleted at `now`.
    pub(super) fn due(&self, now: i64) -> worker::Result<Option<Parts>> {
        let query = "SELECT environment_key, version, override_buckets, server_keys FROM parts
                     WHERE delete_at <= ? ORDER BY delete_at LIMIT 1";
        self.first(query, vec![SqlStorageValue::try_from_i64(now)?])
    }

    /// When the next parts are due.
    pub(super) fn next_due(&self) -> worker::Result<Option<i64>> {
        #[derive(Deserialize)]
        struct Found {
            at: Option<i64>,
        }
        let found: Option<Found> =
            self.first("SELECT min(delete_at) AS at FROM parts", Vec::new())?;
        Ok(found.and_then(|row| row.at))
    }

    /// Drops the note of parts that are deleted.
    pub(super) fn forget(&self, parts: &Parts) -> worker::Result<()> {
        self.run(
            "DELETE FROM parts WHERE environment_key = ? AND version = ? AND delete_at IS NOT NULL",
            vec![
                parts.environment_key.as_str().into(),
                integer(parts.version)?,
            ],
        )
    }

    fn run(&self, statement: &str, values: Vec<SqlStorageValue>) -> worker::Result<()> {
        self.0.exec(statement, values).map(drop)
    }

    fn first<T: DeserializeOwned>(
        &self,
        query: &str,
        values: Vec<SqlStorageValue>,
    ) -> worker::Result<Option<T>> {
        let rows: Vec<T> = self.0.exec(query, values)?.to_array()?;
        Ok(rows.into_iter().next())
    }
}

/// A version as the table and JavaScript can hold it: below 2^53.
fn integer(version: u64) -> worker::Result<SqlStorageValue> {
    let version = i64::try_from(version)
        .map_err(|_| worker::Error::RustError(format!("version {version} is too large")))?;
    SqlStorageValue::try_from_i64(version)
}
