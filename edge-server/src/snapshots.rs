//! The snapshots an edge serves from: in memory, written through to disk.
//!
//! Readers take no lock: they see immutable maps that a publication replaces piece by piece.
//! Publications of one environment go one after the other, so that the check of its version and the
//! replacement are one step and no two publishers can take it backwards. Versions share the parts
//! that they have in common, in memory and on disk.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use ahash::RandomState;
use bytes::Bytes;
use tokio::sync::{Mutex, watch};
use yardarm_core::edge::stream::event;
use yardarm_core::edge::{Held, Install, KeyRef, Unavailable};
use yardarm_core::snapshot::{Package, PackageMeta, Snapshot, SnapshotError};

use crate::news::News;
use crate::package_files::PackageFiles;
use crate::sharded::Sharded;

/// How many environments can be published at the same time; two that share a lock only wait.
const LOCKS: usize = 64;
/// How long parts wait for the others of their version.
const GRACE: Duration = Duration::from_mins(10);

/// All environments this edge holds. Cheap to clone; clones are the same store.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    environments: Sharded<Arc<Environment>>,
    /// SHA-256 of a server-side key, lower-case hex, to the client-side key. Only says where to look:
    /// the snapshot there decides whether the key opens it.
    server_keys: Sharded<Arc<str>>,
    /// Parts of versions that are not complete yet, by environment.
    waiting: SyncMutex<HashMap<String, Waiting>>,
    news: News,
    files: PackageFiles,
    locks: Vec<Arc<Mutex<()>>>,
    hasher: RandomState,
}

#[derive(Debug)]
struct Waiting {
    parts: HashMap<[u8; 32], Bytes>,
    until: Instant,
}

#[derive(Debug)]
struct Environment {
    key: Arc<str>,
    meta: Arc<PackageMeta>,
    snapshot: Snapshot,
    package: Arc<Package>,
    /// Versions replaced while a request was reading them; they live exactly as long as it does.
    earlier: Vec<(u64, Weak<Package>)>,
}

/// A snapshot's bytes, keeping alive the package whose parts belong to it.
struct SnapshotSection {
    bytes: Bytes,
    _package: Arc<Package>,
}

impl AsRef<[u8]> for SnapshotSection {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl SnapshotStore {
    /// Opens the store in a directory, making it where it is missing, and loads what it holds.
    ///
    /// Damaged files are set aside with a warning. Blocks: for the start of a process.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let files = PackageFiles::open(directory.to_owned())?;
        let packages = files.load()?;
        let shared = Shared {
            environments: Sharded::default(),
            server_keys: Sharded::default(),
            waiting: SyncMutex::default(),
            news: News::default(),
            files,
            locks: (0..LOCKS).map(|_| Arc::default()).collect(),
            hasher: RandomState::new(),
        };
        for package in packages {
            let key = package.meta().environment_key;
            match Environment::open(package, None) {
                Ok(environment) => shared.serve(environment),
                Err(error) => tracing::warn!(environment = %key, %error, "snapshot not served"),
            }
        }
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// How many environments are held, tombstones included.
    pub fn len(&self) -> usize {
        self.shared.environments.len()
    }

    /// Whether nothing has been published here yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The snapshot a key leads to.
    pub fn snapshot(&self, key: &KeyRef<'_>) -> Option<Snapshot> {
        let environments = &self.shared.environments;
        let snapshot = |environment: &Arc<Environment>| environment.snapshot.clone();
        match *key {
            KeyRef::Client(key) => environments.look(key, snapshot),
            KeyRef::Server(hash) => {
                environments.look(&self.shared.server_keys.get(hash)?, snapshot)
            }
        }
    }

    /// The package that a snapshot handed out by this store is part of, also when a newer one has
    /// replaced it since.
    pub fn package(&self, snapshot: &Snapshot) -> Option<Arc<Package>> {
        let package = |held: &Arc<Environment>| held.package_of(snapshot.version());
        let key = snapshot.environment_key();
        self.shared.environments.look(key, package)?
    }

    /// Stores a package on disk and serves it, unless a newer one is held or parts are missing.
    ///
    /// Once begun it is finished, even if the caller goes away. On an error the previous version
    /// keeps serving.
    pub async fn install(&self, package: &Package) -> Result<Install, Unavailable> {
        let meta = package.meta();
        let lock = self.lock_of(&meta.environment_key).lock_owned().await;
        if let Some(answer) = self.shared.refuse(&meta) {
            return Ok(answer);
        }
        let package = self.shared.complete(&meta.environment_key, package);
        if !package.is_whole() {
            let missing = package.missing();
            self.shared.wait(&meta.environment_key, &package);
            return Ok(Install::Incomplete { missing });
        }
        let held = self.shared.environments.get(&meta.environment_key);
        let environment = Environment::open(package, held.as_deref())
            .map_err(|error| Unavailable(error.to_string()))?;
        let shared = Arc::clone(&self.shared);
        let stored = tokio::task::spawn_blocking(move || {
            // Held here, not in the future: a caller that goes away must not let the next one in.
            let _lock = lock;
            shared.files.save(&environment.package, &environment.key)?;
            shared.serve(environment);
            Ok::<_, io::Error>(())
        });
        match stored.await {
            Ok(Ok(())) => Ok(Install::Stored),
            Ok(Err(error)) => Err(Unavailable(format!("package not stored: {error}"))),
            Err(error) => Err(Unavailable(format!("package not stored: {error}"))),
        }
    }

