//! OFREP, the `OpenFeature` Remote Evaluation Protocol 0.3: one flag, or all of them, for an evaluation
//! context. `docs/openfeature.md` tells how Flagsmith's terms are mapped (Flagsmith/flagsmith#8435, #8437).
//!
//! Nothing is stored: an identity that is not known stays so, and the context's properties are transient
//! traits over what is stored of it.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, ETAG, HeaderMap, HeaderValue, VARY, WWW_AUTHENTICATE,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};
use sha2::{Digest as _, Sha256};

use super::Outcome;
use super::access::{self, Access};
use super::anonymous;
use super::asker::{self, Asker};
use super::conditional;
use super::delivery::Resource;
use super::error::{Errors, Refusal};
use super::field;
use super::json::Json;
use super::json_parser;
use super::json_text;
use super::ports::Host;
use super::reply::{self, fixed};
use super::route::{API_KEY, OFREP};
use super::submission::{MAX_TRAITS, Sent};
use super::usage::{Counted, Origin};
use crate::hex;
use crate::snapshot::{Cause, Resolved, Side};

/// Why there is no evaluation.
struct Failure {
    status: StatusCode,
    code: &'static str,
    details: Cow<'static, str>,
}

impl Failure {
    const fn bad(code: &'static str, details: Cow<'static, str>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code,
            details,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let (status, details) = match refusal {
            access::NOT_SERVING => (
                StatusCode::FORBIDDEN,
                "The organisation is disabled from serving flags.",
            ),
            Refusal::Denied(_) => (
                StatusCode::UNAUTHORIZED,
                "Invalid or missing environment key.",
            ),
            _ => (
                StatusCode::SERVICE_UNAVAILABLE,
                "Service temporarily unavailable, try again later.",
            ),
        };
        Self {
            status,
            code: "GENERAL",
            details: details.into(),
        }
    }
}

/// Who the context says asks.
struct Context {
    targeting_key: Option<String>,
    traits: Vec<Sent<'static>>,
}

/// Answers for the flag of a name, or for all.
pub(super) async fn answer<H: Host>(
    host: &H,
    head: &Parts,
    body: &Bytes,
    name: Option<&str>,
) -> Outcome {
    let mut counted = None;
    let reply = match evaluate(host, head, body, name, &mut counted).await {
        Ok(reply) => reply,
        Err(failure) => refuse(&failure, name),
    };
    Outcome {
        counted,
        ..reply.into()
    }
}

async fn evaluate<H: Host>(
    host: &H,
    head: &Parts,
    body: &Bytes,
    name: Option<&str>,
    counted: &mut Option<Counted>,
) -> Result<Response<Bytes>, Failure> {
    let access = access::open_by(host, key(&head.headers)).await?;
    let counted = counted.insert(Counted {
        resource: Resource::Flags,
        snapshot: access.snapshot.clone(),
        origin: Origin::of(head),
    });
    if head.method != Method::POST {
        return Err(Failure {
            status: StatusCode::METHOD_NOT_ALLOWED,
            code: "GENERAL",
            details: "Flags are evaluated with POST.".into(),
        });
    }
    let mut context = read(body)?;
    if context.targeting_key.is_some() {
        counted.resource = Resource::Identities;
    }
    if !access.may_set_traits() {
        context.traits.clear();
    }
    let mut flags = Vec::new();
    write_flags(host, &access, &context, name, &mut flags).await?;
    if name.is_some() {
        if flags.is_empty() {
            return Err(Failure {
                status: StatusCode::NOT_FOUND,
                code: "FLAG_NOT_FOUND",
                details: "There is no such flag, or not for this key.".into(),
            });
        }
        return Ok(reply(StatusCode::OK, flags));
    }
    let snapshot = &access.snapshot;
    let mut out = Vec::with_capacity(flags.len() + 80);
    out.extend_from_slice(b"{\"flags\":[");
    out.append(&mut flags);
    out.extend_from_slice(b"],\"metadata\":{\"version\":");
    json_text::string(&mut out, snapshot.updated_at_header());
    out.extend_from_slice(b"}}");
    // The context is part of it, because clients send the tag they have with another one; the answer is,
    // because stored traits and overrides change without either.
    let mut digest = Sha256::new();
    digest.update(snapshot.content_hash());
    digest.update([u8::from(access.side == Side::Server)]);
    digest.update(body);
    digest.update(&out);
    let mut etag = hex::encode(&digest.finalize()[..16]);
    etag.insert(0, '"');
    etag.push('"');
    let mut reply = reply(StatusCode::OK, out);
    if let Ok(etag) = HeaderValue::try_from(&etag) {
        reply.headers_mut().insert(ETAG, etag);
    }
    if conditional::has_etag(&head.headers, &etag) {
        return Ok(reply::empty(reply, StatusCode::NOT_MODIFIED));
    }
    Ok(reply)
}

