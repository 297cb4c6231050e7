//! This process's own edge: fed from the database directly, without a target or a signature.
//!
//! The process that commits a change serves it before it answers, so that whoever toggles a flag and
//! asks the same server sees it at once. Other processes hear of it from the database, and all compare
//! everything now and then.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::{StreamExt as _, stream};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use yardarm_core::edge::KeyRef;
use yardarm_edge::{DataDirectory, SnapshotStore};

use super::Publisher;
use super::packages::Packages;
use super::targets::Wanted;
use crate::jobs::{Heard, PUBLICATION};
use crate::sql::publish as sql;
use crate::store::{Pool, Queries as _};
use crate::telemetry::Metrics;

/// How long an answer to a change waits for this process to serve it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often everything is compared, in case an announcement was lost.
const COMPARE: Duration = Duration::from_secs(15);
/// How many environments are compiled at once.
const AT_ONCE: usize = 4;

/// Keeps the mounted edge at what the database says. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mounted(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    packages: Arc<Packages>,
    store: SnapshotStore,
    metrics: Metrics,
    /// Locked for as long as anything may be written to it.
    _directory: DataDirectory,
}

impl Mounted {
    /// Opens the edge's folder. From now on changes made through the publisher's pool, and those it
    /// was set aside from, wait for this edge, for two seconds at most.
    ///
    /// # Errors
    /// When the folder cannot be used or the database does not answer.
    pub async fn open(
        publisher: &Publisher,
        folder: &Path,
        metrics: Metrics,
    ) -> anyhow::Result<Self> {
        let directory = DataDirectory::open(folder)
            .context("each process needs a folder of its own for its edge (--edge-dir)")?;
        let pool = publisher.pool().clone();
        let store = open(&pool, &directory.path().join("environments")).await?;
        let mounted = Self(Arc::new(Inner {
            pool,
            packages: Arc::clone(publisher.packages()),
            store,
            metrics,
            _directory: directory,
        }));
        mounted.0.pool.mounted().fill(&mounted);
        Ok(mounted)
    }

    /// What it serves from.
    pub fn store(&self) -> &SnapshotStore {
        &self.0.store
    }

    /// Serves what the database says of these keys.
    pub(crate) async fn catch_up(&self, api_keys: &[String]) -> anyhow::Result<()> {
        let wanted = {
            let db = self.0.pool.get().await?;
            db.all(sql::WANTED, [&api_keys]).await?
        };
        self.serve(wanted).await
    }

    /// Serves what the database says of every environment.
    ///
    /// # Errors
    /// When the database does not answer or a package cannot be stored.
    pub async fn catch_up_everywhere(&self) -> anyhow::Result<()> {
        let wanted = {
            let db = self.0.pool.get().await?;
            db.all(sql::WANTED_EVERYWHERE, []).await?
        };
        self.serve(wanted).await
    }

    async fn serve(&self, wanted: Vec<Wanted>) -> anyhow::Result<()> {
        let behind = wanted.into_iter().filter_map(|wanted| {
            let version = u64::try_from(wanted.version).ok()?;
            let held = self.0.store.snapshot(&KeyRef::Client(&wanted.api_key));
            let behind = held.is_none_or(|held| held.version() < version);
            behind.then_some((wanted.api_key, version))
        });
        let mut serving = stream::iter(behind)
            .map(|(api_key, version)| async move {
                if let Some((_, package)) = self.0.packages.get(&api_key, version).await? {
                    self.0.store.install(&package).await?;
                }
                anyhow::Ok(())
            })
            .buffer_unordered(AT_ONCE);
        let mut outcome = Ok(());
        while let Some(served) = serving.next().await {
            // One that fails keeps no other from being served.
            outcome = outcome.and(served);
        }
        self.0.metrics.set_mounted(self.0.store.len());
        outcome
    }

    /// Follows the database until `stop`.
    pub async fn follow(self, heard: broadcast::Receiver<Heard>, stop: CancellationToken) {
        // What is cut off here has changed nothing, or is finished by the store.
        stop.run_until_cancelled(self.follow_on(heard)).await;
    }

    async fn follow_on(&self, mut heard: broadcast::Receiver<Heard>) {
        loop {
            let changed = tokio::select! {
                first = heard.recv() => gather(first, &mut heard),
                () = sleep(COMPARE) => Changed::Anything,
            };
            let outcome = match changed {
                Changed::Nothing => Ok(()),
                Changed::Keys(keys) => self.catch_up(&keys).await,
                Changed::Anything => self.catch_up_everywhere().await,
                Changed::Deaf => {
                    sleep(COMPARE).await;
                    self.catch_up_everywhere().await
                }
            };
            if let Err(error) = outcome {
                let error = format!("{error:#}");
                tracing::warn!(
                    error,
                    "this process serves an older version than the database has"
                );
            }
        }
    }
}

