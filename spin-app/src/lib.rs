//! The Spin edge: the core's SDK API over Spin's key-value store.
//!
//! This crate is glue. What a request means is decided in [`yardarm_core::edge`]; here are the
//! store's layout ([`snapshots`], [`identities`]), its one way of changing keys that others change
//! too ([`key_value`]), what goes home ([`home`]) and what is asked there ([`pull_through`]), and the component's entry. It links natively, so that its logic is tested
//! over a map; there every call to Spin panics.

mod config;
mod home;
mod host;
mod identities;
mod key_value;
mod outbound;
mod pull_through;
mod snapshots;
mod stored_json;
#[cfg(feature = "upstream")]
mod upstream;
mod wire;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};
use yardarm_core::edge;

use crate::host::SpinHost;

/// The longest request body, in bytes: an instance has 128 MB on the smallest platform, and a package
/// is held about three times while it is stored.
const MAX_BODY: usize = 24 << 20;

// Natively the exported name would not link, and there is no Spin to call it.
#[cfg(target_family = "wasm")]
mod component {
    use spin_sdk::wasip3::exports::http::handler::Guest;
    use spin_sdk::wasip3::http::service::export;
    use spin_sdk::wasip3::http::types::{ErrorCode, Request, Response};

    struct Component;
    export!(Component);

    impl Guest for Component {
        async fn handle(request: Request) -> Result<Response, ErrorCode> {
            super::answer(request).await
        }
    }
}

#[cfg_attr(
    not(target_family = "wasm"),
    expect(dead_code, reason = "called by Spin")
)]
async fn answer(request: Request) -> Result<Response, ErrorCode> {
    let Ok(request) = wire::receive(request, MAX_BODY).await? else {
        return wire::reply(refusal());
    };
    let host = SpinHost::serving(&request).await;
    let outcome = edge::handle(&host, request).await;
    home::after(outcome.counted, outcome.effects);
    wire::reply(outcome.reply)
}

/// A body that was cut off or is too long.
fn refusal() -> http::Response<Bytes> {
    let mut reply = http::Response::new(Bytes::from_static(
        b"{\"detail\":\"Request body is too large.\"}",
    ));
    *reply.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    let json = HeaderValue::from_static("application/json");
    reply.headers_mut().insert(http::header::CONTENT_TYPE, json);
    reply
}
