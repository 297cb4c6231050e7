//! The job that tells a target.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use yardarm_core::edge::StoredTrait;
use yardarm_core::edge::delivery::{IdentityChange, TraitVersion};

use super::super::Publisher;
use super::super::push::{self, Told};
use super::super::targets::{self, TargetRow};
use super::all_taken;
use crate::edge_host::TraitRow;
use crate::jobs::{Job, Next};
use crate::sql::publish::identities as sql;
use crate::store::{FromRow, Queries as _};

/// How many traits are told at once: an edge takes 500 identities in a request.
const AT_ONCE: i64 = 500;

/// Tells a target what people changed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TellIdentities {
    /// The target's id.
    pub(crate) target_id: i64,
}

impl Job for TellIdentities {
    const KIND: &'static str = "tell_identities";
    // One a target, so that none waits for another.
    const AT_ONCE: usize = 64;
    type Context = Publisher;

    fn key(&self) -> String {
        self.target_id.to_string()
    }

    async fn run(self, publisher: &Publisher) -> anyhow::Result<Next> {
        if let Some(target) = targets::enabled_edge(publisher, self.target_id).await? {
            tell(publisher, &target).await?;
        }
        Ok(Next::Done)
    }
}

async fn tell(publisher: &Publisher, target: &TargetRow) -> anyhow::Result<()> {
    let mut reasons = Vec::new();
    let mut refused: Vec<i64> = Vec::new();
    loop {
        let marks: Vec<Mark> = {
            let db = publisher.pool().get().await?;
            db.all(sql::MARKED, [&target.id, &refused, &AT_ONCE])
                .await?
        };
        // One environment at a time: that is where a request goes.
        let Some(environment) = marks.first().map(|mark| mark.environment_id) else {
            break;
        };
        let marks: Vec<Mark> = marks
            .into_iter()
            .take_while(|mark| mark.environment_id == environment)
            .collect();
        let changes = changes(&marks);
        let api_key = marks[0].api_key.clone();
        if !changes.is_empty() {
            let told = push::tell(publisher.http(), &target.address(), &api_key, &changes).await?;
            if let Told::Refused(reason) = told {
                reasons.push(format!("environment {api_key}: {reason}"));
                refused.push(environment);
                continue;
            }
        }
        let identifiers: Vec<&str> = marks.iter().map(|mark| mark.identifier.as_str()).collect();
        let keys: Vec<&str> = marks.iter().map(|mark| mark.trait_key.as_str()).collect();
        let marked_at: Vec<i64> = marks.iter().map(|mark| mark.marked_at).collect();
        let db = publisher.pool().get().await?;
        db.run(
            sql::TOLD,
            [&target.id, &environment, &identifiers, &keys, &marked_at],
        )
        .await?;
    }
    all_taken(&reasons)
}

/// A trait to tell of, and what it is now.
struct Mark {
    environment_id: i64,
    api_key: String,
    identifier: String,
    /// Empty: the identity itself.
    trait_key: String,
    created_at: DateTime<Utc>,
    marked_at: i64,
    /// When the trait was deleted, if it is.
    deleted_at: i64,
    /// The identity is there.
    known: bool,
    now: Option<StoredTrait>,
}

impl FromRow for Mark {
    fn from_row(row: &Row) -> Result<Self, tokio_postgres::Error> {
        let there: Option<i64> = row.try_get("id")?;
        let identity: Option<i64> = row.try_get("identity_id")?;
        Ok(Self {
            environment_id: row.try_get("environment_id")?,
            api_key: row.try_get("api_key")?,
            identifier: row.try_get("identifier")?,
            trait_key: row.try_get("trait_key")?,
            created_at: row.try_get("created_at")?,
            marked_at: row.try_get("marked_at")?,
            deleted_at: row.try_get("deleted_at")?,
            known: identity.is_some(),
            now: match there {
                Some(_) => Some(TraitRow::from_row(row)?.into()),
                None => None,
            },
        })
    }
}

/// What the edge is told, identity by identity. An identity that was made and is gone again is not worth telling of.
fn changes(marks: &[Mark]) -> Vec<IdentityChange> {
    let mut changes: BTreeMap<&str, IdentityChange> = BTreeMap::new();
    for mark in marks {
        if mark.trait_key.is_empty() && !mark.known {
            continue;
        }
        let change = changes
            .entry(&mark.identifier)
            .or_insert_with(|| IdentityChange {
                environment_key: mark.api_key.clone(),
                identifier: mark.identifier.clone(),
                created_at_micros: mark.created_at.timestamp_micros(),
                traits: Vec::new(),
            });
        if !mark.trait_key.is_empty() {
            change.traits.push(version(mark));
        }
    }
    changes.into_values().collect()
}

fn version(mark: &Mark) -> TraitVersion {
    match &mark.now {
        Some(stored) => stored.clone().into(),
        None => TraitVersion::deletion(mark.trait_key.clone(), mark.deleted_at),
    }
}

#[cfg(test)]
mod tests {
    use yardarm_core::edge::TraitScalar;

    use super::*;

    fn mark(identifier: &str, key: &str, known: bool, now: Option<(i64, i64)>) -> Mark {
        Mark {
            environment_id: 1,
            api_key: "env".to_owned(),
            identifier: identifier.to_owned(),
            trait_key: key.to_owned(),
            created_at: DateTime::UNIX_EPOCH,
            marked_at: 8,
            deleted_at: 7,
            known,
            now: now.map(|(value, at)| StoredTrait {
                id: Some(1),
                key: key.to_owned(),
                value: TraitScalar::Int(value),
                changed_at_micros: at,
            }),
        }
    }

    #[test]
    fn what_is_there_is_told_as_it_is_and_what_is_gone_as_deleted_when_it_was() {
        let changes = changes(&[
            mark("a", "k", true, Some((5, 9))),
            mark("a", "l", true, None),
            mark("b", "", true, None),
            mark("c", "", false, None),
            mark("d", "m", false, None),
        ]);
        let told: Vec<String> = changes
            .iter()
            .flat_map(|change| {
                let traits = change.traits.iter().map(|version| {
                    let TraitVersion { key, value, .. } = version;
                    let at = version.changed_at_micros;
                    format!("{} {key} {} {at}", change.identifier, value.is_some())
                });
                std::iter::once(change.identifier.clone()).chain(traits)
            })
            .collect();
        assert_eq!(
            told,
            ["a", "a k true 9", "a l false 7", "b", "d", "d m false 7"]
        );
    }
}