/// The store in a folder; emptied first when it was filled from another database, or from a later
/// state of this one than a backup has brought back. A newer version would keep serving otherwise.
async fn open(pool: &Pool, folder: &Path) -> anyhow::Result<SnapshotStore> {
    let failed = || format!("cannot keep snapshots in {}", folder.display());
    let store = SnapshotStore::open(folder).with_context(failed)?;
    let held = store.held();
    let keys: Vec<&str> = held
        .iter()
        .map(|held| held.environment_key.as_str())
        .collect();
    let versions: Vec<i64> = held
        .iter()
        .map(|held| i64::try_from(held.version).unwrap_or(i64::MAX))
        .collect();
    let foreign: i64 = pool
        .get()
        .await?
        .one(sql::NOT_OURS, [&keys, &versions])
        .await?;
    if foreign == 0 {
        return Ok(store);
    }
    tracing::warn!(
        folder = %folder.display(),
        environments = foreign,
        "the edge's folder was not filled from this database as it is: starting it empty"
    );
    drop(store);
    tokio::fs::remove_dir_all(folder)
        .await
        .with_context(failed)?;
    SnapshotStore::open(folder).with_context(failed)
}

/// What there is to catch up with.
#[derive(Debug, PartialEq, Eq)]
enum Changed {
    Nothing,
    Keys(Vec<String>),
    Anything,
    /// Nobody listens any more.
    Deaf,
}

/// What was heard, and all that is waiting to be heard.
fn gather(first: Result<Heard, RecvError>, heard: &mut broadcast::Receiver<Heard>) -> Changed {
    let mut keys = HashSet::new();
    let mut anything = false;
    let mut next = first;
    loop {
        match next {
            Ok(Heard::Notification { channel, payload }) => {
                if channel == PUBLICATION {
                    keys.insert(payload);
                }
            }
            Ok(Heard::Connected) | Err(RecvError::Lagged(_)) => anything = true,
            Err(RecvError::Closed) => return Changed::Deaf,
        }
        next = match heard.try_recv() {
            Ok(heard) => Ok(heard),
            Err(TryRecvError::Lagged(missed)) => Err(RecvError::Lagged(missed)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        };
    }
    if anything {
        Changed::Anything
    } else if keys.is_empty() {
        Changed::Nothing
    } else {
        Changed::Keys(keys.into_iter().collect())
    }
}

/// Where the write transaction finds the process's own edge, if it has one. Weak, since that holds
/// the pool and the pool holds this.
#[derive(Debug, Clone, Default)]
pub(crate) struct MountedSlot(Arc<OnceLock<Weak<Inner>>>);

impl MountedSlot {
    fn fill(&self, mounted: &Mounted) {
        if self.0.set(Arc::downgrade(&mounted.0)).is_err() {
            tracing::warn!("this process has two edges of its own; changes wait for the first");
        }
    }

    fn mounted(&self) -> Option<Mounted> {
        Some(Mounted(self.0.get()?.upgrade()?))
    }

    /// Waits until this process serves what was committed for these keys: two seconds at most, as the
    /// change is made whether or not it is served yet.
    pub(crate) async fn serve(&self, api_keys: &[String]) {
        if api_keys.is_empty() {
            return;
        }
        let Some(mounted) = self.mounted() else {
            return;
        };
        match timeout(PATIENCE, mounted.catch_up(api_keys)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                let error = format!("{error:#}");
                tracing::warn!(
                    error,
                    "a change is committed but not yet served by this process"
                );
            }
            Err(_elapsed) => {
                tracing::warn!("a change is committed but not yet served by this process");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notification(channel: &str, payload: &str) -> Heard {
        Heard::Notification {
            channel: channel.to_owned(),
            payload: payload.to_owned(),
        }
    }

    #[test]
    fn what_waits_is_gathered_once() {
        let (sender, mut heard) = broadcast::channel(8);
        for payload in ["a", "b", "a"] {
            sender
                .send(notification(PUBLICATION, payload))
                .expect("a receiver");
        }
        let Changed::Keys(mut keys) = gather(Ok(notification("other", "x")), &mut heard) else {
            panic!("keys changed");
        };
        keys.sort();
        assert_eq!(keys, ["a", "b"]);
    }

    #[test]
    fn a_new_connection_means_anything_may_have_changed() {
        let (sender, mut heard) = broadcast::channel(8);
        sender.send(Heard::Connected).expect("a receiver");
        assert_eq!(
            gather(Ok(notification(PUBLICATION, "a")), &mut heard),
            Changed::Anything
        );
        assert_eq!(
            gather(Err(RecvError::Lagged(3)), &mut heard),
            Changed::Anything
        );
        assert_eq!(gather(Err(RecvError::Closed), &mut heard), Changed::Deaf);
        assert_eq!(
            gather(Ok(notification("other", "x")), &mut heard),
            Changed::Nothing
        );
    }
}