    /// What is held, by environment key.
    pub fn held(&self) -> Vec<Held> {
        let environments = self.shared.environments.values().into_iter();
        let mut held: Vec<Held> = environments
            .map(|environment| Held::from(PackageMeta::clone(&environment.meta)))
            .collect();
        held.sort_by(|a, b| a.environment_key.cmp(&b.environment_key));
        held
    }

    /// Listens to an environment that is held: the event of its newest version, and those to come.
    pub(crate) fn listen(&self, environment_key: &str) -> Option<watch::Receiver<Bytes>> {
        let environments = &self.shared.environments;
        let current = || environments.look(environment_key, |held| held.event())?;
        self.shared.news.listen(environment_key, current)
    }

    /// Forgets the listeners of an environment if they are gone.
    pub(crate) fn tidy_news(&self, environment_key: &str) {
        self.shared.news.tidy(environment_key);
    }

    /// Ends what is listened to, for good.
    pub(crate) fn close_news(&self) {
        self.shared.news.close();
    }

    fn lock_of(&self, environment_key: &str) -> Arc<Mutex<()>> {
        let hash = self.shared.hasher.hash_one(environment_key);
        Arc::clone(&self.shared.locks[usize::try_from(hash % LOCKS as u64).unwrap_or(0)])
    }
}

impl Shared {
    fn refuse(&self, meta: &PackageMeta) -> Option<Install> {
        let held = self.environments.get(&meta.environment_key)?;
        let held = &held.meta;
        match meta.version.cmp(&held.version) {
            std::cmp::Ordering::Greater => None,
            std::cmp::Ordering::Less => Some(Install::Older { held: held.version }),
            std::cmp::Ordering::Equal => {
                if meta.content_hash != held.content_hash {
                    tracing::warn!(
                        environment = %meta.environment_key, version = meta.version,
                        "another content was published under the version held; kept the first",
                    );
                }
                Some(Install::Already)
            }
        }
    }

    /// The package with the parts that are here already.
    fn complete(&self, key: &str, package: &Package) -> Package {
        let held = self.environments.get(key);
        let held = held.iter().flat_map(|held| held.package.named_parts());
        let mut waiting = self.waiting();
        let came = waiting.remove(key).into_iter().flat_map(|held| held.parts);
        let parts: HashMap<[u8; 32], Bytes> = came
            .chain(held.map(|(name, part)| (*name, part.clone())))
            .collect();
        package.completed(|name| parts.get(name).cloned())
    }

    /// Keeps what there is of a package for the moment.
    fn wait(&self, key: &str, package: &Package) {
        let parts = package.named_parts();
        let waiting = Waiting {
            parts: parts.map(|(name, part)| (*name, part.clone())).collect(),
            until: Instant::now() + GRACE,
        };
        self.waiting().insert(key.to_owned(), waiting);
    }

    /// What waits, without what has waited for too long.
    fn waiting(&self) -> std::sync::MutexGuard<'_, HashMap<String, Waiting>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        waiting.retain(|_, held| held.until > now);
        waiting
    }

    /// From here on readers see the environment. Its new server keys lead to it before, and those that
    /// went until after: whatever they lead to decides for itself.
    fn serve(&self, environment: Environment) {
        let environment = Arc::new(environment);
        let key = &environment.key;
        let before = self.environments.get(key);
        for hash in &environment.meta.server_keys {
            self.server_keys.insert(hash, key);
        }
        self.environments.insert(key, &environment);
        // Once it can be asked for: who hears it asks at once.
        self.news.announce(key, environment.event());
        let before = before.iter().flat_map(|before| &before.meta.server_keys);
        for hash in before.filter(|hash| !environment.meta.server_keys.contains(hash)) {
            self.server_keys.remove_if(hash, |to| to == key);
        }
    }
}

impl Environment {
    fn open(package: Package, previous: Option<&Self>) -> Result<Self, SnapshotError> {
        let package = Arc::new(package);
        let snapshot = Snapshot::open(Bytes::from_owner(SnapshotSection {
            bytes: package.snapshot(),
            _package: Arc::clone(&package),
        }))?;
        let meta = package.meta();
        Ok(Self {
            key: meta.environment_key.as_str().into(),
            meta: Arc::new(meta),
            snapshot,
            package,
            earlier: previous.map(Self::still_read).unwrap_or_default(),
        })
    }

    /// What is told of this version; `None` of a tombstone.
    fn event(&self) -> Option<Bytes> {
        (!self.meta.gone).then(|| event(&self.snapshot))
    }

    fn package_of(&self, version: u64) -> Option<Arc<Package>> {
        if self.meta.version == version {
            return Some(Arc::clone(&self.package));
        }
        let (_, package) = self
            .earlier
            .iter()
            .find(|(earlier, _)| *earlier == version)?;
        package.upgrade()
    }

    fn still_read(&self) -> Vec<(u64, Weak<Package>)> {
        let replaced = (self.meta.version, Arc::downgrade(&self.package));
        let earlier = self
            .earlier
            .iter()
            .filter(|(_, package)| package.strong_count() > 0);
        earlier.cloned().chain([replaced]).collect()
    }
}
