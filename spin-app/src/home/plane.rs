//! A control plane that checks what comes home, its moods and its clock; for tests.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use yardarm_core::edge::delivery::{Delivery, Labels, RequestCount, Resource, Verdict};
use yardarm_core::edge::usage::Counts;
use yardarm_core::edge::{IdentityRecord, StoredTrait, TraitChange, TraitScalar};
use yardarm_core::time::Timestamp;

use super::slots::{self, IDENTITY_SLOTS, News};
use super::turns::{self, Courier};
use crate::identities;
use crate::key_value::KeyValue as _;
use crate::key_value::memory::{Memory, block_on};

pub(super) const SECOND: i64 = 1_000_000;
pub(super) const EVERY: i64 = 10 * SECOND;
pub(super) const USAGE: u8 = IDENTITY_SLOTS;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mood {
    Takes,
    Away,
    LosesReplies,
    Small(usize),
    Refuses,
    /// Fails with some.
    Troubled,
    /// One of the first three, by chance.
    Moody,
}

/// A control plane, and the clock.
pub(super) struct Plane<'a> {
    pub(super) store: &'a Memory,
    pub(super) mood: Cell<Mood>,
    pub(super) clock: Cell<i64>,
    bodies: RefCell<HashMap<String, Vec<u8>>>,
    pub(super) identities: RefCell<BTreeMap<String, IdentityRecord>>,
    pub(super) counted: Cell<u64>,
    pub(super) dropped: Cell<u64>,
    pub(super) attempts: Cell<u32>,
    pub(super) longest: Cell<usize>,
}

impl<'a> Plane<'a> {
    pub(super) fn new(store: &'a Memory) -> Self {
        Self {
            store,
            mood: Cell::new(Mood::Takes),
            clock: Cell::new(1_000 * SECOND),
            bodies: RefCell::default(),
            identities: RefCell::default(),
            counted: Cell::new(0),
            dropped: Cell::new(0),
            attempts: Cell::new(0),
            longest: Cell::new(0),
        }
    }

    pub(super) fn wait(&self, micros: i64) {
        self.clock.set(self.clock.get() + micros);
    }

    /// Another time with every call.
    pub(super) fn tick(&self) -> Timestamp {
        self.wait(1);
        Timestamp(self.clock.get())
    }

    fn take(&self, body: Vec<u8>) {
        let delivery: Delivery = serde_json::from_slice(&body).unwrap();
        assert_eq!(delivery.id.len(), 32);
        assert_eq!(delivery.edge, "spin");
        let rows = delivery.identities.len() + delivery.requests.len();
        assert!(rows > 0 || delivery.dropped > 0, "a delivery of nothing");
        let mut bodies = self.bodies.borrow_mut();
        if let Some(before) = bodies.get(&delivery.id) {
            assert!(*before == body, "changed between two attempts");
            return;
        }
        bodies.insert(delivery.id, body);
        for row in delivery.requests {
            self.counted.set(self.counted.get() + row.count);
        }
        self.dropped.set(self.dropped.get() + delivery.dropped);
        let mut identities = self.identities.borrow_mut();
        for change in delivery.identities {
            let record = identities.entry(change.identifier).or_default();
            record.created_at_micros = change.created_at_micros;
            record
                .apply(&TraitChange::Adopt(change.traits), Timestamp(0))
                .unwrap();
        }
    }

    /// Takes turns until nothing waits.
    pub(super) fn gather(&self) {
        for _ in 0..60 {
            self.wait(61 * SECOND);
            block_on(turns::take(self.store, self, EVERY)).unwrap();
            if waiting(self.store) == 0 {
                return;
            }
        }
        panic!("{} slots are not empty", waiting(self.store));
    }

