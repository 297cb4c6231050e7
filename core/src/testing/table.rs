//! Request-to-reply tables: publications, and exchanges in order.
//!
//! A table is JSON:
//!
//! ```json
//! {
//!   "about": "what it shows",
//!   "publications": { "name": { "version": 1, "document": {} } },
//!   "exchanges": [
//!     { "name": "publish", "publish": "name", "status": 201 },
//!     {
//!       "name": "what it shows",
//!       "request": {
//!         "method": "POST", "path": "/api/v1/identities/",
//!         "headers": { "X-Environment-Key": "key" }, "json": { "identifier": "a" }
//!       },
//!       "reply": {
//!         "status": 200,
//!         "headers": { "content-type": "application/json", "etag": null, "last-modified": "*" },
//!         "json": { "identifier": "a" },
//!         "masked": { "/identifier": "hex32" }
//!       }
//!     }
//!   ]
//! }
//! ```
//!
//! `json` of a reply is compared byte for byte with its compact ASCII form, so the order of keys
//! counts; `body` is compared as text. A header that is `null` must be absent, `"*"` stands for any
//! value. `masked` lists what no table can know over HTTP (random identifiers, hashes), with its kind.
//! A request may have `"body": "text"` or `"package": "name"` (a compiled publication) instead of `json`,
//! and `"signed": true`. Of a package, `"parts": [1]` sends only the parts with these numbers.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap};
use http::{Request, Response};
use serde::Deserialize;
use serde_json::Value;

use crate::edge::signature;
use crate::snapshot::{Package, Publication, compile};
use crate::time::Timestamp;

macro_rules! tables {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../tests/conformance/", $name, ".json")))),*]
    };
}

/// The tables by name. They share no environment, so one host can answer all of them, each once.
pub static TABLES: &[(&str, &str)] = tables![
    "flags",
    "slim",
    "identities",
    "traits",
    "settings",
    "document",
    "analytics",
    "publication",
    "parts",
    "streams",
    "identity_changes",
    "ofrep",
];

