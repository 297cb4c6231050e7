//! The marks that deleted traits leave in a record, so that an older change that arrives later does not bring
//! one back (docs/adr/0013).
//!
//! A trait is either stored or marked as deleted, never both. Marks are for other places' changes: a request here that
//! sets a deleted trait is later than the deletion, and nothing that is answered shows them.

use super::delivery::TraitVersion;
use super::identity_record::{IdentityRecord, StoredTrait, TraitScalar};
use crate::time::Timestamp;

/// The time of a change made at `now` of what changed at `before`: later than that, whatever the clock says.
pub(super) fn later(before: i64, now: Timestamp) -> i64 {
    now.micros().max(before.saturating_add(1))
}

impl IdentityRecord {
    /// For how long a deletion is remembered, in microseconds: longer than a change is on its way.
    pub const DELETED_FOR: i64 = 30 * 24 * 60 * 60 * 1_000_000;

    /// How many deletions are remembered of an identity; beyond, the oldest is forgotten.
    pub const MOST_DELETED: usize = 64;

    /// When a trait was deleted, microseconds since the epoch, if that is remembered.
    pub fn deleted_at(&self, key: &str) -> Option<i64> {
        let mark = self.deleted.iter().find(|mark| mark.key == key);
        mark.map(|mark| mark.changed_at_micros)
    }

    /// Remembers that a trait was deleted `at` a time, as known at `now`.
    pub(super) fn bury(&mut self, key: String, at: i64, now: Timestamp) {
        let forgotten = now.micros().saturating_sub(Self::DELETED_FOR);
        self.deleted
            .retain(|mark| mark.key != key && mark.changed_at_micros > forgotten);
        if at <= forgotten {
            return;
        }
        self.deleted.push(TraitVersion::deletion(key, at));
        if self.deleted.len() > Self::MOST_DELETED {
            let places = 0..self.deleted.len();
            let oldest = places.min_by_key(|place| self.deleted[*place].changed_at_micros);
            self.deleted.swap_remove(oldest.unwrap_or_default());
        }
    }

    /// Forgets that a trait was deleted, as it is set again.
    pub(super) fn exhume(&mut self, key: &str) {
        self.deleted.retain(|mark| mark.key != key);
    }

