//! What a target's URL may look like.

use http::Uri;

use crate::publish::{export_objection, is_export};

/// What is wrong with a URL, if anything: it is where paths are appended to, so it may have none of
/// what would have to come after them. Private addresses are fine: the edges are the operator's own.
pub(super) fn objection(url: &str) -> Option<&'static str> {
    if is_export(url) {
        return export_objection(url);
    }
    let Ok(parsed) = url.parse::<Uri>() else {
        return Some("Enter a valid URL.");
    };
    let http = matches!(parsed.scheme_str(), Some("http" | "https"));
    if !http || parsed.host().is_none_or(str::is_empty) {
        return Some("Enter a valid http(s) URL.");
    }
    if parsed
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return Some("The URL must not contain credentials; the secret is a field of its own.");
    }
    // `http` drops a fragment silently.
    if parsed.query().is_some() || url.contains('#') {
        return Some("The URL must not have a query or a fragment.");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_to_append_paths_to() {
        for url in [
            "http://127.0.0.1:8001",
            "https://flags.example.com/",
            "http://[::1]:8080",
            "http://edge.internal",
        ] {
            assert_eq!(objection(url), None, "{url}");
        }
        for url in [
            "",
            "nope",
            "/relative",
            "ftp://example.com",
            "http://",
            "https://user:password@example.com",
            "https://example.com/?a=b",
            "https://example.com/#top",
        ] {
            assert!(objection(url).is_some(), "{url}");
        }
    }
}
