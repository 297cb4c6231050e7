//! `OPTIONS` without a preflight: what an endpoint is, as Django REST framework tells.

use bytes::Bytes;
use http::{Response, StatusCode};

use super::route::Endpoint;
use super::{json_text, reply};

/// The metadata of an endpoint.
pub(super) fn describe(endpoint: &Endpoint) -> Response<Bytes> {
    let mut out = br#"{"name":"#.to_vec();
    json_text::string(&mut out, endpoint.name);
    out.extend_from_slice(br#","description":"","renders":["application/json""#);
    if !endpoint.json_only {
        out.extend_from_slice(br#","text/html""#);
    }
    out.extend_from_slice(
        br#"],"parses":["application/json","application/x-www-form-urlencoded","multipart/form-data"]}"#,
    );
    reply::json(endpoint, StatusCode::OK, out.into())
}
