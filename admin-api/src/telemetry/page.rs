//! `/metrics`.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;
use yardarm_edge::Streams;

use super::Metrics;
use super::metrics::TargetLag;
use crate::api::edge_targets::TargetState;
use crate::app::Clock;
use crate::jobs::queue_depth;
use crate::sql::api::edge_targets as sql;
use crate::store::{Pool, Queries as _};

/// How long a page waits for the database; after that it shows what it knows.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the page is made from.
#[derive(Debug, Clone)]
struct Page {
    pool: Pool,
    metrics: Metrics,
    streams: Streams,
    /// SHA-256 of the token that it takes, if it takes one.
    token: Option<[u8; 32]>,
}

/// The route of the page.
pub(crate) fn page(pool: Pool, metrics: Metrics, streams: Streams, token: Option<&str>) -> Router {
    let token = token.map(|token| Sha256::digest(token).into());
    Router::new().route("/metrics", get(show)).with_state(Page {
        pool,
        metrics,
        streams,
        token,
    })
}

async fn show(State(page): State<Page>, headers: HeaderMap) -> Response {
    if let Some(token) = page.token
        && !bears(&headers, token)
    {
        return (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")]).into_response();
    }
    match timeout(PATIENCE, refresh(&page)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "metrics without the database's"
            );
        }
        Err(_elapsed) => tracing::warn!("metrics without the database's: it takes too long"),
    }
    page.metrics.set_streams(page.streams.len());
    let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, format)], page.metrics.render()).into_response()
}

/// Whether the right token was sent. Hashes are compared: how long that takes tells nothing.
fn bears(headers: &HeaderMap, token: [u8; 32]) -> bool {
    let sent = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
    sent.is_some_and(|sent| <[u8; 32]>::from(Sha256::digest(sent)) == token)
}

/// Asks the database for what only it knows.
async fn refresh(page: &Page) -> anyhow::Result<()> {
    let db = page.pool.get().await?;
    page.metrics.set_queue(&queue_depth(&*db).await?);
    let (none, now) = (None::<i64>, Clock::system().now());
    let states: Vec<TargetState> = db.all(sql::STATES, [&none, &now]).await?;
    let lags: Vec<TargetLag> = states
        .into_iter()
        .filter(|state| state.enabled)
        .map(|state| TargetLag {
            target: state.name,
            environments: state.lacking,
            seconds: state.lag_seconds,
        })
        .collect();
    page.metrics.set_targets(&lags);
    Ok(())
}
