//! Forward-only migrations under an advisory lock, embedded from `migrations/`; and from `migrations-usage/` the tables
//! of usage, which may be in a database of their own.

use sha2::{Digest as _, Sha256};
use tokio_postgres::Client;

struct Migration {
    version: i32,
    name: &'static str,
    sql: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// Any constant will do, as long as every Yardarm uses the same.
const LOCK: i64 = 0x0079_6172_6461_726d;

/// Why the database is not at this program's version.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// Postgres refused.
    #[error("migration failed")]
    Database(#[from] tokio_postgres::Error),
    /// Postgres refused one file.
    #[error("migration V{version:04} ({name}) failed")]
    File {
        /// Its number.
        version: i32,
        /// Its name.
        name: &'static str,
        /// What Postgres said.
        source: tokio_postgres::Error,
    },
    /// The database was migrated by a newer Yardarm.
    #[error("the database is at version {found}, this program knows {known}: run a newer Yardarm")]
    Newer {
        /// The database's version.
        found: i32,
        /// This program's.
        known: i32,
    },
    /// A migration that was applied differs from the one in this program.
    #[error("migration V{version:04} was applied with other contents than this program has")]
    Edited {
        /// Its number.
        version: i32,
    },
}

/// Brings the database to this program's version and returns how many migrations that took. Each
/// runs in a transaction of its own; programs that start at once wait for each other.
///
/// # Errors
/// See [`MigrateError`].
pub async fn migrate(client: &mut Client) -> Result<usize, MigrateError> {
    locked(client, "schema_migration", MIGRATIONS).await
}

/// The same for the tables of usage, in the same database or in another.
///
/// # Errors
/// See [`MigrateError`].
pub async fn migrate_usage(client: &mut Client) -> Result<usize, MigrateError> {
    locked(client, "usage_migration", USAGE).await
}

async fn locked(
    client: &mut Client,
    table: &str,
    migrations: &'static [Migration],
) -> Result<usize, MigrateError> {
    client
        .execute("select pg_advisory_lock($1)", &[&LOCK])
        .await?;
    let outcome = apply(client, table, migrations).await;
    client
        .execute("select pg_advisory_unlock($1)", &[&LOCK])
        .await?;
    outcome
}

async fn apply(
    client: &mut Client,
    table: &str,
    migrations: &'static [Migration],
) -> Result<usize, MigrateError> {
    client
        .batch_execute(&format!(
            "set local client_min_messages to warning;
            create table if not exists {table} (
                version     integer     primary key,
                name        text        not null,
                sha256      bytea       not null,
                applied_at  timestamptz not null default now()
            )"
        ))
        .await?;
    let select = format!("select version, sha256 from {table} order by version");
    let applied = client.query(&select, &[]).await?;
    let known = migrations.last().map_or(0, |migration| migration.version);
    if let Some(found) = applied
        .last()
        .map(|row| row.get::<_, i32>(0))
        .filter(|v| *v > known)
    {
        return Err(MigrateError::Newer { found, known });
    }
    for (row, migration) in applied.iter().zip(migrations) {
        if row.get::<_, Vec<u8>>(1) != digest(migration) {
            return Err(MigrateError::Edited {
                version: migration.version,
            });
        }
    }
    let todo = &migrations[applied.len().min(migrations.len())..];
    for migration in todo {
        let wrap = |source| MigrateError::File {
            version: migration.version,
            name: migration.name,
            source,
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "no change of anyone's: no audit, no jobs"
        )]
        let transaction = client.transaction().await.map_err(wrap)?;
        transaction
            .batch_execute(migration.sql)
            .await
            .map_err(wrap)?;
        transaction
            .execute(
                &format!("insert into {table} (version, name, sha256) values ($1, $2, $3)"),
                &[&migration.version, &migration.name, &digest(migration)],
            )
            .await
            .map_err(wrap)?;
        transaction.commit().await.map_err(wrap)?;
        tracing::info!(
            version = migration.version,
            name = migration.name,
            "migrated"
        );
    }
    Ok(todo.len())
}

fn digest(migration: &Migration) -> Vec<u8> {
    Sha256::digest(migration.sql.as_bytes()).to_vec()
}
