//! Which identities have changed: noted before they do, looked up when it is told.
//!
//! The store changes one key at a time, so that an identity and the news of it cannot be written at once. A mark
//! comes first: who dies after it has marked a change that was not made, which harms nobody. Of the identity and the
//! traits marked, what is stored when the delivery is made is told, each with the time of its own change.
//!
//! A mark names the time that the change is going to have, and stands for all changes until then. While the identity
//! shows nothing of that time or later, the change may still be on its way: such a mark is left again until it is
//! [`GIVE_UP`] old.

use yardarm_core::edge::delivery::{Delivery, IdentityChange, TraitVersion};
use yardarm_core::edge::{IdentityRecord, TraitScalar, Unavailable};
use yardarm_core::time::Timestamp;

use super::slots::{self, IDENTITY_SLOTS, News};
use crate::identities;
use crate::key_value::KeyValue;

/// The traits of one mark, so that many fit beside what a slot holds.
const TRAITS_A_MARK: usize = 250;
/// The traits of one row of a delivery: with names of 200 and values of 2,000 characters, and six bytes a character
/// in JSON at worst, a row takes 670 KB.
const TRAITS_A_ROW: usize = 50;
/// Bytes of rows after which a delivery takes no more of them: with one more it still fits a value.
const ENOUGH: usize = 128 << 10;
/// Age at which a change that was marked and never made is taken for given up: no request lives so long.
const GIVE_UP: i64 = 5 * 60 * 1_000_000;

/// Notes that an identity, which is stored under `key`, is about to change like this.
pub(crate) async fn mark<K: KeyValue>(
    store: &K,
    key: &str,
    news: &IdentityChange,
    now: Timestamp,
) -> Result<(), Unavailable> {
    let number = slot_of(key);
    let traits: Vec<TraitVersion> = news.traits.iter().map(marked).collect();
    let mut chunks = traits.chunks(TRAITS_A_MARK);
    let mut traits = chunks.next().unwrap_or_default();
    loop {
        let mark = IdentityChange {
            environment_key: news.environment_key.clone(),
            identifier: news.identifier.clone(),
            created_at_micros: now.micros(),
            traits: traits.to_vec(),
        };
        slots::leave(store, number, &News::Mark(mark)).await?;
        match chunks.next() {
            Some(next) => traits = next,
            None => return Ok(()),
        }
    }
}

/// All marks of an identity are in one slot, so that its changes arrive in their order.
fn slot_of(key: &str) -> u8 {
    let digit = key.chars().next_back().and_then(|digit| digit.to_digit(16));
    u8::try_from(digit.unwrap_or(0)).unwrap_or(0) % IDENTITY_SLOTS
}

fn marked(version: &TraitVersion) -> TraitVersion {
    TraitVersion {
        key: version.key.clone(),
        value: version.value.is_some().then_some(TraitScalar::Bool(true)),
        changed_at_micros: version.changed_at_micros,
    }
}

/// Whether `news` were marked just so.
pub(crate) fn covers(marked: Option<&IdentityChange>, news: &IdentityChange) -> bool {
    marked.is_some_and(|marked| marked.traits == news.traits)
}

/// What the marks of a page come to.
#[derive(Default)]
pub(super) struct Lookup {
    /// To be told.
    pub(super) rows: Vec<IdentityChange>,
    /// Marks of changes that may still be on their way.
    pub(super) open: Vec<IdentityChange>,
    /// Marks for which there was no room.
    pub(super) rest: Vec<IdentityChange>,
}

/// Looks up what the marks of a page come to at `now`.
pub(super) async fn look_up<K: KeyValue>(store: &K, page: &Delivery, now: Timestamp) -> Lookup {
    let mut lookup = Lookup::default();
    let mut size = 0;
    for mark in &page.identities {
        if size > ENOUGH {
            lookup.rest.push(mark.clone());
            continue;
        }
        let (environment_key, identifier) = (&mark.environment_key, &mark.identifier);
        let record = match identities::load(store, environment_key, identifier).await {
            Ok(record) => record,
            Err(error) => {
                eprintln!("not sent home yet: {error}");
                None
            }
        };
        let is_young = now.micros().saturating_sub(mark.created_at_micros) < GIVE_UP;
        let Some(record) = record else {
            if is_young {
                lookup.open.push(mark.clone());
            }
            continue;
        };
        let (told, open, rest) = sort(&record, &mark.traits);
        size += told.iter().map(length).sum::<usize>();
        size += length_of(environment_key) + length_of(identifier);
        let row = |created_at_micros, traits| IdentityChange {
            environment_key: environment_key.clone(),
            identifier: identifier.clone(),
            created_at_micros,
            traits,
        };
        if !told.is_empty() || open.is_empty() {
            lookup.rows.push(row(record.created_at_micros, told));
        }
        if is_young && !open.is_empty() {
            lookup.open.push(row(mark.created_at_micros, open));
        }
        if !rest.is_empty() {
            lookup.rest.push(row(mark.created_at_micros, rest));
        }
    }
    lookup
}

/// What of an identity is to be told, what cannot be yet, and what has to wait for another row.
fn sort(
    record: &IdentityRecord,
    marks: &[TraitVersion],
) -> (Vec<TraitVersion>, Vec<TraitVersion>, Vec<TraitVersion>) {
    let (mut told, mut open, mut rest) = (Vec::new(), Vec::new(), Vec::new());
    for mark in marks {
        if told.len() == TRAITS_A_ROW {
            rest.push(mark.clone());
            continue;
        }
        match record.traits.iter().find(|stored| stored.key == mark.key) {
            Some(stored) => {
                // What is older was marked, too: a mark stands for all changes until its own.
                told.push(stored.clone().into());
                if stored.changed_at_micros < mark.changed_at_micros {
                    open.push(mark.clone());
                }
            }
            None => match record.deleted_at(&mark.key) {
                Some(deleted_at) => {
                    told.push(TraitVersion::deletion(mark.key.clone(), deleted_at));
                    if deleted_at < mark.changed_at_micros {
                        open.push(mark.clone());
                    }
                }
                None if mark.value.is_none() => told.push(mark.clone()),
                None => open.push(mark.clone()),
            },
        }
    }
    (told, open, rest)
}

/// Bytes of a version in JSON, roughly.
fn length(version: &TraitVersion) -> usize {
    let value = match &version.value {
        Some(TraitScalar::Text(text)) => length_of(text),
        _ => 0,
    };
    length_of(&version.key) + value
}

/// Bytes of text in JSON, and of what is around it.
fn length_of(text: &str) -> usize {
    let byte = |byte| match byte {
        b'"' | b'\\' => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    40 + text.bytes().map(byte).sum::<usize>()
}