/// The environment's key: `X-API-Key`, or `Authorization` as a bearer token, or bare, as the providers'
/// documentation shows it.
fn key(headers: &HeaderMap) -> &[u8] {
    let key = headers.get(&API_KEY).or_else(|| headers.get(AUTHORIZATION));
    let key = key.map_or(&[][..], HeaderValue::as_bytes);
    match key.split_at_checked(7) {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case(b"bearer ") => key,
        _ => key,
    }
    .trim_ascii()
}

/// Reads `{"context": {"targetingKey": …, …}}`.
fn read(body: &[u8]) -> Result<Context, Failure> {
    let body =
        json_parser::parse(body).map_err(|error| Failure::bad("PARSE_ERROR", error.into()))?;
    if !matches!(body, Json::Dict(_)) {
        return Err(Failure::bad(
            "PARSE_ERROR",
            "The body must be an object.".into(),
        ));
    }
    let mut context = Context {
        targeting_key: None,
        traits: Vec::new(),
    };
    let properties = match body.field("context") {
        None | Some(Json::Null) => return Ok(context),
        Some(Json::Dict(properties)) => properties,
        Some(_) => {
            return Err(Failure::bad(
                "INVALID_CONTEXT",
                "The context must be an object.".into(),
            ));
        }
    };
    if properties.len() > MAX_TRAITS {
        return Err(Failure::bad(
            "INVALID_CONTEXT",
            "The context has too many properties.".into(),
        ));
    }
    for (name, value) in properties {
        let name = &name.text;
        let invalid = |errors| invalid(name, errors);
        if name != "targetingKey" {
            let value = match value {
                Json::Null => None,
                value => Some(field::trait_value(value).map_err(invalid)?.into()),
            };
            context.traits.push(Sent {
                key: Cow::Owned(name.clone()),
                value,
                transient: true,
            });
        } else if *value != Json::Null {
            let text = field::text(value, field::MAX_IDENTIFIER).map_err(invalid)?;
            if text.is_empty() {
                return Err(Failure::bad(
                    "TARGETING_KEY_MISSING",
                    "The targeting key is blank.".into(),
                ));
            }
            context.targeting_key = Some(text);
        }
    }
    Ok(context)
}

fn invalid(name: &str, errors: Errors) -> Failure {
    let mut details = name.to_owned();
    if let Errors::Messages(messages) = errors {
        for message in messages {
            details.push_str(": ");
            details.push_str(&message);
        }
    }
    Failure::bad("INVALID_CONTEXT", details.into())
}

/// Appends evaluations with commas between them.
async fn write_flags<H: Host>(
    host: &H,
    access: &Access,
    context: &Context,
    name: Option<&str>,
    out: &mut Vec<u8>,
) -> Result<(), Failure> {
    let snapshot = &access.snapshot;
    let mut visit = |flag: Resolved<'_>| {
        if !out.is_empty() {
            out.push(b',');
        }
        write_flag(out, flag);
    };
    let record;
    let identifier;
    let mut asker = match &context.targeting_key {
        // Nobody in particular.
        None if context.traits.is_empty() => {
            snapshot.resolve(access.side, None, None, name, &mut visit);
            return Ok(());
        }
        None => {
            identifier = anonymous::identifier(&context.traits, &|| host.random());
            Asker::stranger(&identifier)
        }
        Some(key) => {
            record = if let Some(record) = host.identity_at_hand(snapshot, key) {
                Some(record)
            } else {
                let stored = host.identity(snapshot, key).await;
                stored.map_err(Refusal::from)?.map(Arc::new)
            };
            let overrides = asker::overrides(host, snapshot, key).await?;
            Asker::known(key, record.as_deref(), overrides)
        }
    };
    asker.overlay(context.traits.iter(), true);
    asker.evaluate(access.settings, |identity, overrides| {
        snapshot.resolve(access.side, Some(identity), overrides, name, &mut visit);
    });
    Ok(())
}

/// One evaluation. A flag without a value of its own is the boolean of being on; one that is off has
/// no value to give, so that the application's own default counts.
fn write_flag(out: &mut Vec<u8>, flag: Resolved<'_>) {
    let member = |name| member(flag.flag, name);
    let is_enabled = member("enabled") == b"true";
    let value = member("feature_state_value");
    let variant = member("variant");
    let state: &[u8] = if is_enabled { b"true" } else { b"false" };
    out.extend_from_slice(b"{\"key\":");
    json_text::string(out, flag.name);
    if matches!(value, b"" | b"null" | b"\"\"") {
        out.extend_from_slice(b",\"value\":");
        out.extend_from_slice(state);
    } else if is_enabled {
        out.extend_from_slice(b",\"value\":");
        match structure(value) {
            Some(structure) => out.extend_from_slice(structure.as_bytes()),
            None => out.extend_from_slice(value),
        }
    }
    out.extend_from_slice(b",\"reason\":\"");
    let reason = match flag.cause {
        _ if !is_enabled => "DISABLED",
        Cause::Static => "STATIC",
        Cause::Default => "DEFAULT",
        Cause::Override => "TARGETING_MATCH",
        Cause::Split => "SPLIT",
    };
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\",\"variant\":");
    // Always there: the Python provider fails without.
    out.extend_from_slice(match variant {
        _ if !is_enabled => b"\"disabled\"",
        b"" | b"null" => b"\"enabled\"",
        variant => variant,
    });
    out.extend_from_slice(b",\"metadata\":{\"enabled\":");
    out.extend_from_slice(state);
    out.extend_from_slice(b",\"featureId\":");
    json_text::integer(out, flag.id);
    out.extend_from_slice(b"}}");
}

