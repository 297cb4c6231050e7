//! Python's JSON decoder with its error messages, position for position (`CPython` 3.13,
//! `Modules/_json.c`; flagsmith-observed.md 3.1).

use std::collections::HashMap;

use super::json::{Json, Text};
use crate::decimal;

/// How deep lists and dictionaries may nest. Flagsmith answers 500 some way past a thousand; the
/// stack of a WebAssembly instance decides here.
const MAX_DEPTH: usize = 200;
/// Python refuses longer integers.
const MAX_INT_DIGITS: usize = 4_300;

/// Parses a body; the error is the text after `JSON parse error - `.
pub(super) fn parse(body: &[u8]) -> Result<Json, String> {
    let text = decode(body)?;
    let parser = Parser {
        text,
        bytes: text.as_bytes(),
    };
    if text.starts_with('\u{feff}') {
        return Err(parser.fail("Unexpected UTF-8 BOM (decode using utf-8-sig)", 0));
    }
    let (value, end) = parser.value(parser.skip_space(0), 0)?;
    let end = parser.skip_space(end);
    if end < parser.bytes.len() {
        return Err(parser.fail("Extra data", end));
    }
    Ok(value)
}

/// UTF-8 as Python's stream reader decodes it: a sequence cut short at the end is dropped.
fn decode(body: &[u8]) -> Result<&str, String> {
    let error = match std::str::from_utf8(body) {
        Ok(text) => return Ok(text),
        Err(error) => error,
    };
    let at = error.valid_up_to();
    let Some(length) = error.error_len() else {
        return Ok(std::str::from_utf8(&body[..at]).unwrap_or_default());
    };
    let first = body[at];
    let reason = match first {
        0xc2..=0xf4 => "invalid continuation byte",
        _ => "invalid start byte",
    };
    Err(if length == 1 {
        format!("'utf-8' codec can't decode byte 0x{first:02x} in position {at}: {reason}")
    } else {
        let last = at + length - 1;
        format!("'utf-8' codec can't decode bytes in position {at}-{last}: {reason}")
    })
}

struct Parser<'t> {
    text: &'t str,
    bytes: &'t [u8],
}

type Parsed<T> = Result<(T, usize), String>;

