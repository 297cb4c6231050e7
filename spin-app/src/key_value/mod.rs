//! What the stores here need of a key-value store, and the one way they change a key that others
//! may be changing too.
//!
//! [`KeyValue`] is Spin's store (`spin.rs`) or, in tests, a map (`memory.rs`). Reads and plain writes
//! are `spin:key-value`; [`KeyValue::look`], [`KeyValue::swap`] and [`KeyValue::increment`] are the
//! atomics of `wasi:keyvalue`, which every Spin since 3.0 has. What its back ends make of them is
//! told in docs/adr/0005-spin-traits.md; in short: a swap of a key that existed is sound everywhere,
//! a swap that creates a key overwrites on `SQLite`, and the sum that an increment answers may not be
//! exact on Azure. [`update`] is sound on all of them.

use std::time::Duration;

use yardarm_core::edge::Unavailable;

#[cfg(test)]
pub(crate) mod memory;
pub(crate) mod spin;

/// A key-value store with atomics. Keys are 1 to 256 bytes, values at most [`MAX_VALUE`].
pub(crate) trait KeyValue {
    /// A key as it was looked at.
    type Seen;

    /// The value of a key.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable>;

    /// Sets a value, whatever was there.
    async fn set(&self, key: &str, value: &[u8]) -> Result<(), Unavailable>;

    /// Deletes a key; a missing one is no error.
    async fn delete(&self, key: &str) -> Result<(), Unavailable>;

    /// The value of a key, for a later [`KeyValue::swap`].
    async fn look(&self, key: &str) -> Result<(Option<Vec<u8>>, Self::Seen), Unavailable>;

    /// Stores a value if the key has not changed since it was looked at; whether it did. (A key that
    /// was missing then may be overwritten all the same.)
    async fn swap(&self, seen: Self::Seen, value: &[u8]) -> Result<bool, Unavailable>;

    /// Adds to a counter, from 0 where it is missing, and gives the sum.
    async fn increment(&self, key: &str, by: i64) -> Result<i64, Unavailable>;

    /// Waits for a random part of `at_most`.
    async fn pause(&self, at_most: Duration);

    /// A random number, for names that nobody else gives.
    fn random(&self) -> u128;
}

/// Longest value stored: Spin documents 1 MB, of which some is left for a back end's own framing.
pub(crate) const MAX_VALUE: usize = 950_000;

/// What becomes of a key.
pub(crate) enum Change<R> {
    /// It stays as it is.
    Keep(R),
    /// It gets a new value.
    Store(Vec<u8>, R),
}

/// How often a change is tried again. Each failure means that somebody else's change succeeded, or
/// that a remote back end is at its limits.
const MAX_ATTEMPTS: u32 = 300;
/// Longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_millis(32);
/// How many pauses a creator is given before it is taken for dead; they grow, so that this is about
/// a third of a second.
const CREATOR_PATIENCE: u32 = 24;

/// Who may create a missing key.
enum Claim {
    /// Nobody asked yet.
    Open,
    /// Somebody else, who has had so many pauses.
    Theirs { pauses: u32 },
    /// We.
    Ours,
}

/// Changes a key atomically: `change` sees its value and says what becomes of it; it is called again
/// when somebody else was quicker.
///
/// A key that does not exist is created by whoever first increments a counter beside it, since a
/// swap alone would let two creators overwrite each other on `SQLite`; the others wait for the key to
/// appear. A creator that dies in between is replaced after a third of a second, by the same rule
/// with the next counter. The counters go once the key is there: a late claimant looks again after
/// claiming and finds it.
pub(crate) async fn update<K: KeyValue, R>(
    store: &K,
    key: &str,
    mut change: impl FnMut(Option<&[u8]>) -> Result<Change<R>, Unavailable>,
) -> Result<R, Unavailable> {
    let mut outcome = None;
    swap_in(store, key, &mut |held| {
        let (value, result) = match change(held)? {
            Change::Keep(result) => (None, result),
            Change::Store(value, result) => (Some(value), result),
        };
        outcome = Some(result);
        Ok(value)
    })
    .await?;
    outcome.ok_or_else(|| Unavailable(format!("{key}: not changed")))
}

/// The value to be stored, if any, by the one that is there.
type Decision<'a> = dyn FnMut(Option<&[u8]>) -> Result<Option<Vec<u8>>, Unavailable> + 'a;

