//! Writing JSON the way Flagsmith does: compact and ASCII only (flagsmith-observed.md 3.2).

use std::io::Write as _;

use crate::decimal;

/// A string with its quotes.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    // As nearly every string is.
    if text.bytes().all(is_plain) {
        out.extend_from_slice(text.as_bytes());
    } else {
        escaped(out, text);
    }
    out.push(b'"');
}

fn is_plain(byte: u8) -> bool {
    PLAIN[usize::from(byte)]
}

/// Which bytes stand for themselves.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b' ';
    while byte <= b'~' {
        plain[byte as usize] = byte != b'"' && byte != b'\\';
        byte += 1;
    }
    plain
};

/// Apart from [`string`], which is called often and needs little for nearly all of them.
#[inline(never)]
fn escaped(out: &mut Vec<u8>, mut rest: &str) {
    // Copies runs of plain characters whole.
    while let Some(at) = rest.bytes().position(|byte| !is_plain(byte)) {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let mut tail = rest[at..].chars();
        if let Some(character) = tail.next() {
            escape(out, character);
        }
        rest = tail.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
}

fn escape(out: &mut Vec<u8>, character: char) {
    let short = match character {
        '"' => b'"',
        '\\' => b'\\',
        '\n' => b'n',
        '\r' => b'r',
        '\t' => b't',
        '\u{8}' => b'b',
        '\u{c}' => b'f',
        _ => {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// An integer.
pub(super) fn integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// A finite float; JSON has no other.
pub(super) fn float(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(decimal::python_text(value).as_bytes());
}

/// `true` or `false`.
pub(super) fn boolean(out: &mut Vec<u8>, value: bool) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_ascii() {
        let mut out = Vec::new();
        string(&mut out, "a\"\\\n\r\t\u{8}\u{c}\0\u{7f}é\u{2028}😀z");
        let expected = r#""a\"\\\n\r\t\b\f\u0000\u007f\u00e9\u2028\ud83d\ude00z""#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
