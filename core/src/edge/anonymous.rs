//! The identifier of an identity that gave none (flagsmith-api.md A.4).

use sha2::{Digest as _, Sha256};

use super::submission::{Sent, SentValue};
use crate::{decimal, hex};

/// The same for the same traits: SHA-256 of each name and value, sorted by name, values as Python's
/// `str()` has them. Without traits, a version 4 UUID of the random bytes given.
pub(super) fn identifier(traits: &[Sent<'_>], random: &dyn Fn() -> [u8; 16]) -> String {
    if traits.is_empty() {
        let mut bytes = random();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        return hex::encode(&bytes);
    }
    let mut sorted: Vec<_> = traits.iter().enumerate().collect();
    sorted.sort_unstable_by_key(|(place, sent)| (&*sent.key, *place));
    let mut digest = Sha256::new();
    for (_, sent) in sorted {
        let Some(value) = &sent.value else { continue };
        digest.update(&*sent.key);
        match value {
            SentValue::Bool(true) => digest.update("True"),
            SentValue::Bool(false) => digest.update("False"),
            SentValue::Int(value) => digest.update(value.to_string()),
            SentValue::Float(value) => digest.update(decimal::python_text(*value)),
            SentValue::Text(text) => digest.update(&**text),
        }
    }
    hex::encode(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(key: &'static str, value: Option<SentValue<'static>>) -> Sent<'static> {
        Sent {
            key: key.into(),
            value,
            transient: false,
        }
    }

    fn of(traits: &[Sent<'_>]) -> String {
        identifier(traits, &|| [0xff; 16])
    }

    #[test]
    fn recorded_identifiers() {
        let plan = sent("plan", Some(SentValue::Text("premium".into())));
        assert_eq!(
            of(&[plan]),
            "8b06338d3f872e7bbe9738a7a45e6bd24b958f5e0eba68786171b8cdd85720a8"
        );
        let (a, b) = (
            sent("a", Some(SentValue::Int(1))),
            sent("b", Some(SentValue::Text("x".into()))),
        );
        let expected = "2c6f8b5f5ce3d492b4ca26fb9b0e33f5e5850c229d2e79b7c601eba200bac1f8";
        assert_eq!(of(&[a.clone(), b.clone()]), expected);
        assert_eq!(of(&[b, sent("aa", None), a]), expected);
    }

    #[test]
    fn values_are_written_as_python_does() {
        // sha256(b"bTruef2.0")
        let traits = [
            sent("f", Some(SentValue::Float(2.0))),
            sent("b", Some(SentValue::Bool(true))),
        ];
        assert_eq!(
            of(&traits),
            "df31d34adeb33d1239c4d6e78edbfd80ab3902ccb33413eeb0e03a3b4309cc1a"
        );
    }

    #[test]
    fn without_traits_it_is_a_uuid() {
        assert_eq!(of(&[]), "ffffffffffff4fffbfffffffffffffff");
    }
}
