//! How changes of one identity that were made in different places come together: trait by trait, the
//! later change wins.
//!
//! A deleted trait leaves no trace in a record, so a change from elsewhere that is older than a deletion
//! and arrives after it brings the trait back. A trace for every deletion would make records
//! grow without bound; the case needs two places to change one trait of one identity within one delivery's
//! time.

use std::collections::HashMap;

use super::delivery::{IdentityChange, TraitVersion};
use super::identity_record::{IdentityRecord, StoredTrait, TraitChange};
use crate::time::Timestamp;

impl IdentityRecord {
    /// Takes over each trait whose version is later than the one stored. Taking the same versions
    /// again, or in another order, comes to the same.
    pub(super) fn adopt(&mut self, versions: &[TraitVersion]) {
        for version in versions {
            let place = self
                .traits
                .iter()
                .position(|stored| stored.key == version.key);
            match (&version.value, place) {
                (value, Some(place)) => {
                    let stored = &mut self.traits[place];
                    if stored.changed_at_micros >= version.changed_at_micros {
                        continue;
                    }
                    if let Some(value) = value {
                        stored.value = value.clone();
                        stored.changed_at_micros = version.changed_at_micros;
                    } else {
                        self.traits.remove(place);
                    }
                }
                (Some(value), None) => self.traits.push(StoredTrait {
                    id: None,
                    key: version.key.clone(),
                    value: value.clone(),
                    changed_at_micros: version.changed_at_micros,
                }),
                (None, None) => {}
            }
        }
    }

    /// What has to be told to others after a change at `now`: the traits that are new or another than in
    /// `before`, and those that went.
    pub fn versions_since(&self, before: &[StoredTrait], now: Timestamp) -> Vec<TraitVersion> {
        let mut gone: HashMap<&str, &StoredTrait> = before
            .iter()
            .map(|stored| (stored.key.as_str(), stored))
            .collect();
        let mut versions = Vec::new();
        for stored in &self.traits {
            let old = gone.remove(stored.key.as_str());
            if old.is_none_or(|old| old.value != stored.value) {
                versions.push(TraitVersion {
                    key: stored.key.clone(),
                    value: Some(stored.value.clone()),
                    changed_at_micros: stored.changed_at_micros,
                });
            }
        }
        let deleted = before
            .iter()
            .filter(|stored| gone.contains_key(stored.key.as_str()))
            .map(|stored| TraitVersion {
                key: stored.key.clone(),
                value: None,
                changed_at_micros: now.micros().max(stored.changed_at_micros.saturating_add(1)),
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
        record.adopt(versions);
        record
    }

    #[test]
    fn the_later_change_of_a_trait_wins() {
        let mut record = adopted(&[version("a", Some(1), 10), version("b", Some(1), 10)]);
        record.adopt(&[
            version("a", Some(2), 9),
            version("b", None, 11),
            version("c", None, 12),
        ]);
        assert_eq!(record, adopted(&[version("a", Some(1), 10)]));
        record.adopt(&[version("a", Some(3), 10)]);
        assert_eq!(record.get("a"), Some(&TraitScalar::Int(1)), "a tie stays");
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

    proptest! {
        /// Without deletions, any order of arrival and any repetition comes to the same values.
        #[test]
        fn order_and_repetition_do_not_matter(
            changes in prop::collection::vec(("[a-c]", 0_i64..9), 1..12),
            again in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let versions: Vec<_> = (1..)
                .zip(&changes)
                .map(|(at, (key, value))| version(key, Some(*value), at))
                .collect();
            let mut mixed: Vec<_> = versions.iter().rev().cloned().collect();
            mixed.extend(again.iter().map(|index| index.get(&versions).clone()));
            let (straight, mixed) = (adopted(&versions), adopted(&mixed));
            for key in ["a", "b", "c"] {
                prop_assert_eq!(straight.get(key), mixed.get(key));
            }
        }
    }
}
