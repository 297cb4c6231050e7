//! Requests and replies between the platform's form and the core's.
//!
//! Crossing between Rust and JavaScript costs more than most answers, so only what the core reads
//! is taken from a request, in one string, and what a reply has in common with others is made once:
//! a head (status and headers) and a prepared body are kept as JavaScript values and used again
//! (docs/adr/0003-worker-entry.md).

use std::cell::RefCell;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::js_sys::Uint8Array;
use worker::web_sys;
use yardarm_core::edge::usage::{LABEL_HEADERS, is_labelled};
use yardarm_core::edge::{READ_HEADERS, read_headers};
use yardarm_core::snapshot::Snapshot;

#[wasm_bindgen(module = "/src/glue.js")]
extern "C" {
    #[wasm_bindgen(js_name = nameHeaders)]
    fn name_headers(joined: &str);
    #[wasm_bindgen(js_name = requestLine)]
    fn request_line(request: &web_sys::Request) -> String;
    fn headers(request: &web_sys::Request, wanted: u32) -> String;
    #[wasm_bindgen(js_name = responseHead, catch)]
    fn response_head(status: u16, lines: &str) -> Result<JsValue, JsValue>;
    #[wasm_bindgen(catch)]
    fn respond(body: Option<&Uint8Array>, head: &JsValue) -> Result<web_sys::Response, JsValue>;
    #[wasm_bindgen(js_name = respondWithCopy, catch)]
    fn respond_with_copy(body: &[u8], head: &JsValue) -> Result<web_sys::Response, JsValue>;
}

/// Heads kept; a deployment has a handful for each environment it is asked for.
const MAX_HEADS: usize = 64;
/// Prepared bodies kept; each keeps its snapshot in memory.
const MAX_BODIES: usize = 16;
/// Largest snapshot of which bodies are kept, in bytes.
const MAX_KEPT_SNAPSHOT: usize = 2 << 20;

thread_local! {
    static NAMED: () = name_headers(&names().map(HeaderName::as_str).collect::<Vec<_>>().join("\n"));
    static HEADS: RefCell<Vec<Head>> = const { RefCell::new(Vec::new()) };
    static BODIES: RefCell<Vec<Body>> = const { RefCell::new(Vec::new()) };
}

/// The label headers that are asked for; the host is in the URL.
static LABELS: &[HeaderName] = LABEL_HEADERS.split_at(LABEL_HEADERS.len() - 1).0;

/// Every header that may be asked for, in the order in which JavaScript knows them.
fn names() -> impl Iterator<Item = &'static HeaderName> {
    READ_HEADERS.iter().chain(LABELS)
}

/// A status and headers as JavaScript has them.
struct Head {
    status: u16,
    lines: String,
    made: JsValue,
}

/// A body that stands ready in a snapshot, as JavaScript has it.
struct Body {
    /// Keeps the bytes where they are, so that an address says what is there.
    snapshot: Snapshot,
    at: *const u8,
    length: usize,
    made: Uint8Array,
}

/// A request as the core takes it, with what usage is counted by where it `counts`; `None` if its
/// method or target is none.
pub(crate) fn read(
    request: &web_sys::Request,
    body: Option<Vec<u8>>,
    counts: bool,
) -> Option<Request<Bytes>> {
    let line = request_line(request);
    let (method, authority, target) = parse_line(&line)?;
    let labels = counts && is_labelled(target.path());
    let wanted = mask(read_headers(&method, target.path()), labels);
    NAMED.with(|()| ());
    let mut parsed = parse_headers(&headers(request, wanted));
    if labels && let Ok(host) = HeaderValue::from_str(authority) {
        parsed.insert(HOST, host);
    }
    let mut request = Request::new(body.unwrap_or_default().into());
    *request.method_mut() = method;
    *request.uri_mut() = target;
    *request.headers_mut() = parsed;
    Some(request)
}

/// A bit for each of [`names`] that is to be read.
fn mask(wanted: &[HeaderName], labels: bool) -> u32 {
    let bits = READ_HEADERS.iter().enumerate();
    let mask = bits.fold(0, |mask, (bit, name)| {
        mask | (u32::from(wanted.contains(name)) << bit)
    });
    let labels = if labels { (1 << LABELS.len()) - 1 } else { 0 };
    mask | labels << READ_HEADERS.len()
}

/// Method, host, and path with query of `METHOD absolute-url`.
fn parse_line(line: &str) -> Option<(Method, &str, Uri)> {
    let (method, url) = line.split_once(' ')?;
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    let (_, rest) = url.split_once("://")?;
    let (authority, target) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    Some((method, authority, Uri::try_from(target).ok()?))
}

/// Headers as `glue.js` writes them: a line for each of [`names`], empty where there is none.
fn parse_headers(lines: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(READ_HEADERS.len());
    for (name, line) in names().zip(lines.split('\n')) {
        if let Some(value) = line.strip_prefix(':')
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.insert(name, value);
        }
    }
    headers
}

