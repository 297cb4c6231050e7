//! Requests as SDKs send them, and what their answers hold.

use bytes::Bytes;
use http::{Method, Request, Response, header};
use serde_json::{Map, Value};

use crate::versions::{Stamp, stamp_of};

/// Identifier and traits of an answer.
pub(crate) fn read_identity(body: &[u8]) -> Option<(String, Map<String, Value>)> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let traits = body["traits"].as_array()?.iter().map(|shown| {
        let key = shown["trait_key"].as_str()?;
        Some((key.to_owned(), shown["trait_value"].clone()))
    });
    let traits = traits.collect::<Option<Map<_, _>>>()?;
    // Where nobody was named the answer may say so.
    let identifier = body["identifier"].as_str().unwrap_or_default();
    Some((identifier.to_owned(), traits))
}

/// The entity tag of an answer, and the version it was of.
pub(crate) fn tag_of(answer: &Response<Bytes>) -> Option<(String, Stamp)> {
    let tag = answer.headers().get(header::ETAG)?.to_str().ok()?;
    Some((tag.to_owned(), stamp_of(answer.headers())?))
}

/// A GET with a key.
pub(crate) fn get(path: &str, key: &str) -> Request<Bytes> {
    let mut request = Request::new(Bytes::new());
    if let Ok(path) = path.parse() {
        *request.uri_mut() = path;
    }
    set(
        &mut request,
        header::HeaderName::from_static("x-environment-key"),
        key,
    );
    request
}

/// A request with a JSON body.
pub(crate) fn send(method: Method, path: &str, key: &str, body: &Value) -> Request<Bytes> {
    let mut request = get(path, key);
    *request.method_mut() = method;
    *request.body_mut() = body.to_string().into();
    set(&mut request, header::CONTENT_TYPE, "application/json");
    request
}

/// Sets a header.
pub(crate) fn set(request: &mut Request<Bytes>, name: header::HeaderName, value: &str) {
    if let Ok(value) = value.parse() {
        request.headers_mut().insert(name, value);
    }
}