/// One table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// What it shows.
    pub about: String,
    /// What is published, by name.
    #[serde(default)]
    publications: BTreeMap<String, Publication>,
    /// Tombstones that can be published, by name.
    #[serde(default)]
    tombstones: BTreeMap<String, Tombstone>,
    /// What is asked, in order.
    exchanges: Vec<Exchange>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tombstone {
    environment_key: String,
    version: u64,
    updated_at_micros: i64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Exchange {
    Publish {
        name: String,
        publish: String,
        status: u16,
    },
    Ask {
        name: String,
        request: Box<Ask>,
        reply: Box<Expected>,
    },
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ask {
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    json: Option<Value>,
    #[serde(default)]
    body: Option<String>,
    /// The publication whose package is the body.
    #[serde(default)]
    package: Option<String>,
    /// Which of the package's parts are sent; all of them where this is missing.
    #[serde(default)]
    parts: Option<Vec<u32>>,
    /// Whether to sign it.
    #[serde(default)]
    signed: bool,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, Option<String>>,
    #[serde(default)]
    json: Option<Value>,
    #[serde(default)]
    body: Option<String>,
    #[serde(default)]
    masked: BTreeMap<String, String>,
}

/// Whom to ask.
#[derive(Debug, Clone, Copy)]
pub struct Target<'t> {
    /// The secret it takes publications with.
    pub secret: &'t [u8],
    /// What its clock shows.
    pub now: Timestamp,
}

/// An exchange that went otherwise than the table says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{exchange}: {reason}")]
pub struct Failure {
    /// Its name.
    pub exchange: String,
    /// What differs.
    pub reason: String,
}

impl Table {
    /// Reads a table.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The client-side keys of the environments it publishes.
    pub fn environment_keys(&self) -> impl Iterator<Item = &str> {
        self.publications
            .values()
            .map(|publication| publication.document.api_key.as_str())
    }
}

/// Plays a table against a host, `send` being the way to it, and tells every difference. A request
/// has a path for its target; `send` puts the host before it where it needs one.
pub async fn run(
    table: &Table,
    target: Target<'_>,
    mut send: impl AsyncFnMut(Request<Bytes>) -> Response<Bytes>,
) -> Vec<Failure> {
    let mut failures = Vec::new();
    for exchange in &table.exchanges {
        let (name, request, expected) = match exchange {
            Exchange::Publish {
                name,
                publish,
                status,
            } => {
                let request = table.publish(publish, target);
                let headers = BTreeMap::new();
                let masked = BTreeMap::new();
                let expected = Expected {
                    status: *status,
                    headers,
                    json: None,
                    body: None,
                    masked,
                };
                (name, request, expected)
            }
            Exchange::Ask {
                name,
                request,
                reply,
            } => (name, table.ask(request, target), (**reply).clone()),
        };
        let difference = match request {
            Ok(request) => expected.difference(&send(request).await),
            Err(reason) => Some(reason),
        };
        failures.extend(difference.map(|reason| Failure {
            exchange: name.clone(),
            reason,
        }));
    }
    failures
}

impl Table {
    /// A package and the client-side key of its environment.
    fn package(&self, name: &str) -> Result<(Package, &str), String> {
        if let Some(publication) = self.publications.get(name) {
            return Ok((compile(publication).0, &publication.document.api_key));
        }
        let gone = self
            .tombstones
            .get(name)
            .ok_or_else(|| format!("no publication {name:?}"))?;
        let key = &gone.environment_key;
        Ok((
            Package::tombstone(key, gone.version, gone.updated_at_micros),
            key,
        ))
    }

    fn publish(&self, name: &str, target: Target<'_>) -> Result<Request<Bytes>, String> {
        let ask = Ask {
            method: "PUT".to_owned(),
            path: format!("/edge/v1/environments/{}", self.package(name)?.1),
            headers: BTreeMap::new(),
            json: None,
            body: None,
            package: Some(name.to_owned()),
            parts: None,
            signed: true,
        };
        self.ask(&ask, target)
    }

    fn ask(&self, ask: &Ask, target: Target<'_>) -> Result<Request<Bytes>, String> {
        let body = match (&ask.json, &ask.body, &ask.package) {
            (Some(json), None, None) => Bytes::from(json.to_string()),
            (None, Some(body), None) => Bytes::from(body.clone()),
            (None, None, Some(name)) => {
                let package = self.package(name)?.0;
                let parts = ask.parts.as_deref();
                parts.map_or_else(|| package.bytes(), |parts| package.with_only(parts).bytes())
            }
            (None, None, None) => Bytes::new(),
            _ => return Err("a request has one body".to_owned()),
        };
        let mut request = Request::builder()
            .method(ask.method.as_str())
            .uri(&ask.path);
        if ask.json.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        if ask.signed {
            let seconds = target.now.secs();
            let path = ask.path.split('?').next().unwrap_or_default();
            let signed = signature::sign(target.secret, &ask.method, path, seconds, &body);
            request = request
                .header(signature::TIMESTAMP_HEADER, seconds)
                .header(signature::SIGNATURE_HEADER, signed);
        }
        request.body(body).map_err(|error| error.to_string())
    }
}

impl Expected {
    /// The first difference of a reply.
    fn difference(&self, reply: &Response<Bytes>) -> Option<String> {
        let body = String::from_utf8_lossy(reply.body());
        if reply.status() != self.status {
            return Some(format!(
                "status {} != {}: {body}",
                reply.status().as_u16(),
                self.status
            ));
        }
        if let Some(difference) = self.headers_difference(reply.headers()) {
            return Some(difference);
        }
        let expected = match (&self.json, &self.body) {
            (Some(json), _) => ascii(json),
            (None, Some(text)) => text.clone(),
            (None, None) => return None,
        };
        let body = match self.mask(&body) {
            Ok(body) => body,
            Err(reason) => return Some(reason),
        };
        (body != expected).then(|| format!("body\n  {body}\nis not\n  {expected}"))
    }

    fn headers_difference(&self, headers: &HeaderMap) -> Option<String> {
        self.headers.iter().find_map(|(name, expected)| {
            let values = headers.get_all(name).iter();
            let values: Vec<_> = values
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
                .collect();
            let actual = (!values.is_empty()).then(|| values.join(", "));
            let same = match (&actual, expected.as_deref()) {
                (Some(_), Some("*")) => true,
                (Some(actual), Some(expected)) if name == "vary" || name == "allow" => {
                    // Hosts and proxies may merge or add to these lists; order means nothing.
                    let parts = |text: &str| {
                        let mut parts: Vec<_> = text
                            .split(',')
                            .map(|part| part.trim().to_lowercase())
                            .filter(|part| part != "accept-encoding")
                            .collect();
                        parts.sort();
                        parts
                    };
                    parts(actual) == parts(expected)
                }
                (actual, expected) => actual.as_deref() == expected,
            };
            (!same).then(|| format!("header {name}: {actual:?} != {expected:?}"))
        })
    }

    /// Replaces what is masked by its kind, once it proved to be of that kind.
    fn mask(&self, body: &str) -> Result<String, String> {
        if self.masked.is_empty() {
            return Ok(body.to_owned());
        }
        let mut value: Value =
            serde_json::from_str(body).map_err(|error| format!("{error}: {body}"))?;
        for (pointer, kind) in &self.masked {
            let masked = value
                .pointer_mut(pointer)
                .ok_or_else(|| format!("{pointer} is not there: {body}"))?;
            let hex = |digits: usize| {
                masked.as_str().is_some_and(|text| {
                    text.len() == digits
                        && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
                })
            };
            let fits = match kind.as_str() {
                "hex32" => hex(32),
                "hex64" => hex(64),
                "list" => masked.is_array(),
                _ => return Err(format!("no kind {kind:?}")),
            };
            if !fits {
                return Err(format!("{pointer} is not {kind}: {masked}"));
            }
            *masked = Value::String(kind.clone());
        }
        Ok(ascii(&value))
    }
}

/// Compact JSON with `\uXXXX` for what is not ASCII.
fn ascii(value: &Value) -> String {
    let mut out = String::new();
    for unit in value.to_string().encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => out.push(char::from(byte)),
            _ => {
                let _ = std::fmt::Write::write_fmt(&mut out, format_args!("\\u{unit:04x}"));
            }
        }
    }
    out
}
