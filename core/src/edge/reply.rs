//! Replies and the headers they carry.
//!
//! Headers cost a host time, most of all in WebAssembly, so there are none without a use: of what
//! Flagsmith sends, `Pragma`, `Expires` and the headers that protect pages are left out, because these
//! are not pages (docs/compatibility.md).

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, LAST_MODIFIED, LINK,
    LOCATION, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Response, StatusCode};

use super::cors;
use super::json_text;
use super::route::{Endpoint, FLAGS};
use crate::snapshot::{Side, Snapshot};

/// When the environment last changed, Unix seconds with a fraction.
pub(super) static UPDATED_AT: HeaderName =
    HeaderName::from_static("x-flagsmith-document-updated-at");
pub(super) static CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
static CACHE_TAG: HeaderName = HeaderName::from_static("cache-tag");
static VERSION: HeaderName = HeaderName::from_static("flagsmith-version");

/// Seconds since upstream said that the snapshot is current. Not `Age` (RFC 9111, 5.1), by which caches would
/// take a fresh answer for an old one.
static SNAPSHOT_AGE: HeaderName = HeaderName::from_static("yardarm-snapshot-age");

/// The version of Flagsmith whose protocol is spoken.
pub(super) const PROTOCOL: &str = "2.265.0";

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// A reply with room for the headers of the longest.
fn bare(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut reply = Response::new(body);
    *reply.status_mut() = status;
    *reply.headers_mut() = HeaderMap::with_capacity(16);
    reply
}

/// A header's value, checked when this is compiled rather than for every reply.
macro_rules! fixed {
    ($value:literal) => {
        const { ::http::HeaderValue::from_static($value) }
    };
}
pub(super) use fixed;

/// Sets a header made from data; what cannot stand in a header is left out.
fn set_text(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// A reply of an SDK endpoint that no cache may keep: the default of every one.
pub(super) fn uncached(endpoint: &Endpoint, status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut reply = bare(status, body);
    let headers = reply.headers_mut();
    headers.insert(ALLOW, endpoint.allow.clone());
    headers.insert(
        VARY,
        if endpoint.json_only {
            fixed!("Origin")
        } else {
            fixed!("Accept, Origin")
        },
    );
    headers.insert(
        CACHE_CONTROL,
        fixed!("max-age=0, no-cache, no-store, must-revalidate, private"),
    );
    reply
}

/// The same with a JSON body.
pub(super) fn json(endpoint: &Endpoint, status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut reply = uncached(endpoint, status, body);
    reply
        .headers_mut()
        .insert(CONTENT_TYPE, fixed!("application/json"));
    reply
}

/// A JSON reply outside the SDK API.
pub(super) fn plain_json(status: StatusCode, body: Bytes) -> Response<Bytes> {
    let mut reply = bare(status, body);
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, fixed!("application/json"));
    headers.insert(CACHE_CONTROL, fixed!("no-store"));
    headers.insert(VARY, fixed!("Origin"));
    reply
}

/// 404 of a path that is none.
pub(super) fn not_found() -> Response<Bytes> {
    plain_json(StatusCode::NOT_FOUND, detail("Not found."))
}

/// 301 to the path with its slash, for every method.
pub(super) fn redirect(path: &str, query: Option<&str>) -> Response<Bytes> {
    let mut reply = bare(StatusCode::MOVED_PERMANENTLY, Bytes::new());
    // `//host` would lead elsewhere.
    let path = format!("/{}/", path.trim_start_matches('/'));
    let location = query.map_or_else(|| path.clone(), |query| format!("{path}?{query}"));
    let headers = reply.headers_mut();
    set_text(headers, LOCATION, &location);
    headers.insert(CONTENT_TYPE, HTML);
    headers.insert(VARY, fixed!("Origin"));
    reply
}

/// 200 without a body, as text: a preflight.
pub(super) fn empty_page() -> Response<Bytes> {
    let mut reply = bare(StatusCode::OK, Bytes::new());
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HTML);
    headers.insert(VARY, fixed!("Origin"));
    reply
}

/// `{"detail": text}`.
pub(super) fn detail(text: &str) -> Bytes {
    let mut out = Vec::with_capacity(text.len() + 16);
    out.extend_from_slice(b"{\"detail\":");
    json_text::string(&mut out, text);
    out.push(b'}');
    out.into()
}

/// Says that trying again soon helps.
pub(super) fn ask_to_retry(reply: &mut Response<Bytes>) {
    reply.headers_mut().insert(RETRY_AFTER, fixed!("1"));
}

/// Says when the environment last changed.
pub(super) fn updated_at(reply: &mut Response<Bytes>, snapshot: &Snapshot) {
    set_text(
        reply.headers_mut(),
        UPDATED_AT.clone(),
        snapshot.updated_at_header(),
    );
}

/// Says how long ago upstream was heard, in seconds.
pub(super) fn snapshot_age(reply: &mut Response<Bytes>, seconds: i64) {
    reply
        .headers_mut()
        .insert(SNAPSHOT_AGE.clone(), HeaderValue::from(seconds.max(0)));
}

