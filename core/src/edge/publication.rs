//! The publication routes: a control plane hands over packages and asks what is held (DESIGN.md,
//! "publication"). Every request is signed; without a secret the routes are not there.
//!
//! A package may come without parts that the edge has or is about to get: a large environment's
//! overrides travel some at a time, and only those that changed (docs/adr/0009-parts.md).

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde::Deserialize;

use super::error::Refusal;
use super::json_text;
use super::ports::{Held, Host, Install, Unavailable};
use super::reply;
use super::route::{SIGNATURE, TIMESTAMP};
use super::signature::{self, SignatureError};
use crate::snapshot::Package;

/// `PUT /edge/v1/environments/<key>`.
///
/// 201 stored, 200 already held, 202 with the numbers of parts that are missing, 409 a newer one is
/// held, 400 damaged, of another format or of another environment, 401 not signed as it must be.
/// Whatever the answer but 201, what was held keeps serving.
pub(super) async fn put<H: Host>(
    host: &H,
    head: &Parts,
    body: Bytes,
    environment_key: &str,
) -> Response<Bytes> {
    if let Err(refusal) = check(host, head, &body, &Method::PUT) {
        return refusal.reply();
    }
    let package = match Package::open(body) {
        Ok(package) => package,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    };
    let meta = package.meta();
    if meta.environment_key != environment_key {
        return refuse(
            StatusCode::BAD_REQUEST,
            "The package is of another environment.",
        );
    }
    let (status, version) = match host.install(&package).await {
        Ok(Install::Stored) => (StatusCode::CREATED, meta.version),
        Ok(Install::Already) => (StatusCode::OK, meta.version),
        Ok(Install::Incomplete { missing }) => {
            let mut out = br#"{"detail":"Parts are missing.","missing":["#.to_vec();
            for (index, number) in missing.iter().enumerate() {
                if index > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(number.to_string().as_bytes());
            }
            out.extend_from_slice(b"]}");
            return reply::plain_json(StatusCode::ACCEPTED, out.into());
        }
        Ok(Install::Older { held }) => {
            let mut out = br#"{"detail":"A newer version is held.","version":"#.to_vec();
            out.extend_from_slice(held.to_string().as_bytes());
            out.push(b'}');
            return reply::plain_json(StatusCode::CONFLICT, out.into());
        }
        Err(error) => return unavailable(&error),
    };
    let mut out = Vec::new();
    write(
        &mut out,
        &Held {
            version,
            ..Held::from(meta)
        },
    );
    reply::plain_json(status, out.into())
}

/// What an edge says when parts are missing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct MissingParts {
    /// Their numbers in the package.
    pub missing: Vec<u32>,
}

/// `GET /edge/v1/environments`: what is held, tombstones included.
pub(super) async fn list<H: Host>(host: &H, head: &Parts, body: &Bytes) -> Response<Bytes> {
    if let Err(refusal) = check(host, head, body, &Method::GET) {
        return refusal.reply();
    }
    let held = match host.held().await {
        Ok(held) => held,
        Err(error) => return unavailable(&error),
    };
    let mut out = br#"{"environments":["#.to_vec();
    for (index, held) in held.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(&mut out, held);
    }
    out.extend_from_slice(b"]}");
    reply::plain_json(StatusCode::OK, out.into())
}

fn write(out: &mut Vec<u8>, held: &Held) {
    out.extend_from_slice(br#"{"environment_key":"#);
    json_text::string(out, &held.environment_key);
    out.extend_from_slice(br#","version":"#);
    out.extend_from_slice(held.version.to_string().as_bytes());
    out.extend_from_slice(br#","content_hash":"#);
    json_text::string(out, &held.content_hash);
    out.extend_from_slice(br#","gone":"#);
    json_text::boolean(out, held.gone);
    out.push(b'}');
}

/// Why a request is not looked at.
pub(super) enum Closed {
    NoSecret,
    Method(Method),
    Signature(SignatureError),
}

impl Closed {
    pub(super) fn reply(self) -> Response<Bytes> {
        match self {
            Self::NoSecret => reply::not_found(),
            Self::Method(method) => {
                let body = Refusal::MethodNotAllowed(method).body();
                reply::plain_json(StatusCode::METHOD_NOT_ALLOWED, body)
            }
            Self::Signature(error) => refuse(StatusCode::UNAUTHORIZED, &error.to_string()),
        }
    }
}

/// Checks that the route is there, the method, and the signature.
pub(super) fn check<H: Host>(
    host: &H,
    head: &Parts,
    body: &[u8],
    method: &Method,
) -> Result<(), Closed> {
    let secret = host.publishing_secret().ok_or(Closed::NoSecret)?;
    if head.method != *method {
        return Err(Closed::Method(head.method.clone()));
    }
    let text = |name| head.headers.get(name)?.to_str().ok();
    let (timestamp, signature) = (text(&TIMESTAMP), text(&SIGNATURE));
    let (method, path) = (head.method.as_str(), head.uri.path());
    signature::verify(
        &secret,
        method,
        path,
        timestamp,
        signature,
        body,
        host.now(),
    )
    .map_err(Closed::Signature)
}

pub(super) fn refuse(status: StatusCode, text: &str) -> Response<Bytes> {
    reply::plain_json(status, reply::detail(text))
}

pub(super) fn unavailable(_: &Unavailable) -> Response<Bytes> {
    let mut reply = reply::plain_json(StatusCode::SERVICE_UNAVAILABLE, Refusal::Unavailable.body());
    reply::ask_to_retry(&mut reply);
    reply
}
