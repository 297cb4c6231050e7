//! What a process does besides answering requests: listens to the database, runs jobs, keeps its own
//! edge up to date. All of it ends together.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use yardarm_edge::{Edge, StreamSettings};

use crate::edge_host::{self, Counting, Flushing, PostgresIdentities};
use crate::jobs::{self, Listener, Runner};
use crate::publish::{self, Mounted, Publisher};
use crate::store::Pool;
use crate::telemetry::Metrics;
use crate::usage::{self, Keeper};

/// Connections for all of this, apart from those that answer requests: these wait for publication
/// while they hold one of theirs.
const CONNECTIONS: usize = 8;
/// How long a start waits for the mounted edge to have everything.
const CATCH_UP: Duration = Duration::from_secs(10);

/// The work of a process. Ends with [`Background::stop`].
#[derive(Debug)]
pub struct Background {
    requests: Pool,
    pool: Pool,
    listener: Listener,
    publisher: Publisher,
    usage: usage::Settings,
    metrics: Metrics,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Background {
    /// Prepares work on the database behind `pool`; nothing runs yet.
    ///
    /// # Errors
    /// When the machine cannot do TLS.
    pub fn new(
        requests: &Pool,
        settings: publish::Settings,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let pool = requests.aside(CONNECTIONS)?;
        Ok(Self {
            requests: requests.clone(),
            listener: Listener::new(pool.address().clone()),
            publisher: Publisher::new(pool.clone(), settings, metrics.clone())?,
            usage: usage::Settings::in_database(pool.clone()),
            pool,
            metrics,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// With usage somewhere else than in the same database, say.
    #[must_use]
    pub fn with_usage(self, usage: usage::Settings) -> Self {
        Self { usage, ..self }
    }

    /// Runs jobs, and has every target brought up to date.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn work(&self, settings: jobs::Settings) -> anyhow::Result<()> {
        self.publisher.reconcile_all().await?;
        usage::start(&self.pool).await?;
        let runner = self
            .publisher
            .register(Runner::new(self.pool.clone(), settings));
        let keeper = Keeper {
            pool: self.pool.clone(),
            store: self.usage.store.clone(),
        };
        let runner = usage::register(runner, &keeper);
        self.tasks
            .spawn(runner.run(self.listener.subscribe(), self.stop.clone()));
        Ok(())
    }

    /// An edge of this process's own, which keeps its snapshots in a folder and streams of events as the
    /// settings say.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub async fn mount(
        &self,
        folder: &Path,
        streams: StreamSettings,
    ) -> anyhow::Result<Edge<PostgresIdentities>> {
        let mounted = Mounted::open(&self.publisher, folder, self.metrics.clone()).await?;
        let store = mounted.store().clone();
        match timeout(CATCH_UP, mounted.catch_up_everywhere()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = format!("{error:#}");
                tracing::warn!(error, "not everything is served yet");
            }
            Err(_elapsed) => tracing::info!("not everything is served yet: it goes on behind"),
        }
        self.tasks
            .spawn(mounted.follow(self.listener.subscribe(), self.stop.clone()));
        let counting = Arc::new(Counting::new(self.metrics.clone(), self.usage.requests));
        let flushing = Flushing {
            counting: Arc::clone(&counting),
            pool: self.pool.clone(),
            store: self.usage.store.clone(),
            every: self.usage.flush_every,
        };
        self.tasks.spawn(flushing.run(self.stop.clone()));
        Ok(edge_host::edge(
            store,
            self.requests.clone(),
            counting,
            streams,
        ))
    }

    /// Begins to listen to the database; whoever is to hear it has to be there.
    pub fn listen(self) -> Stoppable {
        self.tasks.spawn(self.listener.run(self.stop.clone()));
        self.tasks.close();
        Stoppable {
            stop: self.stop,
            tasks: self.tasks,
        }
    }
}

/// Work that goes on until it is stopped.
#[derive(Debug)]
pub struct Stoppable {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Stoppable {
    /// Lets jobs finish, for some seconds, and gives back those that do not.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}