/// Says that the answer depends on the key; spelt as Flagsmith does, where it has no effect because
/// nothing may be kept.
pub(super) fn vary_as_flagsmith(reply: &mut Response<Bytes>, endpoint: &Endpoint) {
    let value = if endpoint.json_only {
        fixed!("X_ENVIRONMENT_KEY, Origin")
    } else {
        fixed!("X_ENVIRONMENT_KEY, Accept, Origin")
    };
    reply.headers_mut().insert(VARY, value);
}

/// An answer of `/flags/`. Its headers are the same for all who ask from one side.
pub(super) fn flags(snapshot: &Snapshot, side: Side, etag: &str, body: Bytes) -> Response<Bytes> {
    let head = snapshot.flags_head(side, || flags_head(snapshot, side, etag));
    let mut reply = Response::new(body);
    reply.headers_mut().clone_from(head);
    reply
}

/// Lets caches keep it. Browsers ask again each time with its entity tag. A CDN may answer alone for two
/// seconds, and from what it has when the edge is down; it can purge by `Cache-Tag`. An answer to a
/// server-side key stays with who asked.
fn flags_head(snapshot: &Snapshot, side: Side, etag: &str) -> HeaderMap {
    let mut reply = json(&FLAGS, StatusCode::OK, Bytes::new());
    updated_at(&mut reply, snapshot);
    let headers = reply.headers_mut();
    set_text(headers, ETAG, etag);
    // By encoding, because hosts and CDNs pack it.
    headers.insert(VARY, fixed!("X-Environment-Key, Origin, Accept-Encoding"));
    match side {
        Side::Server => {
            headers.insert(CACHE_CONTROL, fixed!("private, no-cache"));
        }
        Side::Client => {
            headers.insert(CACHE_CONTROL, fixed!("public, no-cache"));
            headers.insert(
                CDN_CACHE_CONTROL.clone(),
                fixed!("public, max-age=2, stale-if-error=86400"),
            );
            set_text(
                headers,
                CACHE_TAG.clone(),
                &cache_tag(snapshot.environment_key()),
            );
            cors::open_to_all(headers);
        }
    }
    std::mem::take(headers)
}

/// The tag that `/flags/` carries for CDNs to purge by, `env-<client-side key>`: the key is public, and so is
/// the tag.
pub fn cache_tag(environment_key: &str) -> String {
    const BEFORE: &str = "env-";
    // A tag ends at a comma or space; such a key could be made by hand only.
    let clean = environment_key
        .chars()
        .filter(|c| c.is_ascii_graphic() && *c != ',');
    let mut tag = String::with_capacity(BEFORE.len() + environment_key.len());
    tag.push_str(BEFORE);
    tag.extend(clean);
    tag
}

/// Lets who asked for the environment document keep it, and ask again with its validators.
pub(super) fn cache_document(reply: &mut Response<Bytes>, snapshot: &Snapshot, etag: &str) {
    let headers = reply.headers_mut();
    headers.insert(CACHE_CONTROL, fixed!("private, no-cache"));
    set_text(headers, ETAG, etag);
    set_text(headers, LAST_MODIFIED, snapshot.last_modified());
}

/// Says where the next page is (RFC 8288).
pub(super) fn link_next(reply: &mut Response<Bytes>, target: &str) {
    let link = format!("<{target}>; rel=\"next\"");
    set_text(reply.headers_mut(), LINK, &link);
}

/// Turns a reply into one without a body: 304 and 412.
pub(super) fn empty(mut reply: Response<Bytes>, status: StatusCode) -> Response<Bytes> {
    *reply.status_mut() = status;
    *reply.body_mut() = Bytes::new();
    if status == StatusCode::NOT_MODIFIED {
        reply.headers_mut().remove(CONTENT_TYPE);
    } else {
        reply.headers_mut().insert(CONTENT_TYPE, HTML);
    }
    reply
}

/// Headers of every reply.
pub(super) fn sign_off(reply: &mut Response<Bytes>, host: &'static str) {
    let headers = reply.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, fixed!("nosniff"));
    headers.insert(VERSION.clone(), version(host));
}

macro_rules! version_on {
    ($host:literal) => {
        const {
            HeaderValue::from_static(concat!(
                "2.265.0+yardarm.",
                env!("CARGO_PKG_VERSION"),
                ".",
                $host
            ))
        }
    };
}

fn version(host: &'static str) -> HeaderValue {
    match host {
        "worker" => version_on!("worker"),
        "spin" => version_on!("spin"),
        "native" => version_on!("native"),
        _ => version_on!("memory"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_stays_on_this_host_and_keeps_its_query() {
        let location = |path, query| redirect(path, query).headers()[LOCATION].clone();
        assert_eq!(location("/api/v1/flags", None), "/api/v1/flags/");
        assert_eq!(
            location("/api/v1/flags", Some("feature=x")),
            "/api/v1/flags/?feature=x"
        );
        assert_eq!(location("//evil.example", None), "/evil.example/");
    }

    #[test]
    fn a_cache_tag_is_one_tag() {
        assert_eq!(cache_tag("AbC,x y\u{e9}1"), "env-AbCxy1");
    }

    #[test]
    fn the_version_names_protocol_and_host() {
        assert!(version("worker").to_str().unwrap().starts_with(PROTOCOL));
        assert!(version("worker").to_str().unwrap().ends_with(".worker"));
    }
}
