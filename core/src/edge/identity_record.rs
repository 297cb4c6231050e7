//! An identity as an edge stores it, and the changes that can be made to it.
//!
//! The rules (what merges, what deletes, what an increment does) are here; a host only loads,
//! applies and saves, one change of an identity at a time.

use serde::{Deserialize, Serialize};

/// A stored trait value. JSON: the bare scalar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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

impl IdentityRecord {
    /// Applies a change. On an error the record is as it was.
    pub fn apply(&mut self, _change: &TraitChange) -> Result<(), ChangeError> {
        todo!()
    }
}
