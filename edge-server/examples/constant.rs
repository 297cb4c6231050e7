//! The floor that `scripts/bench native` measures the edge against: a bare axum server whose two routes
//! answer a constant number of bytes and do nothing else.
//!
//! `constant LISTEN FLAGS_BYTES IDENTITIES_BYTES`

use std::env;

use anyhow::Context as _;
use axum::Router;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;
use bytes::Bytes;
use tokio::net::TcpListener;

const JSON: [(HeaderName, &str); 1] = [(CONTENT_TYPE, "application/json")];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let mut next = |what: &'static str| arguments.next().with_context(|| format!("no {what}"));
    let listen = next("address")?;
    let flags = constant(&next("size of flags")?)?;
    let identities = constant(&next("size of identities")?)?;

    let router = Router::new()
        .route("/api/v1/flags/", get(async move || (JSON, flags.clone())))
        .route(
            "/api/v1/identities/",
            post(async move |_: Bytes| (JSON, identities.clone())),
        );
    let listener = TcpListener::bind(listen).await?.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

fn constant(bytes: &str) -> anyhow::Result<Bytes> {
    Ok(vec![b'x'; bytes.parse()?].into())
}
