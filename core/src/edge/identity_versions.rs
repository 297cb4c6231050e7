//! How changes of one identity that were made in different places come together: trait by trait, the
//! later change wins, and a deletion is a change like any other (`deleted_traits`). Of two changes of
//! the same microsecond the one that was there stays.

use std::collections::HashMap;

use super::deleted_traits::later;
use super::delivery::{IdentityChange, TraitVersion};
use super::identity_record::{IdentityRecord, StoredTrait, TraitChange};
use crate::time::Timestamp;

impl IdentityRecord {
    /// Takes over each trait whose version is later than the one known. Taking the same versions
    /// again, or in another order, comes to the same.
    pub(super) fn adopt(&mut self, versions: &[TraitVersion], now: Timestamp) {
        for version in versions {
            let TraitVersion {
                key,
                value,
                changed_at_micros: at,
            } = version;
            let place = self.traits.iter().position(|stored| stored.key == *key);
            let known = match place {
                Some(place) => Some(self.traits[place].changed_at_micros),
                None => self.deleted_at(key),
            };
            if known.is_some_and(|known| known >= *at) {
                continue;
            }
            match (value, place) {
                (Some(value), Some(place)) => {
                    let stored = &mut self.traits[place];
                    stored.value = value.clone();
                    stored.changed_at_micros = *at;
                }
                (Some(value), None) => {
                    self.exhume(key);
                    self.traits.push(StoredTrait {
                        id: None,
                        key: key.clone(),
                        value: value.clone(),
                        changed_at_micros: *at,
                    });
                }
                (None, place) => {
                    if let Some(place) = place {
                        self.traits.remove(place);
                    }
                    self.bury(key.clone(), *at, now);
                }
            }
        }
    }

    /// What has to be told to others after a change at `now`: the traits that are new, another or of another time than
    /// in `before`, and those that went.
    pub fn versions_since(&self, before: &[StoredTrait], now: Timestamp) -> Vec<TraitVersion> {
        let mut gone: HashMap<&str, &StoredTrait> = before
            .iter()
            .map(|stored| (stored.key.as_str(), stored))
            .collect();
        let mut versions = Vec::new();
        for stored in &self.traits {
            let old = gone.remove(stored.key.as_str());
            let same = |old: &StoredTrait| {
                old.value == stored.value && old.changed_at_micros == stored.changed_at_micros
            };
            if !old.is_some_and(same) {
                versions.push(stored.clone().into());
            }
        }
        let deleted = before
            .iter()
            .filter(|stored| gone.contains_key(stored.key.as_str()))
            .map(|stored| {
                // Not remembered where very many went at once.
                let at = self
                    .deleted_at(&stored.key)
                    .unwrap_or_else(|| later(stored.changed_at_micros, now));
                TraitVersion::deletion(stored.key.clone(), at)
            });
        versions.extend(deleted);
        versions
    }

    /// What an edge has to tell its control plane of a `change` at `now` that made this of what was stored `before`:
    /// an identity that is new, and traits that are another. Nothing of a change that came from elsewhere.
    pub fn news(
        &self,
        before: Option<&Self>,
        change: &TraitChange,
        now: Timestamp,
        (environment_key, identifier): (&str, &str),
    ) -> Option<IdentityChange> {
        if matches!(change, TraitChange::Adopt(_)) {
            return None;
        }
        let traits = before.map_or(&[][..], |before| &before.traits);
        let traits = self.versions_since(traits, now);
        (before.is_none() || !traits.is_empty()).then(|| IdentityChange {
            environment_key: environment_key.to_owned(),
            identifier: identifier.to_owned(),
            created_at_micros: self.created_at_micros,
            traits,
        })
    }
}