/// The same for every kind of result, so that WebAssembly has it once.
async fn swap_in<K: KeyValue>(
    store: &K,
    key: &str,
    change: &mut Decision<'_>,
) -> Result<(), Unavailable> {
    let mut claim = Claim::Open;
    let mut generation = 0;
    for attempt in 0..MAX_ATTEMPTS {
        let (held, seen) = store.look(key).await?;
        if held.is_some() && matches!(claim, Claim::Ours) {
            release(store, key, generation).await?;
            claim = Claim::Open;
        }
        let Some(value) = change(held.as_deref())? else {
            return Ok(());
        };
        if value.len() > MAX_VALUE {
            return Err(Unavailable(format!(
                "{key}: {} bytes are too many",
                value.len()
            )));
        }
        if held.is_none() {
            match &mut claim {
                Claim::Ours => {}
                Claim::Open => {
                    // An error may be a back end's way to say that two increments met.
                    claim = match store.increment(&claim_key(key, generation), 1).await {
                        Ok(1) => Claim::Ours,
                        _ => Claim::Theirs { pauses: 0 },
                    };
                    continue;
                }
                Claim::Theirs { pauses } if *pauses < CREATOR_PATIENCE => {
                    store.pause(pause_after(*pauses)).await;
                    *pauses += 1;
                    continue;
                }
                Claim::Theirs { .. } => {
                    generation += 1;
                    claim = Claim::Open;
                    continue;
                }
            }
        }
        if store.swap(seen, &value).await? {
            if matches!(claim, Claim::Ours) {
                release(store, key, generation).await?;
            }
            return Ok(());
        }
        store.pause(pause_after(attempt)).await;
    }
    Err(Unavailable(format!(
        "{key}: no change got through in {MAX_ATTEMPTS} attempts"
    )))
}

/// Deletes the claims of a key that is there now.
async fn release<K: KeyValue>(store: &K, key: &str, generation: u32) -> Result<(), Unavailable> {
    for generation in 0..=generation {
        store.delete(&claim_key(key, generation)).await?;
    }
    Ok(())
}

fn claim_key(key: &str, generation: u32) -> String {
    format!("{key}/claim/{generation}")
}

fn pause_after(attempt: u32) -> Duration {
    MAX_PAUSE.min(Duration::from_millis(1 << attempt.min(10)))
}

#[cfg(test)]
mod tests {
    use super::memory::{Memory, block_on, join};
    use super::*;

    async fn append(store: &Memory, word: &str) -> Result<(), Unavailable> {
        update(store, "words", |held| {
            let mut text = String::from_utf8(held.unwrap_or_default().to_vec()).unwrap();
            text.push_str(word);
            text.push(' ');
            Ok(Change::Store(text.into_bytes(), ()))
        })
        .await
    }

    #[test]
    fn no_change_is_lost_however_the_calls_interleave() {
        for seed in 0..40 {
            let store = Memory::interleaved(seed);
            let words: Vec<String> = (0..25).map(|word| format!("w{word}")).collect();
            let changes = words.iter().map(|word| append(&store, word)).collect();
            for result in block_on(join(changes)) {
                result.unwrap();
            }
            let held = store.value("words").unwrap();
            let mut held: Vec<&str> = str::from_utf8(&held).unwrap().split_whitespace().collect();
            held.sort_unstable();
            let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
            words.sort_unstable();
            assert_eq!(held, words, "seed {seed}");
        }
    }

    #[test]
    fn claims_go_once_the_key_is_there() {
        let store = Memory::new();
        block_on(append(&store, "a")).unwrap();
        block_on(append(&store, "b")).unwrap();
        assert_eq!(store.keys(), ["words"]);
    }

    #[test]
    fn a_creator_that_died_is_replaced() {
        let store = Memory::new();
        block_on(store.increment(&claim_key("words", 0), 1)).unwrap();
        block_on(append(&store, "a")).unwrap();
        assert_eq!(store.keys(), ["words"]);
        assert_eq!(store.value("words").unwrap(), b"a ");
    }

    #[test]
    fn keeping_writes_nothing() {
        let store = Memory::new();
        let kept = update(&store, "k", |held| Ok(Change::Keep(held.is_none())));
        assert!(block_on(kept).unwrap());
        assert!(store.keys().is_empty());
    }

    #[test]
    fn a_value_past_the_limit_is_refused() {
        let store = Memory::new();
        let change = |_: Option<&[u8]>| Ok(Change::Store(vec![0; MAX_VALUE + 1], ()));
        assert!(block_on(update(&store, "k", change)).is_err());
        assert!(store.keys().is_empty());
    }
}