    /// What is known here is what is stored there, with its times.
    pub(super) fn knows_all(&self, identifiers: &[&str]) {
        for identifier in identifiers {
            let stored = block_on(identities::load(self.store, "env", identifier)).unwrap();
            let known = self.identities.borrow().get(*identifier).cloned();
            for mark in stored.iter().flat_map(|record| &record.deleted) {
                let known = known.as_ref();
                let deleted_at = known.and_then(|known| known.deleted_at(&mark.key));
                assert_eq!(deleted_at, Some(mark.changed_at_micros), "{identifier}");
            }
            assert_eq!(known.map(traits), stored.map(traits), "{identifier}");
        }
    }
}

pub(super) fn traits(record: IdentityRecord) -> BTreeMap<String, (TraitScalar, i64)> {
    let traits = record.traits.into_iter();
    let version = |stored: StoredTrait| (stored.key, (stored.value, stored.changed_at_micros));
    traits.map(version).collect()
}

impl Courier for Plane<'_> {
    async fn send(&self, body: Vec<u8>) -> Result<(Verdict, String), String> {
        self.attempts.set(self.attempts.get() + 1);
        self.longest.set(self.longest.get().max(body.len()));
        for _ in 0..self.attempts.get() % 4 {
            self.store.pause(Duration::ZERO).await;
        }
        let mood = match self.mood.get() {
            Mood::Moody => {
                [Mood::Takes, Mood::LosesReplies, Mood::Away][self.attempts.get() as usize % 3]
            }
            mood => mood,
        };
        let verdict = match mood {
            Mood::Away => return Err("nobody".to_owned()),
            Mood::Troubled if str::from_utf8(&body).unwrap().contains("poison") => Verdict::Later,
            Mood::Refuses => Verdict::Refused,
            Mood::Small(most) if body.len() > most => Verdict::TooLarge,
            Mood::LosesReplies => {
                self.take(body);
                Verdict::Later
            }
            Mood::Takes | Mood::Small(_) | Mood::Troubled | Mood::Moody => {
                self.take(body);
                Verdict::Confirmed
            }
        };
        Ok((verdict, String::new()))
    }

    fn now(&self) -> Timestamp {
        self.tick()
    }
}

/// How many slots are not empty.
pub(super) fn waiting(store: &Memory) -> usize {
    let is_slot = |key: &String| key.starts_with("home/") && key.len() <= 7;
    let mut slots = store.keys();
    slots.retain(is_slot);
    slots.retain(|slot| store.value(slot).unwrap() != EMPTY_SLOT.as_bytes());
    slots.len()
}

/// Names of pages.
pub(super) fn pages(store: &Memory) -> Vec<String> {
    let mut pages = store.keys();
    pages.retain(|key| key.starts_with("home/") && key.len() > 30);
    pages
}

pub(super) const EMPTY_SLOT: &str = "\n{\"id\":\"\",\"edge\":\"\",\"dropped\":0}";

pub(super) fn set(name: &str, value: i64) -> (String, Option<TraitScalar>) {
    (name.to_owned(), Some(TraitScalar::Int(value)))
}

pub(super) fn gone(name: &str) -> (String, Option<TraitScalar>) {
    (name.to_owned(), None)
}

pub(super) async fn change(
    plane: &Plane<'_>,
    identifier: &str,
    traits: Vec<(String, Option<TraitScalar>)>,
) -> bool {
    let change = TraitChange::Merge(traits);
    let now = plane.tick();
    let answer = identities::change(plane.store, ("env", identifier), &change, now, true).await;
    answer.is_ok_and(|changed| changed.is_ok())
}

pub(super) fn requests(minute: i64, count: u64) -> Counts {
    let row = RequestCount {
        environment_key: "env".to_owned(),
        resource: Resource::Flags,
        host: String::new(),
        labels: Labels::default(),
        minute,
        count,
    };
    Counts {
        requests: vec![row],
        ..Counts::default()
    }
}

pub(super) async fn leave(store: &Memory, counts: Counts) -> bool {
    slots::leave(store, USAGE, &News::Counts(counts))
        .await
        .is_ok()
}
