//! Python's casts, which Flagsmith's comparisons are made of: `int()`, `float()`, `bool`, `str()`.

use std::fmt::Write as _;

use serde_json::{Number, Value};

use crate::decimal;

/// A number that text was taken for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NumberLike {
    /// `-?[0-9]+`
    Int(i128),
    /// `-?[0-9]+\.[0-9]+`
    Float(f64),
}

/// The number that Flagsmith takes a trait's text for, where it does (flagsmith-api.md B.5).
/// Integers of more than 38 digits become floats.
pub(crate) fn number_like(text: &str) -> Option<NumberLike> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    let whole = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if whole == digits.len() {
        return Some(whole_number(text));
    }
    let (point, fraction) = digits[whole..].split_first()?;
    let is_float =
        *point == b'.' && !fraction.is_empty() && fraction.iter().all(u8::is_ascii_digit);
    is_float.then(|| decimal::read(text).map(NumberLike::Float))?
}

/// An optional sign and digits.
fn whole_number(text: &str) -> NumberLike {
    text.parse::<i64>()
        .map(i128::from)
        .or_else(|_| text.parse::<i128>())
        .map_or_else(
            |_| NumberLike::Float(decimal::read(text).unwrap_or(f64::INFINITY)),
            NumberLike::Int,
        )
}

/// Python's `int(text)`: surrounding white space, a sign, and `_` between digits are allowed.
pub fn python_int(text: &str) -> Option<i128> {
    without_underscores(text.trim())?.parse().ok()
}

/// Python's `float(text)`: as [`python_int`], and exponents, `inf`, `infinity` and `nan`.
pub fn python_float(text: &str) -> Option<f64> {
    decimal::read(&without_underscores(text.trim())?)
}

/// Removes each `_` that stands between two digits; any other makes the text unreadable.
fn without_underscores(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let is_digit = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at))
            .is_some_and(u8::is_ascii_digit)
    };
    let all_between_digits = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'_')
        .all(|(at, _)| is_digit(at.checked_sub(1)) && is_digit(Some(at + 1)));
    all_between_digits.then(|| text.replace('_', ""))
}

/// A JSON number as an integer, where it is written as one.
pub(crate) fn integer(number: &Number) -> Option<i128> {
    number
        .as_i64()
        .map(i128::from)
        .or_else(|| number.as_u64().map(i128::from))
}

/// `True` or `False`.
pub const fn bool_text(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// Python's `str(float)`: the shortest text that reads back, an exponent below 1e-4 and from 1e16.
pub fn float_text(value: f64) -> String {
    decimal::python_text(value)
}

/// Python's `str()` of a JSON value: text as it is, anything else as Python would print it.
pub fn python_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => {
            let mut text = String::new();
            write_repr(other, &mut text);
            text
        }
    }
}

/// Python's `str()` of a JSON number.
pub(crate) fn number_text(number: &Number) -> String {
    integer(number).map_or_else(
        || float_text(number.as_f64().unwrap_or(f64::NAN)),
        |integer| integer.to_string(),
    )
}

fn write_repr(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("None"),
        Value::Bool(value) => out.push_str(bool_text(*value)),
        Value::Number(number) => out.push_str(&number_text(number)),
        Value::String(text) => write_quoted(text, out),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write_repr(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (at, (name, item)) in members.iter().enumerate() {
                out.push_str(if at == 0 { "" } else { ", " });
                write_quoted(name, out);
                out.push_str(": ");
                write_repr(item, out);
            }
            out.push('}');
        }
    }
}

/// Python's `repr(str)`: single quotes unless the text has some and no double ones.
fn write_quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if character == quote => {
                out.push('\\');
                out.push(character);
            }
            // Writing to a string cannot fail.
            '\0'..='\u{1f}' | '\u{7f}'..='\u{a0}' | '\u{ad}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push(quote);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_python_does() {
        for (text, int) in [
            ("1", Some(1)),
            (" 1 ", Some(1)),
            ("+1", Some(1)),
            ("-0", Some(0)),
            ("010", Some(10)),
            ("1_000", Some(1000)),
            ("1__0", None),
            ("_1", None),
            ("1.0", None),
            ("", None),
            ("1e3", None),
        ] {
            assert_eq!(python_int(text), int, "{text:?}");
        }
        for (text, float) in [
            ("1", Some(1.0)),
            (" 1.5\n", Some(1.5)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("1_0.0_1", Some(10.01)),
            ("1_.0", None),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("", None),
            ("x", None),
        ] {
            assert_eq!(python_float(text), float, "{text:?}");
        }
        assert!(python_float("nAn").is_some_and(f64::is_nan));
    }

    #[test]
    fn text_that_looks_like_a_number_is_one() {
        assert_eq!(number_like("010"), Some(NumberLike::Int(10)));
        assert_eq!(number_like("-7"), Some(NumberLike::Int(-7)));
        assert_eq!(number_like("10.0"), Some(NumberLike::Float(10.0)));
        for text in ["", "-", "+1", "1.", ".1", "1.2.3", "1e3", " 1", "١", "-1.x"] {
            assert_eq!(number_like(text), None, "{text:?}");
        }
        let long = "123456789012345678901234567890";
        assert_eq!(
            number_like(long),
            Some(NumberLike::Int(123_456_789_012_345_678_901_234_567_890))
        );
        assert!(matches!(
            number_like(&long.repeat(2)),
            Some(NumberLike::Float(_))
        ));
    }

    #[test]
    fn json_prints_as_python_does() {
        let value = serde_json::json!([1, 2.5, true, null, "it's", "a\"'", {"a": "b\n"}]);
        assert_eq!(
            python_text(&value),
            r#"[1, 2.5, True, None, "it's", 'a"\'', {'a': 'b\n'}]"#
        );
        assert_eq!(python_text(&serde_json::json!("as it is")), "as it is");
    }
}
