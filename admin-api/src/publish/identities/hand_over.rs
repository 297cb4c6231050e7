//! The job that tells a target of every identity: all of them when it is new, then those that changed anywhere.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};
use tokio_postgres::Row;
use yardarm_core::edge::StoredTrait;
use yardarm_core::edge::delivery::{IdentityChange, TraitVersion};

use super::super::Publisher;
use super::super::deliver::LONGEST_PAUSE;
use super::super::push::{self, Told};
use super::super::targets::{self, TargetRow};
use super::all_taken;
use super::number::number;
use crate::edge_host::TraitRow;
use crate::jobs::{Job, Next, backoff};
use crate::sql::publish::identities as sql;
use crate::store::{FromRow, Queries as _, row};

/// The identities of a page. An edge stores them one after the other, and has to answer in 15 s.
const IDENTITIES: i64 = 100;
/// The traits of a request, however many identities have them: below 4 MB with the longest there may be.
const TRAITS: i64 = 250;
/// The pages of a run, after which a process that is to stop need not wait for more.
const PAGES: usize = 50;
/// The longest pause after a request.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// Tells a target of identities that it may not know; again every while.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HandOver {
    /// The target's id.
    pub(crate) target_id: i64,
}

impl Job for HandOver {
    const KIND: &'static str = "hand_over_identities";
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
        let Some(every) = publisher.settings().identities_every else {
            return Ok(Next::Done);
        };
        let Some(target) = targets::enabled_edge(publisher, self.target_id).await? else {
            return Ok(Next::Done);
        };
        let more_changes = number(publisher.pool()).await?;
        let more_pages = hand_over(publisher, &target).await?;
        let pause = if more_changes || more_pages {
            Duration::ZERO
        } else {
            every
        };
        Ok(Next::Again(pause))
    }
}

row! {
    /// An environment whose identities a target has not all been told of.
    struct Behind {
        id: i64,
        api_key: String,
        /// Another one after the target has lost it.
        life: i64,
        /// The number up to which it was told.
        told: i64,
        /// The number that the next page ends with.
        last: i64,
    }
}

/// Tells what the target lacks, a page of every environment in turn. True when there is more.
async fn hand_over(publisher: &Publisher, target: &TargetRow) -> anyhow::Result<bool> {
    let mut pages = 0;
    let mut refused: Vec<i64> = Vec::new();
    let mut reasons = Vec::new();
    loop {
        let behind: Vec<Behind> = {
            let db = publisher.pool().get().await?;
            db.all(sql::BEHIND, [&target.id, &refused, &IDENTITIES])
                .await?
        };
        if behind.is_empty() {
            break;
        }
        for environment in behind {
            if pages == PAGES {
                return Ok(true);
            }
            pages += 1;
            if let Told::Refused(reason) = tell(publisher, target, &environment).await? {
                reasons.push(format!("environment {}: {reason}", environment.api_key));
                refused.push(environment.id);
                continue;
            }
            let Behind {
                api_key,
                life,
                told,
                last,
                ..
            } = &environment;
            let db = publisher.pool().get().await?;
            db.run(sql::HANDED_OVER, [&target.id, api_key, life, told, last])
                .await?;
            tracing::debug!(target_id = target.id, environment = %api_key, last, "identities handed over");
        }
    }
    all_taken(&reasons)?;
    Ok(false)
}

/// Tells a page, in as many requests as its traits take.
async fn tell(publisher: &Publisher, target: &TargetRow, page: &Behind) -> anyhow::Result<Told> {
    let (mut number, mut key) = (page.told, String::new());
    loop {
        let versions: Vec<Known> = {
            let db = publisher.pool().get().await?;
            let Behind { id, told, last, .. } = page;
            db.all(sql::VERSIONS, [id, told, last, &number, &key, &TRAITS])
                .await?
        };
        let is_last = versions.len() < usize::try_from(TRAITS).unwrap_or(usize::MAX);
        if let Some(end) = versions.last() {
            (number, key) = (end.number, end.version.key.clone());
            let changes = changes(&page.api_key, versions);
            let began = Instant::now();
            let address = target.address();
            let said = push::tell(publisher.http(), &address, &page.api_key, &changes).await?;
            if matches!(said, Told::Refused(_)) {
                return Ok(said);
            }
            // Half of the edge's time at most.
            sleep(began.elapsed().min(LONGEST_REST)).await;
        }
        if is_last {
            return Ok(Told::Taken);
        }
    }
}

/// A trait of an identity, or its deletion.
struct Known {
    number: i64,
    identifier: String,
    created_at: DateTime<Utc>,
    version: TraitVersion,
}

impl FromRow for Known {
    fn from_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let there: Option<i64> = row.try_get("id")?;
        let version = match there {
            Some(_) => {
                let stored: StoredTrait = TraitRow::from_row(row)?.into();
                stored.into()
            }
            None => {
                TraitVersion::deletion(row.try_get("trait_key")?, row.try_get("changed_at_micros")?)
            }
        };
        Ok(Self {
            number: row.try_get("change_number")?,
            identifier: row.try_get("identifier")?,
            created_at: row.try_get("created_at")?,
            version,
        })
    }
}

/// Versions of one identity come after each other.
fn changes(api_key: &str, versions: Vec<Known>) -> Vec<IdentityChange> {
    let mut changes: Vec<IdentityChange> = Vec::new();
    for version in versions {
        match changes.last_mut() {
            Some(change) if change.identifier == version.identifier => {
                change.traits.push(version.version);
            }
            _ => changes.push(IdentityChange {
                environment_key: api_key.to_owned(),
                identifier: version.identifier,
                created_at_micros: version.created_at.timestamp_micros(),
                traits: vec![version.version],
            }),
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_gathered_by_identity() {
        let version = |number, identifier: &str, key: &str| Known {
            number,
            identifier: identifier.to_owned(),
            created_at: DateTime::UNIX_EPOCH,
            version: TraitVersion {
                key: key.to_owned(),
                value: None,
                changed_at_micros: 1,
            },
        };
        let versions = vec![
            version(1, "a", "k"),
            version(1, "a", "l"),
            version(2, "b", "k"),
        ];
        let gathered: Vec<_> = changes("env", versions)
            .into_iter()
            .map(|change| {
                (
                    change.environment_key,
                    change.identifier,
                    change.traits.len(),
                )
            })
            .collect();
        assert_eq!(
            gathered,
            [
                ("env".to_owned(), "a".to_owned(), 2),
                ("env".to_owned(), "b".to_owned(), 1)
            ]
        );
    }
}
