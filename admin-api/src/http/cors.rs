//! Cross-origin requests: the API keeps no cookies, so that any page may call it (flagsmith-observed.md 3.2).

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, Method, header};

const ALLOWED_HEADERS: &str = "accept, accept-encoding, authorization, baggage, content-type, dnt, \
    flagsmith-application-name, flagsmith-application-version, flagsmith-sdk-user-agent, origin, sentry-trace, \
    traceparent, tracestate, user-agent, x-csrftoken, x-environment-key, x-requested-with";

/// Answers preflights and marks every other reply as readable from anywhere.
pub(crate) async fn cors(request: Request, next: Next) -> Response {
    let asked = request.headers().contains_key(header::ORIGIN);
    let preflight = request.method() == Method::OPTIONS
        && asked
        && request
            .headers()
            .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if preflight {
        let mut response = Response::new(axum::body::Body::empty());
        let headers = response.headers_mut();
        let set = |headers: &mut HeaderMap, name, value| {
            headers.insert(name, HeaderValue::from_static(value));
        };
        set(headers, header::CONTENT_TYPE, "text/html; charset=utf-8");
        set(
            headers,
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            ALLOWED_HEADERS,
        );
        set(
            headers,
            header::ACCESS_CONTROL_ALLOW_METHODS,
            "DELETE, GET, OPTIONS, PATCH, POST, PUT",
        );
        set(headers, header::ACCESS_CONTROL_MAX_AGE, "86400");
        response
    } else {
        next.run(request).await
    };
    if asked {
        let headers = response.headers_mut();
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("*"),
        );
        headers
            .entry(header::VARY)
            .or_insert(HeaderValue::from_static("Origin"));
        headers.insert(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Retry-After"),
        );
    }
    response
}
