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

/// One environment.
#[derive(Debug)]
struct Copy {
    /// `None`: there was no such environment.
    snapshot: Option<Snapshot>,
    /// Parts that were asked for, by SHA-256.
    parts: HashMap<[u8; 32], Bytes>,
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
            // Most parts are in the next version as well, under the same name.
            let names = snapshot.iter().flat_map(|snapshot| {
                let numbers = 0..snapshot.parts();
                numbers.filter_map(|number| snapshot.part_name(number).map(|name| *name.sha256))
            });
            let mut parts = HashMap::new();
            for name in names {
                if let Some(part) = copy.parts.remove(&name) {
                    parts.insert(name, part);
                }
            }
            copy.parts = parts;
            copy.snapshot = snapshot;
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

    /// The version held of an environment, 0 where there is none; `None` if nothing is known of it.
    pub(crate) fn version(&self, environment: &str) -> Option<u64> {
        self.copies.get(environment).map(Copy::version)
    }

    /// A part, if it has been fetched before.
    pub(crate) fn part(&self, snapshot: &Snapshot, number: u32) -> Option<Bytes> {
        let name = snapshot.part_name(number)?;
        let copy = self.copies.get(snapshot.environment_key())?;
        copy.parts.get(name.sha256).cloned()
    }

    /// Keeps a part of a version, unless that version has been replaced since.
    pub(crate) fn hold_part(&mut self, snapshot: &Snapshot, number: u32, bytes: Bytes) {
        let Some(name) = snapshot.part_name(number) else {
            return;
        };
        let Some(copy) = self.copies.get_mut(snapshot.environment_key()) else {
            return;
        };
        if copy.version() != snapshot.version() {
            return;
        }
        self.bytes += bytes.len();
        if let Some(before) = copy.parts.insert(*name.sha256, bytes) {
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
    /// is looking, unless this one `waits` for news.
    pub(crate) fn begin_check(&mut self, now: i64, waits: bool) -> Option<Vec<(String, u64)>> {
        let running = |since: i64| (0..CHECK_LOST_AFTER).contains(&(now - since));
        if !waits && self.checking_since.is_some_and(running) {
            return None;
        }
        self.checking_since = Some(now);
        let held = self.copies.iter();
        Some(
            held.map(|(key, copy)| (key.clone(), copy.version()))
                .collect(),
        )
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

    /// Lets go of the copies unused for longest until the rest fits; of `keep` only of its parts.
    fn make_room(&mut self, keep: &str) {
        while self.bytes > MAX_BYTES || self.copies.len() > MAX_ENVIRONMENTS {
            let oldest = self
                .copies
                .iter()
                .filter(|(key, _)| key.as_str() != keep)
                // Absent environments first: they are cheap to look up and easy to invent.
                .min_by_key(|(_, copy)| (copy.snapshot.is_some(), copy.used))
                .map(|(key, _)| key.clone());
            if let Some(gone) = oldest.and_then(|key| self.copies.remove(&key)) {
                self.bytes -= gone.bytes();
            } else {
                if let Some(copy) = self.copies.get_mut(keep) {
                    self.bytes -= copy.bytes();
                    copy.parts.clear();
                    self.bytes += copy.bytes();
                }
                return;
            }
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

#[cfg(test)]
mod tests {
    use yardarm_core::snapshot::{Package, compile};

    use super::*;

    const AGES: Ages = Ages {
        revalidate: 2_000,
        max_stale: 30_000,
    };

    fn snapshot(key: &str, version: u64) -> Snapshot {
        Snapshot::open(Package::tombstone(key, version, 0).snapshot()).unwrap()
    }

    fn held(shelf: &mut Shelf, key: &str, now: i64) -> Option<(u64, Age)> {
        let (snapshot, age) = shelf.find(key, now, AGES)?;
        Some((snapshot.map_or(0, |held| held.version()), age))
    }

    #[test]
    fn a_copy_ages() {
        let mut shelf = Shelf::default();
        assert_eq!(held(&mut shelf, "a", 0), None);
        shelf.hold("a", Some(snapshot("a", 1)), 10_000);
        for (now, age) in [
            (9_000, Age::Fresh),
            (11_999, Age::Fresh),
            (12_000, Age::Stale),
            (39_999, Age::Stale),
            (40_000, Age::Expired),
        ] {
            assert_eq!(held(&mut shelf, "a", now), Some((1, age)), "{now}");
        }
    }

    #[test]
    fn versions_only_grow() {
        let mut shelf = Shelf::default();
        shelf.hold("a", Some(snapshot("a", 5)), 0);
        shelf.hold("a", Some(snapshot("a", 4)), 5_000);
        assert_eq!(held(&mut shelf, "a", 5_000), Some((5, Age::Fresh)));
        shelf.hold("a", None, 9_000);
        assert_eq!(held(&mut shelf, "a", 9_000), Some((5, Age::Fresh)));
        shelf.hold("a", Some(snapshot("a", 6)), 9_000);
        assert_eq!(held(&mut shelf, "a", 9_000), Some((6, Age::Fresh)));
    }

    #[test]
    fn an_absent_environment_is_remembered_until_it_is_there() {
        let mut shelf = Shelf::default();
        shelf.hold("a", None, 0);
        assert_eq!(held(&mut shelf, "a", 0), Some((0, Age::Fresh)));
        assert_eq!(
            shelf.begin_check(2_000, false),
            Some(vec![("a".to_owned(), 0)])
        );
        shelf.hold("a", Some(snapshot("a", 1)), 2_000);
        assert_eq!(held(&mut shelf, "a", 2_000), Some((1, Age::Fresh)));
    }

    #[test]
    fn one_look_at_a_time_and_a_lost_one_is_given_up() {
        let mut shelf = Shelf::default();
        assert!(shelf.begin_check(0, false).is_some());
        assert!(shelf.begin_check(CHECK_LOST_AFTER - 1, false).is_none());
        assert!(shelf.begin_check(1, true).is_some());
        assert!(shelf.begin_check(CHECK_LOST_AFTER + 1, false).is_some());
        shelf.end_check(&[], CHECK_LOST_AFTER + 1);
        assert!(shelf.begin_check(CHECK_LOST_AFTER + 1, false).is_some());
    }

    #[test]
    fn a_look_confirms_only_what_it_asked_about() {
        let mut shelf = Shelf::default();
        shelf.hold("a", Some(snapshot("a", 1)), 0);
        shelf.hold("b", Some(snapshot("b", 1)), 0);
        let asked = shelf.begin_check(5_000, false).unwrap();
        shelf.hold("b", Some(snapshot("b", 2)), 0);
        shelf.end_check(&asked, 5_000);
        assert_eq!(held(&mut shelf, "a", 5_000), Some((1, Age::Fresh)));
        assert_eq!(held(&mut shelf, "b", 5_000), Some((2, Age::Stale)));
    }

    /// An environment whose override for `overridden` is `value`: the document is part 0, and the
    /// override's bucket is part 1.
    fn overriding(key: &str, version: u64, value: &str) -> Package {
        let state = |value: &str| serde_json::json!({"feature": {"id": 1, "name": "f"}, "feature_state_value": value});
        let publication = serde_json::json!({"version": version, "updated_at_micros": 0, "document": {
            "id": 1, "api_key": key, "project": {"id": 1, "organisation": {"id": 1}},
            "feature_states": [state("default")], "updated_at": version.to_string(),
            "identity_overrides": [{"identifier": "someone", "identity_features": [state(value)]}]}});
        compile(&serde_json::from_value(publication).unwrap()).0
    }

    #[test]
    fn parts_stay_while_the_newest_version_names_them() {
        let mut shelf = Shelf::default();
        let [old, same, new] =
            [(1, "x"), (2, "x"), (3, "y")].map(|(version, value)| overriding("a", version, value));
        shelf.hold("a", Some(old.opened().clone()), 0);
        for number in [0, 1] {
            shelf.hold_part(old.opened(), number, old.part(number).unwrap());
        }
        assert_eq!(shelf.part(old.opened(), 1), old.part(1));
        // The document tells when it changed, the bucket does not.
        shelf.hold("a", Some(same.opened().clone()), 0);
        assert_eq!(shelf.part(same.opened(), 0), None);
        assert_eq!(shelf.part(same.opened(), 1), same.part(1));
        shelf.hold("a", Some(new.opened().clone()), 0);
        assert_eq!(shelf.part(new.opened(), 1), None);
        // Fetched for a request that began before the switch.
        shelf.hold_part(same.opened(), 1, same.part(1).unwrap());
        assert_eq!(shelf.part(same.opened(), 1), None);
        assert_eq!(shelf.bytes, new.opened().bytes().len());
    }

    #[test]
    fn memory_is_bounded_and_what_is_unused_goes_first() {
        let mut shelf = Shelf::default();
        let [a, b, c] = ["a", "b", "c"].map(|key| overriding(key, 1, "x").opened().clone());
        let part = Bytes::from(vec![0; MAX_BYTES / 4]);
        for (now, snapshot) in (0..).zip([&a, &b, &c]) {
            shelf.hold(snapshot.environment_key(), Some(snapshot.clone()), now);
            shelf.hold_part(snapshot, 0, part.clone());
        }
        held(&mut shelf, "a", 10);
        shelf.hold_part(&c, 1, part.clone());
        assert_eq!(held(&mut shelf, "b", 10), None);
        assert!(held(&mut shelf, "a", 10).is_some() && held(&mut shelf, "c", 10).is_some());
        let sum: usize = shelf.copies.values().map(Copy::bytes).sum();
        assert_eq!(shelf.bytes, sum);
        // One environment alone keeps within the bound, too.
        shelf.hold_part(&c, 0, Bytes::from(vec![0; MAX_BYTES]));
        assert!(shelf.bytes <= MAX_BYTES && held(&mut shelf, "c", 10).is_some());
    }

    #[test]
    fn invented_keys_do_not_push_out_real_ones() {
        let mut shelf = Shelf::default();
        shelf.hold("real", Some(snapshot("real", 1)), 0);
        for invented in 0..2 * MAX_ENVIRONMENTS {
            shelf.hold(&format!("invented-{invented}"), None, 1);
        }
        assert_eq!(shelf.copies.len(), MAX_ENVIRONMENTS);
        assert!(held(&mut shelf, "real", 1).is_some());
    }

    #[test]
    fn server_keys_lead_to_environments() {
        let mut shelf = Shelf::default();
        assert_eq!(shelf.pointer("00", 0, AGES), None);
        shelf.point("00", Some("a".to_owned()), 0);
        assert_eq!(
            shelf.pointer("00", 1, AGES),
            Some((Some("a".to_owned()), Age::Fresh))
        );
        for invented in 0..2 * MAX_SERVER_KEYS {
            shelf.point(&format!("{invented:04x}"), None, 1);
        }
        assert!(shelf.pointers.len() <= MAX_SERVER_KEYS);
        assert_eq!(
            shelf.pointer("00", 3_000, AGES),
            Some((Some("a".to_owned()), Age::Stale))
        );
    }
}
