//! What surrounds every answer: the request's id and log line, the headers that Flagsmith sends, the
//! redirect for a missing slash, and the replies for what no handler answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio::time::timeout;
use tracing::Instrument as _;
use utoipa::openapi::RefOr;

use super::ApiError;
use super::body::BODY_LIMIT;
use super::reply::json_response;
use crate::app::App;

/// The version of Flagsmith whose API this one is.
pub(crate) const FLAGSMITH_VERSION: &str = "2.265.0";

/// How long a body may take.
const BODY_TIME: Duration = Duration::from_secs(30);

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the envelope knows of the routes.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    app: App,
    /// By route.
    facts: Arc<HashMap<String, Facts>>,
    routes: Arc<matchit::Router<()>>,
}

/// What the document says of one route.
#[derive(Debug)]
struct Facts {
    /// The `Allow` header.
    allow: HeaderValue,
    /// It has a page for people.
    html: bool,
    /// Django REST framework does not answer it in Flagsmith: plain views have fewer headers.
    plain: bool,
}

impl Envelope {
    /// From the document, which has every route.
    pub(crate) fn new(app: App, document: &utoipa::openapi::OpenApi) -> Self {
        let mut facts = HashMap::new();
        let mut routes = matchit::Router::new();
        for (path, item) in &document.paths.paths {
            let mut methods = Vec::new();
            for (present, names) in [
                (item.get.is_some(), "GET"),
                (item.post.is_some(), "POST"),
                (item.put.is_some(), "PUT"),
                (item.patch.is_some(), "PATCH"),
                (item.delete.is_some(), "DELETE"),
                (item.get.is_some(), "HEAD"),
            ] {
                if present {
                    methods.push(names);
                }
            }
            methods.push("OPTIONS");
            let html = item.get.as_ref().is_some_and(|get| {
                get.responses
                    .responses
                    .values()
                    .any(|response| match response {
                        RefOr::T(response) => response.content.contains_key("text/html"),
                        RefOr::Ref(_) => false,
                    })
            });
            let plain = !path.starts_with("/api/") || path.starts_with("/api/v1/users/");
            if let Ok(allow) = HeaderValue::try_from(methods.join(", ")) {
                facts.insert(path.clone(), Facts { allow, html, plain });
            }
            // Two spellings of one route would only cost a redirect.
            let _duplicate = routes.insert(path.clone(), ());
        }
        Self {
            app,
            facts: Arc::new(facts),
            routes: Arc::new(routes),
        }
    }
}

/// Around every request.
pub(crate) async fn envelope(
    State(envelope): State<Envelope>,
    matched: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let id = request
        .headers()
        .get(REQUEST_ID)
        .filter(|value| value.len() <= 100)
        .cloned()
        .unwrap_or_else(|| {
            let random = hex::encode(envelope.app.random().bytes::<8>());
            HeaderValue::try_from(random).unwrap_or(HeaderValue::from_static("-"))
        });
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let facts = matched
        .as_ref()
        .and_then(|matched| envelope.facts.get(matched.as_str()));
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or("-"), %method, path);
    // The body is read whole before anything is answered: an answer that leaves some of it unread costs
    // the connection, and with it the caller's next request.
    let (parts, body) = request.into_parts();
    let body = match timeout(BODY_TIME, to_bytes(body, BODY_LIMIT)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return ApiError::TooLarge.into_response(),
        Err(_elapsed) => {
            let body = serde_json::json!({"detail": "Request body took too long."});
            return json_response(StatusCode::REQUEST_TIMEOUT, &body);
        }
    };
    let request = Request::from_parts(parts, body.into());
    let strict = facts.is_some_and(|facts| !facts.html && !facts.plain);
    let mut response = if strict && !accepts_json(request.headers()) {
        let body = serde_json::json!({"detail": "Could not satisfy the request Accept header."});
        json_response(StatusCode::NOT_ACCEPTABLE, &body)
    } else if matched.is_none()
        && !path.ends_with('/')
        && envelope.routes.at(&format!("{path}/")).is_ok()
    {
        redirect(&path, request.uri().query())
    } else {
        next.run(request).instrument(span.clone()).await
    };
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let body = serde_json::json!({"detail": format!("Method \"{method}\" not allowed.")});
        response = json_response(StatusCode::METHOD_NOT_ALLOWED, &body);
    }
    if method == Method::OPTIONS
        && facts.is_some()
        && response.status() == StatusCode::METHOD_NOT_ALLOWED
    {
        let body = serde_json::json!({
            "name": "", "description": "",
            "renders": ["application/json"],
            "parses": ["application/json", "application/x-www-form-urlencoded"],
        });
        response = json_response(StatusCode::OK, &body);
    }
    let status = response.status().as_u16();
    span.in_scope(|| tracing::info!(status, "answered"));
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    decorate(
        headers,
        facts.filter(|facts| !facts.plain).map(|facts| &facts.allow),
        status == 301,
    );
    response
}

/// The headers of every reply (flagsmith-observed.md 3.2).
fn decorate(headers: &mut HeaderMap, allow: Option<&HeaderValue>, redirect: bool) {
    let mut set = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    if !redirect {
        set(
            header::CACHE_CONTROL,
            "max-age=0, no-cache, no-store, must-revalidate, private",
        );
        set(header::PRAGMA, "no-cache");
        set(header::X_FRAME_OPTIONS, "DENY");
    }
    set(
        header::VARY,
        if allow.is_some() {
            "Accept, Origin"
        } else {
            "Origin"
        },
    );
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "same-origin");
    set(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    set(
        HeaderName::from_static("flagsmith-version"),
        FLAGSMITH_VERSION,
    );
    if let Some(allow) = allow {
        headers.insert(header::ALLOW, allow.clone());
    }
}

fn accepts_json(headers: &HeaderMap) -> bool {
    let Some(accept) = headers.get(header::ACCEPT) else {
        return true;
    };
    let accept = accept.to_str().unwrap_or("*/*");
    accept.trim().is_empty()
        || accept.split(',').any(|range| {
            let range = range.split(';').next().unwrap_or_default().trim();
            matches!(range, "*/*" | "application/*" | "application/json")
        })
}

fn redirect(path: &str, query: Option<&str>) -> Response {
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    let mut response = StatusCode::MOVED_PERMANENTLY.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HTML);
    // A path that starts with two slashes would be read as another host.
    let path = format!("/{}", path.trim_start_matches('/'));
    if let Ok(location) = HeaderValue::try_from(format!("{path}/{query}")) {
        headers.insert(header::LOCATION, location);
    }
    response
}

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// Where no route leads.
pub(crate) async fn not_found() -> Response {
    const PAGE: &str = "\n<!doctype html>\n<html lang=\"en\">\n<head>\n  <title>Not Found</title>\n</head>\n\
        <body>\n  <h1>Not Found</h1><p>The requested resource was not found on this server.</p>\n</body>\n</html>\n";
    (StatusCode::NOT_FOUND, [(header::CONTENT_TYPE, HTML)], PAGE).into_response()
}
