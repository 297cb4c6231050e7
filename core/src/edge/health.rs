//! `/health`, `/health/liveness/`, `/health/readiness/` and `/version/`.

use bytes::Bytes;
use http::{Method, Response, StatusCode};

use super::error::Refusal;
use super::ports::Host;
use super::{json_text, reply};

/// The process answers.
pub(super) fn live(method: &Method) -> Response<Bytes> {
    read_only(method).unwrap_or_else(|| {
        reply::plain_json(StatusCode::OK, Bytes::from_static(br#"{"status":"ok"}"#))
    })
}

/// Its store answers, too, and so has upstream, where there is one. The names of checks are keys, as in Flagsmith's answer.
pub(super) async fn ready<H: Host>(host: &H, method: &Method) -> Response<Bytes> {
    if let Some(refusal) = read_only(method) {
        return refusal;
    }
    match host.upstream_status().await {
        Ok(Some(status)) => return status.reply(host.now()),
        Ok(None) => {}
        Err(_) => return store_unavailable(),
    }
    match host.held().await {
        Ok(_) => reply::plain_json(
            StatusCode::OK,
            Bytes::from_static(br#"{"SnapshotStore":"working"}"#),
        ),
        Err(_) => store_unavailable(),
    }
}

fn store_unavailable() -> Response<Bytes> {
    reply::plain_json(
        StatusCode::INTERNAL_SERVER_ERROR,
        Bytes::from_static(br#"{"SnapshotStore":"unavailable"}"#),
    )
}

/// What runs here, with the fields that Flagsmith's tools read.
pub(super) fn version<H: Host>(host: &H, method: &Method) -> Response<Bytes> {
    if let Some(refusal) = read_only(method) {
        return refusal;
    }
    let mut out = br#"{"ci_commit_sha":"unknown","image_tag":"#.to_vec();
    json_text::string(&mut out, env!("CARGO_PKG_VERSION"));
    out.extend_from_slice(br#","has_email_provider":false,"is_enterprise":false,"is_saas":false,"#);
    out.extend_from_slice(br#""edge":"#);
    json_text::string(&mut out, host.name());
    out.extend_from_slice(br#","package_versions":{".":"#);
    json_text::string(&mut out, reply::PROTOCOL);
    out.extend_from_slice(b"}}");
    reply::plain_json(StatusCode::OK, out.into())
}

fn read_only(method: &Method) -> Option<Response<Bytes>> {
    (method != Method::GET && method != Method::HEAD).then(|| {
        let body = Refusal::MethodNotAllowed(method.clone()).body();
        reply::plain_json(StatusCode::METHOD_NOT_ALLOWED, body)
    })
}
