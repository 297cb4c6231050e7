//! Cross-origin requests: any origin may ask, without credentials (flagsmith-observed.md 3.2).

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ETAG,
    HeaderMap, HeaderValue, ORIGIN,
};
use http::request::Parts;
use http::{Method, Response};

use super::reply::{self, fixed};

const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static(
    "accept, accept-encoding, authorization, baggage, cache-control, content-type, dnt, \
     flagsmith-application-name, flagsmith-application-version, flagsmith-sdk-user-agent, \
     if-modified-since, if-none-match, last-event-id, origin, sentry-trace, traceparent, \
     tracestate, user-agent, x-api-key, x-csrftoken, x-e2e-test-auth-token, x-environment-key, x-requested-with",
);

/// Whether a browser asks what it may send. Answered for every path, and without a key.
pub(super) fn is_preflight(request: &Parts) -> bool {
    request.method == Method::OPTIONS && request.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to that.
pub(super) fn preflight(request: &HeaderMap) -> Response<Bytes> {
    let mut reply = reply::empty_page();
    if request.contains_key(ORIGIN) {
        let headers = reply.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOW_HEADERS);
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            fixed!("DELETE, GET, OPTIONS, PATCH, POST, PUT"),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, fixed!("86400"));
    }
    reply
}

/// Opens a reply to the origin that asks.
pub(super) fn open(reply: &mut Response<Bytes>, request: &HeaderMap) {
    if request.contains_key(ORIGIN) {
        open_to_all(reply.headers_mut());
    }
}

/// Opens a reply whether or not an origin asks: one that caches may share, because not every CDN heeds
/// `Vary: Origin`.
pub(super) fn open_to_all(headers: &mut HeaderMap) {
    // More than Flagsmith exposes: without these a browser cannot tell whether a streamed change has
    // reached the answer it holds.
    let exposed = if headers.contains_key(&reply::UPDATED_AT) || headers.contains_key(ETAG) {
        fixed!("Retry-After, X-Flagsmith-Document-Updated-At, ETag")
    } else {
        fixed!("Retry-After")
    };
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, fixed!("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
}

/// Closes a reply, opened by [`open`], to all but these origins (`allow_origins` of edge-proxy, which has `*`
/// for all). Such replies are for no shared cache: it would hand one origin's to the other.
pub(super) fn restrict(reply: &mut Response<Bytes>, request: &HeaderMap, origins: &[String]) {
    if origins.iter().any(|origin| origin == "*") {
        return;
    }
    let headers = reply.headers_mut();
    headers.remove(&reply::CDN_CACHE_CONTROL);
    let origin = request
        .get(ORIGIN)
        .filter(|origin| origins.iter().any(|allowed| allowed.as_str() == *origin));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        return;
    }
    for name in [
        ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_MAX_AGE,
    ] {
        headers.remove(name);
    }
}