    /// A trait that is set here at `now` and was not stored.
    pub(super) fn begin(&mut self, key: &str, value: &TraitScalar, now: Timestamp) -> StoredTrait {
        let deleted_at = self.deleted_at(key);
        self.exhume(key);
        StoredTrait {
            id: None,
            key: key.to_owned(),
            value: value.clone(),
            changed_at_micros: deleted_at.map_or(now.micros(), |at| later(at, now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::TraitChange;

    const DAY: i64 = IdentityRecord::DELETED_FOR / 30;

    fn version(key: &str, value: Option<i64>, at: i64) -> TraitVersion {
        TraitVersion {
            key: key.to_owned(),
            value: value.map(TraitScalar::Int),
            changed_at_micros: at,
        }
    }

    fn adopt(record: &mut IdentityRecord, version: TraitVersion, now: i64) {
        let adopt = TraitChange::Adopt(vec![version]);
        record.apply(&adopt, Timestamp(now)).unwrap();
    }

    fn merge(record: &mut IdentityRecord, key: &str, value: Option<i64>, now: i64) {
        let merge = TraitChange::Merge(vec![(key.to_owned(), value.map(TraitScalar::Int))]);
        record.apply(&merge, Timestamp(now)).unwrap();
    }

    #[test]
    fn a_deletion_outlasts_what_was_earlier_and_gives_way_to_what_is_later() {
        for deleted_here in [true, false] {
            let mut record = IdentityRecord::default();
            merge(&mut record, "a", Some(1), 10);
            if deleted_here {
                merge(&mut record, "a", None, 20);
            } else {
                adopt(&mut record, version("a", None, 20), 25);
            }
            assert_eq!((record.get("a"), record.deleted_at("a")), (None, Some(20)));
            for at in [5, 15, 20] {
                adopt(&mut record, version("a", Some(2), at), 30);
                assert_eq!(record.get("a"), None, "of {at}");
            }
            adopt(&mut record, version("a", Some(3), 21), 30);
            assert_eq!(record.get("a"), Some(&TraitScalar::Int(3)));
            assert!(record.deleted.is_empty());
        }
    }

    #[test]
    fn a_deletion_may_come_before_what_it_deletes() {
        let mut record = IdentityRecord::default();
        adopt(&mut record, version("a", None, 20), 25);
        adopt(&mut record, version("a", Some(1), 10), 26);
        assert_eq!(record.get("a"), None);
        adopt(&mut record, version("a", None, 15), 27);
        assert_eq!(
            record.deleted_at("a"),
            Some(20),
            "an earlier one says nothing"
        );
    }

    #[test]
    fn what_is_set_here_is_later_than_its_deletion_on_a_slow_clock_too() {
        let mut record = IdentityRecord::default();
        adopt(&mut record, version("a", None, 1_000), 5);
        merge(&mut record, "a", Some(1), 7);
        assert_eq!(record.traits[0].changed_at_micros, 1_001);
        assert!(record.deleted.is_empty());
    }

    #[test]
    fn what_was_never_stored_leaves_no_mark_when_a_request_deletes_it() {
        let mut record = IdentityRecord::default();
        merge(&mut record, "a", None, 7);
        assert_eq!(record, IdentityRecord::default());
    }

    #[test]
    fn marks_are_few_and_go_with_age() {
        let mut record = IdentityRecord::default();
        for n in 0..100 {
            // The later half comes first.
            let at = (n + 50) % 100 + 1;
            adopt(&mut record, version(&at.to_string(), None, at), 200);
        }
        let mut kept: Vec<_> = record.deleted.iter().map(|m| m.changed_at_micros).collect();
        kept.sort_unstable();
        assert_eq!(kept, (37..=100).collect::<Vec<_>>());

        adopt(&mut record, version("late", None, 31 * DAY), 31 * DAY);
        assert_eq!(record.deleted, [version("late", None, 31 * DAY)]);
        adopt(&mut record, version("early", None, DAY), 31 * DAY);
        assert_eq!(record.deleted_at("early"), None);
    }

    #[test]
    fn deletions_of_many_leave_as_few() {
        let mut record = IdentityRecord::default();
        let all = |value: Option<i64>| {
            let keys = 0..5_000;
            let traits = keys.map(|n| (n.to_string(), value.map(TraitScalar::Int)));
            TraitChange::Merge(traits.collect())
        };
        record.apply(&all(Some(1)), Timestamp(1)).unwrap();
        let before = record.traits.clone();
        record.apply(&all(None), Timestamp(9)).unwrap();
        assert_eq!(record.deleted.len(), IdentityRecord::MOST_DELETED);
        let told = record.versions_since(&before, Timestamp(9));
        assert!(told.len() == 5_000 && told.iter().all(|told| told.changed_at_micros == 9));
    }

    #[test]
    fn records_that_were_stored_before_there_were_marks_are_read_and_written_as_they_were() {
        let stored = r#"{"created_at_micros":5,"traits":[{"key":"i","value":2,"at":4}]}"#;
        let mut record: IdentityRecord = serde_json::from_str(stored).unwrap();
        assert!(record.deleted.is_empty());
        assert_eq!(serde_json::to_string(&record).unwrap(), stored);
        merge(&mut record, "i", None, 9);
        let stored = serde_json::to_string(&record).unwrap();
        assert_eq!(
            stored,
            r#"{"created_at_micros":5,"traits":[],"deleted":[{"key":"i","value":null,"changed_at_micros":9}]}"#
        );
        assert_eq!(
            serde_json::from_str::<IdentityRecord>(&stored).unwrap(),
            record
        );
    }
}
