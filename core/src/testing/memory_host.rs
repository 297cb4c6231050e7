//! A host that keeps everything in memory and stands still in time.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::edge::{
    ChangeError, Held, Host, IdentityRecord, Install, KeyRef, TraitChange, Unavailable,
};
use crate::snapshot::{Package, Snapshot};
use crate::time::Timestamp;

/// The host. Its clock shows what [`Self::set_now`] set; its random bytes count up.
#[derive(Debug)]
pub struct MemoryHost {
    secret: Option<Vec<u8>>,
    numbers_rows: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    now: Timestamp,
    drawn: u128,
    broken: bool,
    last_row: i64,
    packages: BTreeMap<String, Package>,
    /// Parts that came for versions that lack others, by environment.
    waiting: BTreeMap<String, BTreeMap<[u8; 32], Bytes>>,
    identities: BTreeMap<(String, String), IdentityRecord>,
}

impl MemoryHost {
    /// An empty host at a moment. Without a secret it takes no publications.
    pub fn new(secret: Option<&[u8]>, now: Timestamp) -> Self {
        Self {
            secret: secret.map(<[u8]>::to_vec),
            numbers_rows: false,
            state: Mutex::new(State {
                now,
                ..State::default()
            }),
        }
    }

    /// Gives identities and traits row ids, counting from 1, as a host over Postgres does.
    #[must_use]
    pub fn with_row_ids(mut self) -> Self {
        self.numbers_rows = true;
        self
    }

    /// Sets the clock.
    pub fn set_now(&self, now: Timestamp) {
        self.state().now = now;
    }

    /// Makes the store refuse from now on, or work again.
    pub fn set_broken(&self, broken: bool) {
        self.state().broken = broken;
    }

    /// What is stored of an identity.
    pub fn stored(&self, environment_key: &str, identifier: &str) -> Option<IdentityRecord> {
        let key = (environment_key.to_owned(), identifier.to_owned());
        self.state().identities.get(&key).cloned()
    }

    /// Stores an identity as it is, in place of what was stored of it.
    pub fn store_identity(&self, environment_key: &str, identifier: &str, record: IdentityRecord) {
        let key = (environment_key.to_owned(), identifier.to_owned());
        self.state().identities.insert(key, record);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, where the store works.
    fn store(&self) -> Result<MutexGuard<'_, State>, Unavailable> {
        let state = self.state();
        if state.broken {
            Err(Unavailable("broken by the test".to_owned()))
        } else {
            Ok(state)
        }
    }

    fn package_of(&self, snapshot: &Snapshot) -> Result<Option<Package>, Unavailable> {
        let package = self
            .store()?
            .packages
            .get(snapshot.environment_key())
            .cloned();
        Ok(package.filter(|package| package.meta().version == snapshot.version()))
    }
}

impl State {
    fn next_row(&mut self) -> i64 {
        self.last_row += 1;
        self.last_row
    }
}

impl Host for MemoryHost {
    fn now(&self) -> Timestamp {
        self.state().now
    }

    fn random(&self) -> [u8; 16] {
        let mut state = self.state();
        state.drawn += 1;
        state.drawn.to_be_bytes()
    }

    fn name(&self) -> &'static str {
        "memory"
    }

    fn has_streams(&self) -> bool {
        true
    }

    fn publishing_secret(&self) -> Option<Vec<u8>> {
        self.secret.clone()
    }

    async fn snapshot(&self, key: KeyRef<'_>) -> Result<Option<Snapshot>, Unavailable> {
        let state = self.store()?;
        let package = match key {
            KeyRef::Client(key) => state.packages.get(key),
            KeyRef::Server(hash) => state
                .packages
                .values()
                .find(|package| package.meta().server_keys.iter().any(|held| held == hash)),
        };
        let Some(package) = package else {
            return Ok(None);
        };
        let opened = Snapshot::open(package.snapshot());
        opened
            .map(Some)
            .map_err(|error| Unavailable(error.to_string()))
    }

    async fn part(&self, snapshot: &Snapshot, number: u32) -> Result<Option<Bytes>, Unavailable> {
        Ok(self
            .package_of(snapshot)?
            .and_then(|package| package.part(number)))
    }

    async fn identity(
        &self,
        snapshot: &Snapshot,
        identifier: &str,
    ) -> Result<Option<IdentityRecord>, Unavailable> {
        let key = (snapshot.environment_key().to_owned(), identifier.to_owned());
        Ok(self.store()?.identities.get(&key).cloned())
    }

    async fn change_identity(
        &self,
        snapshot: &Snapshot,
        identifier: &str,
        change: &TraitChange,
    ) -> Result<Result<IdentityRecord, ChangeError>, Unavailable> {
        let mut state = self.store()?;
        let key = (snapshot.environment_key().to_owned(), identifier.to_owned());
        let mut record = match state.identities.get(&key) {
            Some(record) => record.clone(),
            None => IdentityRecord {
                id: self.numbers_rows.then(|| state.next_row()),
                created_at_micros: state.now.micros(),
                ..IdentityRecord::default()
            },
        };
        if let Err(error) = record.apply(change, state.now) {
            return Ok(Err(error));
        }
        for stored in record
            .traits
            .iter_mut()
            .filter(|stored| stored.id.is_none())
        {
            stored.id = self.numbers_rows.then(|| state.next_row());
        }
        state.identities.insert(key, record.clone());
        Ok(Ok(record))
    }

    async fn install(&self, package: &Package) -> Result<Install, Unavailable> {
        let mut state = self.store()?;
        let meta = package.meta();
        if let Some(held) = state.packages.get(&meta.environment_key) {
            let held = held.meta().version;
            if held > meta.version {
                return Ok(Install::Older { held });
            }
            if held == meta.version {
                return Ok(Install::Already);
            }
        }
        let key = &meta.environment_key;
        let mut parts = state.waiting.remove(key).unwrap_or_default();
        let held = state.packages.get(key);
        for (name, part) in held.into_iter().flat_map(Package::named_parts) {
            parts.insert(*name, part.clone());
        }
        let package = package.completed(|name| parts.get(name).cloned());
        if !package.is_whole() {
            let came = package
                .named_parts()
                .map(|(name, part)| (*name, part.clone()));
            parts.extend(came);
            state.waiting.insert(key.clone(), parts);
            let missing = package.missing();
            return Ok(Install::Incomplete { missing });
        }
        state.packages.insert(meta.environment_key, package);
        Ok(Install::Stored)
    }

    async fn held(&self) -> Result<Vec<Held>, Unavailable> {
        Ok(self
            .store()?
            .packages
            .values()
            .map(|package| package.meta().into())
            .collect())
    }
}
