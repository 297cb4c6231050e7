//! Query strings and percent-encoding, as Django reads them.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The last value of a parameter; `+` is a space, and what is no UTF-8 becomes U+FFFD.
pub(super) fn last<'q>(query: Option<&'q str>, name: &str) -> Option<Cow<'q, str>> {
    let pairs = query?.rsplit('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .find(|(key, _)| *key == name || form_decode(key) == name)
        .map(|(_, value)| form_decode(value))
}

/// Decodes one part of `application/x-www-form-urlencoded`.
pub(super) fn form_decode(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        Cow::Owned(percent_decode(&text.replace('+', " ")).into_owned())
    } else {
        percent_decode(text)
    }
}

/// Decodes `%XX`; a percent sign before anything else is itself.
pub(super) fn percent_decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let decoded = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(h, l)| h << 4 | l),
            _ => None,
        };
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    match String::from_utf8(bytes) {
        Ok(text) => Cow::Owned(text),
        Err(error) => Cow::Owned(String::from_utf8_lossy(error.as_bytes()).into_owned()),
    }
}

/// Encodes a path segment: all but letters, digits and `-._~` (RFC 3986, 2.3).
pub(super) fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a text cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_counts_and_a_blank_one_is_one() {
        let query = Some("identifier=a&identifier=b+c%40d&feature=&tr%61nsient");
        assert_eq!(last(query, "identifier").as_deref(), Some("b c@d"));
        assert_eq!(last(query, "feature").as_deref(), Some(""));
        assert_eq!(last(query, "transient").as_deref(), Some(""));
        assert_eq!(last(query, "other"), None);
        assert_eq!(last(None, "identifier"), None);
    }

    #[test]
    fn decoding_takes_anything() {
        assert_eq!(form_decode("%C3%BCser+%26+%2B%25%2F%3F"), "üser & +%/?");
        assert_eq!(form_decode("%ff"), "\u{fffd}");
        assert_eq!(form_decode("100%"), "100%");
        assert_eq!(form_decode("%zz%4"), "%zz%4");
        assert_eq!(percent_decode("a+b"), "a+b");
    }
}
