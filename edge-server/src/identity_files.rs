//! Identities on disk: one JSON file an identity.
//!
//! `<sha256(environment key)>/<first two digits>/<sha256(identifier)>.json`, so that any identifier
//! is a file name and no directory grows past a 256th of the environment.
//!
//! **What is promised.** A change that was answered is on disk: the new file is flushed, renamed over
//! the old one, and the directory flushed, before the reply. That is two flushes (a millisecond or so
//! each on an SSD, much more on a spinning disk), paid only by requests that change something: an
//! SDK that posts the same traits again costs none. Changes of different identities are flushed in
//! parallel. Whoever has thousands of new identities a second mounts the edge in the control plane
//! and keeps them in Postgres.
//!
//! Where changes go home to a control plane, each is first written to a journal, with one flush more that changes
//! made at the same time share ([`crate::Deliveries`]).
//!
//! What was used lately stays in memory. That copy is never stale, since the directory belongs to
//! this process alone ([`DataDirectory`]) and it is filled and replaced only under the identity's lock.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::{Mutex, OwnedMutexGuard};
use yardarm_core::edge::{ChangeError, IdentityRecord, TraitChange, TraitScalar, Unavailable};
use yardarm_core::time::Timestamp;

use crate::deliveries::Journal;
use crate::durable::{self, DataDirectory};
use crate::identities::Identities;

/// How many identities can be changed at the same time; two that share a lock only wait.
const LOCKS: usize = 1024;

/// What a remembered record takes besides its name and traits, in bytes, roughly.
const RECORD_OVERHEAD: u64 = 160;

/// Identities in a directory. Cheap to clone; clones are the same store.
#[derive(Debug, Clone)]
pub struct IdentityFiles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    locks: Vec<Arc<Mutex<()>>>,
    recent: Cache<Name, Remembered, RecordSize>,
    /// Where changes are written down for the control plane, if there is one.
    journal: OnceLock<Arc<Journal>>,
    _owner: Arc<DataDirectory>,
}

/// What the disk says of an identity; `None` for one it does not have.
type Remembered = Option<Arc<IdentityRecord>>;

/// Whose record it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Name<T = Box<str>> {
    environment_key: T,
    identifier: T,
}

/// Where on disk it is.
#[derive(Debug)]
struct Address {
    environment: [u8; 32],
    identifier: [u8; 32],
}

/// What a file holds: the record, and whose it is, which its hashed name does not tell.
#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    identifier: std::borrow::Cow<'a, str>,
    #[serde(flatten)]
    record: IdentityRecord,
}

#[derive(Debug, Clone)]
struct RecordSize;

impl IdentityFiles {
    /// Opens the store below a data directory, keeping up to `memory` bytes of records at hand.
    pub fn open(owner: &Arc<DataDirectory>, memory: u64) -> io::Result<Self> {
        let directory = owner.path().join("identities");
        durable::create_directory(&directory)?;
        let records = usize::try_from(memory / RECORD_OVERHEAD).unwrap_or(usize::MAX);
        Ok(Self {
            shared: Arc::new(Shared {
                directory,
                locks: (0..LOCKS).map(|_| Arc::default()).collect(),
                recent: Cache::with_weighter(records.min(1 << 20), memory, RecordSize),
                journal: OnceLock::new(),
                _owner: Arc::clone(owner),
            }),
        })
    }

    /// From now on writes every change down in `journal` before it is made. To be told once.
    pub(crate) fn tell(&self, journal: Arc<Journal>) {
        let _first = self.shared.journal.set(journal);
    }

    async fn lock(&self, address: &Address) -> OwnedMutexGuard<()> {
        let [low, high, ..] = address.identifier;
        let lock = usize::from(u16::from_le_bytes([low, high])) % LOCKS;
        Arc::clone(&self.shared.locks[lock]).lock_owned().await
    }
}

impl Identities for IdentityFiles {
    async fn identity(
        &self,
        environment_key: &str,
        identifier: &str,
    ) -> Result<Option<IdentityRecord>, Unavailable> {
        let name = Name {
            environment_key,
            identifier,
        };
        if let Some(remembered) = self.shared.recent.get(&name) {
            return Ok(remembered.as_deref().cloned());
        }
        let (name, address) = (name.to_owned(), Address::of(&name));
        let lock = self.lock(&address).await;
        let shared = Arc::clone(&self.shared);
        on_disk(move || {
            let _lock = lock;
            Ok(shared.load(&name, &address)?.as_deref().cloned())
        })
        .await
    }

    fn at_hand(&self, environment_key: &str, identifier: &str) -> Option<Arc<IdentityRecord>> {
        let name = Name {
            environment_key,
            identifier,
        };
        self.shared.recent.get(&name).flatten()
    }

