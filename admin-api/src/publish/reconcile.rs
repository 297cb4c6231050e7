//! The job that asks a target what it really holds, for one that lost its store or was put in
//! another's place, and has it given what it lacks.

use std::time::Duration;

use anyhow::{anyhow, bail};
use serde::{Deserialize, Serialize};

use super::Publisher;
use super::deliver::{Deliver, LONGEST_PAUSE};
use super::export::is_export;
use super::identities::{HandOver, TellIdentities};
use super::push;
use super::targets::{self, TargetRow, Wanted};
use crate::jobs::{Job, Next, backoff, enqueue};
use crate::sql::publish as sql;
use crate::store::Queries as _;

/// How often an export is read at least: every pointer is a call that costs.
const EXPORTS_EVERY: Duration = Duration::from_hours(1);

/// Compares what a target holds with what Postgres says; again every while.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reconcile {
    /// The target's id.
    pub(crate) target_id: i64,
}

impl Job for Reconcile {
    const KIND: &'static str = "reconcile";
    const AT_ONCE: usize = 16;
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
        let outcome = compare(publisher, &target).await;
        let db = publisher.pool().get().await?;
        if let Err(error) = outcome {
            let text = format!("{error:#}");
            targets::failed(&*db, target.id, &text, publisher.now()).await?;
            return Err(error);
        }
        targets::succeeded(&*db, target.id, publisher.now()).await?;
        enqueue(
            &*db,
            &Deliver {
                target_id: target.id,
            },
        )
        .await?;
        if is_export(&target.url) {
            let every = publisher.settings().reconcile_every;
            return Ok(Next::Again(every.max(EXPORTS_EVERY)));
        }
        // It may have been disabled when people changed something, or lacked the environment.
        enqueue(
            &*db,
            &TellIdentities {
                target_id: target.id,
            },
        )
        .await?;
        enqueue(
            &*db,
            &HandOver {
                target_id: target.id,
            },
        )
        .await?;
        Ok(Next::Again(publisher.settings().reconcile_every))
    }
}

/// Asks the target, and corrects what the database believes it has confirmed.
pub(super) async fn compare(publisher: &Publisher, target: &TargetRow) -> anyhow::Result<()> {
    let asked_at = publisher.now();
    let held = match target.export(publisher)? {
        Some(export) => {
            let db = publisher.pool().get().await?;
            let wanted: Vec<Wanted> = db.all(sql::WANTED_EVERYWHERE, []).await?;
            drop(db);
            // Of what is gone nothing is left to be read; taking it away again does no harm.
            let keys = wanted.into_iter().filter(|wanted| !wanted.gone);
            export
                .held(keys.map(|wanted| wanted.api_key).collect())
                .await?
        }
        None => push::held(publisher.http(), &target.address())
            .await
            .map_err(|e| anyhow!("{e}"))?,
    };
    let db = publisher.pool().get().await?;
    let ahead = targets::compare(&*db, target.id, &held, asked_at, publisher.now()).await?;
    if ahead > 0 {
        bail!(
            "it holds newer versions of {ahead} environments than the database: \
             was the database restored from a backup, or does another Yardarm publish there?"
        );
    }
    Ok(())
}
