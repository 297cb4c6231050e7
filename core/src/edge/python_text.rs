//! Text of values as Python's `str()` and `repr()` give it: what Flagsmith stores of a list or
//! dictionary.

use std::fmt::Write as _;

use super::json::Json;
use crate::decimal;

/// `str()` of a value: text as it is, everything else as [`repr`].
pub(super) fn str(value: &Json) -> String {
    if let Json::Text(text) = value {
        return text.text.clone();
    }
    let mut out = String::new();
    repr(value, &mut out);
    out
}

fn repr(value: &Json, out: &mut String) {
    match value {
        Json::Null => out.push_str("None"),
        Json::Bool(true) => out.push_str("True"),
        Json::Bool(false) => out.push_str("False"),
        Json::Int(value) => {
            let _ = write!(out, "{value}");
        }
        Json::BigInt(digits) => out.push_str(digits),
        Json::Float(value) => out.push_str(&decimal::python_text(*value)),
        Json::Text(text) => repr_text(&text.text, out),
        Json::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                repr(item, out);
            }
            out.push(']');
        }
        Json::Dict(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { ", " });
                repr_text(&key.text, out);
                out.push_str(": ");
                repr(value, out);
            }
            out.push('}');
        }
    }
}

fn repr_text(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push(quote);
    for character in text.chars() {
        let code = u32::from(character);
        let _ = match character {
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            '\\' => out.write_str("\\\\"),
            _ if character == quote => write!(out, "\\{quote}"),
            _ if is_printable(character) => out.write_char(character),
            _ if code < 0x100 => write!(out, "\\x{code:02x}"),
            _ if code < 0x1_0000 => write!(out, "\\u{code:04x}"),
            _ => write!(out, "\\U{code:08x}"),
        };
    }
    out.push(quote);
}

/// `str.isprintable()` of one character. The standard library's debug form escapes the same
/// categories; after a first character it does not escape combining marks, and neither does Python.
fn is_printable(character: char) -> bool {
    let mut buffer = [b'a'; 5];
    let length = 1 + character.encode_utf8(&mut buffer[1..]).len();
    let text = std::str::from_utf8(&buffer[..length]).unwrap_or_default();
    !text.escape_debug().skip(1).take(3).eq("\\u{".chars()) && character != '\0'
}

#[cfg(test)]
mod tests {
    use super::super::json_parser::parse;
    use super::*;

    /// Each is what `str(json.loads(…))` says in Python.
    #[test]
    fn collections() {
        let cases = [
            ("[1, 2]", "[1, 2]"),
            (r#"{"a": "b"}"#, "{'a': 'b'}"),
            (
                r#"[true, null, 1.0, "x", {"k": []}]"#,
                "[True, None, 1.0, 'x', {'k': []}]",
            ),
            (
                r#"["it's", "say \"hi\"", "both ' and \""]"#,
                r#"["it's", 'say "hi"', 'both \' and "']"#,
            ),
            (
                r#"["a\n\\\u0000\u007f\u00a0\u00e9\u0301\u200b"]"#,
                "['a\\n\\\\\\x00\\x7f\\xa0é\u{301}\\u200b']",
            ),
            (r#"["\ud83d\ude00"]"#, "['😀']"),
            ("100000000000000000000", "100000000000000000000"),
            (r#""plain""#, "plain"),
        ];
        for (body, expected) in cases {
            assert_eq!(str(&parse(body.as_bytes()).unwrap()), expected, "{body}");
        }
    }
}
