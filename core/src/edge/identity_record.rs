//! An identity as an edge stores it, and the changes that can be made to it.
//!
//! The rules (what merges, what deletes, what an increment does) are here; a host only loads,
//! applies and saves, one change of an identity at a time.

use std::collections::HashMap;
use std::fmt;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

use super::deleted_traits::later;
use super::delivery::TraitVersion;
use crate::time::Timestamp;

/// A stored trait value. JSON: the bare scalar.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum TraitScalar {
    /// True or false.
    Bool(bool),
    /// Integer.
    Int(i64),
    /// Number with a fraction.
    Float(f64),
    /// Text, at most 2,000 characters.
    Text(String),
}

/// As `untagged` would derive it, without building and dropping an error for each kind that it is
/// not: hosts read a record on every request of a stored identity.
impl<'de> Deserialize<'de> for TraitScalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl Visitor<'_> for ScalarVisitor {
    type Value = TraitScalar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a boolean, a number or text")
    }

    fn visit_bool<E>(self, value: bool) -> Result<TraitScalar, E> {
        Ok(TraitScalar::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<TraitScalar, E> {
        Ok(TraitScalar::Int(value))
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "an integer past the range of Int is a number all the same"
    )]
    fn visit_u64<E>(self, value: u64) -> Result<TraitScalar, E> {
        Ok(i64::try_from(value).map_or(TraitScalar::Float(value as f64), TraitScalar::Int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<TraitScalar, E> {
        Ok(TraitScalar::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<TraitScalar, E> {
        Ok(TraitScalar::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<TraitScalar, E> {
        Ok(TraitScalar::Text(value))
    }
}

/// A stored trait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredTrait {
    /// Row id where the store has one (the control plane's Postgres).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// Name.
    pub key: String,
    /// Value.
    pub value: TraitScalar,
    /// When the value last changed, microseconds since the epoch; 0 when nobody knows.
    #[serde(default, rename = "at", skip_serializing_if = "is_unknown")]
    pub changed_at_micros: i64,
}

#[cfg_attr(
    target_pointer_width = "64",
    expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde asks for a reference"
    )
)]
fn is_unknown(at: &i64) -> bool {
    *at == 0
}

impl StoredTrait {
    /// Takes another value at `now`, which counts as later than the change before, whatever the clock says.
    fn set(&mut self, value: &TraitScalar, now: Timestamp) {
        if self.value != *value {
            self.value = value.clone();
            self.changed_at_micros = later(self.changed_at_micros, now);
        }
    }
}

/// A stored identity. JSON with serde; hosts store exactly that.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct IdentityRecord {
    /// Row id where the store has one; the hashing key when composite hashing is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// When it was first seen, microseconds since the epoch.
    pub created_at_micros: i64,
    /// Traits in stored order.
    pub traits: Vec<StoredTrait>,
    /// Traits that were deleted lately, without values, so that an older change of one that arrives later does not bring
    /// it back. In no answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<TraitVersion>,
}

/// A change of an identity's stored traits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TraitChange {
    /// Sets each trait, or deletes it where there is no value. An empty list only makes sure that the
    /// identity exists.
    Merge(Vec<(String, Option<TraitScalar>)>),
    /// Adds to an integer trait, from 0 where it is missing.
    Increment {
        /// Name.
        key: String,
        /// How much; may be negative.
        by: i64,
    },
    /// Takes over what was changed elsewhere, each trait where that change is later than the one known,
    /// deletions included.
    Adopt(Vec<TraitVersion>),
    /// Traits that were sent here at their times and are told only now, as a host had them in memory just
    /// so ([`super::Host::sent_as_held`]): each is set unless it is stored so or changed since it was sent.
    Sent(Vec<TraitVersion>),
}

/// Why a change was refused; nothing was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ChangeError {
    /// An increment of a trait that is no integer.
    #[error("Trait is not an integer.")]
    NotAnInteger,
    /// An increment past the range of an integer.
    #[error("Trait is out of range.")]
    OutOfRange,
}

/// Up to how many keys comparing each with each is quicker than applying and looking.
const FEW_COMPARISONS: usize = 4096;

/// Up to how many changes looking through the traits is quicker than a map of them.
const FEW: usize = 32;

