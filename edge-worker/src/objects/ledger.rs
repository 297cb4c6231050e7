//! The tables of the object that files publications: the current version of every environment, which
//! versions and parts are in KV, and until when.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use worker::{SqlStorage, SqlStorageValue, State};
use yardarm_core::snapshot::Snapshot;

use crate::environments::Row;

/// A row of `snapshots` in another format than this Yardarm's counts as missing, so that the
/// environment is published again.
const TABLES: &str = "
CREATE TABLE IF NOT EXISTS snapshots (
  environment_key TEXT PRIMARY KEY,
  format INTEGER NOT NULL,
  version INTEGER NOT NULL,
  content_hash TEXT NOT NULL,
  gone INTEGER NOT NULL,
  server_keys TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS versions (
  environment_key TEXT NOT NULL,
  version INTEGER NOT NULL,
  server_keys TEXT NOT NULL,
  -- Milliseconds since the epoch; null for the current version.
  delete_at INTEGER,
  PRIMARY KEY (environment_key, version)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS versions_delete_at ON versions (delete_at) WHERE delete_at IS NOT NULL;
CREATE TABLE IF NOT EXISTS version_parts (
  environment_key TEXT NOT NULL,
  sha256 TEXT NOT NULL,
  -- 0 while somebody writes it.
  written INTEGER NOT NULL,
  -- Null while the current version names it.
  delete_at INTEGER,
  PRIMARY KEY (environment_key, sha256)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS version_parts_delete_at ON version_parts (delete_at) WHERE delete_at IS NOT NULL;
";

/// A version that was announced.
#[derive(Debug, Deserialize)]
pub(super) struct Announced {
    pub(super) environment_key: String,
    pub(super) version: u64,
    /// JSON array of SHA-256 in hex.
    pub(super) server_keys: String,
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
        let query = "SELECT version FROM snapshots WHERE environment_key = ? AND format = ?";
        let found: Option<Found> = self.first(query, vec![environment.into(), format()?])?;
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
        let query = "SELECT environment_key, version, content_hash, gone FROM snapshots
                     WHERE format = ? ORDER BY environment_key";
        self.0.exec(query, vec![format()?])?.to_array()
    }

    /// Server keys (SHA-256, hex) that lead to the version held.
    pub(super) fn server_keys(&self, environment: &str) -> worker::Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Found {
            server_keys: String,
        }
        let query = "SELECT server_keys FROM snapshots WHERE environment_key = ?";
        match self.first::<Found>(query, vec![environment.into()])? {
            Some(row) => Ok(serde_json::from_str(&row.server_keys)?),
            None => Ok(Vec::new()),
        }
    }

    /// Notes a version that is about to be written, to be deleted at `delete_at` unless committed.
    pub(super) fn announce(&self, version: &Announced, delete_at: i64) -> worker::Result<()> {
        self.run(
            "INSERT INTO versions (environment_key, version, server_keys, delete_at)
             VALUES (?, ?, ?, ?)
             ON CONFLICT (environment_key, version) DO UPDATE SET
               server_keys = excluded.server_keys,
               delete_at = excluded.delete_at",
            vec![
                version.environment_key.as_str().into(),
                integer(version.version)?,
                version.server_keys.as_str().into(),
                SqlStorageValue::try_from_i64(delete_at)?,
            ],
        )
    }

    /// Whether a part of a version that was announced is in the store. It stays until `delete_at` at
    /// least. With `comes` it is noted as about to be written.
    pub(super) fn reserve(
        &self,
        environment: &str,
        sha256: &str,
        comes: bool,
        delete_at: i64,
    ) -> worker::Result<bool> {
        let key = || -> Vec<SqlStorageValue> { vec![environment.into(), sha256.into()] };
        let until = SqlStorageValue::try_from_i64(delete_at)?;
        let is_written = self.is_written(environment, sha256)?;
        if is_written {
            let mut values = vec![until];
            values.extend(key());
            self.run(
                "UPDATE version_parts SET delete_at = ?1
                 WHERE environment_key = ?2 AND sha256 = ?3 AND delete_at < ?1",
                values,
            )?;
        } else if comes {
            let mut values = key();
            values.push(until);
            self.run(
                "INSERT INTO version_parts (environment_key, sha256, written, delete_at)
                 VALUES (?, ?, 0, ?)
                 ON CONFLICT (environment_key, sha256) DO UPDATE SET delete_at = excluded.delete_at",
                values,
            )?;
        }
        Ok(is_written)
    }

    /// Whether a part is in the store.
    pub(super) fn is_written(&self, environment: &str, sha256: &str) -> worker::Result<bool> {
        #[derive(Deserialize)]
        struct Found {
            written: u8,
        }
        let query = "SELECT written FROM version_parts WHERE environment_key = ? AND sha256 = ?";
        let found: Option<Found> = self.first(query, vec![environment.into(), sha256.into()])?;
        Ok(found.is_some_and(|row| row.written != 0))
    }

    /// Notes that a part is in the store.
    pub(super) fn written(&self, environment: &str, sha256: &str) -> worker::Result<()> {
        self.run(
            "UPDATE version_parts SET written = 1 WHERE environment_key = ? AND sha256 = ?",
            vec![environment.into(), sha256.into()],
        )
    }

    /// The version of this number that was announced.
    pub(super) fn announced(
        &self,
        environment: &str,
        version: u64,
    ) -> worker::Result<Option<Announced>> {
        let query = "SELECT environment_key, version, server_keys FROM versions
                     WHERE environment_key = ? AND version = ?";
        self.first(query, vec![environment.into(), integer(version)?])
    }

    /// Makes a snapshot the version held, with these parts; every other version and part goes at
    /// `delete_at`, unless it goes before.
    pub(super) fn switch(
        &self,
        snapshot: &Snapshot,
        version: &Announced,
        parts: &[String],
        delete_at: i64,
    ) -> worker::Result<()> {
        let environment: SqlStorageValue = version.environment_key.as_str().into();
        let number = integer(version.version)?;
        let until = SqlStorageValue::try_from_i64(delete_at)?;
        self.run(
            "INSERT INTO snapshots (environment_key, format, version, content_hash, gone, server_keys)
             VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT (environment_key) DO UPDATE SET
               format = excluded.format,
               version = excluded.version,
               content_hash = excluded.content_hash,
               gone = excluded.gone,
               server_keys = excluded.server_keys",
            vec![
                environment.clone(),
                format()?,
                number.clone(),
                snapshot.content_hash().into(),
                SqlStorageValue::try_from_i64(snapshot.settings().gone.into())?,
                version.server_keys.as_str().into(),
            ],
        )?;
        self.run(
            "UPDATE versions SET delete_at = min(coalesce(delete_at, ?1), ?1)
             WHERE environment_key = ?2 AND version <> ?3",
            vec![until.clone(), environment.clone(), number.clone()],
        )?;
        self.run(
            "UPDATE versions SET delete_at = NULL WHERE environment_key = ? AND version = ?",
            vec![environment.clone(), number],
        )?;
        let names: SqlStorageValue = serde_json::to_string(parts)?.as_str().into();
        // Rows that stay as they are cost nothing. Parts of a newer version on its way have an hour.
        self.run(
            "UPDATE version_parts SET delete_at = ?1 WHERE environment_key = ?2 AND delete_at IS NULL
             AND sha256 NOT IN (SELECT value FROM json_each(?3))",
            vec![until, environment.clone(), names.clone()],
        )?;
        self.run(
            "UPDATE version_parts SET delete_at = NULL WHERE environment_key = ?1
             AND delete_at IS NOT NULL AND sha256 IN (SELECT value FROM json_each(?2))",
            vec![environment, names],
        )
    }

    /// An environment with parts to be deleted at `now`.
    pub(super) fn environment_due(&self, now: i64) -> worker::Result<Option<String>> {
        #[derive(Deserialize)]
        struct Found {
            environment_key: String,
        }
        let query = "SELECT environment_key FROM version_parts WHERE delete_at <= ?
                     ORDER BY delete_at LIMIT 1";
        let found: Option<Found> = self.first(query, vec![SqlStorageValue::try_from_i64(now)?])?;
        Ok(found.map(|row| row.environment_key))
    }

    /// Some of its parts that are to be deleted at `now`.
    pub(super) fn parts_due(&self, environment: &str, now: i64) -> worker::Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Found {
            sha256: String,
        }
        let query = "SELECT sha256 FROM version_parts
                     WHERE environment_key = ? AND delete_at <= ? LIMIT 40";
        let values = vec![environment.into(), SqlStorageValue::try_from_i64(now)?];
        let found: Vec<Found> = self.0.exec(query, values)?.to_array()?;
        Ok(found.into_iter().map(|row| row.sha256).collect())
    }

    /// Drops the note of a part that is deleted.
    pub(super) fn forget_part(&self, environment: &str, sha256: &str) -> worker::Result<()> {
        self.run(
            "DELETE FROM version_parts WHERE environment_key = ? AND sha256 = ?",
            vec![environment.into(), sha256.into()],
        )
    }

    /// A version that is to be deleted at `now`.
    pub(super) fn version_due(&self, now: i64) -> worker::Result<Option<Announced>> {
        let query = "SELECT environment_key, version, server_keys FROM versions
                     WHERE delete_at <= ? ORDER BY delete_at LIMIT 1";
        self.first(query, vec![SqlStorageValue::try_from_i64(now)?])
    }

    /// Drops the note of a version that is deleted.
    pub(super) fn forget_version(&self, version: &Announced) -> worker::Result<()> {
        self.run(
            "DELETE FROM versions WHERE environment_key = ? AND version = ? AND delete_at IS NOT NULL",
            vec![
                version.environment_key.as_str().into(),
                integer(version.version)?,
            ],
        )
    }

    /// When the next version or part is due.
    pub(super) fn next_due(&self) -> worker::Result<Option<i64>> {
        #[derive(Deserialize)]
        struct Found {
            at: Option<i64>,
        }
        let query = "SELECT min(at) AS at FROM (SELECT min(delete_at) AS at FROM versions
                     UNION ALL SELECT min(delete_at) FROM version_parts)";
        let found: Option<Found> = self.first(query, Vec::new())?;
        Ok(found.and_then(|row| row.at))
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

/// The format that is written and read.
fn format() -> worker::Result<SqlStorageValue> {
    SqlStorageValue::try_from_i64(Snapshot::FORMAT.into())
}

/// A version as the table and JavaScript can hold it: below 2^53.
fn integer(version: u64) -> worker::Result<SqlStorageValue> {
    let version = i64::try_from(version)
        .map_err(|_| worker::Error::RustError(format!("version {version} is too large")))?;
    SqlStorageValue::try_from_i64(version)
}