impl Parser<'_> {
    fn at(&self, index: usize) -> Option<u8> {
        self.bytes.get(index).copied()
    }

    fn skip_space(&self, mut index: usize) -> usize {
        while matches!(self.at(index), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            index += 1;
        }
        index
    }

    /// `message: line L column C (char N)`, counted in characters.
    fn fail(&self, message: &str, index: usize) -> String {
        let before = String::from_utf8_lossy(&self.bytes[..index.min(self.bytes.len())]);
        let line = before.matches('\n').count() + 1;
        let column = before
            .rsplit('\n')
            .next()
            .map_or(0, |tail| tail.chars().count())
            + 1;
        let position = before.chars().count();
        format!("{message}: line {line} column {column} (char {position})")
    }

    fn value(&self, index: usize, depth: usize) -> Parsed<Json> {
        let rest = self.text.get(index..).unwrap_or_default();
        let literal = |word: &str, value| Ok((value, index + word.len()));
        match self.at(index) {
            Some(b'"') => {
                let (text, end) = self.string(index)?;
                Ok((Json::Text(text), end))
            }
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err(self.fail("Too deeply nested", index)),
            Some(b'{') => self.dict(index + 1, depth + 1),
            Some(b'[') => self.list(index + 1, depth + 1),
            Some(b'n') if rest.starts_with("null") => literal("null", Json::Null),
            Some(b't') if rest.starts_with("true") => literal("true", Json::Bool(true)),
            Some(b'f') if rest.starts_with("false") => literal("false", Json::Bool(false)),
            _ => {
                for constant in ["NaN", "Infinity", "-Infinity"] {
                    if rest.starts_with(constant) {
                        return Err(format!(
                            "Out of range float values are not JSON compliant: '{constant}'"
                        ));
                    }
                }
                self.number(index)
            }
        }
    }

    fn dict(&self, index: usize, depth: usize) -> Parsed<Json> {
        let mut entries: Vec<(Text, Json)> = Vec::new();
        // Where each key stands: bodies with very many keys must not take quadratic time.
        let mut places: HashMap<String, usize> = HashMap::new();
        let mut index = self.skip_space(index);
        if self.at(index) == Some(b'}') {
            return Ok((Json::Dict(entries), index + 1));
        }
        loop {
            if self.at(index) != Some(b'"') {
                return Err(self.fail("Expecting property name enclosed in double quotes", index));
            }
            let (key, end) = self.string(index)?;
            index = self.skip_space(end);
            if self.at(index) != Some(b':') {
                return Err(self.fail("Expecting ':' delimiter", index));
            }
            let (value, end) = self.value(self.skip_space(index + 1), depth)?;
            if let Some(place) = places.get(&key.text) {
                entries[*place].1 = value;
            } else {
                places.insert(key.text.clone(), entries.len());
                entries.push((key, value));
            }
            index = self.skip_space(end);
            match self.at(index) {
                Some(b'}') => return Ok((Json::Dict(entries), index + 1)),
                Some(b',') => {}
                _ => return Err(self.fail("Expecting ',' delimiter", index)),
            }
            let comma = index;
            index = self.skip_space(index + 1);
            if self.at(index) == Some(b'}') {
                return Err(self.fail("Illegal trailing comma before end of object", comma));
            }
        }
    }

    fn list(&self, index: usize, depth: usize) -> Parsed<Json> {
        let mut items = Vec::new();
        let mut index = self.skip_space(index);
        if self.at(index) == Some(b']') {
            return Ok((Json::List(items), index + 1));
        }
        loop {
            let (value, end) = self.value(index, depth)?;
            items.push(value);
            index = self.skip_space(end);
            match self.at(index) {
                Some(b']') => return Ok((Json::List(items), index + 1)),
                Some(b',') => {}
                _ => return Err(self.fail("Expecting ',' delimiter", index)),
            }
            let comma = index;
            index = self.skip_space(index + 1);
            if self.at(index) == Some(b']') {
                return Err(self.fail("Illegal trailing comma before end of array", comma));
            }
        }
    }

    /// A string whose opening quote is at `begin`.
    fn string(&self, begin: usize) -> Parsed<Text> {
        let mut out = Text::default();
        let mut index = begin + 1;
        let unterminated = || self.fail("Unterminated string starting at", begin);
        loop {
            let plain = index;
            while !matches!(self.at(index), None | Some(b'"' | b'\\' | 0..=0x1f)) {
                index += 1;
            }
            out.text
                .push_str(self.text.get(plain..index).unwrap_or_default());
            match self.at(index) {
                Some(b'"') => return Ok((out, index + 1)),
                Some(b'\\') => {}
                Some(_) => return Err(self.fail("Invalid control character at", index)),
                None => return Err(unterminated()),
            }
            let escape = self.at(index + 1).ok_or_else(unterminated)?;
            if escape == b'u' {
                index = self.unicode_escape(index, &mut out)?;
                continue;
            }
            out.text.push(match escape {
                b'"' | b'\\' | b'/' => char::from(escape),
                b'b' => '\u{8}',
                b'f' => '\u{c}',
                b'n' => '\n',
                b'r' => '\r',
                b't' => '\t',
                _ => return Err(self.fail("Invalid \\escape", index)),
            });
            index += 2;
        }
    }

    /// `\uXXXX`, or a surrogate pair of them, whose backslash is at `index`.
    fn unicode_escape(&self, index: usize, out: &mut Text) -> Result<usize, String> {
        let invalid = |index: usize| self.fail("Invalid \\uXXXX escape", index + 1);
        let unit = |index: usize| self.hex(index + 2).ok_or_else(|| invalid(index));
        let first = unit(index)?;
        let mut end = index + 6;
        let mut code = u32::from(first);
        if (0xd800..0xdc00).contains(&first) && self.bytes[end..].starts_with(b"\\u") {
            let second = unit(end)?;
            if (0xdc00..0xe000).contains(&second) {
                code = 0x1_0000 + ((code - 0xd800) << 10) + (u32::from(second) - 0xdc00);
                end += 6;
            }
        }
        if let Some(character) = char::from_u32(code) {
            out.text.push(character);
        } else {
            out.text.push(char::REPLACEMENT_CHARACTER);
            out.surrogate.get_or_insert(first);
        }
        Ok(end)
    }

    fn hex(&self, index: usize) -> Option<u16> {
        let digits = self.bytes.get(index..index + 4)?;
        digits.iter().try_fold(0, |value, digit| {
            let digit = u16::try_from(char::from(*digit).to_digit(16)?).ok()?;
            Some(value << 4 | digit)
        })
    }

    fn digits(&self, mut index: usize) -> usize {
        while matches!(self.at(index), Some(b'0'..=b'9')) {
            index += 1;
        }
        index
    }

    fn number(&self, start: usize) -> Parsed<Json> {
        let whole = start + usize::from(self.at(start) == Some(b'-'));
        let mut index = match self.at(whole) {
            Some(b'0') => whole + 1,
            Some(b'1'..=b'9') => self.digits(whole),
            _ => return Err(self.fail("Expecting value", start)),
        };
        let integer_end = index;
        if self.at(index) == Some(b'.') && self.digits(index + 1) > index + 1 {
            index = self.digits(index + 1);
        }
        if matches!(self.at(index), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.at(index + 1), Some(b'+' | b'-')));
            let end = self.digits(index + 1 + sign);
            if end > index + 1 + sign {
                index = end;
            }
        }
        let text = &self.text[start..index];
        if index > integer_end {
            return Ok((
                Json::Float(decimal::read(text).unwrap_or(f64::INFINITY)),
                index,
            ));
        }
        if index - whole > MAX_INT_DIGITS {
            return Err(format!(
                "Exceeds the limit ({MAX_INT_DIGITS} digits) for integer string conversion: value \
                 has {} digits; use sys.set_int_max_str_digits() to increase the limit",
                index - whole
            ));
        }
        let value = text
            .parse()
            .map_or_else(|_| Json::BigInt(text.to_owned()), Json::Int);
        Ok((value, index))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Json {
        Json::Text(text.into())
    }

    #[test]
    fn values() {
        let body = br#" {"a": [1, -0, 2.0, 1e3, true, null], "b": "x\n\u00e9\ud83d\ude00/\/"} "#;
        assert_eq!(
            parse(body),
            Ok(Json::Dict(vec![
                (
                    "a".into(),
                    Json::List(vec![
                        Json::Int(1),
                        Json::Int(0),
                        Json::Float(2.0),
                        Json::Float(1e3),
                        Json::Bool(true),
                        Json::Null,
                    ])
                ),
                ("b".into(), text("x\né😀//")),
            ]))
        );
        assert_eq!(parse(b"[]"), Ok(Json::List(vec![])));
        assert_eq!(parse(b"{}"), Ok(Json::Dict(vec![])));
        assert_eq!(parse(b"1e999"), Ok(Json::Float(f64::INFINITY)));
        assert_eq!(
            parse(b"9223372036854775808"),
            Ok(Json::BigInt("9223372036854775808".into()))
        );
    }

    #[test]
    fn last_of_repeated_keys_wins_in_the_first_place() {
        assert_eq!(
            parse(br#"{"a": 1, "b": 2, "a": 3}"#),
            Ok(Json::Dict(vec![
                ("a".into(), Json::Int(3)),
                ("b".into(), Json::Int(2))
            ]))
        );
    }

    #[test]
    fn lone_surrogates_are_remembered() {
        let surrogate = |text: &str, unit| {
            Ok(Json::Text(Text {
                text: text.to_owned(),
                surrogate: Some(unit),
            }))
        };
        assert_eq!(parse(br#""a\ud800b""#), surrogate("a\u{fffd}b", 0xd800));
        assert_eq!(parse(br#""\ud800A""#), surrogate("\u{fffd}A", 0xd800));
        assert_eq!(
            parse(br#""\udc00\ud801""#),
            surrogate("\u{fffd}\u{fffd}", 0xdc00)
        );
    }

    /// Each message is what `python3.13 -c 'import json; json.loads(…)'` says.
    #[test]
    fn errors_are_those_of_python() {
        let cases: &[(&[u8], &str)] = &[
            (
                br#"{"identifier": "#,
                "Expecting value: line 1 column 16 (char 15)",
            ),
            (
                br#"{"identifier": "x",}"#,
                "Illegal trailing comma before end of object: line 1 column 19 (char 18)",
            ),
            (
                b"{'a': 1}",
                "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
            ),
            (
                b"{",
                "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
            ),
            (b"hello", "Expecting value: line 1 column 1 (char 0)"),
            (b"[", "Expecting value: line 1 column 2 (char 1)"),
            (b" ", "Expecting value: line 1 column 2 (char 1)"),
            (b"-", "Expecting value: line 1 column 1 (char 0)"),
            (
                b"[1 2]",
                "Expecting ',' delimiter: line 1 column 4 (char 3)",
            ),
            (
                b"[1,]",
                "Illegal trailing comma before end of array: line 1 column 3 (char 2)",
            ),
            (b"[01]", "Expecting ',' delimiter: line 1 column 3 (char 2)"),
            (b"1.", "Extra data: line 1 column 2 (char 1)"),
            (b"1e", "Extra data: line 1 column 2 (char 1)"),
            (
                b"{\"a\" 1}",
                "Expecting ':' delimiter: line 1 column 6 (char 5)",
            ),
            (
                b"{\"a\": 1 \"b\"}",
                "Expecting ',' delimiter: line 1 column 9 (char 8)",
            ),
            (
                b"\"abc",
                "Unterminated string starting at: line 1 column 1 (char 0)",
            ),
            (
                b"\"abc\\",
                "Unterminated string starting at: line 1 column 1 (char 0)",
            ),
            (
                b"[\"a\nb\"]",
                "Invalid control character at: line 1 column 4 (char 3)",
            ),
            (b"\"a\\x\"", "Invalid \\escape: line 1 column 3 (char 2)"),
            (
                b"\"\\u12\"",
                "Invalid \\uXXXX escape: line 1 column 3 (char 2)",
            ),
            (
                b"\"\\u12g4\"",
                "Invalid \\uXXXX escape: line 1 column 3 (char 2)",
            ),
            (b"{}\n x", "Extra data: line 2 column 2 (char 4)"),
            (
                "[\"é\", x]".as_bytes(),
                "Expecting value: line 1 column 7 (char 6)",
            ),
            (
                b"\xef\xbb\xbf{}",
                "Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0)",
            ),
            (
                b"[NaN]",
                "Out of range float values are not JSON compliant: 'NaN'",
            ),
            (
                b"-Infinity",
                "Out of range float values are not JSON compliant: '-Infinity'",
            ),
            (
                b"{\"identifier\": \"\xff\"}",
                "'utf-8' codec can't decode byte 0xff in position 16: invalid start byte",
            ),
            (
                b"\"\xc3(\"",
                "'utf-8' codec can't decode byte 0xc3 in position 1: invalid continuation byte",
            ),
            (
                b"\"\xe2\x82(\"",
                "'utf-8' codec can't decode bytes in position 1-2: invalid continuation byte",
            ),
            (
                b"\"a\xe2\x82",
                "Unterminated string starting at: line 1 column 1 (char 0)",
            ),
        ];
        for (body, expected) in cases {
            let body_text = String::from_utf8_lossy(body);
            assert_eq!(parse(body), Err((*expected).to_owned()), "{body_text}");
        }
    }

    #[test]
    fn limits() {
        let deep = "[".repeat(100_000);
        assert_eq!(
            parse(deep.as_bytes()),
            Err("Too deeply nested: line 1 column 201 (char 200)".to_owned())
        );
        let long = "1".repeat(4_301);
        assert!(
            parse(long.as_bytes())
                .unwrap_err()
                .starts_with("Exceeds the limit (4300 digits)")
        );
    }
}
