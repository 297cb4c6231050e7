//! The snapshots an edge serves from: in memory, written through to disk.
//!
//! Readers take no lock: they see an immutable index that a publication replaces whole. Publications
//! of one environment go one after the other, so that the check of its version and the replacement
//! are one step and no two publishers can take it backwards.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

use ahash::RandomState;
use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{Mutex, watch};
use yardarm_core::edge::stream::event;
use yardarm_core::edge::{Held, Install, KeyRef, Unavailable};
use yardarm_core::snapshot::{Package, PackageMeta, Snapshot, SnapshotError};

use crate::news::News;
use crate::package_files::PackageFiles;

/// How many environments can be published at the same time; two that share a lock only wait.
const LOCKS: usize = 64;

/// All environments this edge holds. Cheap to clone; clones are the same store.
#[derive(Debug, Clone)]
pub struct SnapshotStore {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    index: ArcSwap<Index>,
    news: News,
    files: PackageFiles,
    locks: Vec<Arc<Mutex<()>>>,
    hasher: RandomState,
}

/// What a reader sees at one moment.
#[derive(Debug, Default, Clone)]
struct Index {
    environments: HashMap<Arc<str>, Environment, RandomState>,
    /// SHA-256 of a server-side key, lower-case hex, to the client-side key.
    server_keys: HashMap<Box<str>, Arc<str>, RandomState>,
}

#[derive(Debug, Clone)]
struct Environment {
    meta: Arc<PackageMeta>,
    snapshot: Snapshot,
    package: Arc<Package>,
    /// Versions replaced while a request was reading them; they live exactly as long as it does.
    earlier: Vec<(u64, Weak<Package>)>,
}

/// A snapshot's bytes, keeping alive the package that its document and override buckets are in.
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
        let mut index = Index::default();
        for package in files.load()? {
            let key = package.meta().environment_key;
            match Environment::open(package) {
                Ok(environment) => index.insert(environment),
                Err(error) => tracing::warn!(environment = %key, %error, "snapshot not served"),
            }
        }
        Ok(Self {
            shared: Arc::new(Shared {
                index: ArcSwap::from_pointee(index),
                news: News::default(),
                files,
                locks: (0..LOCKS).map(|_| Arc::default()).collect(),
                hasher: RandomState::new(),
            }),
        })
    }

    /// How many environments are held, tombstones included.
    pub fn len(&self) -> usize {
        self.shared.index.load().environments.len()
    }

    /// Whether nothing has been published here yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The snapshot a key leads to.
    pub fn snapshot(&self, key: &KeyRef<'_>) -> Option<Snapshot> {
        let index = self.shared.index.load();
        let environment = match *key {
            KeyRef::Client(key) => index.environments.get(key),
            KeyRef::Server(hash) => index.environments.get(index.server_keys.get(hash)?),
        };
        environment.map(|environment| environment.snapshot.clone())
    }

    /// The package that a snapshot handed out by this store is part of, also when a newer one has
    /// replaced it since.
    pub fn package(&self, snapshot: &Snapshot) -> Option<Arc<Package>> {
        let index = self.shared.index.load();
        let environment = index.environments.get(snapshot.environment_key())?;
        environment.package_of(snapshot.version())
    }

    /// Stores a package on disk and serves it, unless a newer one is held.
    ///
    /// Once begun it is finished, even if the caller goes away. On an error the previous version
    /// keeps serving.
    pub async fn install(&self, package: &Package) -> Result<Install, Unavailable> {
        let environment =
            Environment::open(package.clone()).map_err(|error| Unavailable(error.to_string()))?;
        let lock = self
            .lock_of(&environment.meta.environment_key)
            .lock_owned()
            .await;
        if let Some(answer) = self.shared.refuse(&environment.meta) {
            return Ok(answer);
        }
        let shared = Arc::clone(&self.shared);
        let stored = tokio::task::spawn_blocking(move || {
            // Held here, not in the future: a caller that goes away must not let the next one in.
            let _lock = lock;
            shared
                .files
                .save(&environment.package, &environment.meta.environment_key)?;
            shared.serve(&environment);
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
        let index = self.shared.index.load();
        let metas = index
            .environments
            .values()
            .map(|environment| &*environment.meta);
        let mut held: Vec<Held> = metas.map(|meta| Held::from(meta.clone())).collect();
        held.sort_by(|a, b| a.environment_key.cmp(&b.environment_key));
        held
    }

    /// Listens to an environment that is held: the event of its newest version, and those to come.
    pub(crate) fn listen(&self, environment_key: &str) -> Option<watch::Receiver<Bytes>> {
        let current = || {
            let index = self.shared.index.load();
            index.environments.get(environment_key)?.event()
        };
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
        let index = self.index.load();
        let held = &index.environments.get(meta.environment_key.as_str())?.meta;
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

    fn serve(&self, environment: &Environment) {
        self.index.rcu(|index| {
            let mut next = Index::clone(index);
            next.insert(environment.clone());
            next
        });
        // Once it can be asked for: who hears it asks at once.
        let key = &environment.meta.environment_key;
        self.news.announce(key, environment.event());
    }
}

impl Index {
    fn insert(&mut self, mut environment: Environment) {
        let key: Arc<str> = environment.meta.environment_key.as_str().into();
        if let Some(previous) = self.environments.get(&key) {
            environment.earlier = previous.still_read();
            for hash in &previous.meta.server_keys {
                if self
                    .server_keys
                    .get(hash.as_str())
                    .is_some_and(|to| *to == key)
                {
                    self.server_keys.remove(hash.as_str());
                }
            }
        }
        for hash in &environment.meta.server_keys {
            self.server_keys
                .insert(hash.as_str().into(), Arc::clone(&key));
        }
        self.environments.insert(key, environment);
    }
}

impl Environment {
    fn open(package: Package) -> Result<Self, SnapshotError> {
        let package = Arc::new(package);
        let snapshot = Snapshot::open(Bytes::from_owner(SnapshotSection {
            bytes: package.snapshot(),
            _package: Arc::clone(&package),
        }))?;
        Ok(Self {
            meta: Arc::new(package.meta()),
            snapshot,
            package,
            earlier: Vec::new(),
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