/// The reply as the platform takes it; `snapshot` is the one it was made from, if any.
pub(crate) fn write(
    reply: &Response<Bytes>,
    snapshot: Option<&Snapshot>,
) -> worker::Result<web_sys::Response> {
    let head = head_of(reply)?;
    let body = reply.body();
    if body.is_empty() {
        return Ok(respond(None, &head)?);
    }
    Ok(
        match snapshot.and_then(|snapshot| prepared(snapshot, body)) {
            Some(body) => respond(Some(&body), &head)?,
            None => respond_with_copy(body, &head)?,
        },
    )
}

/// `name\nvalue\n` for each header.
pub(crate) fn format_headers(headers: &HeaderMap) -> String {
    let mut lines = String::with_capacity(640);
    for (name, value) in headers {
        // What is no text was made from data that is none either; the answer does without.
        if let Ok(value) = value.to_str() {
            for part in [name.as_str(), "\n", value, "\n"] {
                lines.push_str(part);
            }
        }
    }
    lines
}

/// The head of a reply, as JavaScript has it.
pub(crate) fn head_of(reply: &Response<Bytes>) -> worker::Result<JsValue> {
    head(reply.status().as_u16(), format_headers(reply.headers()))
}

fn head(status: u16, lines: String) -> worker::Result<JsValue> {
    HEADS.with_borrow_mut(|heads| {
        let known = |head: &Head| head.status == status && head.lines == lines;
        if let Some(at) = heads.iter().position(known) {
            return Ok(heads[at].made.clone());
        }
        let made = response_head(status, &lines)?;
        if heads.len() >= MAX_HEADS {
            heads.remove(0);
        }
        heads.push(Head {
            status,
            lines,
            made: made.clone(),
        });
        Ok(made)
    })
}

/// The JavaScript value of a body that lies in a snapshot.
fn prepared(snapshot: &Snapshot, body: &Bytes) -> Option<Uint8Array> {
    let all = snapshot.bytes();
    let within = all.as_ptr_range().contains(&body.as_ptr()) && all.len() <= MAX_KEPT_SNAPSHOT;
    if !within {
        return None;
    }
    BODIES.with_borrow_mut(|bodies| {
        let (at, length) = (body.as_ptr(), body.len());
        // While an entry lives, so do the bytes it points to: nothing else can have their address.
        if let Some(known) = bodies
            .iter()
            .find(|kept| kept.at == at && kept.length == length)
        {
            return Some(known.made.clone());
        }
        let key = snapshot.environment_key();
        bodies.retain(|kept| {
            kept.snapshot.environment_key() != key || kept.snapshot.version() >= snapshot.version()
        });
        if bodies.len() >= MAX_BODIES {
            bodies.remove(0);
        }
        let made = Uint8Array::from(body.as_ref());
        bodies.push(Body {
            snapshot: snapshot.clone(),
            at,
            length,
            made: made.clone(),
        });
        Some(made)
    })
}

/// The reply to a request that cannot be read.
pub(crate) fn bad_request() -> worker::Result<web_sys::Response> {
    apology(400, br#"{"detail":"Bad request."}"#)
}

/// The reply where the core's could not be given.
pub(crate) fn server_error() -> worker::Result<web_sys::Response> {
    apology(500, br#"{"detail":"Internal server error."}"#)
}

fn apology(status: u16, body: &[u8]) -> worker::Result<web_sys::Response> {
    let head = head(status, "content-type\napplication/json\n".to_owned())?;
    Ok(respond_with_copy(body, &head)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_method_path_and_query() {
        for (line, method, host, target) in [
            (
                "GET https://edge.example/api/v1/flags/?feature=a",
                Method::GET,
                "edge.example",
                "/api/v1/flags/?feature=a",
            ),
            (
                "POST http://127.0.0.1:8787/",
                Method::POST,
                "127.0.0.1:8787",
                "/",
            ),
            (
                "OPTIONS https://edge.example",
                Method::OPTIONS,
                "edge.example",
                "/",
            ),
            (
                "PUT https://u:p@edge.example/a%2Fb",
                Method::PUT,
                "u:p@edge.example",
                "/a%2Fb",
            ),
        ] {
            let expected = (method, host, Uri::from_static(target));
            assert_eq!(parse_line(line), Some(expected), "{line}");
        }
        assert_eq!(parse_line("GET"), None);
        assert_eq!(parse_line("GET about:blank"), None);
    }

    #[test]
    fn headers_are_told_apart_from_none() {
        let headers = parse_headers(":key\n\n:\n");
        assert_eq!(
            headers.get(&READ_HEADERS[0]),
            Some(&HeaderValue::from_static("key"))
        );
        assert_eq!(headers.get(&READ_HEADERS[1]), None);
        assert_eq!(
            headers.get(&READ_HEADERS[2]),
            Some(&HeaderValue::from_static(""))
        );
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn reply_headers_are_lines() {
        let mut headers = HeaderMap::new();
        headers.append("vary", HeaderValue::from_static("Origin"));
        headers.append("vary", HeaderValue::from_static("Accept"));
        assert_eq!(format_headers(&headers), "vary\nOrigin\nvary\nAccept\n");
    }
}
