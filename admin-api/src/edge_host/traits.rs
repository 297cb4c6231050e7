//! Stored traits as rows and back, and what has to be written after a change: pure.

use yardarm_core::edge::{IdentityRecord, StoredTrait, TraitScalar};

use crate::store::row;

row! {
    /// A stored trait.
    pub(crate) struct TraitRow {
        id: i64,
        trait_key: String,
        value_type: String,
        string_value: Option<String>,
        integer_value: Option<i64>,
        boolean_value: Option<bool>,
        float_value: Option<f64>,
        changed_at_micros: i64,
    }
}

impl From<TraitRow> for StoredTrait {
    fn from(row: TraitRow) -> Self {
        let text = || TraitScalar::Text(row.string_value.unwrap_or_default());
        let value = match row.value_type.as_str() {
            "int" => row.integer_value.map(TraitScalar::Int),
            "bool" => row.boolean_value.map(TraitScalar::Bool),
            "float" => row.float_value.map(TraitScalar::Float),
            _ => None,
        };
        Self {
            id: Some(row.id),
            key: row.trait_key,
            value: value.unwrap_or_else(text),
            changed_at_micros: row.changed_at_micros,
        }
    }
}

/// A value's columns; all but one are null.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Columns<'a> {
    pub(crate) value_type: &'static str,
    pub(crate) string_value: Option<&'a str>,
    pub(crate) integer_value: Option<i64>,
    pub(crate) boolean_value: Option<bool>,
    pub(crate) float_value: Option<f64>,
}

impl<'a> From<&'a TraitScalar> for Columns<'a> {
    fn from(value: &'a TraitScalar) -> Self {
        let none = Self::default();
        match value {
            TraitScalar::Bool(value) => Self {
                value_type: "bool",
                boolean_value: Some(*value),
                ..none
            },
            TraitScalar::Int(value) => Self {
                value_type: "int",
                integer_value: Some(*value),
                ..none
            },
            TraitScalar::Float(value) => Self {
                value_type: "float",
                float_value: Some(*value),
                ..none
            },
            TraitScalar::Text(value) => Self {
                value_type: "unicode",
                string_value: Some(value),
                ..none
            },
        }
    }
}

/// What to write so that `before` becomes `after`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference<'a> {
    /// Ids of traits to delete.
    pub(super) delete: Vec<i64>,
    /// Traits with another value, or one that was set later, by id.
    pub(super) update: Vec<(i64, &'a StoredTrait)>,
    /// Places in `after` of traits that have no row yet.
    pub(super) insert: Vec<usize>,
}

/// Compares two states of an identity's traits. Rows keep their ids as long as their key stays.
pub(super) fn difference<'a>(before: &[StoredTrait], after: &'a [StoredTrait]) -> Difference<'a> {
    let mut difference = Difference::default();
    for old in before {
        if let Some(id) = old.id
            && !after.iter().any(|new| new.id == old.id)
        {
            difference.delete.push(id);
        }
    }
    for (place, new) in after.iter().enumerate() {
        match before
            .iter()
            .find(|old| old.id.is_some() && old.id == new.id)
        {
            None => difference.insert.push(place),
            Some(old) if same(old, new) => {}
            Some(old) => difference.update.extend(old.id.map(|id| (id, new))),
        }
    }
    difference
}

/// What to write of deletions so that `before` becomes `after`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Marks<'a> {
    /// Traits that are deleted, or were deleted later, and when.
    pub(super) buried: Vec<&'a str>,
    pub(super) buried_at: Vec<i64>,
    /// Traits that are set again, or whose deletion is forgotten.
    pub(super) exhumed: Vec<&'a str>,
}

/// Compares what two states of an identity remember of deletions.
pub(super) fn marks<'a>(before: &'a IdentityRecord, after: &'a IdentityRecord) -> Marks<'a> {
    let mut marks = Marks::default();
    for mark in &after.deleted {
        if before.deleted_at(&mark.key) != Some(mark.changed_at_micros) {
            marks.buried.push(&mark.key);
            marks.buried_at.push(mark.changed_at_micros);
        }
    }
    let before = before.deleted.iter().map(|mark| mark.key.as_str());
    marks.exhumed = before
        .filter(|key| after.deleted_at(key).is_none())
        .collect();
    marks
}

fn same(old: &StoredTrait, new: &StoredTrait) -> bool {
    old.value == new.value && old.changed_at_micros == new.changed_at_micros
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(id: Option<i64>, key: &str, value: i64) -> StoredTrait {
        StoredTrait {
            id,
            key: key.to_owned(),
            value: TraitScalar::Int(value),
            changed_at_micros: 0,
        }
    }

    #[test]
    fn of_deletions_too() {
        use yardarm_core::edge::delivery::TraitVersion;

        let record = |deleted: &[(&str, i64)]| IdentityRecord {
            deleted: deleted
                .iter()
                .map(|(key, at)| TraitVersion {
                    key: (*key).to_owned(),
                    value: None,
                    changed_at_micros: *at,
                })
                .collect(),
            ..IdentityRecord::default()
        };
        let before = record(&[("a", 1), ("b", 2), ("c", 3)]);
        let after = record(&[("c", 3), ("b", 5), ("d", 4)]);
        let expected = Marks {
            buried: vec!["b", "d"],
            buried_at: vec![5, 4],
            exhumed: vec!["a"],
        };
        assert_eq!(marks(&before, &after), expected);
    }

    #[test]
    fn only_what_differs_is_written() {
        let before = [
            stored(Some(1), "a", 1),
            stored(Some(2), "b", 2),
            stored(Some(3), "c", 3),
        ];
        let after = [
            stored(Some(1), "a", 1),
            stored(Some(3), "c", 30),
            stored(None, "d", 4),
        ];
        assert_eq!(
            difference(&before, &after),
            Difference {
                delete: vec![2],
                update: vec![(3, &after[1])],
                insert: vec![2]
            }
        );
        assert_eq!(difference(&before, &before), Difference::default());
    }

    #[test]
    fn a_key_that_was_deleted_and_set_again_is_a_new_row() {
        let before = [stored(Some(1), "a", 1)];
        let after = [stored(None, "a", 1)];
        let difference = difference(&before, &after);
        assert_eq!((difference.delete, difference.insert), (vec![1], vec![0]));
    }

    #[test]
    fn every_type_has_its_column() {
        for value in [
            TraitScalar::Bool(false),
            TraitScalar::Int(i64::MIN),
            TraitScalar::Float(0.5),
            TraitScalar::Text(String::new()),
        ] {
            let columns = Columns::from(&value);
            let row = TraitRow {
                id: 1,
                trait_key: "k".to_owned(),
                value_type: columns.value_type.to_owned(),
                string_value: columns.string_value.map(str::to_owned),
                integer_value: columns.integer_value,
                boolean_value: columns.boolean_value,
                float_value: columns.float_value,
                changed_at_micros: 5,
            };
            let stored = StoredTrait::from(row);
            assert_eq!((stored.value, stored.changed_at_micros), (value, 5));
        }
    }
}