impl IdentityRecord {
    /// Applies a change made at `now`. On an error the record is as it was.
    ///
    /// A trait that is set again keeps its place and its id, whatever its type was; a new one goes to
    /// the end. Where a merge names a key twice, the later one wins. An increment stays in the 32-bit
    /// range of Flagsmith's integer traits (flagsmith-api.md A.4).
    pub fn apply(&mut self, change: &TraitChange, now: Timestamp) -> Result<(), ChangeError> {
        match change {
            TraitChange::Merge(traits) => {
                self.merge(traits, now);
                Ok(())
            }
            TraitChange::Adopt(versions) => {
                self.adopt(versions, now);
                Ok(())
            }
            TraitChange::Sent(versions) => {
                let differs = |sent: &&TraitVersion| self.get(&sent.key) != sent.value.as_ref();
                let differing: Vec<_> = versions.iter().filter(differs).cloned().collect();
                self.adopt(&differing, now);
                Ok(())
            }
            TraitChange::Increment { key, by } => {
                let value = match self.get(key) {
                    None => 0,
                    Some(TraitScalar::Int(value)) => *value,
                    Some(_) => return Err(ChangeError::NotAnInteger),
                };
                let sum = value
                    .checked_add(*by)
                    .filter(|sum| i32::try_from(*sum).is_ok())
                    .ok_or(ChangeError::OutOfRange)?;
                self.merge(&[(key.clone(), Some(TraitScalar::Int(sum)))], now);
                Ok(())
            }
        }
    }

    /// Whether applying a change would leave the record as it is: what an SDK that sends the same traits
    /// with every request asks for. May say no of a change that is large or rare, never yes wrongly.
    pub fn is_unchanged_by(&self, change: &TraitChange) -> bool {
        match change {
            TraitChange::Merge(traits) => {
                traits.len() * self.traits.len() <= FEW_COMPARISONS
                    && traits
                        .iter()
                        .all(|(key, value)| self.get(key) == value.as_ref())
            }
            TraitChange::Increment { .. } | TraitChange::Adopt(_) | TraitChange::Sent(_) => false,
        }
    }

    /// The stored value of a trait.
    pub fn get(&self, key: &str) -> Option<&TraitScalar> {
        self.traits
            .iter()
            .find(|stored| stored.key == key)
            .map(|stored| &stored.value)
    }

    fn merge(&mut self, changes: &[(String, Option<TraitScalar>)], now: Timestamp) {
        if changes.len() > FEW {
            return self.merge_many(changes, now);
        }
        for (key, value) in changes {
            let place = self.traits.iter().position(|stored| stored.key == *key);
            match (value, place) {
                (Some(value), Some(place)) => self.traits[place].set(value, now),
                (Some(value), None) => {
                    let stored = self.begin(key, value, now);
                    self.traits.push(stored);
                }
                (None, Some(place)) => {
                    let stored = self.traits.remove(place);
                    self.bury(stored.key, later(stored.changed_at_micros, now), now);
                }
                (None, None) => {}
            }
        }
    }

