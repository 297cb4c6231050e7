//! JSON as Flagsmith writes it: compact, and ASCII only (`\u00e9`, surrogate pairs beyond 16 bits).

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// A value's JSON.
pub fn to_vec(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    write(value, &mut out);
    out
}

/// Appends a value's JSON. What cannot be written (a map with keys that are no text, which nothing
/// here has) leaves `out` as it was.
pub fn write(value: &impl Serialize, out: &mut Vec<u8>) {
    let before = out.len();
    let mut serializer = Serializer::with_formatter(&mut *out, Ascii);
    if value.serialize(&mut serializer).is_err() {
        out.truncate(before);
    }
}

struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let is_plain = |character: char| (' '..='~').contains(&character);
        let mut rest = fragment;
        while let Some(at) = rest.find(|character| !is_plain(character)) {
            let (plain, odd) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let end = odd.find(is_plain).unwrap_or(odd.len());
            for unit in odd[..end].encode_utf16() {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &odd[end..];
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ascii_comes_out() {
        let text = "é\"\\/\n\u{1}\u{7f}😀 ~";
        let json = to_vec(&text);
        assert_eq!(
            String::from_utf8_lossy(&json),
            r#""\u00e9\"\\/\n\u0001\u007f\ud83d\ude00 ~""#
        );
        assert_eq!(serde_json::from_slice::<String>(&json).expect("JSON"), text);
    }
}
