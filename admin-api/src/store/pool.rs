//! Connections.

use std::ops::Deref;

use anyhow::Context as _;
use deadpool_postgres::{
    Client, Manager, ManagerConfig, PoolError, RecyclingMethod, Runtime, Transaction,
};
use tokio_postgres::IsolationLevel;

use super::address::Address;
use super::tx::Write;
use crate::app::Clock;
use crate::http::Actor;
use crate::publish::MountedSlot;

/// A pool of connections to one database.
#[derive(Clone, Debug)]
pub struct Pool {
    inner: deadpool_postgres::Pool,
    address: Address,
    clock: Clock,
    mounted: MountedSlot,
}

impl Pool {
    /// A pool of at most `size` connections to the database that `url` names ([`Address::read`]). Nothing is
    /// connected yet.
    ///
    /// # Errors
    /// When the URL, or a file that it names, cannot be read.
    pub fn new(url: &str, size: usize, clock: Clock) -> anyhow::Result<Self> {
        let address = Address::read(url)?;
        let inner = connections(&address, size)?;
        Ok(Self {
            inner,
            address,
            clock,
            mounted: MountedSlot::default(),
        })
    }

    /// Another pool to the same database, so that what uses it never waits for what uses this one.
    ///
    /// # Errors
    /// Never in practice: the URL has been read.
    pub(crate) fn aside(&self, size: usize) -> anyhow::Result<Self> {
        let inner = connections(&self.address, size)?;
        Ok(Self {
            inner,
            ..self.clone()
        })
    }

    /// A connection, to be given back by dropping it.
    ///
    /// # Errors
    /// When the database cannot be reached, or no connection comes free for ten seconds.
    pub async fn get(&self) -> Result<Db, PoolError> {
        let client = self.inner.get().await?;
        Ok(Db {
            client,
            clock: self.clock.clone(),
            mounted: self.mounted.clone(),
        })
    }

    /// Ends the connections that nobody uses: before the database is stopped, so that none is seen to break.
    pub fn close(&self) {
        self.inner.close();
    }

    /// The first connection of a program that starts.
    ///
    /// # Errors
    /// As [`Self::get`]; says where the database was looked for.
    pub async fn first(&self) -> anyhow::Result<Db> {
        let told = |error| match error {
            PoolError::Backend(error) => anyhow::Error::from(error),
            other => other.into(),
        };
        let first = self.get().await.map_err(told);
        first.with_context(|| format!("cannot connect to Postgres at {}", self.address))
    }

    /// Where its connections lead.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What time it is for whatever is written through this pool.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Where changes made through this pool find the process's own edge.
    pub(crate) fn mounted(&self) -> &MountedSlot {
        &self.mounted
    }
}

fn connections(address: &Address, size: usize) -> anyhow::Result<deadpool_postgres::Pool> {
    let manager = Manager::from_config(
        address.config().clone(),
        address.tls(),
        ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        },
    );
    let pool = deadpool_postgres::Pool::builder(manager)
        .max_size(size)
        .wait_timeout(Some(std::time::Duration::from_secs(10)))
        .runtime(Runtime::Tokio1)
        .build()?;
    Ok(pool)
}

/// A connection: read through `Queries`, change through `write`.
pub struct Db {
    client: Client,
    clock: Clock,
    mounted: MountedSlot,
}

impl Db {
    /// Begins the transaction of one change, made by `actor` (or by Yardarm itself).
    pub(crate) async fn write(
        &mut self,
        actor: Option<&Actor>,
    ) -> Result<Write<'_>, tokio_postgres::Error> {
        let now = self.clock.now();
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place where transactions begin"
        )]
        let transaction = self.client.transaction().await?;
        Ok(Write::new(transaction, actor, now, self.mounted.clone()))
    }

    /// Begins a transaction that sees one moment of the database and changes nothing.
    pub(crate) async fn read(&mut self) -> Result<Transaction<'_>, tokio_postgres::Error> {
        let beginning = self
            .client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead);
        beginning.read_only(true).start().await
    }

    /// The connection itself, for migrations and advisory locks.
    pub fn raw(&mut self) -> &mut tokio_postgres::Client {
        &mut self.client
    }
}

impl Deref for Db {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}
