//! Identities an isolate remembers for a moment, so that one which asks all the time does not call
//! its object every time.
//!
//! Plain data without I/O. What is remembered may be behind what is stored by the period
//! (`IDENTITY_MEMORY_SECONDS`), as another isolate may have changed it since, and is not used after.
//! Traits that were sent as they are remembered are *owed* to the object: once a period they are told
//! to it with their times, so that the last one sent wins wherever it was sent. All of it goes within
//! two periods, whatever becomes of its environment.

use std::collections::HashMap;
use std::sync::Arc;

use yardarm_core::edge::delivery::TraitVersion;
use yardarm_core::edge::{IdentityRecord, TraitScalar};

/// Bytes of records to keep, about; an isolate has 128 MB for everything.
const MAX_BYTES: usize = 8 << 20;
/// Identities that may owe something at a time; others call their object.
const MAX_OWING: usize = 4_096;

/// One identity.
#[derive(Debug)]
struct Entry {
    record: Arc<IdentityRecord>,
    /// When it was asked for, milliseconds since the epoch.
    at: i64,
    /// The stamp under which it came in.
    stamp: u64,
    /// The stamp at which answers to calls that crossed last differed, so that which is the later one is not known;
    /// 0 once it is.
    disputed: u64,
}

/// What was sent as it was remembered.
#[derive(Debug)]
struct Owed {
    record: Arc<IdentityRecord>,
    /// For each trait of the record, when it was last sent, microseconds; 0 for never.
    sent: Vec<i64>,
    /// What was owed under earlier records.
    earlier: Vec<TraitVersion>,
}

/// A call of an object that is about to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    stamp: u64,
    at: i64,
}

/// The memory. Names are those of the identities' objects, times milliseconds since the epoch.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    young: HashMap<String, Entry>,
    old: HashMap<String, Entry>,
    young_bytes: usize,
    turned: i64,
    stamp: u64,
    owing: HashMap<String, Owed>,
}

impl Recent {
    /// What is remembered of an identity and no older than `period`. Nothing of one that cannot be owed anything more.
    pub(crate) fn at_hand(&self, name: &str, now: i64, period: i64) -> Option<Arc<IdentityRecord>> {
        let entry = self.young.get(name).or_else(|| self.old.get(name))?;
        let fits = self.owing.len() < MAX_OWING || self.owing.contains_key(name);
        let fresh = now - entry.at < period && fits;
        (fresh && entry.disputed == 0).then(|| Arc::clone(&entry.record))
    }

    /// Marks the beginning of a call.
    pub(crate) fn call(&mut self, now: i64) -> Call {
        self.stamp += 1;
        Call {
            stamp: self.stamp,
            at: now,
        }
    }

    /// Remembers what a call came to. Where another one ended meanwhile and came to something else, nobody knows which
    /// is the later: then nothing is at hand until a call that began after that comes to the same as the one before it.
    pub(crate) fn learn(&mut self, name: String, call: Call, record: &IdentityRecord, period: i64) {
        self.stamp += 1;
        let known = self.young.get(&name).or_else(|| self.old.get(&name));
        let crossed = known.filter(|known| known.stamp > call.stamp);
        let mut entry = Entry {
            record: Arc::new(record.clone()),
            at: call.at,
            stamp: self.stamp,
            disputed: 0,
        };
        if let Some(known) = crossed {
            if *known.record == *record {
                entry.record = Arc::clone(&known.record);
                entry.at = call.at.max(known.at);
                if call.stamp < known.disputed {
                    entry.disputed = known.disputed;
                }
            } else {
                entry.disputed = self.stamp;
            }
        }
        if self.young_bytes > MAX_BYTES / 2 || call.at - self.turned >= period {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
            self.turned = call.at;
        }
        self.young_bytes += size(&name, &entry.record);
        self.young.insert(name, entry);
    }

    /// Forgets an identity: its object did not answer.
    pub(crate) fn forget(&mut self, name: &str) {
        self.young.remove(name);
        self.old.remove(name);
    }

