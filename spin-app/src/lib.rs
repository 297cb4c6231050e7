//! The Spin edge: the core's SDK API over Spin's key-value store.
//!
//! This crate is glue. What a request means is decided in [`yardarm_core::edge`]; here are the
//! store's layout ([`snapshots`], [`identities`]), its one way of changing keys that others change
//! too ([`key_value`]), and the component's entry. It links natively, so that its logic is tested
//! over a map; there every call to Spin panics.

mod config;
mod host;
mod identities;
mod key_value;
mod snapshots;
mod stored_json;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use spin_sdk::http::{FullBody, Request};
use yardarm_core::edge;

use crate::host::SpinHost;

/// The longest request body, in bytes: an instance has 128 MB on the smallest platform, and a package
/// is held about three times while it is stored.
const MAX_BODY: usize = 24 << 20;

// Natively the exported name would not link, and there is no Spin to call it.
#[cfg_attr(target_family = "wasm", spin_sdk::http_service)]
#[cfg_attr(
    not(target_family = "wasm"),
    expect(dead_code, reason = "called by Spin")
)]
async fn answer(request: Request) -> Response<FullBody<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return whole(refusal());
    };
    let request = http::Request::from_parts(head, body.to_bytes());
    let host = SpinHost::serving(&request).await;
    // Evaluations have no store to go to yet: counting them comes with usage reporting.
    whole(edge::handle(&host, request).await.reply)
}

/// A body that was cut off or is too long.
fn refusal() -> Response<Bytes> {
    let mut reply = Response::new(Bytes::from_static(
        b"{\"detail\":\"Request body is too large.\"}",
    ));
    *reply.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(http::header::CONTENT_TYPE, json);
    reply
}

/// States the length: without it Spin answers in chunks, which waits for the client's delayed
/// acknowledgement.
fn whole(mut reply: Response<Bytes>) -> Response<FullBody<Bytes>> {
    let bodiless = matches!(
        reply.status(),
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
    );
    if !bodiless && !reply.headers().contains_key(CONTENT_LENGTH) {
        let length = HeaderValue::from(reply.body().len());
        reply.headers_mut().insert(CONTENT_LENGTH, length);
    }
    reply.map(FullBody::new)
}
