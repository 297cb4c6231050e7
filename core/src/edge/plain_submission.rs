//! The quick way of reading the body of `POST /identities/`: what is plain and breaks no rule, with text borrowed from
//! the body. It checks while it reads, and of anything else only says that it is not plain; the errors of its
//! visitors are seen by nobody.
//!
//! The visitors are written out, not derived: a derived one takes a list of a struct's fields for the struct, and
//! each trait passes through fewer hands.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::field::{self, MAX_IDENTIFIER, MAX_TRAIT_KEY, MAX_TRAIT_VALUE};
use super::submission::{MAX_TRAITS, Sent, SentValue, Submission};

/// How many traits there is room for from the first on: growing costs more than the room.
const USUAL_TRAITS: usize = 16;

/// Reads a body; nothing where the slow way has to look.
pub(super) fn read_plain(body: &[u8]) -> Option<Submission<'_>> {
    serde_json::from_str(std::str::from_utf8(body).ok()?).ok()
}

impl<'de> Deserialize<'de> for Submission<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SubmissionVisitor)
    }
}

struct SubmissionVisitor;

impl<'de> Visitor<'de> for SubmissionVisitor {
    type Value = Submission<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a dictionary")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let (mut identifier, mut transient, mut traits) = (None, None, None);
        while let Some(name) = fields.next_key()? {
            match name {
                "identifier" => set(&mut identifier, fields.next_value()?)?,
                "transient" => set(&mut transient, fields.next_value()?)?,
                "traits" => set(&mut traits, fields.next_value()?)?,
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        let identifier: Option<PlainText<'_, MAX_IDENTIFIER>> = identifier.flatten();
        let traits: Option<PlainTraits<'_>> = traits;
        Ok(Submission {
            identifier: identifier
                .map(|text| text.0)
                .filter(|text| !text.is_empty()),
            transient: transient.unwrap_or_default(),
            traits: traits.map(|traits| traits.0).unwrap_or_default(),
        })
    }
}

impl<'de> Deserialize<'de> for Sent<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SentVisitor)
    }
}

struct SentVisitor;

impl<'de> Visitor<'de> for SentVisitor {
    type Value = Sent<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a dictionary")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let (mut key, mut value, mut transient) = (None, None, None);
        while let Some(name) = fields.next_key()? {
            match name {
                "trait_key" => set(&mut key, fields.next_value()?)?,
                "trait_value" => set(&mut value, fields.next_value()?)?,
                "transient" => set(&mut transient, fields.next_value()?)?,
                _ => drop(fields.next_value::<IgnoredAny>()?),
            }
        }
        match (key, value) {
            (Some(PlainText::<MAX_TRAIT_KEY>(key)), Some(PlainValue(value))) if !key.is_empty() => {
                Ok(Sent {
                    key,
                    value,
                    transient: transient.unwrap_or_default(),
                })
            }
            _ => Err(A::Error::custom("no key or no value")),
        }
    }
}

/// Sets a field that is there once; of a repeated one the slow way knows which counts.
fn set<T, E: Error>(field: &mut Option<T>, value: T) -> Result<(), E> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::custom("repeated")),
    }
}

/// Trimmed text of at most `MOST` characters that breaks no rule.
struct PlainText<'b, const MOST: usize>(Cow<'b, str>);

impl<'de, const MOST: usize> Deserialize<'de> for PlainText<'de, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(PlainTextVisitor)
    }
}

struct PlainTextVisitor<const MOST: usize>;

impl<'de, const MOST: usize> Visitor<'de> for PlainTextVisitor<MOST> {
    type Value = PlainText<'de, MOST>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("text")
    }

    /// There is no null character in it: JSON has control characters only escaped.
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        let text = field::strip(text);
        if field::is_longer(text, MOST) {
            return Err(E::custom("too long"));
        }
        Ok(PlainText(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        let text = field::strip(text);
        if field::is_longer(text, MOST) || text.contains('\0') {
            return Err(E::custom("too long, or with a null character"));
        }
        Ok(PlainText(Cow::Owned(text.to_owned())))
    }
}

/// A scalar or null.
struct PlainValue<'b>(Option<SentValue<'b>>);

impl<'de> Deserialize<'de> for PlainValue<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainValueVisitor)
    }
}

struct PlainValueVisitor;

impl<'de> Visitor<'de> for PlainValueVisitor {
    type Value = PlainValue<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a scalar")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(PlainValue(None))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(PlainValue(Some(SentValue::Bool(value))))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(PlainValue(Some(SentValue::Int(value))))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        let value = i64::try_from(value).map_err(|_| E::custom("past 64 bits"))?;
        Ok(PlainValue(Some(SentValue::Int(value))))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        // serde_json makes floats of `-0` and of integers past 64 bits, which Python does not.
        if value.abs() >= 9e18 || (value == 0.0 && value.is_sign_negative()) {
            return Err(E::custom("maybe an integer"));
        }
        Ok(PlainValue(Some(SentValue::Float(value))))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        check_length(text)?;
        Ok(PlainValue(Some(SentValue::Text(Cow::Borrowed(text)))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        check_length(text)?;
        Ok(PlainValue(Some(SentValue::Text(Cow::Owned(
            text.to_owned(),
        )))))
    }
}

fn check_length<E: Error>(value: &str) -> Result<(), E> {
    if field::is_longer(value, MAX_TRAIT_VALUE) {
        return Err(E::custom("too long"));
    }
    Ok(())
}

/// At most as many traits as a request may have.
struct PlainTraits<'b>(Vec<Sent<'b>>);

impl<'de> Deserialize<'de> for PlainTraits<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(PlainTraitsVisitor)
    }
}

struct PlainTraitsVisitor;

impl<'de> Visitor<'de> for PlainTraitsVisitor {
    type Value = PlainTraits<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("traits")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut traits = Vec::with_capacity(USUAL_TRAITS);
        while let Some(sent) = items.next_element()? {
            if traits.len() == MAX_TRAITS {
                return Err(A::Error::custom("too many"));
            }
            traits.push(sent);
        }
        Ok(PlainTraits(traits))
    }
}