/// The object or list that a text holds: Flagsmith keeps JSON as text, and `OpenFeature`'s clients
/// take an object for an object only.
fn structure(value: &[u8]) -> Option<String> {
    let first = value.strip_prefix(b"\"")?.trim_ascii_start().first()?;
    if !matches!(first, b'{' | b'[') {
        return None;
    }
    let Ok(Json::Text(text)) = json_parser::parse(value) else {
        return None;
    };
    let is_json = json_parser::parse(text.text.as_bytes()).is_ok();
    is_json.then_some(text.text)
}

/// The value of a member of a flag, as it is written there; nothing where there is none.
fn member<'f>(flag: &'f [u8], name: &str) -> &'f [u8] {
    let mut rest = flag.get(1..).unwrap_or_default();
    while !rest.is_empty() {
        let (member, after) = rest.split_at(end_of(rest));
        let value = member
            .strip_prefix(b"\"")
            .and_then(|member| member.strip_prefix(name.as_bytes()))
            .and_then(|member| member.strip_prefix(b"\":"));
        if let Some(value) = value {
            return value;
        }
        rest = after.get(1..).unwrap_or_default();
    }
    &[]
}

/// Where a member of compact JSON ends: at the comma or bracket that is not inside of it.
fn end_of(json: &[u8]) -> usize {
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for (at, byte) in json.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b',' | b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
    }
    json.len()
}

/// A reply for whoever asked, to be asked for again each time.
fn reply(status: StatusCode, body: Vec<u8>) -> Response<Bytes> {
    let mut reply = reply::json(&OFREP, status, body.into());
    let headers = reply.headers_mut();
    headers.insert(CACHE_CONTROL, fixed!("private, no-cache"));
    headers.insert(VARY, fixed!("X-API-Key, Authorization, Origin"));
    reply
}

fn refuse(failure: &Failure, name: Option<&str>) -> Response<Bytes> {
    let mut out = vec![b'{'];
    if let Some(name) = name {
        out.extend_from_slice(b"\"key\":");
        json_text::string(&mut out, name);
        out.push(b',');
    }
    out.extend_from_slice(b"\"errorCode\":\"");
    out.extend_from_slice(failure.code.as_bytes());
    out.extend_from_slice(b"\",\"errorDetails\":");
    json_text::string(&mut out, &failure.details);
    out.push(b'}');
    let mut reply = reply(failure.status, out);
    if failure.status == StatusCode::SERVICE_UNAVAILABLE {
        reply::ask_to_retry(&mut reply);
    } else if failure.status == StatusCode::UNAUTHORIZED {
        let headers = reply.headers_mut();
        headers.insert(WWW_AUTHENTICATE, fixed!("Bearer"));
    }
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_a_flag_are_found_as_they_are_written() {
        let flag = br#"{"id":4,"feature":{"id":1,"name":"\",\"enabled\":1}","type":"T"},"feature_state_value":"a\\\",}","enabled":true,"variant":null}"#;
        assert_eq!(member(flag, "id"), b"4");
        assert_eq!(member(flag, "feature_state_value"), br#""a\\\",}""#);
        assert_eq!(member(flag, "enabled"), b"true");
        assert_eq!(member(flag, "variant"), b"null");
        for none in ["name", "i", ""] {
            assert_eq!(member(flag, none), b"");
        }
        for damaged in [&b""[..], b"{", b"{}", b"{\"enabled\":", b"]]]", b"{,,\"\\"] {
            assert_eq!(member(damaged, "enabled"), b"");
        }
    }

    #[test]
    fn json_in_a_text_is_told_from_text() {
        for (value, expected) in [
            (r#""{\"a\":1}""#, Some("{\"a\":1}")),
            (r#"" [1, \"\\u00e9\"]""#, Some(" [1, \"\\u00e9\"]")),
            (r#""{}""#, Some("{}")),
            (r#""{a}""#, None),
            (r#""[1] and more""#, None),
            (r#""[NaN]""#, None),
            (r#""1""#, None),
            (r#""true""#, None),
            (r#""""#, None),
            ("5", None),
            ("true", None),
        ] {
            assert_eq!(structure(value.as_bytes()).as_deref(), expected, "{value}");
        }
    }
}
