//! The recorded SDK exchanges of a real Flagsmith 2.265.0, played against this code: same statuses,
//! headers and bodies, but for the differences that are meant (docs/compatibility.md) and named here.

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use serde_json::Value;
use yardarm_core::edge::handle;
use yardarm_core::testing::run_ready;

use crate::edge_recorded_world::World;
use crate::shared;

/// Headers that are compared, as the replay tool does.
const HEADERS: &[&str] = &[
    "content-type",
    "allow",
    "vary",
    "location",
    "www-authenticate",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-max-age",
    "last-modified",
    "x-flagsmith-document-updated-at",
];

#[test]
fn answers_as_recorded() {
    let Some(recorded) = shared::text("conformance/recorded/sdk.jsonl") else {
        return;
    };
    let exchanges: Vec<Value> = recorded
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let mut world = World::of(&exchanges);
    let (mut same, mut meant) = (0, 0);
    let mut differences = Vec::new();
    for exchange in &exchanges {
        if !is_sdk(exchange) {
            world.edit(exchange);
            continue;
        }
        world.follow(exchange);
        let reply = run_ready(handle(world.host(), request(exchange))).reply;
        match difference(exchange, &reply) {
            None => same += 1,
            Some(difference) if is_meant(exchange, &reply, &difference) => meant += 1,
            Some(difference) => {
                differences.push(format!("{}: {difference}", text(exchange, "label")));
            }
        }
    }
    eprintln!("{same} as recorded, {meant} different on purpose");
    let shown = differences.join("\n");
    assert!(
        differences.is_empty(),
        "{} differ:\n{shown}",
        differences.len()
    );
    assert!(same > 610, "only {same} compared");
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}

fn is_sdk(exchange: &Value) -> bool {
    let path = text(exchange, "path");
    let v1 = path.strip_prefix("/api/v1/").unwrap_or_default();
    let sdk = [
        "flags",
        "identities",
        "traits",
        "environment-document",
        "analytics",
    ];
    sdk.iter().any(|name| v1.starts_with(name)) || path.starts_with("/api/v2/analytics")
}

fn request(exchange: &Value) -> Request<Bytes> {
    let mut request = Request::builder()
        .method(text(exchange, "method"))
        .uri(text(exchange, "path"));
    for (name, value) in exchange["req_headers"].as_object().into_iter().flatten() {
        request = request.header(name, value.as_str().unwrap_or_default());
    }
    let body = if let Some(raw) = exchange["req_raw"].as_str() {
        // Bytes that are no UTF-8 were recorded as Latin-1; text was recorded as text.
        let latin: Option<Vec<u8>> = raw
            .chars()
            .map(|character| u8::try_from(u32::from(character)).ok())
            .collect();
        latin.unwrap_or_else(|| raw.as_bytes().to_vec())
    } else if let Some(form) = exchange["req_form"].as_object() {
        request = request.header("content-type", "application/x-www-form-urlencoded");
        let pairs = form
            .iter()
            .map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default()));
        pairs.collect::<Vec<_>>().join("&").into_bytes()
    } else if let Some(json) = exchange.get("req_body") {
        json.to_string().into_bytes()
    } else {
        Vec::new()
    };
    request.body(body.into()).expect("a request")
}

/// The first thing that is not as recorded.
fn difference(exchange: &Value, reply: &Response<Bytes>) -> Option<String> {
    let status = exchange["status"].as_u64().unwrap_or_default();
    if u64::from(reply.status().as_u16()) != status {
        let body = String::from_utf8_lossy(reply.body());
        return Some(format!(
            "status {} != {status}: {body:.200}",
            reply.status().as_u16()
        ));
    }
    let recorded = headers(&exchange["resp_headers"]);
    // Flags may be kept by caches, so they are open to every origin whoever asks.
    let is_shared = reply.headers().contains_key("cdn-cache-control");
    let compared = HEADERS
        .iter()
        .filter(|name| !is_shared || !name.starts_with("access-control"));
    for name in compared {
        let (ours, theirs) = (listed(reply.headers(), name), listed(&recorded, name));
        if ours != theirs {
            return Some(format!("header {name}: {ours:?} != {theirs:?}"));
        }
    }
    let ours = match serde_json::from_slice(reply.body()) {
        Ok(body) => body,
        Err(_) => Value::String(String::from_utf8_lossy(reply.body()).into_owned()),
    };
    let theirs = exchange.get("resp_body").or(exchange.get("resp_text"));
    let theirs = theirs
        .cloned()
        .unwrap_or_else(|| Value::String(String::new()));
    // As text: the order of keys counts.
    let ours = masked(exchange, ours).to_string();
    let theirs = masked(exchange, without_leaks(exchange, theirs)).to_string();
    if ours == theirs || text(exchange, "method") == "HEAD" {
        return None;
    }
    let at = ours
        .bytes()
        .zip(theirs.bytes())
        .take_while(|(a, b)| a == b)
        .count();
    let near = |body: &str| {
        body.char_indices()
            .filter(|(index, _)| (at.saturating_sub(150)..at + 80).contains(index))
            .map(|(_, character)| character)
            .collect::<String>()
    };
    Some(format!(
        "body\n   …{}…\n   …{}…",
        near(&ours),
        near(&theirs)
    ))
}

fn headers(recorded: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in recorded.as_object().into_iter().flatten() {
        let name: http::HeaderName = name.parse().expect("a header's name");
        headers.insert(
            name,
            value
                .as_str()
                .unwrap_or_default()
                .parse()
                .expect("its value"),
        );
    }
    headers
}

