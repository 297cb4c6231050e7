//! The body of `POST /identities/`.
//!
//! It is read twice over: first by `serde` with text borrowed from the body (`plain_submission`), which takes
//! every body a real SDK sends; where that fails, or something in it is not in order, slowly and with
//! Flagsmith's exact error. A test holds the two to the same result.

use std::borrow::Cow;

use bytes::Bytes;
use http::HeaderMap;

use super::body::{self, Media};
use super::error::{Errors, Refusal};
use super::field::{self, Checked, MAX_IDENTIFIER, MAX_TRAIT_KEY};
use super::identity_record::TraitScalar;
use super::json::Json;
use super::plain_submission::read_plain;
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