    async fn change_identity(
        &self,
        environment_key: &str,
        identifier: &str,
        change: &TraitChange,
        now: Timestamp,
    ) -> Result<Result<IdentityRecord, ChangeError>, Unavailable> {
        // What changes nothing needs no turn: it is as if it had come before or after the others.
        if let Some(held) = self.at_hand(environment_key, identifier)
            && held.is_unchanged_by(change)
        {
            return Ok(Ok(IdentityRecord::clone(&held)));
        }
        let name = Name {
            environment_key,
            identifier,
        };
        let (name, address) = (name.to_owned(), Address::of(&name));
        let lock = self.lock(&address).await;
        let shared = Arc::clone(&self.shared);
        let change = change.clone();
        on_disk(move || {
            // Held here, not in the future: a caller that goes away must not let the next one in
            // before this change is stored.
            let _lock = lock;
            shared.change(&name, &address, &change, now)
        })
        .await
    }
}

impl Shared {
    fn load(&self, name: &Name, address: &Address) -> io::Result<Remembered> {
        if let Some(remembered) = self.recent.get(name) {
            return Ok(remembered);
        }
        let record = read(&address.path(&self.directory))?.map(Arc::new);
        self.recent.insert(name.clone(), record.clone());
        Ok(record)
    }

    fn change(
        &self,
        name: &Name,
        address: &Address,
        change: &TraitChange,
        now: Timestamp,
    ) -> io::Result<Result<IdentityRecord, ChangeError>> {
        let held = self.load(name, address)?;
        let mut record = match held.as_deref() {
            Some(held) => held.clone(),
            None => IdentityRecord {
                created_at_micros: now.micros(),
                ..IdentityRecord::default()
            },
        };
        if let Err(error) = record.apply(change, now) {
            return Ok(Err(error));
        }
        if held.as_deref() != Some(&record) {
            let journal = self.journal.get().map(|journal| journal.begin());
            let whose = (&*name.environment_key, &*name.identifier);
            if let Some(journal) = &journal
                && let Some(news) = record.news(held.as_deref(), change, now, whose)
            {
                journal.append(&news)?;
            }
            self.save(name, address, &record)?;
        }
        Ok(Ok(record))
    }

    fn save(&self, name: &Name, address: &Address, record: &IdentityRecord) -> io::Result<()> {
        let content = serde_json::to_vec(&Stored {
            identifier: (&*name.identifier).into(),
            record: record.clone(),
        })?;
        let path = address.path(&self.directory);
        let replaced = match durable::replace(&path, &content) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                durable::create_directory(path.parent().unwrap_or(&self.directory))?;
                durable::replace(&path, &content)
            }
            other => other,
        };
        match replaced {
            Ok(()) => {
                let record = Arc::new(record.clone());
                self.recent.insert(name.clone(), Some(record));
            }
            // Whichever of the two is on disk now, the next request shall see that one.
            Err(_) => drop(self.recent.remove(name)),
        }
        replaced
    }
}

impl Name<&str> {
    fn to_owned(&self) -> Name {
        Name {
            environment_key: self.environment_key.into(),
            identifier: self.identifier.into(),
        }
    }
}

impl Equivalent<Name> for Name<&str> {
    fn equivalent(&self, name: &Name) -> bool {
        *self.identifier == *name.identifier && *self.environment_key == *name.environment_key
    }
}

impl Address {
    fn of(name: &Name<&str>) -> Self {
        Self {
            environment: Sha256::digest(name.environment_key).into(),
            identifier: Sha256::digest(name.identifier).into(),
        }
    }

    fn path(&self, directory: &Path) -> PathBuf {
        let name = hex::encode(self.identifier);
        let mut path = directory.join(hex::encode(self.environment));
        path.push(&name[..2]);
        path.push(name);
        path.set_extension("json");
        path
    }
}

impl Weighter<Name, Remembered> for RecordSize {
    fn weight(&self, name: &Name, remembered: &Remembered) -> u64 {
        let name = (name.environment_key.len() + name.identifier.len()) as u64;
        let traits = remembered.iter().flat_map(|record| &record.traits);
        let bytes = traits.map(|stored| {
            let text = match &stored.value {
                TraitScalar::Text(text) => text.len(),
                _ => 0,
            };
            (size_of_val(stored) + stored.key.len() + text) as u64
        });
        let deleted = remembered.iter().flat_map(|record| &record.deleted);
        let deleted = deleted.map(|mark| (size_of_val(mark) + mark.key.len()) as u64);
        RECORD_OVERHEAD + name + bytes.sum::<u64>() + deleted.sum::<u64>()
    }
}

fn read(path: &Path) -> io::Result<Option<IdentityRecord>> {
    let content = match fs::read(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match serde_json::from_slice::<Stored<'_>>(&content) {
        Ok(stored) => Ok(Some(stored.record)),
        Err(error) => {
            let aside = durable::set_aside(path)?;
            tracing::error!(
                file = %aside.display(), %error,
                "damaged identity set aside; it starts again without traits",
            );
            Ok(None)
        }
    }
}

async fn on_disk<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Unavailable> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(Unavailable(format!("identity store: {error}"))),
        Err(error) => Err(Unavailable(format!("identity store: {error}"))),
    }
}
