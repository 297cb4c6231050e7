//! Fields of request bodies with the rules and messages of Django REST framework.

use super::error::Errors;
use super::identity_record::TraitScalar;
use super::json::Json;
use super::python_text;

/// Most characters of an identifier.
pub(super) const MAX_IDENTIFIER: usize = 2_000;
/// Most characters of a trait's name.
pub(super) const MAX_TRAIT_KEY: usize = 200;
/// Most characters of a trait's text.
pub(super) const MAX_TRAIT_VALUE: usize = 2_000;

const NULL_CHARACTERS: &str = "Null characters are not allowed.";

fn required() -> Errors {
    Errors::message("This field is required.")
}

fn not_null() -> Errors {
    Errors::message("This field may not be null.")
}

/// A field that must be there and must not be null.
fn present(value: Option<&Json>) -> Result<&Json, Errors> {
    match value {
        None => Err(required()),
        Some(Json::Null) => Err(not_null()),
        Some(value) => Ok(value),
    }
}

/// A body or item that has to be a dictionary.
pub(super) fn dictionary(value: &Json) -> Result<(), Errors> {
    match value {
        Json::Dict(_) => Ok(()),
        Json::Null => Err(Errors::whole("No data provided")),
        other => Err(Errors::whole(format!(
            "Invalid data. Expected a dictionary, but got {}.",
            other.type_name()
        ))),
    }
}

/// A field that has to be a list of items.
pub(super) fn list(value: &Json) -> Result<&[Json], Errors> {
    match value {
        Json::List(items) => Ok(items),
        Json::Null => Err(not_null()),
        other => Err(Errors::whole(format!(
            "Expected a list of items but got type \"{}\".",
            other.type_name()
        ))),
    }
}

/// White space as `str.strip()` removes it.
pub(super) fn strip(text: &str) -> &str {
    // Nothing to take off, as nearly always.
    if let [first, .., last] = text.as_bytes()
        && first.is_ascii_graphic()
        && last.is_ascii_graphic()
    {
        return text;
    }
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// Whether a text has more than `most` characters.
pub(super) fn is_longer(text: &str, most: usize) -> bool {
    text.len() > most && text.chars().count() > most
}

/// Text: a string or number, without the white space around it; blank is fine.
pub(super) fn text(value: &Json, most: usize) -> Result<String, Errors> {
    let (text, surrogate) = match value {
        Json::Text(text) => (strip(&text.text).to_owned(), text.surrogate),
        Json::Int(_) | Json::BigInt(_) | Json::Float(_) => (python_text::str(value), None),
        _ => return Err(Errors::message("Not a valid string.")),
    };
    let mut messages = Vec::new();
    if is_longer(&text, most) {
        messages.push(format!(
            "Ensure this field has no more than {most} characters."
        ));
    }
    if text.contains('\0') {
        messages.push(NULL_CHARACTERS.to_owned());
    }
    messages.extend(surrogate.map(surrogate_message));
    if messages.is_empty() {
        Ok(text)
    } else {
        Err(Errors::Messages(messages))
    }
}

/// Text that must be there and must not be blank.
pub(super) fn name(value: Option<&Json>, most: usize) -> Result<String, Errors> {
    let text = text(present(value)?, most)?;
    if text.is_empty() {
        Err(Errors::message("This field may not be blank."))
    } else {
        Ok(text)
    }
}

fn surrogate_message(unit: u16) -> String {
    format!("Surrogate characters are not allowed: U+{unit:04X}.")
}

/// True or false, also as the words and numbers that Django REST framework takes.
pub(super) fn boolean(value: &Json) -> Result<bool, Errors> {
    let word = match value {
        Json::Null => return Err(not_null()),
        Json::Bool(value) => return Ok(*value),
        Json::Int(0) => "0",
        Json::Int(1) => "1",
        #[expect(
            clippy::float_cmp,
            reason = "Python's `data in {0, 1}` compares exactly"
        )]
        Json::Float(value) if *value == 0.0 || *value == 1.0 => return Ok(*value == 1.0),
        Json::Text(text) => &*text.text.to_ascii_lowercase(),
        _ => "",
    };
    match word {
        "t" | "y" | "yes" | "true" | "on" | "1" => Ok(true),
        "f" | "n" | "no" | "false" | "off" | "0" => Ok(false),
        _ => Err(Errors::message("Must be a valid boolean.")),
    }
}

