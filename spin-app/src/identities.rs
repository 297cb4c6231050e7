//! Identities with their stored traits: one key an identity, changed by compare-and-set.
//!
//! What is promised, wherever the store's atomics are what `wasi:keyvalue` says: a change that was
//! answered with success is there afterwards, whatever else was posted for the same identity at the
//! same time, by whichever instance; changes of one identity have an order, and every answer shows
//! the identity as it was after its own change. A request that finds nothing to change writes
//! nothing. What is not: fairness between writers, and anything across two identities. Why it is
//! done this way, and what else was weighed, is in docs/adr/0005-spin-traits.md.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use yardarm_core::edge::delivery::IdentityChange;
use yardarm_core::edge::{ChangeError, IdentityRecord, TraitChange, Unavailable};
use yardarm_core::time::Timestamp;

use crate::key_value::{Change, KeyValue, update};
use crate::{home, stored_json};

/// What is stored: the record with its name, which the key only has as a hash.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    environment_key: String,
    identifier: String,
    record: IdentityRecord,
}

/// `identity/<SHA-256 of the environment's key, a zero byte, and the identifier>`: of one length
/// whatever the identifier, and free of characters that a back end could misread.
pub(crate) fn key(environment_key: &str, identifier: &str) -> String {
    let hash = Sha256::new()
        .chain_update(environment_key)
        .chain_update([0])
        .chain_update(identifier)
        .finalize();
    format!("identity/{}", hex::encode(hash))
}

fn open(key: &str, bytes: &[u8]) -> Result<IdentityRecord, Unavailable> {
    stored_json::read::<Stored>(key, bytes).map(|stored| stored.record)
}

/// What is stored of an identity.
pub(crate) async fn load<K: KeyValue>(
    store: &K,
    environment_key: &str,
    identifier: &str,
) -> Result<Option<IdentityRecord>, Unavailable> {
    let key = key(environment_key, identifier);
    store
        .get(&key)
        .await?
        .map(|bytes| open(&key, &bytes))
        .transpose()
}

/// How often a change is marked again because others changed the identity meanwhile.
const MOST_MARKS: u32 = 300;
/// Longest pause between two marks.
const MAX_PAUSE: Duration = Duration::from_millis(8);

/// What a change comes to.
enum Outcome {
    /// It was made, or refused.
    Made(Result<IdentityRecord, ChangeError>),
    /// It has to be marked first.
    ToMark(IdentityChange),
}

/// Gets or creates an identity, applies a change, stores the result if it differs, and gives it. Where the control
/// plane is to be told, that is marked first ([`home`]).
pub(crate) async fn change<K: KeyValue>(
    store: &K,
    (environment_key, identifier): (&str, &str),
    change: &TraitChange,
    now: Timestamp,
    tells: bool,
) -> Result<Result<IdentityRecord, ChangeError>, Unavailable> {
    let key = key(environment_key, identifier);
    let apply = |held: Option<&[u8]>, marked: Option<&IdentityChange>| {
        let before = held.map(|bytes| open(&key, bytes)).transpose()?;
        let mut record = before.clone().unwrap_or_else(|| IdentityRecord {
            created_at_micros: now.micros(),
            ..IdentityRecord::default()
        });
        if let Err(refusal) = record.apply(change, now) {
            return Ok(Change::Keep(Outcome::Made(Err(refusal))));
        }
        if before.as_ref() == Some(&record) {
            return Ok(Change::Keep(Outcome::Made(Ok(record))));
        }
        if tells
            && let Some(news) =
                record.news(before.as_ref(), change, now, (environment_key, identifier))
            && !home::covers(marked, &news)
        {
            return Ok(Change::Keep(Outcome::ToMark(news)));
        }
        let stored = Stored {
            environment_key: environment_key.to_owned(),
            identifier: identifier.to_owned(),
            record,
        };
        let bytes = stored_json::write(&stored)?;
        Ok(Change::Store(bytes, Outcome::Made(Ok(stored.record))))
    };
    // Most SDKs send the same traits with every request: a plain read shows that nothing changes,
    // and plain reads do not hold up the instance.
    let mut marked = match apply(store.get(&key).await?.as_deref(), None)? {
        Change::Keep(Outcome::Made(result)) => return Ok(result),
        Change::Keep(Outcome::ToMark(news)) => Some(news),
        Change::Store(..) => None,
    };
    for attempt in 0..MOST_MARKS {
        if let Some(news) = &marked {
            home::mark(store, &key, news, now).await?;
        }
        match update(store, &key, |held| apply(held, marked.as_ref())).await? {
            Outcome::Made(result) => return Ok(result),
            Outcome::ToMark(news) => marked = Some(news),
        }
        if attempt > 1 {
            store.pause(MAX_PAUSE).await;
        }
    }
    Err(Unavailable(format!(
        "{key}: changed by others {MOST_MARKS} times"
    )))
}

