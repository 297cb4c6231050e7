//! The native edge of an existing Flagsmith: looks at upstream at intervals and installs what has changed.
//!
//! Rules are core's ([`yardarm_core::edge::upstream`]); here are the tasks, the clock and the file in which a
//! restart finds how old what it holds is.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{fs, io};

use ahash::RandomState;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};
use yardarm_core::edge::upstream::{
    End, KeyPair, Pull, PullError, Root, Step, UpstreamStatus, Verdict, Watch,
};
use yardarm_core::edge::{Install, KeyRef};
use yardarm_core::snapshot::{Package, Snapshot};
use yardarm_core::time::Timestamp;

use crate::host::now;
use crate::outbound::{Client, ClientError};
use crate::snapshots::SnapshotStore;

/// The largest document, all pages together, in bytes.
const DOCUMENT: usize = 512 << 20;
/// How many environments are read at once.
const LOOKS_AT_ONCE: usize = 8;
/// How often the file is written that says how old what is held is.
const REMEMBER: Duration = Duration::from_mins(1);
/// What `confirmed_at` holds of an environment that never was.
const NEVER: i64 = i64::MIN;

/// What to pull, and how.
#[derive(Debug, Clone)]
pub struct UpstreamSettings {
    /// The root of the Flagsmith API.
    pub root: Root,
    /// The environments.
    pub pairs: Vec<KeyPair>,
    /// Time between two looks.
    pub interval: Duration,
    /// How long upstream may be silent before a look is given up.
    pub timeout: Duration,
    /// How much older than the interval the last successful look at an environment may be before `/health`
    /// says so, for each environment; `None`: any.
    pub grace: Option<Duration>,
}

/// The environments of an upstream, and how the looks at them stand.
#[derive(Debug)]
pub struct Upstream {
    settings: UpstreamSettings,
    watched: Vec<Watched>,
    by_client_key: HashMap<String, usize, RandomState>,
    by_server_hash: HashMap<String, usize, RandomState>,
    memory: PathBuf,
}

#[derive(Debug)]
struct Watched {
    pair: KeyPair,
    watch: Mutex<Watch>,
    /// What the watch says, for requests: they take no lock.
    confirmed_at: AtomicI64,
}

impl Upstream {
    /// The environments of `settings`; `memory` is the file in which this process finds, after a restart, when
    /// each was last confirmed.
    pub fn new(settings: UpstreamSettings, memory: PathBuf) -> Self {
        let confirmed = remembered(&memory);
        let watched: Vec<Watched> = settings
            .pairs
            .iter()
            .map(|pair| {
                let confirmed_at = confirmed.get(pair.client()).copied();
                Watched {
                    pair: pair.clone(),
                    watch: Mutex::new(Watch::resume(confirmed_at.map(Timestamp))),
                    confirmed_at: AtomicI64::new(confirmed_at.unwrap_or(NEVER)),
                }
            })
            .collect();
        let numbered = || settings.pairs.iter().enumerate();
        Self {
            by_client_key: numbered()
                .map(|(number, pair)| (pair.client().to_owned(), number))
                .collect(),
            by_server_hash: numbered()
                .map(|(number, pair)| (pair.server_hash(), number))
                .collect(),
            watched,
            settings,
            memory,
        }
    }

    /// Whether a key is one of the pairs'.
    pub fn names(&self, key: &KeyRef<'_>) -> bool {
        match *key {
            KeyRef::Client(key) => self.by_client_key.contains_key(key),
            KeyRef::Server(hash) => self.by_server_hash.contains_key(hash),
        }
    }

    /// When upstream last said what is current of an environment.
    pub fn confirmed_at(&self, environment_key: &str) -> Option<Timestamp> {
        let watched = &self.watched[*self.by_client_key.get(environment_key)?];
        let at = watched.confirmed_at.load(Ordering::Relaxed);
        (at != NEVER).then_some(Timestamp(at))
    }

    /// How the looks stand.
    pub fn status(&self) -> UpstreamStatus {
        let count = u32::try_from(self.watched.len()).unwrap_or(u32::MAX);
        let grace = self.settings.grace;
        UpstreamStatus {
            environments: self
                .watched
                .iter()
                .map(|watched| watched.watch().status(&watched.pair))
                .collect(),
            stale_after: grace.map(|grace| (self.settings.interval + grace * count).as_secs()),
        }
    }

    /// Looks at upstream for as long as the process lives.
    pub async fn run(self: Arc<Self>, snapshots: SnapshotStore, client: Client) {
        let turns = Arc::new(Semaphore::new(LOOKS_AT_ONCE));
        let mut looks = JoinSet::new();
        for number in 0..self.watched.len() {
            let (upstream, snapshots) = (Arc::clone(&self), snapshots.clone());
            let (client, turns) = (client.clone(), Arc::clone(&turns));
            looks.spawn(async move {
                loop {
                    let turn = turns.acquire().await;
                    let wait = upstream.look(number, &snapshots, &client).await;
                    drop(turn);
                    tokio::time::sleep(wait).await;
                }
            });
        }
        loop {
            tokio::time::sleep(REMEMBER).await;
            self.remember();
        }
    }

