//! The body of `POST /identities/`.
//!
//! It is read twice over: first by `serde` with text borrowed from the body, which takes every body a
//! real SDK sends; where that fails, or something in it is not in order, slowly and with Flagsmith's
//! exact error. A test holds the two to the same result.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use http::HeaderMap;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::body::{self, Media};
use super::error::{Errors, Refusal};
use super::field::{self, Checked, MAX_IDENTIFIER, MAX_TRAIT_KEY, MAX_TRAIT_VALUE};
use super::identity_record::TraitScalar;
use super::json::Json;
use crate::snapshot::TraitValue;

/// Most traits in one request. Flagsmith sets no limit; time and memory at an edge have one.
pub(super) const MAX_TRAITS: usize = 1_000;

/// Who an SDK says it is, and what it says about itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Submission<'b> {
    /// Trimmed and not empty; without one the identity is anonymous.
    pub(super) identifier: Option<Cow<'b, str>>,
    pub(super) transient: bool,
    pub(super) traits: Vec<Sent<'b>>,
}

/// One trait of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sent<'b> {
    /// Trimmed, 1 to 200 characters.
    pub(super) key: Cow<'b, str>,
    /// Null deletes.
    pub(super) value: Option<SentValue<'b>>,
    /// Used for this request only.
    pub(super) transient: bool,
}

/// A value, text borrowed from the body where it can be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum SentValue<'b> {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Cow<'b, str>),
}

impl SentValue<'_> {
    /// As evaluation sees it.
    pub(super) fn view(&self) -> TraitValue<'_> {
        match self {
            Self::Bool(value) => TraitValue::Bool(*value),
            Self::Int(value) => TraitValue::Int(*value),
            Self::Float(value) => TraitValue::Float(*value),
            Self::Text(text) => TraitValue::Text(text),
        }
    }

    /// As it is stored.
    pub(super) fn to_scalar(&self) -> TraitScalar {
        match self {
            Self::Bool(value) => TraitScalar::Bool(*value),
            Self::Int(value) => TraitScalar::Int(*value),
            Self::Float(value) => TraitScalar::Float(*value),
            Self::Text(text) => TraitScalar::Text(text.clone().into_owned()),
        }
    }
}

impl PartialEq<TraitScalar> for SentValue<'_> {
    fn eq(&self, stored: &TraitScalar) -> bool {
        match (self, stored) {
            (Self::Bool(sent), TraitScalar::Bool(stored)) => sent == stored,
            (Self::Int(sent), TraitScalar::Int(stored)) => sent == stored,
            (Self::Float(sent), TraitScalar::Float(stored)) => sent == stored,
            (Self::Text(sent), TraitScalar::Text(stored)) => sent == stored,
            _ => false,
        }
    }
}

impl From<TraitScalar> for SentValue<'_> {
    fn from(value: TraitScalar) -> Self {
        match value {
            TraitScalar::Bool(value) => Self::Bool(value),
            TraitScalar::Int(value) => Self::Int(value),
            TraitScalar::Float(value) => Self::Float(value),
            TraitScalar::Text(text) => Self::Text(text.into()),
        }
    }
}

/// Reads a body.
pub(super) fn read<'b>(headers: &HeaderMap, bytes: &'b Bytes) -> Result<Submission<'b>, Refusal> {
    let media = body::media(headers, bytes)?;
    if media == Media::Json
        && let Some(submission) = read_plain(bytes)
    {
        return Ok(submission);
    }
    Ok(check(&body::parse(media, headers, bytes)?)?)
}

#[derive(serde::Deserialize)]
struct Plain<'b> {
    #[serde(borrow, default)]
    identifier: Option<PlainText<'b>>,
    #[serde(default)]
    transient: bool,
    #[serde(borrow, default)]
    traits: Vec<Dict<PlainTrait<'b>>>,
}

/// A dictionary and nothing else: a derived struct would take a list of its fields, too.
struct Dict<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Dict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(DictVisitor(PhantomData))
    }
}

struct DictVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for DictVisitor<T> {
    type Value = Dict<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a dictionary")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Dict)
    }
}

#[derive(serde::Deserialize)]
struct PlainText<'b>(#[serde(borrow)] Cow<'b, str>);

#[derive(serde::Deserialize)]
struct PlainTrait<'b> {
    #[serde(borrow)]
    trait_key: PlainText<'b>,
    #[serde(borrow)]
    trait_value: PlainValue<'b>,
    #[serde(default)]
    transient: bool,
}

struct PlainValue<'b>(Option<SentValue<'b>>);

