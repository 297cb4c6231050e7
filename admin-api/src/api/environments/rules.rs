//! What may be a client-side key.

/// What is wrong with a key that somebody chose: it travels in URLs and headers, and must not look like a
/// server-side one.
pub(super) fn check_key(key: &str) -> Option<&'static str> {
    if key.starts_with("ser.") {
        return Some("Client-side keys must not start with \"ser.\".");
    }
    let safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
    (!key.chars().all(safe))
        .then_some("Only letters, digits and \"-\", \"_\", \".\", \"~\" are allowed.")
}

#[cfg(test)]
mod tests {
    use super::check_key;

    #[test]
    fn keys() {
        for fine in ["oracleDevelopmentKey01", "a-b_c.d~e", "server"] {
            assert_eq!(check_key(fine), None, "{fine}");
        }
        for wrong in ["ser.x", "a/b", "a b", "é", "a%20"] {
            assert!(check_key(wrong).is_some(), "{wrong}");
        }
    }
}
