//! Yardarm as a Cloudflare Worker: the glue between Cloudflare's platform and `yardarm-core`.
//!
//! Flags are never decided here and HTTP is never interpreted here. This crate turns a request into
//! the few values the core reads ([`wire`]), lends the core its ports ([`host`]) and hands the reply
//! back. Behind the ports: snapshots in isolate memory ([`shelf`]) over KV ([`store`]), kept fresh by
//! the object that files publications ([`objects::environments`]), and one object per identity that
//! applies trait changes in order ([`objects::identity`]). Event streams are held open by objects of
//! their own ([`objects::streams`]). What goes home to the control plane goes by way of objects that keep it until it is
//! confirmed ([`objects::outbox`]), and one object asks there for what is not held ([`objects::pulls`]). Looking at an existing
//! Flagsmith is a feature of its own, `upstream`.
//!
//! Nothing here may panic: a panic ends every request in flight on its isolate. Nothing in flight is
//! shared between requests, since a promise belongs to the request that made it; only finished
//! values live in `thread_local!`.

mod at_once;
mod config;
mod environments;
mod home;
mod host;
mod identities;
mod objects;
mod outbound;
mod outbox;
mod pulls;
mod recent;
mod shelf;
mod snapshots;
mod spare;
mod store;
mod streams;
#[cfg(feature = "upstream")]
mod upstream;
mod usage;
mod wire;

use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::js_sys::futures::future_to_promise;
use worker::{Context, Delay, Env, console_error, web_sys, worker_sys};
use yardarm_core::edge;
use yardarm_core::edge::stream::{REFUSAL_DELAY, Streaming, refuse};

/// Answers one request, whose body JavaScript has read where its method has one: a `Response`, or a
/// `Promise` of one where the answer waits for another place. Most wait for none, and promises cost
/// about what evaluating their flags does (docs/adr/0003-worker-entry.md).
///
/// # Errors
///
/// The platform refused to make a response.
#[wasm_bindgen]
pub fn answer(
    request: web_sys::Request,
    body: Option<Vec<u8>>,
    env: Env,
    context: worker_sys::Context,
) -> Result<JsValue, JsValue> {
    let answering = async move {
        let reply = respond(&request, body, env, Context::new(context)).await;
        let reply = reply.or_else(|error| {
            console_error!("{error}");
            wire::server_error()
        });
        Ok(JsValue::from(reply?))
    };
    at_once::poll(answering).unwrap_or_else(|waits| Ok(future_to_promise(waits).into()))
}

async fn respond(
    request: &web_sys::Request,
    body: Option<Vec<u8>>,
    env: Env,
    context: Context,
) -> worker::Result<web_sys::Response> {
    let host = host::WorkerHost::new(env, context);
    let Some(request) = wire::read(request, body, host.counts()) else {
        return wire::bad_request();
    };
    let outcome = edge::handle(&host, request).await;
    host.count(outcome.counted.as_ref(), outcome.effects);
    let mut reply = outcome.reply;
    if let Some(streaming) = outcome.stream {
        if let Streaming::Open(subscription) = streaming {
            if let Some(events) = host.stream(&reply, &subscription).await {
                return Ok(events);
            }
            reply = refuse(reply);
        }
        Delay::from(REFUSAL_DELAY).await;
    }
    wire::write(&reply, host.served().as_ref())
}