impl IdentityChange {
    /// Adds what changed `later`: of each trait the latest version counts.
    pub fn absorb(&mut self, later: Self) {
        for version in later.traits {
            match self.traits.iter_mut().find(|held| held.key == version.key) {
                Some(held) if held.changed_at_micros > version.changed_at_micros => {}
                Some(held) => *held = version,
                None => self.traits.push(version),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::edge::{TraitChange, TraitScalar};

    fn version(key: &str, value: Option<i64>, at: i64) -> TraitVersion {
        TraitVersion {
            key: key.to_owned(),
            value: value.map(TraitScalar::Int),
            changed_at_micros: at,
        }
    }

    fn adopted(versions: &[TraitVersion]) -> IdentityRecord {
        let mut record = IdentityRecord::default();
        record.adopt(versions, Timestamp(0));
        record
    }

    #[test]
    fn the_later_change_of_a_trait_wins() {
        let mut record = adopted(&[version("a", Some(1), 10), version("b", Some(1), 10)]);
        let changes = [
            version("a", Some(2), 9),
            version("b", None, 11),
            version("c", None, 12),
        ];
        record.adopt(&changes, Timestamp(13));
        assert_eq!(record.traits, adopted(&[version("a", Some(1), 10)]).traits);
        assert_eq!(record.deleted, changes[1..]);
        for tie in [Some(3), None] {
            record.adopt(&[version("a", tie, 10)], Timestamp(13));
            assert_eq!(record.get("a"), Some(&TraitScalar::Int(1)), "a tie stays");
        }
    }

    #[test]
    fn a_change_here_counts_as_later_than_what_it_changes() {
        let mut record = adopted(&[version("a", Some(1), 1_000)]);
        let slow = Timestamp(5);
        let before = record.traits.clone();
        let merge = |value| TraitChange::Merge(vec![("a".to_owned(), value)]);
        record
            .apply(&merge(Some(TraitScalar::Int(2))), slow)
            .unwrap();
        assert_eq!(
            record.versions_since(&before, slow),
            [version("a", Some(2), 1_001)]
        );
        let before = record.traits.clone();
        record.apply(&merge(None), slow).unwrap();
        assert_eq!(
            record.versions_since(&before, slow),
            [version("a", None, 1_002)]
        );
    }

    #[test]
    fn what_is_as_it_was_is_not_told() {
        let mut record = adopted(&[version("a", Some(1), 3)]);
        let before = record.traits.clone();
        let same = TraitChange::Merge(vec![("a".to_owned(), Some(TraitScalar::Int(1)))]);
        record.apply(&same, Timestamp(9)).unwrap();
        assert_eq!(record.traits, before);
        assert!(record.versions_since(&before, Timestamp(9)).is_empty());
    }

    #[test]
    fn what_went_and_came_back_within_a_change_is_told_with_its_time() {
        let mut record = adopted(&[version("a", Some(1), 3)]);
        let before = record.traits.clone();
        let one = Some(TraitScalar::Int(1));
        let change = TraitChange::Merge(vec![("a".to_owned(), None), ("a".to_owned(), one)]);
        record.apply(&change, Timestamp(9)).unwrap();
        let told = record.versions_since(&before, Timestamp(9));
        assert_eq!(told, [version("a", Some(1), 10)]);
        assert!(record.deleted.is_empty());
    }

    #[test]
    fn news_are_what_changed_here() {
        let tell = |before: Option<&IdentityRecord>, change: &TraitChange| {
            let mut record = before.cloned().unwrap_or_default();
            record.apply(change, Timestamp(7)).unwrap();
            record.news(before, change, Timestamp(7), ("env", "ann"))
        };
        let merge = |value| TraitChange::Merge(vec![("a".to_owned(), value)]);
        let nothing = TraitChange::Merge(Vec::new());
        let known = adopted(&[version("a", Some(1), 3)]);
        let created = tell(None, &nothing).unwrap();
        assert_eq!(
            (created.identifier.as_str(), created.traits.len()),
            ("ann", 0)
        );
        assert_eq!(tell(Some(&known), &nothing), None);
        assert_eq!(tell(Some(&known), &merge(Some(TraitScalar::Int(1)))), None);
        let mut told = tell(Some(&known), &merge(Some(TraitScalar::Int(2)))).unwrap();
        assert_eq!(told.traits, [version("a", Some(2), 7)]);
        let gone = tell(Some(&known), &merge(None)).unwrap();
        assert_eq!(gone.traits, [version("a", None, 7)]);
        let elsewhere = TraitChange::Adopt(vec![version("a", Some(5), 9)]);
        assert_eq!(tell(Some(&known), &elsewhere), None);
        assert_eq!(tell(None, &elsewhere), None);

        told.absorb(IdentityChange {
            traits: vec![
                version("b", Some(1), 8),
                version("a", Some(9), 6),
                version("a", None, 8),
            ],
            ..gone
        });
        assert_eq!(
            told.traits,
            [version("a", None, 8), version("b", Some(1), 8)]
        );
    }

    #[test]
    fn what_was_sent_earlier_is_set_unless_it_changed_since() {
        let stored = adopted(&[
            version("same", Some(1), 2),
            version("older", Some(1), 2),
            version("newer", Some(1), 9),
        ]);
        let sent = TraitChange::Sent(vec![
            version("same", Some(1), 5),
            version("older", Some(2), 5),
            version("newer", Some(2), 5),
            version("gone", Some(2), 5),
        ]);
        let mut told = stored.clone();
        told.apply(&sent, Timestamp(10)).unwrap();
        let expected = adopted(&[
            version("same", Some(1), 2),
            version("older", Some(2), 5),
            version("newer", Some(1), 9),
            version("gone", Some(2), 5),
        ]);
        assert_eq!(told, expected);
        let news = told.news(Some(&stored), &sent, Timestamp(10), ("env", "ann"));
        assert_eq!(
            news.unwrap().traits,
            [version("older", Some(2), 5), version("gone", Some(2), 5)]
        );
        let mut again = told.clone();
        again.apply(&sent, Timestamp(11)).unwrap();
        assert_eq!(again, told);
    }

    /// A record without the order in which its traits came.
    fn sorted(mut record: IdentityRecord) -> IdentityRecord {
        record.traits.sort_by(|one, other| one.key.cmp(&other.key));
        record.deleted.sort_by(|one, other| one.key.cmp(&other.key));
        record
    }

    /// Everything a record knows, as versions.
    fn all(record: &IdentityRecord) -> Vec<TraitVersion> {
        let deleted = record.deleted.iter().cloned();
        record
            .versions_since(&[], Timestamp(0))
            .into_iter()
            .chain(deleted)
            .collect()
    }

    proptest! {
        /// Any order of arrival, in whatever pieces and with any repetition, comes to the same record.
        #[test]
        fn order_and_repetition_do_not_matter(
            changes in prop::collection::vec(("[a-c]", prop::option::of(0_i64..9)), 1..12),
            shuffled in Just((0..24_usize).collect::<Vec<_>>()).prop_shuffle(),
            piece in 1_usize..5,
        ) {
            let versions: Vec<_> = (1..)
                .zip(&changes)
                .map(|(at, (key, value))| version(key, *value, at))
                .collect();
            let arriving: Vec<_> = shuffled
                .iter()
                .map(|n| versions[n % versions.len()].clone())
                .collect();
            let mut mixed = IdentityRecord::default();
            for some in arriving.chunks(piece) {
                mixed.adopt(some, Timestamp(99));
            }
            // What a map of the latest of each would be.
            let mut latest = std::collections::BTreeMap::new();
            for version in versions {
                latest.insert(version.key.clone(), version);
            }
            let mut known = all(&mixed);
            known.sort_by(|one, other| one.key.cmp(&other.key));
            prop_assert_eq!(known, latest.into_values().collect::<Vec<_>>());
        }

        /// Two edges and their control plane, whose clocks differ, change one identity and tell each other at any moment and
        /// in any order; once everything is told, all three have the same record.
        #[test]
        fn places_come_to_the_same(
            steps in prop::collection::vec((0_usize..6, "[a-c]", prop::option::of(0_i64..3)), 1..40),
            order in prop::collection::vec(any::<prop::sample::Index>(), 40),
        ) {
            const HOME: usize = 2;
            let mut places = [(); 3].map(|()| IdentityRecord::default());
            let mut on_their_way: Vec<(usize, Vec<TraitVersion>)> = Vec::new();
            let mut order = order.iter();
            for (number, (step, key, value)) in (1..).zip(steps) {
                if let Some(place) = places.get_mut(step) {
                    // No two places change anything in the same microsecond, however their clocks go.
                    let (skew, fraction) = [(0, 1), (7_000, 2), (-5_000, 3)][step];
                    let known = all(place).iter().map(|known| known.changed_at_micros).max();
                    let clock = (100_000 + number * 1_000 + skew).max(known.unwrap_or(0) + 1_000);
                    let now = Timestamp(clock / 1_000 * 1_000 + fraction);
                    let change = TraitChange::Merge(vec![(key, value.map(TraitScalar::Int))]);
                    let before = place.clone();
                    place.apply(&change, now).unwrap();
                    let news = place.news(Some(&before), &change, now, ("env", "ann"));
                    let to = if step == HOME { 0..2 } else { HOME..HOME + 1 };
                    let news = news.map(|news| news.traits);
                    on_their_way.extend(to.filter_map(|to| news.clone().map(|news| (to, news))));
                } else if !on_their_way.is_empty() {
                    let Some(index) = order.next() else { continue };
                    let (to, news) = on_their_way.remove(index.index(on_their_way.len()));
                    places[to].adopt(&news, Timestamp(200_000));
                }
            }
            for (to, news) in on_their_way.into_iter().rev() {
                places[to].adopt(&news, Timestamp(200_000));
            }
            // What home knows is handed to every edge.
            let known = all(&places[HOME]);
            for place in &mut places {
                place.adopt(&known, Timestamp(200_000));
            }
            let [one, other, home] = places.map(sorted);
            prop_assert_eq!(&one, &home);
            prop_assert_eq!(&other, &home);
        }
    }
}
