//! Conditional requests (RFC 9110, 13).

use http::HeaderMap;
use http::header::{IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};

use super::http_date;
use crate::time::Timestamp;

/// What the conditions of a GET come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// 200: answer in full.
    Answer,
    /// 304: what the client holds is current.
    NotModified,
    /// 412: it changed after the client's date.
    PreconditionFailed,
}

/// Whether `If-None-Match` names this quoted entity tag.
pub(super) fn has_etag(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value.split(',').map(str::trim).any(|candidate| {
                candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == etag
            })
        })
}

/// Judges by entity tag and date. With an `If-None-Match`, dates are not looked at: a tag changes
/// with every change, a date only once a second.
pub(super) fn judge(
    headers: &HeaderMap,
    etag: &str,
    modified: Timestamp,
    now: Timestamp,
) -> Verdict {
    let date = |name| {
        let text = headers.get(name)?.to_str().ok()?;
        http_date::parse(text, now)
    };
    if date(IF_UNMODIFIED_SINCE).is_some_and(|date| date.secs() < modified.secs()) {
        return Verdict::PreconditionFailed;
    }
    let current = if headers.contains_key(IF_NONE_MATCH) {
        has_etag(headers, etag)
    } else {
        date(IF_MODIFIED_SINCE).is_some_and(|date| date.secs() >= modified.secs())
    };
    if current {
        Verdict::NotModified
    } else {
        Verdict::Answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06 08:49:37.5
    const MODIFIED: Timestamp = Timestamp(784_111_777_500_000);
    const SAME: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const FUTURE: &str = "Fri, 01 Jan 2100 00:00:00 GMT";

    fn verdict(conditions: &[(&'static str, &str)]) -> Verdict {
        let mut headers = HeaderMap::new();
        for (name, value) in conditions {
            headers.append(*name, value.parse().unwrap());
        }
        judge(&headers, "\"abc\"", MODIFIED, MODIFIED)
    }

    #[test]
    fn dates() {
        assert_eq!(verdict(&[]), Verdict::Answer);
        assert_eq!(
            verdict(&[("if-modified-since", SAME)]),
            Verdict::NotModified
        );
        assert_eq!(
            verdict(&[("if-modified-since", FUTURE)]),
            Verdict::NotModified
        );
        assert_eq!(verdict(&[("if-modified-since", BEFORE)]), Verdict::Answer);
        assert_eq!(
            verdict(&[("if-modified-since", "yesterday")]),
            Verdict::Answer
        );
        assert_eq!(
            verdict(&[("if-unmodified-since", BEFORE)]),
            Verdict::PreconditionFailed
        );
        assert_eq!(verdict(&[("if-unmodified-since", SAME)]), Verdict::Answer);
    }

    #[test]
    fn entity_tags_come_first() {
        for tag in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert_eq!(
                verdict(&[("if-none-match", tag)]),
                Verdict::NotModified,
                "{tag}"
            );
        }
        let stale = ("if-none-match", "\"abd\"");
        assert_eq!(verdict(&[stale]), Verdict::Answer);
        assert_eq!(
            verdict(&[stale, ("if-modified-since", FUTURE)]),
            Verdict::Answer
        );
    }
}
