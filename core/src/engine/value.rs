//! A property's value as the operators see it.

use std::borrow::Cow;

use super::coerce;
use super::identity::TraitValue;

/// A value after Flagsmith's coercion of number-like text (flagsmith-api.md B.5).
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    /// Not looked up yet.
    Pending,
    /// No such property, or null, or no scalar.
    Missing,
    /// True or false.
    Bool(bool),
    /// Integer, or text that reads as one.
    Int(i128),
    /// Float, or text that reads as one.
    Float(f64),
    /// Any other text.
    Text(Cow<'a, str>),
}

impl<'a> Value<'a> {
    /// From a trait.
    pub(crate) fn from_trait(value: TraitValue<'a>) -> Self {
        match value {
            TraitValue::Bool(value) => Self::Bool(value),
            TraitValue::Int(value) => Self::Int(i128::from(value)),
            TraitValue::Float(value) => Self::Float(value),
            TraitValue::Text(text) => Self::from_text(Cow::Borrowed(text)),
        }
    }

    /// From text, which becomes a number where it reads as one.
    pub(crate) fn from_text(text: Cow<'a, str>) -> Self {
        match coerce::number_like(&text) {
            Some(coerce::NumberLike::Int(value)) => Self::Int(value),
            Some(coerce::NumberLike::Float(value)) => Self::Float(value),
            None => Self::Text(text),
        }
    }

    /// From what a path led to; lists and objects count as missing.
    pub(crate) fn from_json(value: &serde_json::Value) -> Value<'static> {
        match value {
            serde_json::Value::Bool(value) => Value::Bool(*value),
            serde_json::Value::String(text) => Value::from_text(Cow::Owned(text.clone())),
            serde_json::Value::Number(number) => match coerce::integer(number) {
                Some(integer) => Value::Int(integer),
                None => number.as_f64().map_or(Value::Missing, Value::Float),
            },
            _ => Value::Missing,
        }
    }

    /// Python's `str()` of it; nothing for a missing one.
    pub(crate) fn text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Pending | Self::Missing => return None,
            Self::Bool(value) => Cow::Borrowed(coerce::bool_text(*value)),
            Self::Int(value) => Cow::Owned(value.to_string()),
            Self::Float(value) => Cow::Owned(coerce::float_text(*value)),
            Self::Text(text) => Cow::Borrowed(text),
        })
    }
}
