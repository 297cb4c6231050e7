//! Where the data is.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;

use crate::app::Clock;
use crate::store::private::{Durability, Private};
use crate::store::{Pool, migrate};

/// Which Postgres to use.
#[derive(Args, Clone, Debug)]
pub struct Database {
    /// Postgres to use (`postgres://user:password@host/database?sslmode=verify-full`; docs/operating.md says what
    /// it may say about TLS). Without it, Yardarm runs a private one in the data directory.
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, global = true)]
    pub database_url: Option<String>,
    /// Connections to hold at most.
    #[arg(
        long,
        env = "YARDARM_DATABASE_POOL",
        default_value_t = 16,
        global = true
    )]
    pub database_pool: usize,
    /// Where the private Postgres keeps its data.
    #[arg(
        long,
        env = "YARDARM_DATA_DIR",
        default_value = "yardarm-data",
        global = true
    )]
    pub data_dir: PathBuf,
}

/// A database that is ready for use.
#[derive(Debug)]
pub struct Opened {
    /// Its connections.
    pub pool: Pool,
    /// The private Postgres, when there is one: stop it last.
    pub private: Option<Private>,
}

impl Database {
    /// Starts the private Postgres if one is needed, migrates, and connects.
    ///
    /// # Errors
    /// When there is no Postgres, or it is at another program's version.
    pub async fn open(&self, clock: Clock) -> anyhow::Result<Opened> {
        let (url, private) = if let Some(url) = &self.database_url {
            (url.clone(), None)
        } else {
            let folder = self.data_dir.join("postgres");
            let private = Private::start(&folder, Durability::Full).await?;
            (private.url("yardarm"), Some(private))
        };
        let pool = Pool::new(&url, self.database_pool, clock).context("DATABASE_URL")?;
        let mut db = pool.first().await?;
        let client: &mut tokio_postgres::Client = db.raw();
        migrate(client).await?;
        drop(db);
        Ok(Opened { pool, private })
    }
}