    /// Notes that traits of `record` were sent as they are in it, at `now` in microseconds. Whether the identity owed
    /// nothing before: then [`Self::settle`] is to be called before the period ends.
    pub(crate) fn owe(
        &mut self,
        name: &str,
        record: &Arc<IdentityRecord>,
        traits: &mut dyn Iterator<Item = &str>,
        now: i64,
    ) -> bool {
        let new = |earlier| Owed {
            record: Arc::clone(record),
            sent: vec![0; record.traits.len()],
            earlier,
        };
        let (owed, is_new) = match self.owing.get_mut(name) {
            Some(owed) if Arc::ptr_eq(&owed.record, record) => (owed, false),
            Some(owed) => {
                let earlier = owed.versions();
                *owed = new(earlier);
                (owed, false)
            }
            None => (
                self.owing.entry(name.to_owned()).or_insert(new(Vec::new())),
                true,
            ),
        };
        // Mostly all of them are sent, in their order.
        let mut place = 0;
        for key in traits {
            let length = record.traits.len();
            let found = (0..length)
                .map(|step| (place + step) % length)
                .find(|place| record.traits[*place].key == key);
            if let Some(found) = found {
                owed.sent[found] = now;
                place = found + 1;
            }
        }
        is_new
    }

    /// Takes what an identity owes.
    pub(crate) fn settle(&mut self, name: &str) -> Vec<TraitVersion> {
        let owed = self.owing.remove(name);
        owed.map_or_else(Vec::new, |mut owed| owed.versions())
    }
}

impl Owed {
    /// Each trait as it was last sent.
    fn versions(&mut self) -> Vec<TraitVersion> {
        let mut versions = std::mem::take(&mut self.earlier);
        for (stored, at) in self.record.traits.iter().zip(&self.sent) {
            if *at > 0 {
                versions.retain(|earlier| earlier.key != stored.key);
                versions.push(TraitVersion {
                    key: stored.key.clone(),
                    value: Some(stored.value.clone()),
                    changed_at_micros: *at,
                });
            }
        }
        versions
    }
}

/// About how many bytes an entry takes.
fn size(name: &str, record: &IdentityRecord) -> usize {
    let text = |value: &TraitScalar| match value {
        TraitScalar::Text(text) => text.len(),
        _ => 0,
    };
    let traits = record
        .traits
        .iter()
        .map(|stored| size_of_val(stored) + stored.key.len() + text(&stored.value));
    let deleted = record
        .deleted
        .iter()
        .map(|mark| size_of_val(mark) + mark.key.len());
    let traits = traits.chain(deleted).sum::<usize>();
    size_of::<Entry>() + 2 * size_of::<String>() + name.len() + traits
}

#[cfg(test)]
mod tests {
    use yardarm_core::edge::TraitChange;
    use yardarm_core::time::Timestamp;

    use super::*;

    const PERIOD: i64 = 5_000;