impl<'de: 'b, 'b> Deserialize<'de> for PlainValue<'b> {
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
        Ok(PlainValue(Some(SentValue::Text(Cow::Borrowed(text)))))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(PlainValue(Some(SentValue::Text(Cow::Owned(
            text.to_owned(),
        )))))
    }
}

/// The quick way; nothing where the slow one has to look.
fn read_plain(body: &[u8]) -> Option<Submission<'_>> {
    let Dict(plain): Dict<Plain<'_>> =
        serde_json::from_str(std::str::from_utf8(body).ok()?).ok()?;
    if plain.traits.len() > MAX_TRAITS {
        return None;
    }
    let traits = plain.traits.into_iter().map(|Dict(sent)| {
        let value = sent.trait_value.0;
        if matches!(&value, Some(SentValue::Text(text)) if field::is_longer(text, MAX_TRAIT_VALUE))
        {
            return None;
        }
        let key = plain_text(sent.trait_key.0, MAX_TRAIT_KEY)?;
        (!key.is_empty()).then_some(Sent {
            key,
            value,
            transient: sent.transient,
        })
    });
    let traits = traits.collect::<Option<_>>()?;
    let identifier = match plain.identifier {
        Some(PlainText(text)) => Some(plain_text(text, MAX_IDENTIFIER)?),
        None => None,
    };
    let identifier = identifier.filter(|text| !text.is_empty());
    Some(Submission {
        identifier,
        transient: plain.transient,
        traits,
    })
}

/// Trimmed text that breaks no rule.
fn plain_text(text: Cow<'_, str>, most: usize) -> Option<Cow<'_, str>> {
    // Nothing to take off and nothing to refuse, as nearly always.
    if text.len() <= most && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(text);
    }
    let trimmed = match text {
        Cow::Borrowed(text) => Cow::Borrowed(field::strip(text)),
        Cow::Owned(text) => Cow::Owned(field::strip(&text).to_owned()),
    };
    (!field::is_longer(&trimmed, most) && !trimmed.contains('\0')).then_some(trimmed)
}

/// The slow way, with the errors of every field.
fn check(body: &Json) -> Result<Submission<'static>, Errors> {
    field::dictionary(body)?;
    let mut checked = Checked::default();
    let identifier = match body.field("identifier") {
        None | Some(Json::Null) => Some(String::new()),
        Some(value) => checked.take("identifier", field::text(value, MAX_IDENTIFIER)),
    };
    let transient = checked.take(
        "transient",
        body.field("transient").map_or(Ok(false), field::boolean),
    );
    let traits = body.field("traits").map_or(Ok(Vec::new()), check_traits);
    let traits = checked.take("traits", traits);
    let (Some(identifier), Some(transient), Some(traits)) = (identifier, transient, traits) else {
        return Err(checked.into_errors());
    };
    let identifier = Some(identifier)
        .filter(|text| !text.is_empty())
        .map(Cow::Owned);
    Ok(Submission {
        identifier,
        transient,
        traits,
    })
}

fn check_traits(value: &Json) -> Result<Vec<Sent<'static>>, Errors> {
    let items = field::list(value)?;
    if items.len() > MAX_TRAITS {
        let most = format!("Ensure this field has no more than {MAX_TRAITS} elements.");
        return Err(Errors::whole(most));
    }
    let mut errors = Vec::with_capacity(items.len());
    let mut traits = Vec::with_capacity(items.len());
    for item in items {
        match check_trait(item) {
            Ok(sent) => {
                traits.push(sent);
                errors.push(Errors::Fields(Vec::new()));
            }
            Err(error) => errors.push(error),
        }
    }
    if traits.len() == items.len() {
        Ok(traits)
    } else {
        Err(Errors::Items(errors))
    }
}