/// True or false that must be there.
pub(super) fn required_boolean(value: Option<&Json>) -> Result<bool, Errors> {
    boolean(value.ok_or_else(required)?)
}

/// An integer that must be there; text of one will do, and so will a float without a fraction.
pub(super) fn integer(value: Option<&Json>) -> Result<i64, Errors> {
    let invalid = || Errors::message("A valid integer is required.");
    let value = present(value)?;
    let text = match value {
        Json::Int(value) => return Ok(*value),
        Json::BigInt(digits) => return Err(past_integers(digits.starts_with('-'))),
        Json::Float(_) | Json::Text(_) => python_text::str(value),
        _ => return Err(invalid()),
    };
    let text = strip(&text);
    let whole = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return Err(invalid()),
        None => text,
    };
    whole.parse().map_err(|_| invalid())
}

fn past_integers(negative: bool) -> Errors {
    if negative {
        past_minimum(i64::MIN)
    } else {
        past_maximum(i64::MAX)
    }
}

fn past_maximum(most: i64) -> Errors {
    Errors::message(format!(
        "Ensure this value is less than or equal to {most}."
    ))
}

fn past_minimum(least: i64) -> Errors {
    Errors::message(format!(
        "Ensure this value is greater than or equal to {least}."
    ))
}

/// A trait's value, not null: a scalar as it is, a list or dictionary as Python's text of it
/// (flagsmith-api.md A.4).
pub(super) fn trait_value(value: &Json) -> Result<TraitScalar, Errors> {
    let text = match value {
        Json::Bool(value) => return Ok(TraitScalar::Bool(*value)),
        Json::Int(value) => return Ok(TraitScalar::Int(*value)),
        Json::BigInt(digits) => return Err(past_integers(digits.starts_with('-'))),
        Json::Float(value) if value.is_finite() => return Ok(TraitScalar::Float(*value)),
        Json::Float(_) => {
            return Err(Errors::message(
                "Out of range float values are not JSON compliant.",
            ));
        }
        Json::Null => return Err(not_null()),
        Json::Text(_) | Json::List(_) | Json::Dict(_) => python_text::str(value),
    };
    if is_longer(&text, MAX_TRAIT_VALUE) {
        return Err(Errors::message(
            "Value string is too long. Must be less than 2000 character",
        ));
    }
    if let Some(unit) = value.surrogate() {
        return Err(Errors::message(surrogate_message(unit)));
    }
    Ok(TraitScalar::Text(text))
}

/// What cannot be stored of a trait's value, though it can be evaluated: Flagsmith answers 500.
pub(super) fn storable(value: &TraitScalar) -> Result<(), Errors> {
    match value {
        TraitScalar::Int(value) if *value > i64::from(i32::MAX) => {
            Err(past_maximum(i32::MAX.into()))
        }
        TraitScalar::Int(value) if *value < i64::from(i32::MIN) => {
            Err(past_minimum(i32::MIN.into()))
        }
        TraitScalar::Text(text) if text.contains('\0') => Err(Errors::message(NULL_CHARACTERS)),
        _ => Ok(()),
    }
}

/// An identifier from a query string, where nothing is trimmed.
pub(super) fn check_identifier(identifier: &str) -> Result<(), Errors> {
    let error = if is_longer(identifier, MAX_IDENTIFIER) {
        format!("Ensure this field has no more than {MAX_IDENTIFIER} characters.")
    } else if identifier.contains('\0') {
        NULL_CHARACTERS.to_owned()
    } else {
        return Ok(());
    };
    Err(Errors::field("identifier", Errors::message(error)))
}

/// Collects the errors of fields while their values are gathered.
#[derive(Debug, Default)]
pub(super) struct Checked {
    errors: Vec<(&'static str, Errors)>,
}

impl Checked {
    /// Takes one field; on an error there is no value, and [`Self::finish`] will fail.
    pub(super) fn take<T>(&mut self, name: &'static str, value: Result<T, Errors>) -> Option<T> {
        value
            .map_err(|errors| self.errors.push((name, errors)))
            .ok()
    }

