//! What an isolate holds in memory: snapshots, parts of them, and where server-side keys lead.
//!
//! Plain data without I/O. Ages decide what a request may use: a young copy is used, an older one is
//! used while a newer is looked for in the background, and one past `max_stale` only if that look
//! fails. Copies that say "no such environment" age like any other. Memory is bounded: beyond the
//! budget the copies unused for longest go.

use std::collections::HashMap;

use bytes::Bytes;
use yardarm_core::snapshot::Snapshot;

/// Bytes of snapshots, documents and buckets to keep; an isolate has 128 MB for everything.
const MAX_BYTES: usize = 48 << 20;
/// Environments to remember, absent ones included.
const MAX_ENVIRONMENTS: usize = 1_024;
/// Server-side keys to remember, unknown ones included.
const MAX_SERVER_KEYS: usize = 4_096;
/// A look for newer versions that has not ended by then is given up, in milliseconds: the request
/// that ran it may have been cancelled.
const CHECK_LOST_AFTER: i64 = 10_000;

/// When copies are looked at again, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ages {
    /// From then on a newer version is looked for in the background.
    pub(crate) revalidate: i64,
    /// From then on a request waits for that look.
    pub(crate) max_stale: i64,
}

/// How a copy may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Age {
    /// As it is.
    Fresh,
    /// As it is, but look for a newer one afterwards.
    Stale,
    /// Only if looking for a newer one first comes to nothing.
    Expired,
}

/// A part of a snapshot's version that is fetched when first asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// The environment document.
    Document,
    /// A bucket of identity overrides.
    Overrides(u32),
}

/// One environment.
#[derive(Debug)]
struct Copy {
    /// `None`: there was no such environment.
    snapshot: Option<Snapshot>,
    parts: HashMap<Part, Bytes>,
    /// When it was last known to be the newest, milliseconds since the epoch.
    checked: i64,
    used: i64,
}

impl Copy {
    fn version(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, Snapshot::version)
    }

    fn bytes(&self) -> usize {
        let snapshot = self.snapshot.as_ref().map_or(0, |held| held.bytes().len());
        snapshot + self.parts.values().map(Bytes::len).sum::<usize>()
    }
}

/// Where a server-side key leads.
#[derive(Debug)]
struct Pointer {
    environment: Option<String>,
    checked: i64,
}

/// The memory of one isolate. Times are milliseconds since the epoch.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    copies: HashMap<String, Copy>,
    pointers: HashMap<String, Pointer>,
    bytes: usize,
    checking_since: Option<i64>,
}

impl Shelf {
    /// What is held of an environment, and how it may be used.
    pub(crate) fn find(
        &mut self,
        environment: &str,
        now: i64,
        ages: Ages,
    ) -> Option<(Option<Snapshot>, Age)> {
        let copy = self.copies.get_mut(environment)?;
        copy.used = now;
        Some((copy.snapshot.clone(), age(copy.checked, now, ages)))
    }

    /// Takes in what a look-up at `now` found. A version older than the one held is let go: stores
    /// may lag behind what this isolate has already served.
    pub(crate) fn hold(&mut self, environment: &str, snapshot: Option<Snapshot>, now: i64) {
        if let Some(copy) = self.copies.get_mut(environment) {
            let found = snapshot.as_ref().map_or(0, Snapshot::version);
            copy.checked = copy.checked.max(now);
            if found <= copy.version() {
                return;
            }
            self.bytes -= copy.bytes();
            copy.snapshot = snapshot;
            copy.parts.clear();
            self.bytes += copy.bytes();
        } else {
            let copy = Copy {
                snapshot,
                parts: HashMap::new(),
                checked: now,
                used: now,
            };
            self.bytes += copy.bytes();
            self.copies.insert(environment.to_owned(), copy);
        }
        self.make_room(environment);
    }

    /// A part of this very version, if it has been fetched before.
    pub(crate) fn part(&self, snapshot: &Snapshot, part: Part) -> Option<Bytes> {
        let copy = self.copies.get(snapshot.environment_key())?;
        if copy.version() == snapshot.version() {
            copy.parts.get(&part).cloned()
        } else {
            None
        }
    }

    /// Keeps a part of a version, unless that version has been replaced since.
    pub(crate) fn hold_part(&mut self, snapshot: &Snapshot, part: Part, bytes: Bytes) {
        let Some(copy) = self.copies.get_mut(snapshot.environment_key()) else {
            return;
        };
        if copy.version() != snapshot.version() {
            return;
        }
        self.bytes += bytes.len();
        if let Some(before) = copy.parts.insert(part, bytes) {
            self.bytes -= before.len();
        }
        self.make_room(snapshot.environment_key());
    }

    /// The environment a server-side key leads to, and how that may be used.
    pub(crate) fn pointer(
        &self,
        sha256: &str,
        now: i64,
        ages: Ages,
    ) -> Option<(Option<String>, Age)> {
        let pointer = self.pointers.get(sha256)?;
        Some((pointer.environment.clone(), age(pointer.checked, now, ages)))
    }

    /// Remembers where a server-side key leads.
    pub(crate) fn point(&mut self, sha256: &str, environment: Option<String>, now: i64) {
        if self.pointers.len() >= MAX_SERVER_KEYS && !self.pointers.contains_key(sha256) {
            self.pointers.retain(|_, held| held.environment.is_some());
            if self.pointers.len() >= MAX_SERVER_KEYS {
                self.pointers.clear();
            }
        }
        let pointer = Pointer {
            environment,
            checked: now,
        };
        self.pointers.insert(sha256.to_owned(), pointer);
    }

    /// Every environment held with its version, 0 where there was none. `None` while another request
    /// is looking.
    pub(crate) fn begin_check(&mut self, now: i64) -> Option<Vec<(String, u64)>> {
        let running = |since: i64| (0..CHECK_LOST_AFTER).contains(&(now - since));
        if self.checking_since.is_some_and(running) {
            return None;
        }
        self.checking_since = Some(now);
        Some(self.versions())
    }

    /// Every environment held with its version, 0 where there was none.
    pub(crate) fn versions(&self) -> Vec<(String, u64)> {
        let held = self.copies.iter();
        held.map(|(key, copy)| (key.clone(), copy.version()))
            .collect()
    }

    /// Ends a look: these versions were the newest at `now`.
    pub(crate) fn end_check(&mut self, newest: &[(String, u64)], now: i64) {
        self.checking_since = None;
        for (environment, version) in newest {
            if let Some(copy) = self.copies.get_mut(environment)
                && copy.version() == *version
            {
                copy.checked = copy.checked.max(now);
            }
        }
    }

    /// Lets go of the copies unused for longest until the rest fits; never of `keep`.
    fn make_room(&mut self, keep: &str) {
        while self.bytes > MAX_BYTES || self.copies.len() > MAX_ENVIRONMENTS {
            let oldest = self
                .copies
                .iter()
                .filter(|(key, _)| key.as_str() != keep)
                // Absent environments first: they are cheap to look up and easy to invent.
                .min_by_key(|(_, copy)| (copy.snapshot.is_some(), copy.used))
                .map(|(key, _)| key.clone());
            let Some(gone) = oldest.and_then(|key| self.copies.remove(&key)) else {
                return;
            };
            self.bytes -= gone.bytes();
        }
    }
}

fn age(checked: i64, now: i64, ages: Ages) -> Age {
    match now - checked {
        // A clock that went back says nothing about the copy.
        past if past < ages.revalidate => Age::Fresh,
        past if past < ages.max_stale => Age::Stale,
        _ => Age::Expired,
    }
}