    /// The same by a map, so that a body of very many traits takes no quadratic time.
    fn merge_many(&mut self, changes: &[(String, Option<TraitScalar>)], now: Timestamp) {
        let mut slots: Vec<_> = std::mem::take(&mut self.traits)
            .into_iter()
            .map(Some)
            .collect();
        let mut places: HashMap<String, usize> = HashMap::with_capacity(slots.len());
        for (place, stored) in slots.iter().enumerate() {
            places.extend(stored.as_ref().map(|stored| (stored.key.clone(), place)));
        }
        for (key, value) in changes {
            match (value, places.get(key)) {
                (Some(value), Some(place)) => {
                    if let Some(stored) = &mut slots[*place] {
                        stored.set(value, now);
                    }
                }
                (Some(value), None) => {
                    places.insert(key.clone(), slots.len());
                    slots.push(Some(self.begin(key, value, now)));
                }
                (None, _) => {
                    let place = places.remove(key);
                    if let Some(stored) = place.and_then(|place| slots[place].take()) {
                        self.bury(stored.key, later(stored.changed_at_micros, now), now);
                    }
                }
            }
        }
        self.traits = slots.into_iter().flatten().collect();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp(9);

    fn text(value: &str) -> TraitScalar {
        TraitScalar::Text(value.to_owned())
    }

    fn merge(changes: &[(&str, Option<TraitScalar>)]) -> TraitChange {
        TraitChange::Merge(
            changes
                .iter()
                .map(|(k, v)| ((*k).to_owned(), v.clone()))
                .collect(),
        )
    }

    fn seen(record: &IdentityRecord) -> Vec<(&str, &TraitScalar)> {
        record
            .traits
            .iter()
            .map(|stored| (stored.key.as_str(), &stored.value))
            .collect()
    }

    #[test]
    fn a_scalar_is_read_as_what_it_is() {
        for (json, expected) in [
            ("true", Some(TraitScalar::Bool(true))),
            ("-7", Some(TraitScalar::Int(-7))),
            ("9223372036854775807", Some(TraitScalar::Int(i64::MAX))),
            (
                "9223372036854775808",
                Some(TraitScalar::Float(9.223_372_036_854_776e18)),
            ),
            ("1.0", Some(TraitScalar::Float(1.0))),
            ("\"a\\n\"", Some(text("a\n"))),
            ("null", None),
            ("[]", None),
        ] {
            assert_eq!(serde_json::from_str(json).ok(), expected, "{json}");
            if let Some(value) = expected {
                let again = serde_json::to_string(&value).unwrap();
                assert_eq!(serde_json::from_str::<TraitScalar>(&again).unwrap(), value);
            }
        }
    }

    #[test]
    fn merge_sets_deletes_and_keeps_places_and_ids() {
        let mut record = IdentityRecord::default();
        record
            .apply(
                &merge(&[("a", Some(TraitScalar::Int(1))), ("b", Some(text("x")))]),
                NOW,
            )
            .unwrap();
        record.traits[0].id = Some(7);
        record
            .apply(
                &merge(&[
                    ("c", Some(TraitScalar::Bool(true))),
                    ("a", Some(text("one"))),
                    ("b", None),
                    ("never", None),
                ]),
                NOW,
            )
            .unwrap();
        assert_eq!(
            seen(&record),
            [("a", &text("one")), ("c", &TraitScalar::Bool(true))]
        );
        assert_eq!(record.traits[0].id, Some(7));
    }

    #[test]
    fn what_changes_nothing_is_told_beforehand() {
        let mut record = IdentityRecord::default();
        let one = TraitScalar::Int(1);
        let first = [("a", Some(one.clone())), ("b", Some(text("x")))];
        record.apply(&merge(&first), NOW).unwrap();
        for (change, expected) in [
            (merge(&[]), true),
            (merge(&first), true),
            (merge(&[("b", Some(text("x"))), ("c", None)]), true),
            (merge(&[("a", Some(TraitScalar::Float(1.0)))]), false),
            (merge(&[("a", None)]), false),
            (merge(&[("c", Some(one.clone()))]), false),
            (merge(&[("a", Some(text("y"))), ("a", Some(one))]), false),
        ] {
            assert_eq!(record.is_unchanged_by(&change), expected, "{change:?}");
            if expected {
                let mut after = record.clone();
                after.apply(&change, NOW).unwrap();
                assert_eq!(after, record);
            }
        }
    }

    #[test]
    fn later_duplicate_wins() {
        let mut record = IdentityRecord::default();
        record
            .apply(
                &merge(&[
                    ("k", Some(TraitScalar::Int(1))),
                    ("k", Some(TraitScalar::Int(2))),
                ]),
                NOW,
            )
            .unwrap();
        assert_eq!(seen(&record), [("k", &TraitScalar::Int(2))]);
    }

    #[test]
    fn increment_counts_from_zero_and_refuses_what_is_no_integer() {
        let mut record = IdentityRecord::default();
        let by = |by| TraitChange::Increment {
            key: "n".to_owned(),
            by,
        };
        for step in [2, 3, -10] {
            record.apply(&by(step), NOW).unwrap();
        }
        assert_eq!(record.get("n"), Some(&TraitScalar::Int(-5)));
        for past in [
            i64::MAX,
            i64::MIN,
            i64::from(i32::MAX) + 6,
            i64::from(i32::MIN) + 4,
        ] {
            assert_eq!(record.apply(&by(past), NOW), Err(ChangeError::OutOfRange));
        }
        assert_eq!(record.get("n"), Some(&TraitScalar::Int(-5)));
        for other in [TraitScalar::Float(1.0), TraitScalar::Bool(true), text("1")] {
            record
                .apply(&merge(&[("n", Some(other.clone()))]), NOW)
                .unwrap();
            assert_eq!(record.apply(&by(1), NOW), Err(ChangeError::NotAnInteger));
            assert_eq!(record.get("n"), Some(&other));
        }
    }

    proptest! {
        #[test]
        fn many_changes_do_what_few_do(
            changes in prop::collection::vec(("[a-d]", prop::option::of(0_i64..9)), 0..12)
        ) {
            let changes: Vec<_> = changes
                .into_iter()
                .map(|(key, value)| (key, value.map(TraitScalar::Int)))
                .collect();
            let (mut few, mut many) = (IdentityRecord::default(), IdentityRecord::default());
            for half in changes.chunks(changes.len().div_ceil(2).max(1)) {
                few.merge(half, NOW);
                many.merge_many(half, NOW);
            }
            prop_assert_eq!(few, many);
        }
    }

    #[test]
    fn json_is_the_bare_scalar() {
        let record = IdentityRecord {
            id: None,
            created_at_micros: 5,
            traits: vec![
                StoredTrait {
                    id: Some(1),
                    key: "i".to_owned(),
                    value: TraitScalar::Int(2),
                    changed_at_micros: 0,
                },
                StoredTrait {
                    id: None,
                    key: "f".to_owned(),
                    value: TraitScalar::Float(2.0),
                    changed_at_micros: 8,
                },
            ],
            deleted: Vec::new(),
        };
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(
            json,
            r#"{"created_at_micros":5,"traits":[{"id":1,"key":"i","value":2},{"key":"f","value":2.0,"at":8}]}"#
        );
        assert_eq!(
            serde_json::from_str::<IdentityRecord>(&json).unwrap(),
            record
        );
    }
}