    /// The errors in the order the fields were taken.
    pub(super) fn into_errors(self) -> Errors {
        Errors::Fields(self.errors)
    }
}

#[cfg(test)]
mod tests {
    use super::super::json_parser::parse;
    use super::*;

    fn json(text: &str) -> Json {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn texts() {
        assert_eq!(text(&json("\"  a b \\u00a0\""), 5), Ok("a b".to_owned()));
        assert_eq!(text(&json("12345"), 5), Ok("12345".to_owned()));
        assert_eq!(text(&json("1.50"), 5), Ok("1.5".to_owned()));
        for other in ["true", "[\"x\"]", "{}"] {
            assert_eq!(
                text(&json(other), 5),
                Err(Errors::message("Not a valid string."))
            );
        }
        assert_eq!(
            text(&json("\"abc\\u0000def\\ud800\""), 5),
            Err(Errors::Messages(vec![
                "Ensure this field has no more than 5 characters.".to_owned(),
                "Null characters are not allowed.".to_owned(),
                "Surrogate characters are not allowed: U+D800.".to_owned(),
            ]))
        );
        // Characters, not bytes.
        assert_eq!(text(&json("\"ééééé\""), 5), Ok("ééééé".to_owned()));
        assert_eq!(name(None, 5), Err(required()));
        assert_eq!(name(Some(&json("null")), 5), Err(not_null()));
        assert_eq!(
            name(Some(&json("\" \"")), 5),
            Err(Errors::message("This field may not be blank."))
        );
    }

    #[test]
    fn booleans() {
        for yes in ["true", "1", "1.0", "\"true\"", "\"Yes\"", "\"ON\"", "\"1\""] {
            assert_eq!(boolean(&json(yes)), Ok(true), "{yes}");
        }
        for no in ["false", "0", "0.0", "\"f\"", "\"off\"", "\"0\""] {
            assert_eq!(boolean(&json(no)), Ok(false), "{no}");
        }
        for other in ["2", "\"maybe\"", "[]", "\"\""] {
            assert_eq!(
                boolean(&json(other)),
                Err(Errors::message("Must be a valid boolean."))
            );
        }
        assert_eq!(boolean(&Json::Null), Err(not_null()));
    }

    #[test]
    fn integers() {
        for (text, value) in [
            ("4", 4),
            ("\"4\"", 4),
            ("\" -4 \"", -4),
            ("2.0", 2),
            ("\"2.00\"", 2),
        ] {
            assert_eq!(integer(Some(&json(text))), Ok(value), "{text}");
        }
        for other in ["1.5", "true", "\"y\"", "[]", "1e999", "\"\"", "\".\""] {
            assert_eq!(
                integer(Some(&json(other))),
                Err(Errors::message("A valid integer is required.")),
                "{other}"
            );
        }
        assert_eq!(integer(None), Err(required()));
    }

    #[test]
    fn trait_values() {
        let value = |text: &str| trait_value(&json(text));
        let stored = |text: &str| Ok(TraitScalar::Text(text.to_owned()));
        assert_eq!(value("[1, 2]"), stored("[1, 2]"));
        assert_eq!(value(r#"{"a": "b"}"#), stored("{'a': 'b'}"));
        assert_eq!(value("\"  v \""), stored("  v "));
        assert_eq!(value("2.0"), Ok(TraitScalar::Float(2.0)));
        let long = format!("\"{}\"", "v".repeat(2_001));
        let too_long = Err(Errors::message(
            "Value string is too long. Must be less than 2000 character",
        ));
        assert_eq!(value(&long), too_long);
        assert_eq!(value(&format!("[{long}]")), too_long);
        assert!(value(&"9".repeat(30)).is_err());
        assert!(value("1e999").is_err());
        assert!(value("[\"\\ud800\"]").is_err());
    }

    #[test]
    fn what_cannot_be_stored() {
        for fine in [TraitScalar::Int(2_147_483_647), TraitScalar::Float(1e300)] {
            assert_eq!(storable(&fine), Ok(()));
        }
        for bad in [2_147_483_648, -2_147_483_649] {
            assert!(storable(&TraitScalar::Int(bad)).is_err());
        }
        assert!(storable(&TraitScalar::Text("a\0b".to_owned())).is_err());
    }
}
