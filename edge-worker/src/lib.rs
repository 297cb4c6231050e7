//! Yardarm as a Cloudflare Worker: the glue between Cloudflare's platform and `yardarm-core`.
//!
//! Flags are never decided here and HTTP is never interpreted here. This crate turns a request into
//! the few values the core reads ([`wire`]), lends the core its ports ([`host`]) and hands the reply
//! back. Behind the ports: snapshots in isolate memory ([`shelf`]) over KV ([`store`]), kept fresh by
//! the object that files publications ([`objects::environments`]), and one object per identity that
//! applies trait changes in order ([`objects::identity`]). Event streams are held open by objects of
//! their own ([`objects::streams`]). What goes home to the control plane goes by way of objects that keep it until it is
//! confirmed ([`objects::outbox`]). What this Worker asks of others itself is a feature of its own (`pulls`).
//!
//! Nothing here may panic: a panic ends every request in flight on its isolate. Nothing in flight is
//! shared between requests, since a promise belongs to the request that made it; only finished
//! values live in `thread_local!`.

mod config;
mod environments;
mod home;
mod host;
mod identities;
mod objects;
#[cfg(feature = "upstream")]
mod outbound;
mod outbox;
#[cfg(feature = "upstream")]
mod pulls;
mod recent;
mod shelf;
mod snapshots;
mod spare;
mod store;
mod streams;
mod usage;
mod wire;

use worker::{Context, Delay, Env, event, web_sys};
use yardarm_core::edge;
use yardarm_core::edge::stream::{REFUSAL_DELAY, Streaming, refuse};

use crate::config::Config;

/// Answers one request.
#[event(fetch)]
async fn fetch(
    request: wire::Incoming,
    env: Env,
    context: Context,
) -> worker::Result<web_sys::Response> {
    let counts = Config::of(&env)
        .home
        .as_ref()
        .is_some_and(|home| home.counts);
    let Some(request) = request.read(counts).await? else {
        return wire::bad_request();
    };
    let host = host::WorkerHost::new(env, context);
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
