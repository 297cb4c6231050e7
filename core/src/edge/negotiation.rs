//! Which representation is asked for. There is one, JSON; Flagsmith would show some endpoints as a
//! page in a browser, which is answered with the JSON here.

use http::HeaderMap;
use http::header::ACCEPT;

use super::error::Refusal;
use super::query;
use super::route::Endpoint;

/// Checks `?format=` and `Accept`, in that order.
pub(super) fn check(
    endpoint: &Endpoint,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<(), Refusal> {
    if let Some(format) = query::last(query, "format") {
        let known = matches!(&*format, "" | "json") || (!endpoint.json_only && format == "api");
        if !known {
            return Err(Refusal::NotFound("Not found."));
        }
    }
    let Some(accept) = headers.get(ACCEPT) else {
        return Ok(());
    };
    let accept = accept.as_bytes();
    if accept.is_empty() || accept == b"*/*" || accept == b"application/json" {
        return Ok(());
    }
    // Something unreadable names no type that is served.
    let accept = std::str::from_utf8(accept).unwrap_or("-");
    if accept.split(',').any(|range| admits(endpoint, range)) {
        Ok(())
    } else {
        Err(Refusal::NotAcceptable)
    }
}

fn admits(endpoint: &Endpoint, range: &str) -> bool {
    let name = range.split(';').next().unwrap_or_default().trim();
    let json = ["*/*", "application/*", "application/json", "*/json"];
    let page = ["text/*", "text/html", "*/html"];
    json.iter().any(|known| name.eq_ignore_ascii_case(known))
        || (!endpoint.json_only && page.iter().any(|known| name.eq_ignore_ascii_case(known)))
}

#[cfg(test)]
mod tests {
    use super::super::route::{FLAGS, IDENTITIES};
    use super::*;

    fn accepts(endpoint: &Endpoint, accept: &'static str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        check(endpoint, &headers, None).is_ok()
    }

    #[test]
    fn accept() {
        for fine in [
            "*/*",
            "application/json",
            "application/json; indent=4",
            "text/html, */*",
            "",
        ] {
            assert!(accepts(&FLAGS, fine), "{fine}");
        }
        for other in ["text/html", "application/xml", "text/html, image/png"] {
            assert!(!accepts(&FLAGS, other), "{other}");
        }
        assert!(accepts(&IDENTITIES, "text/html"));
        assert!(!accepts(&IDENTITIES, "application/xml"));
    }

    #[test]
    fn format() {
        let with = |query| check(&FLAGS, &HeaderMap::new(), Some(query));
        assert_eq!(with("format=json"), Ok(()));
        assert_eq!(with("format=xml"), Err(Refusal::NotFound("Not found.")));
        assert_eq!(with("format=api"), Err(Refusal::NotFound("Not found.")));
    }
}