#[cfg(test)]
mod tests {
    use yardarm_core::edge::TraitScalar;

    use super::*;
    use crate::key_value::memory::{Memory, block_on, join};

    const NOW: Timestamp = Timestamp(5);
    const ANN: (&str, &str) = ("env", "ann");

    fn set(name: &str, value: i64) -> TraitChange {
        TraitChange::Merge(vec![(name.to_owned(), Some(TraitScalar::Int(value)))])
    }

    #[test]
    fn two_hundred_parallel_changes_are_all_there() {
        for seed in 0..5 {
            let store = Memory::interleaved(seed);
            let changes: Vec<TraitChange> = (0..200).map(|n| set(&format!("t{n}"), n)).collect();
            let posts = changes
                .iter()
                .map(|c| change(&store, ANN, c, NOW, false))
                .collect();
            for answer in block_on(join(posts)) {
                answer.unwrap().unwrap();
            }
            let record = block_on(load(&store, "env", "ann")).unwrap().unwrap();
            assert_eq!(record.traits.len(), 200, "seed {seed}");
            for n in 0..200 {
                assert_eq!(record.get(&format!("t{n}")), Some(&TraitScalar::Int(n)));
            }
        }
    }

    #[test]
    fn parallel_increments_add_up_and_each_answer_is_its_own() {
        let store = Memory::interleaved(7);
        let by = TraitChange::Increment {
            key: "n".to_owned(),
            by: 1,
        };
        let posts = (0..50)
            .map(|_| change(&store, ANN, &by, NOW, false))
            .collect();
        let mut answers: Vec<i64> = block_on(join(posts))
            .into_iter()
            .map(|answer| match answer.unwrap().unwrap().get("n") {
                Some(TraitScalar::Int(n)) => *n,
                other => panic!("{other:?}"),
            })
            .collect();
        answers.sort_unstable();
        assert_eq!(answers, (1..=50).collect::<Vec<i64>>());
    }

    #[test]
    fn nothing_new_writes_nothing_and_reads_once() {
        let store = Memory::new();
        block_on(change(&store, ANN, &set("a", 1), NOW, false))
            .unwrap()
            .unwrap();
        store.die_after(0);
        store.reads();
        let again = block_on(change(&store, ANN, &set("a", 1), Timestamp(9), false));
        assert_eq!(again.unwrap().unwrap().created_at_micros, 5);
        assert_eq!(store.reads(), 1);
    }

    #[test]
    fn a_refused_change_stores_nothing_even_for_a_new_identity() {
        let store = Memory::new();
        let too_far = TraitChange::Increment {
            key: "n".to_owned(),
            by: i64::MAX,
        };
        let answer = block_on(change(&store, ANN, &too_far, NOW, false)).unwrap();
        assert_eq!(answer, Err(ChangeError::OutOfRange));
        assert!(store.keys().is_empty());
    }

    #[test]
    fn an_empty_merge_creates_the_identity() {
        let store = Memory::new();
        assert_eq!(block_on(load(&store, "env", "ann")).unwrap(), None);
        block_on(change(
            &store,
            ANN,
            &TraitChange::Merge(Vec::new()),
            NOW,
            false,
        ))
        .unwrap()
        .unwrap();
        assert!(block_on(load(&store, "env", "ann")).unwrap().is_some());
    }

    #[test]
    fn environments_and_identifiers_do_not_mix() {
        let store = Memory::new();
        block_on(change(&store, ANN, &set("a", 1), NOW, false))
            .unwrap()
            .unwrap();
        for (environment, identifier) in [("en", "vann"), ("env", "an"), ("other", "ann")] {
            assert_eq!(
                block_on(load(&store, environment, identifier)).unwrap(),
                None
            );
        }
        let long = "x".repeat(2_000);
        block_on(change(&store, ("env", &long), &set("a", 1), NOW, false))
            .unwrap()
            .unwrap();
        assert!(store.keys().iter().all(|key| key.len() < 100));
    }

    #[test]
    fn a_damaged_value_is_told_and_kept() {
        let store = Memory::new();
        block_on(store.set(&key("env", "ann"), b"{")).unwrap();
        assert!(block_on(load(&store, "env", "ann")).is_err());
        assert!(block_on(change(&store, ANN, &set("a", 1), NOW, false)).is_err());
        assert_eq!(store.value(&key("env", "ann")).unwrap(), b"{");
    }
}
