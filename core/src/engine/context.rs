//! The evaluation context, as Flagsmith's `sdk/evaluation-context.json` lays it down
//! (flagsmith-api.md B.1).
//!
//! Reading is lenient: what is missing takes its default, keys that are numbers become text. Order
//! matters (segments and features are evaluated in the order given) and is kept.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::coerce;

pub use serde_json::Number;

/// Everything an evaluation depends on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Context {
    /// The environment.
    pub environment: Environment,
    /// Features by name.
    #[serde(with = "ordered", skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<(String, Feature)>,
    /// Segments by id.
    #[serde(with = "ordered", skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<(String, Segment)>,
    /// Who asks; nobody in particular where it is `None`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityContext>,
    /// Fields this version does not know; property paths reach them.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The environment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// The client-side key.
    #[serde(deserialize_with = "text")]
    pub key: String,
    /// Name.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Fields this version does not know; property paths reach them.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdentityContext {
    /// The identifier.
    #[serde(deserialize_with = "text")]
    pub identifier: String,
    /// What buckets are hashed by; `<environment key>_<identifier>` where it is missing or empty.
    #[serde(
        deserialize_with = "maybe_text",
        skip_serializing_if = "Option::is_none"
    )]
    pub key: Option<String>,
    /// Traits by name.
    #[serde(deserialize_with = "maybe_map")]
    pub traits: Map<String, Value>,
    /// Fields this version does not know; property paths reach them.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// A feature's default state, or a segment's override of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Feature {
    /// Salt of its buckets.
    #[serde(deserialize_with = "text")]
    pub key: String,
    /// Name.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// On or off.
    pub enabled: bool,
    /// Value where no variant is chosen.
    pub value: Value,
    /// Weighted values.
    #[serde(deserialize_with = "maybe_list", skip_serializing_if = "Vec::is_empty")]
    pub variants: Vec<Variant>,
    /// Of an override: the lowest wins, a missing one is the weakest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<f64>,
    /// Carried through to the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

/// A weighted value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Variant {
    /// The value.
    pub value: Value,
    /// Weight in percent; kept as written, for the reason says it.
    pub weight: Number,
    /// Variants are tried from the lowest priority up.
    pub priority: Option<f64>,
    /// Name of the variant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Default for Variant {
    fn default() -> Self {
        Self {
            value: Value::Null,
            weight: Number::from(0),
            priority: None,
            key: None,
        }
    }
}

/// A segment with its overrides.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Segment {
    /// Salt of its percentage splits.
    #[serde(deserialize_with = "text")]
    pub key: String,
    /// Name.
    #[serde(deserialize_with = "text")]
    pub name: String,
    /// Top-level rules, all of which must match. None at all matches nobody.
    #[serde(deserialize_with = "maybe_list")]
    pub rules: Vec<Rule>,
    /// Overrides.
    #[serde(deserialize_with = "maybe_list", skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<Feature>,
    /// Carried through to the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Value>,
}

/// Conditions and sub-rules under one quantifier.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rule {
    /// `ALL`, `ANY` or `NONE`.
    #[serde(rename = "type", deserialize_with = "text")]
    pub kind: String,
    /// Conditions.
    #[serde(deserialize_with = "maybe_list")]
    pub conditions: Vec<Condition>,
    /// Sub-rules.
    #[serde(deserialize_with = "maybe_list")]
    pub rules: Vec<Rule>,
}

/// One comparison.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Condition {
    /// Operator (flagsmith-api.md B.5).
    #[serde(deserialize_with = "text")]
    pub operator: String,
    /// Trait name or `$.` path; may be missing for `PERCENTAGE_SPLIT`.
    #[serde(deserialize_with = "maybe_text")]
    pub property: Option<String>,
    /// What to compare with: text, or a list for `IN`.
    pub value: Value,
}

/// Text, or a scalar as Python would print it.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Value::deserialize(deserializer).map(|value| coerce::python_text(&value))
}

fn maybe_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    Ok((!value.is_null()).then(|| coerce::python_text(&value)))
}

fn maybe_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn maybe_map<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A JSON object whose order matters. Of a repeated name the last value counts, at its first place.
mod ordered {
    use super::{Deserialize, Deserializer, Entries, PhantomData, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer, T: Serialize>(
        entries: &[(String, T)],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_map(entries.iter().map(|(name, value)| (name, value)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
        deserializer: D,
    ) -> Result<Vec<(String, T)>, D::Error> {
        deserializer.deserialize_any(Entries(PhantomData))
    }
}

struct Entries<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
    type Value = Vec<(String, T)>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object or null")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries: Vec<(String, T)> = Vec::new();
        let mut places = std::collections::BTreeMap::new();
        while let Some((name, value)) = map.next_entry::<String, T>()? {
            if let Some(entry) = places
                .get(&name)
                .and_then(|place: &usize| entries.get_mut(*place))
            {
                entry.1 = value;
            } else {
                places.insert(name.clone(), entries.len());
                entries.push((name, value));
            }
        }
        Ok(entries)
    }
}