/// A header's parts in any order, with Flagsmith's misspelt name put right.
fn listed(headers: &HeaderMap, name: &str) -> Option<Vec<String>> {
    let value = headers.get(name)?.to_str().ok()?;
    let mut parts: Vec<String> = match name {
        "vary" | "allow" | "access-control-allow-methods" => value
            .split(',')
            .map(|part| {
                part.trim()
                    .replace("X_ENVIRONMENT_KEY", "X-Environment-Key")
            })
            // Flagsmith ignores the one here itself, and leaves the other to what packs its answers.
            .filter(|part| part != "Authorization" && part != "Accept-Encoding")
            .collect(),
        _ => vec![value.to_owned()],
    };
    parts.sort();
    Some(parts)
}

/// The deprecated routes show server-only flags to clients in Flagsmith, and not here.
fn without_leaks(exchange: &Value, mut theirs: Value) -> Value {
    let path = text(exchange, "path");
    let is_client = !text(&exchange["req_headers"], "X-Environment-Key").starts_with("ser.");
    let deprecated = ["/api/v1/identities/", "/api/v1/flags/"]
        .iter()
        .any(|before| {
            path.strip_prefix(before)
                .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('?'))
        });
    let flags = match &mut theirs {
        Value::Array(flags) => Some(flags),
        Value::Object(body) => body.get_mut("flags").and_then(Value::as_array_mut),
        _ => None,
    };
    if let Some(flags) = flags.filter(|_| is_client && deprecated) {
        flags.retain(|flag| flag["feature"]["name"] != "server_only_flag");
    }
    // A segment of one feature, without an override here, is not in the environment document.
    if let Some(segments) = theirs.get_mut("segments").and_then(Value::as_array_mut) {
        segments.retain(|segment| segment["name"] != "for_std");
    }
    theirs
}

/// With what differs from run to run put aside: ids of traits, uuids, random identifiers and the flags
/// that are theirs by chance.
fn masked(exchange: &Value, mut value: Value) -> Value {
    let is_random = |text: &str| text.len() == 32 && text.bytes().all(|c| c.is_ascii_hexdigit());
    if value["identifier"].as_str().is_some_and(is_random) {
        value["identifier"] = Value::from("random");
        value["flags"] = Value::from(value["flags"].as_array().map(Vec::len));
    }
    mask(&mut value);
    // In an environment with versions Flagsmith answers flags in the order of their last change.
    if text(&exchange["req_headers"], "X-Environment-Key") == "oracleVersionedKey0001" {
        let flags = if value.is_array() {
            &mut value
        } else {
            &mut value["flags"]
        };
        if let Some(flags) = flags.as_array_mut() {
            flags.sort_by_key(|flag| flag["feature"]["id"].as_i64());
        }
    }
    value
}

fn mask(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::Object(fields) => {
            if fields.contains_key("trait_key") && fields.contains_key("id") {
                fields.insert("id".to_owned(), Value::Null);
            }
            if fields.contains_key("identity_uuid") {
                fields.insert("identity_uuid".to_owned(), Value::Null);
            }
            // See the world: a tie was broken.
            if fields
                .get("priority")
                .is_some_and(|priority| *priority == -1)
            {
                fields.insert("priority".to_owned(), Value::from(0));
            }
            fields.values_mut().for_each(mask);
        }
        _ => {}
    }
}

/// The differences that are meant.
fn is_meant(exchange: &Value, reply: &Response<Bytes>, difference: &str) -> bool {
    let (label, recorded) = (text(exchange, "label"), exchange["status"].as_u64());
    let ours = reply.status();
    let is_page = text(&exchange["resp_headers"], "Content-Type").starts_with("text/html");
    // A bug of Flagsmith's: a bad request, or a segment that matches nobody.
    let was_error = recorded == Some(500)
        && (ours == StatusCode::BAD_REQUEST || (label.starts_with("toxic") && ours.is_success()));
    // JSON in place of a page, with the same status.
    let was_page = is_page && recorded == Some(u64::from(ours.as_u16())) && ours.is_client_error();
    // Keys that were revoked or have expired.
    let was_revoked = (label.contains("expired server key")
        || label.contains("inactive server key"))
        && ours == StatusCode::FORBIDDEN;
    // Entity tags.
    let was_ignored = label.ends_with("If-None-Match *") && ours == StatusCode::NOT_MODIFIED;
    // Server-only flags leaked to clients where disabled ones are hidden.
    let was_leak = matches!(
        label,
        "hide disabled: flags"
            | "hide disabled: flags server-only via client"
            | "project hide disabled: flags"
    ) && (ours == StatusCode::NOT_FOUND || difference.contains("server_only_flag"));
    // Identities without an id all hashed as "None".
    let was_one_bucket = label.starts_with("hash id-based transient");
    // Flagsmith's own copy of the environment was up to a minute old.
    let was_stale = matches!(
        label,
        "envdoc after flag change (old IMS)" | "envdoc after segment change"
    ) && recorded == Some(304);
    // A regular expression with a look-ahead matches nobody.
    let was_lookahead = label.starts_with("toxic regex lookahead x='abc'");
    was_error
        || was_lookahead
        || was_page
        || was_revoked
        || was_ignored
        || was_leak
        || was_one_bucket
        || was_stale
}