    fn record(traits: &[(&str, i64)]) -> IdentityRecord {
        let mut record = IdentityRecord::default();
        let traits = traits
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Some(TraitScalar::Int(*value))));
        record
            .apply(&TraitChange::Merge(traits.collect()), Timestamp(1))
            .unwrap();
        record
    }

    fn learn(recent: &mut Recent, call: Call, value: i64) {
        recent.learn("ann".to_owned(), call, &record(&[("a", value)]), PERIOD);
    }

    fn at_hand(recent: &Recent, now: i64) -> Option<IdentityRecord> {
        recent
            .at_hand("ann", now, PERIOD)
            .map(|held| (*held).clone())
    }

    #[test]
    fn calls_that_cross_without_end_are_remembered_once_they_agree() {
        let mut recent = Recent::default();
        // Always two under way: each begins before the one before it has come in.
        let mut under_way = recent.call(0);
        let mut come = |recent: &mut Recent, now, value| {
            let next = recent.call(now);
            learn(recent, std::mem::replace(&mut under_way, next), value);
            at_hand(recent, now)
        };
        let one = Some(record(&[("a", 1)]));
        assert_eq!(come(&mut recent, 1, 1), one);
        assert_eq!(come(&mut recent, 2, 1), one);
        // Somebody changes it, and which of the two answers is the later is not known.
        assert_eq!(come(&mut recent, 3, 2), None);
        assert_eq!(come(&mut recent, 4, 1), None);
        assert_eq!(come(&mut recent, 5, 2), None);
        // This call was under way when they differed; the next one was not.
        assert_eq!(come(&mut recent, 6, 2), None);
        assert_eq!(come(&mut recent, 7, 2), Some(record(&[("a", 2)])));
        assert_eq!(come(&mut recent, 8, 2), Some(record(&[("a", 2)])));
    }

    #[test]
    fn a_record_is_used_for_a_period_and_gone_after_two() {
        let mut recent = Recent::default();
        assert_eq!(at_hand(&recent, 0), None);
        let call = recent.call(1_000);
        learn(&mut recent, call, 1);
        assert_eq!(at_hand(&recent, 5_999), Some(record(&[("a", 1)])));
        assert_eq!(at_hand(&recent, 6_000), None);
        for later in [7_000, 13_000] {
            let call = recent.call(later);
            recent.learn("bob".to_owned(), call, &record(&[]), PERIOD);
        }
        assert!(!recent.young.contains_key("ann") && !recent.old.contains_key("ann"));
        let call = recent.call(20_000);
        learn(&mut recent, call, 1);
        recent.forget("ann");
        assert_eq!(at_hand(&recent, 20_000), None);
    }

    #[test]
    fn answers_that_cross_are_not_remembered_until_one_asks_anew() {
        let mut recent = Recent::default();
        let calls = [recent.call(0), recent.call(0), recent.call(0)];
        learn(&mut recent, calls[1], 2);
        assert_eq!(at_hand(&recent, 0), Some(record(&[("a", 2)])));
        learn(&mut recent, calls[2], 3);
        assert_eq!(at_hand(&recent, 0), None);
        learn(&mut recent, calls[0], 1);
        assert_eq!(at_hand(&recent, 0), None);
        let call = recent.call(1);
        learn(&mut recent, call, 3);
        assert_eq!(at_hand(&recent, 1), Some(record(&[("a", 3)])));
    }

    #[test]
    fn what_was_sent_is_owed_once_with_its_last_time() {
        let mut recent = Recent::default();
        let held = Arc::new(record(&[("a", 1), ("b", 2), ("c", 3)]));
        assert!(recent.owe("ann", &held, &mut ["c", "a"].into_iter(), 10));
        assert!(!recent.owe("ann", &held, &mut ["a", "unknown"].into_iter(), 20));
        let changed = Arc::new(record(&[("a", 1), ("c", 4)]));
        assert!(!recent.owe("ann", &changed, &mut ["c"].into_iter(), 30));
        assert!(recent.owe("bob", &held, &mut ["b"].into_iter(), 30));
        let version = |key: &str, value, at| TraitVersion {
            key: key.to_owned(),
            value: Some(TraitScalar::Int(value)),
            changed_at_micros: at,
        };
        assert_eq!(
            recent.settle("ann"),
            [version("a", 1, 20), version("c", 4, 30)]
        );
        assert_eq!(recent.settle("ann"), []);
        assert_eq!(recent.settle("bob"), [version("b", 2, 30)]);
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent = Recent::default();
        let long = "x".repeat(1_000);
        for number in 0..50_000 {
            let call = recent.call(0);
            recent.learn(format!("{long}{number}"), call, &record(&[]), PERIOD);
        }
        let held = recent.young.len() + recent.old.len();
        assert!(held * 1_000 < MAX_BYTES + 10_000, "{held}");
        assert!(recent.at_hand(&format!("{long}49999"), 0, PERIOD).is_some());

        let held = Arc::new(record(&[("a", 1)]));
        for number in 0..MAX_OWING {
            recent.owe(&number.to_string(), &held, &mut ["a"].into_iter(), 1);
        }
        assert!(recent.at_hand(&format!("{long}49999"), 0, PERIOD).is_none());
    }
}
