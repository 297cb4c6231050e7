//! The thin database layer: the pool, statements, the write transaction, migrations, and the private
//! Postgres that runs when no other is named. No rules of any resource.

mod migrate;
mod pool;
pub mod private;
mod row;
mod statement;
mod tx;

pub use migrate::{MigrateError, migrate, migrate_usage};
pub use pool::{Db, Pool};
pub(crate) use row::{FromRow, row};
pub(crate) use statement::{Queries, Sql};
pub(crate) use tx::{Entry, Object, Write};
