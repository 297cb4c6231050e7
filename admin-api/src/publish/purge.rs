//! What a CDN keeps of an environment is thrown away once an edge has confirmed something newer: Cloudflare's
//! purge by cache tag (the tag that `/flags/` answers with).
//!
//! Each environment has a job of its own, and the one that runs takes the others along, so that many changes
//! are few calls. Nothing is lost with a call that fails: those jobs stay.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use yardarm_core::edge::cache_tag;

use super::Publisher;
use crate::jobs::{Job, Next, enqueue};
use crate::sql::publish as sql;
use crate::store::{Queries as _, row};

/// The most tags of one call: Cloudflare takes 30.
const TAGS: i64 = 30;

/// A zone of Cloudflare's, and a token that may purge its cache.
#[derive(Clone)]
pub struct Cloudflare {
    /// Where the API is, without a slash at its end.
    pub api: String,
    /// The zone's id.
    pub zone: String,
    /// The token, with the permission "Cache Purge" of that zone.
    pub token: String,
}

impl std::fmt::Debug for Cloudflare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cloudflare")
            .field("api", &self.api)
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}

/// Purges what a CDN keeps of an environment.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Purge {
    /// The client-side key.
    pub(crate) environment_key: String,
}

row! {
    /// A purge that waits.
    pub(crate) struct Waiting {
        key: String,
        generation: i64,
    }
}

impl Job for Purge {
    const KIND: &'static str = "purge";
    // One takes along all that wait.
    const AT_ONCE: usize = 1;
    type Context = Publisher;

    fn key(&self) -> String {
        self.environment_key.clone()
    }

    async fn run(self, publisher: &Publisher) -> anyhow::Result<Next> {
        let Some(cloudflare) = &publisher.settings().cloudflare else {
            return Ok(Next::Done);
        };
        let others: Vec<Waiting> = {
            let db = publisher.pool().get().await?;
            let others = TAGS - 1;
            db.all(sql::WAITING_PURGES, [&self.environment_key, &others])
                .await?
        };
        let own = [self.environment_key.as_str()].into_iter();
        let keys = own.chain(others.iter().map(|other| other.key.as_str()));
        let tags: Vec<String> = keys.map(cache_tag).collect();
        call(publisher, cloudflare, &tags).await?;
        if !others.is_empty() {
            let (keys, generations): (Vec<String>, Vec<i64>) = others
                .into_iter()
                .map(|other| (other.key, other.generation))
                .unzip();
            let db = publisher.pool().get().await?;
            db.run(sql::PURGED, [&keys, &generations]).await?;
        }
        Ok(Next::Done)
    }
}

/// Asks for an environment to be purged, where there is a CDN to ask.
pub(super) async fn ask(publisher: &Publisher, api_key: &str) -> anyhow::Result<()> {
    if publisher.settings().cloudflare.is_some() {
        let db = publisher.pool().get().await?;
        let environment_key = api_key.to_owned();
        enqueue(&*db, &Purge { environment_key }).await?;
    }
    Ok(())
}

async fn call(publisher: &Publisher, to: &Cloudflare, tags: &[String]) -> anyhow::Result<()> {
    let uri = format!("{}/zones/{}/purge_cache", to.api, to.zone);
    let mut token = HeaderValue::try_from(format!("Bearer {}", to.token))
        .context("Cloudflare's token cannot stand in a header")?;
    token.set_sensitive(true);
    let body = Bytes::from(serde_json::json!({ "tags": tags }).to_string());
    let request = Request::builder()
        .method(Method::POST)
        .uri(uri)
        .header(AUTHORIZATION, token)
        .header(CONTENT_TYPE, "application/json")
        .body(body)?;
    let answer = publisher.http().send(request).await?;
    let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    if answer.status.is_success() && said["success"] == true {
        tracing::debug!(tags = tags.len(), "purged");
        return Ok(());
    }
    let errors: String = said["errors"].to_string().chars().take(200).collect();
    bail!("Cloudflare answered {} to a purge: {errors}", answer.status)
}
