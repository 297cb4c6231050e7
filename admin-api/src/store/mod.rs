//! The thin database layer: addresses, the pool, statements, the write transaction, migrations, and the private
//! Postgres that runs when no other is named. No rules of any resource.

mod address;
mod binaries;
mod migrate;
mod pool;
pub mod private;
mod row;
mod statement;
mod tls;
mod tx;

pub use address::Address;
pub use migrate::{MigrateError, migrate, migrate_usage};
pub use pool::{Db, Pool};
pub(crate) use row::{FromRow, row};
pub(crate) use statement::{Queries, Sql};
pub(crate) use tx::{Entry, Object, Write};
