//! The jobs that bring the edges to what Postgres says.
//!
//! A change enqueues `publish` for its environment in its own transaction. That only wakes a `deliver`
//! for each target, and `deliver` sends whatever its target has not confirmed, newest first, until
//! nothing is lacking. It looks at the state, not at the event: a crash at any point, a change made
//! meanwhile, a second publisher or an hour without the edge all come to the same, and many changes of
//! one environment become one request. A slow or dead edge keeps nobody waiting but itself.

use std::time::Duration;

use anyhow::bail;
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::Publisher;
use super::purge;
use super::push::{self, PushError};
use super::reconcile::compare;
use super::targets::{self, TargetRow, Wanted};
use crate::jobs::{Job, Next, backoff};
use crate::sql::publish as sql;
use crate::store::Queries as _;

/// How many packages are on their way to one target at once.
const AT_ONCE: usize = 8;
/// How many are chosen before looking again for newer changes.
const BATCH: i64 = 16;
/// The longest pause before a target is tried again.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Something changed under a client-side key. Enqueued by the database itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Publish {
    /// The key.
    pub(crate) environment_key: String,
}

impl Job for Publish {
    const KIND: &'static str = "publish";
    // One does the work of all that wait.
    const AT_ONCE: usize = 1;
    type Context = Publisher;

    fn key(&self) -> String {
        self.environment_key.clone()
    }

    async fn run(self, publisher: &Publisher) -> anyhow::Result<Next> {
        let db = publisher.pool().get().await?;
        let _targets: i64 = db.one(sql::HAND_OVER, []).await?;
        Ok(Next::Done)
    }
}

/// Sends a target what it lacks.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Deliver {
    /// The target's id.
    pub(crate) target_id: i64,
}

impl Job for Deliver {
    const KIND: &'static str = "deliver";
    // One a target, so that none waits for another.
    const AT_ONCE: usize = 64;
    type Context = Publisher;

    fn key(&self) -> String {
        self.target_id.to_string()
    }

    fn backoff(attempts: u32) -> Duration {
        backoff(attempts, LONGEST_PAUSE)
    }

    async fn run(self, publisher: &Publisher) -> anyhow::Result<Next> {
        let Some(target) = targets::enabled(publisher, self.target_id).await? else {
            return Ok(Next::Done);
        };
        let outcome = deliver(publisher, &target).await;
        let db = publisher.pool().get().await?;
        match &outcome {
            Ok(()) => targets::succeeded(&*db, target.id, publisher.now()).await?,
            Err(error) => {
                let error = format!("{error:#}");
                targets::failed(&*db, target.id, &error, publisher.now()).await?;
            }
        }
        outcome.map(|()| Next::Done)
    }
}

/// What became of one package.
enum Sent {
    Confirmed,
    /// The edge does not want this one; the others may still go.
    Refused(String),
}

async fn deliver(publisher: &Publisher, target: &TargetRow) -> anyhow::Result<()> {
    if target.last_error.is_some() {
        // It was away, or another edge stands in its place: what it confirmed may be lost.
        compare(publisher, target).await?;
    }
    let mut refused = Vec::new();
    let mut reasons = Vec::new();
    loop {
        let batch = {
            let db = publisher.pool().get().await?;
            targets::lacking(&*db, target.id, &refused, BATCH).await?
        };
        if batch.is_empty() {
            break;
        }
        let mut sending = stream::iter(batch)
            .map(|wanted| async move {
                let sent = send(publisher, target, &wanted).await;
                (wanted.api_key, sent)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((api_key, sent)) = sending.next().await {
            if let Sent::Refused(reason) = sent? {
                reasons.push(format!("environment {api_key}: {reason}"));
                refused.push(api_key);
            }
        }
    }
    if let Some(first) = reasons.first() {
        bail!("{} environments refused, such as {first}", reasons.len());
    }
    Ok(())
}

async fn send(publisher: &Publisher, target: &TargetRow, wanted: &Wanted) -> anyhow::Result<Sent> {
    let at_least = u64::try_from(wanted.version).unwrap_or(0);
    let Some((version, package)) = publisher.packages().get(&wanted.api_key, at_least).await?
    else {
        return Ok(Sent::Refused(
            "it is in the list but cannot be read".to_owned(),
        ));
    };
    if let Some(export) = target.export(publisher)? {
        let keep_after = publisher.now() - publisher.settings().export.retention;
        export.put(&wanted.api_key, &package, keep_after).await?;
    } else {
        let address = target.address();
        match push::put(publisher.http(), &address, &wanted.api_key, &package).await {
            Ok(()) => purge::ask(publisher, &wanted.api_key).await?,
            Err(PushError::Package(reason)) => return Ok(Sent::Refused(reason)),
            Err(PushError::Edge(reason)) => bail!(reason),
        }
    }
    let now = publisher.now();
    let version = i64::try_from(version).unwrap_or(i64::MAX);
    {
        let db = publisher.pool().get().await?;
        let changed_at = wanted.updated_at;
        targets::confirm(&*db, target.id, &wanted.api_key, version, changed_at, now).await?;
    }
    // What changed before the target was known says nothing about how fast we are.
    if wanted.updated_at >= target.created_at {
        publisher
            .metrics()
            .confirmed(&target.name, now - wanted.updated_at);
    }
    tracing::debug!(
        target_id = target.id,
        environment = wanted.api_key,
        version,
        gone = wanted.gone,
        "published"
    );
    Ok(Sent::Confirmed)
}