fn check_trait(item: &Json) -> Result<Sent<'static>, Errors> {
    field::dictionary(item)?;
    let mut checked = Checked::default();
    let key = checked.take(
        "trait_key",
        field::name(item.field("trait_key"), MAX_TRAIT_KEY),
    );
    let value = match item.field("trait_value") {
        None => Err(Errors::message("This field is required.")),
        Some(Json::Null) => Ok(None),
        Some(value) => field::trait_value(value).map(Some),
    };
    let value = checked.take("trait_value", value);
    let transient = checked.take(
        "transient",
        item.field("transient").map_or(Ok(false), field::boolean),
    );
    let (Some(key), Some(value), Some(transient)) = (key, value, transient) else {
        return Err(checked.into_errors());
    };
    Ok(Sent {
        key: Cow::Owned(key),
        value: value.map(SentValue::from),
        transient,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::json_parser::parse;
    use super::*;

    fn slow(body: &str) -> Result<Submission<'static>, Errors> {
        check(&parse(body.as_bytes()).unwrap())
    }

    fn error(body: &str) -> String {
        let refusal = Refusal::from(slow(body).unwrap_err());
        String::from_utf8(refusal.body().to_vec()).unwrap()
    }

    #[test]
    fn what_sdks_send_is_read_the_quick_way() {
        let body = r#"{"identifier":" a\u00e9 ","traits":[{"trait_key":"k","trait_value":1.5},
            {"trait_key":"n","trait_value":null,"transient":true}],"transient":false,"x":[1]}"#;
        let quick = read_plain(body.as_bytes()).unwrap();
        assert_eq!(quick.identifier.as_deref(), Some("aé"));
        assert_eq!(quick.traits.len(), 2);
        assert_eq!(quick.traits[0].value, Some(SentValue::Float(1.5)));
        assert!(quick.traits[1].transient && quick.traits[1].value.is_none());
        assert_eq!(Ok(quick), slow(body));
    }

    #[test]
    fn the_quick_way_leaves_what_is_odd_to_the_slow_one() {
        for body in [
            "[]",
            r#"["x"]"#,
            r#"{"traits":[["k",1]]}"#,
            r#"{"identifier":5}"#,
            r#"{"identifier":"a","identifier":"b"}"#,
            r#"{"identifier":"a\u0000"}"#,
            r#"{"traits":null}"#,
            r#"{"transient":"true"}"#,
            r#"{"traits":[{"trait_key":"k"}]}"#,
            r#"{"traits":[{"trait_key":" ","trait_value":1}]}"#,
            r#"{"traits":[{"trait_key":"k","trait_value":[1]}]}"#,
            r#"{"traits":[{"trait_key":"k","trait_value":-0}]}"#,
            r#"{"traits":[{"trait_key":"k","trait_value":100000000000000000000}]}"#,
            r#"{"traits":[{"trait_key":"k","trait_value":1e999}]}"#,
        ] {
            assert_eq!(read_plain(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn errors_keep_their_places_and_order() {
        assert_eq!(
            error(r#"{"traits":[{"trait_key":"ok","trait_value":1},{"trait_value":2},5,{}]}"#),
            concat!(
                r#"{"traits":[{},{"trait_key":["This field is required."]},"#,
                r#"{"non_field_errors":["Invalid data. Expected a dictionary, but got int."]},"#,
                r#"{"trait_key":["This field is required."],"trait_value":["This field is required."]}]}"#
            )
        );
        assert_eq!(
            error(r#"{"traits":{"a":1},"transient":"maybe","identifier":true}"#),
            concat!(
                r#"{"identifier":["Not a valid string."],"transient":["Must be a valid boolean."],"#,
                r#""traits":{"non_field_errors":["Expected a list of items but got type \"dict\"."]}}"#
            )
        );
        assert_eq!(
            error(r#"{"traits":null}"#),
            r#"{"traits":["This field may not be null."]}"#
        );
        let many = format!(r#"{{"traits":[{}{{}}]}}"#, "{},".repeat(1_000));
        assert!(error(&many).contains("no more than 1000 elements"));
    }

    fn scalar() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("null".to_owned()),
            any::<bool>().prop_map(|value| value.to_string()),
            any::<i64>().prop_map(|value| value.to_string()),
            any::<f64>().prop_map(|value| format!("{value:e}")),
            ".{0,8}".prop_map(|text| serde_json::to_string(&text).unwrap()),
            Just("[1, \"x\"]".to_owned()),
        ]
    }

    proptest! {
        /// Whenever the quick way answers, the slow one answers the same.
        #[test]
        fn both_ways_agree(
            identifier in scalar(),
            traits in prop::collection::vec((scalar(), scalar(), scalar()), 0..4),
            transient in prop_oneof![Just("true".to_owned()), Just("false".to_owned()), scalar()],
        ) {
            let traits: Vec<_> = traits
                .iter()
                .map(|(k, v, t)| format!(r#"{{"trait_key":{k},"trait_value":{v},"transient":{t}}}"#))
                .collect();
            let body = format!(
                r#"{{"identifier":{identifier},"traits":[{}],"transient":{transient}}}"#,
                traits.join(",")
            );
            if let Some(quick) = read_plain(body.as_bytes()) {
                prop_assert_eq!(Ok(quick), slow(&body));
            }
        }
    }
}