    /// Writes down how old what is held is. Losing it costs nothing but that knowledge.
    pub fn remember(&self) {
        let confirmed: BTreeMap<&str, i64> = self
            .watched
            .iter()
            .map(|watched| {
                let at = watched.confirmed_at.load(Ordering::Relaxed);
                (watched.pair.client(), at)
            })
            .filter(|(_, at)| *at != NEVER)
            .collect();
        let written = serde_json::to_vec(&confirmed)
            .map_err(io::Error::from)
            .and_then(|content| fs::write(&self.memory, content));
        if let Err(error) = written {
            tracing::warn!(file = %self.memory.display(), %error, "cannot be written");
        }
    }

    /// One look at one environment; tells how long to wait before the next.
    async fn look(&self, number: usize, snapshots: &SnapshotStore, client: &Client) -> Duration {
        let watched = &self.watched[number];
        let pair = &watched.pair;
        let before = watched.watch().clone();
        let held = snapshots.snapshot(&KeyRef::Client(pair.client()));
        let root = &self.settings.root;
        let pull = before.pull(root, pair, held.as_ref(), DOCUMENT, now());
        let end = self.exchange(pull, client).await;
        let mut after = before.clone();
        match settle(after.clone(), end, pair.clone(), held).await {
            Ok((settled, verdict)) => {
                after = settled;
                take_in(&mut after, verdict, snapshots, pair).await;
            }
            Err(error) => after.fail(format!("a document was not read: {error}")),
        }
        if after.is_well() && !before.is_well() {
            tracing::info!(environment = %pair.client(), "upstream is heard again");
        }
        let wait = after.wait(self.settings.interval, rand::random());
        let confirmed_at = after.confirmed_at().map_or(NEVER, Timestamp::micros);
        watched.confirmed_at.store(confirmed_at, Ordering::Relaxed);
        *watched.watch() = after;
        wait
    }

    async fn exchange(&self, mut pull: Pull, client: &Client) -> End {
        loop {
            let sent = client.send(pull.request(), pull.room(), self.settings.timeout);
            let answer = match sent.await {
                Ok(answer) => answer,
                Err(ClientError::TooLong) => return End::Failed(PullError::TooLarge),
                Err(error) => return End::Failed(PullError::Exchange(error.to_string())),
            };
            // Megabytes of JSON are not read where requests are answered.
            let step = tokio::task::spawn_blocking(move || {
                pull.answer(answer.status, &answer.headers, &answer.body, now())
            });
            match step.await {
                Ok(Step::Ask(next)) => pull = *next,
                Ok(Step::Done(end)) => return end,
                Err(error) => return End::Failed(PullError::Exchange(error.to_string())),
            }
        }
    }
}

impl Watched {
    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Compiles aside what a look found.
async fn settle(
    mut watch: Watch,
    end: End,
    pair: KeyPair,
    held: Option<Snapshot>,
) -> Result<(Watch, Verdict), JoinError> {
    let settle = move || {
        let verdict = watch.settle(end, &pair, held.as_ref(), now());
        (watch, verdict)
    };
    tokio::task::spawn_blocking(settle).await
}

async fn take_in(watch: &mut Watch, verdict: Verdict, snapshots: &SnapshotStore, pair: &KeyPair) {
    let environment = pair.client();
    match verdict {
        Verdict::Current => {}
        Verdict::Keep(problem) => {
            tracing::warn!(%environment, problem, "upstream was not heard; what is held keeps serving");
        }
        Verdict::Install { package, warnings } => {
            for warning in warnings {
                tracing::warn!(%environment, warning, "odd document");
            }
            match install(snapshots, &package).await {
                Ok(()) => {
                    let version = package.meta().version;
                    tracing::info!(%environment, version, "upstream has changed");
                    watch.installed(now());
                }
                Err(problem) => {
                    tracing::error!(%environment, problem, "what upstream has changed is not served");
                    watch.fail(problem);
                }
            }
        }
    }
}

async fn install(snapshots: &SnapshotStore, package: &Package) -> Result<(), String> {
    match snapshots.install(package).await {
        Ok(Install::Stored | Install::Already) => Ok(()),
        Ok(Install::Older { held }) => Err(format!("version {held} was published here meanwhile")),
        // It was compiled here, with all of them.
        Ok(Install::Incomplete { missing }) => Err(format!("{} parts are missing", missing.len())),
        Err(error) => Err(error.to_string()),
    }
}

/// When each environment was last confirmed before the restart; nothing from a file that is missing or
/// damaged.
fn remembered(memory: &Path) -> BTreeMap<String, i64> {
    let content = fs::read(memory).unwrap_or_default();
    serde_json::from_slice(&content).unwrap_or_default()
}
