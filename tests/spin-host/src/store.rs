//! The key-value store: a map in memory and, with a state directory, an append-only file that is
//! read back at the next start.
//!
//! It promises what Spin's default back end (`SQLite` behind one lock) promises: every call is atomic
//! and sees all calls that returned before it. It also has that back end's known hole, so that a
//! component that relies on more fails here too: a swap of a key that was missing when it was
//! looked at overwrites whatever was stored since. And it refuses what Spin's documented limits
//! refuse.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Longest key, in bytes.
pub(crate) const MAX_KEY: usize = 256;
/// Longest value, in bytes (Spin's documented 1 MB).
pub(crate) const MAX_VALUE: usize = 1_000_000;
/// A deleted key's length of value in the file.
const DELETED: u32 = u32::MAX;

/// A store with one label, `default`.
#[derive(Debug)]
pub(crate) struct Store {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    values: BTreeMap<String, Vec<u8>>,
    file: Option<File>,
}

impl Store {
    /// A store that forgets.
    pub(crate) fn in_memory() -> Self {
        Self::with(BTreeMap::new(), None)
    }

    /// A store that keeps its values in `directory`. A record cut short by a crash is dropped, as it
    /// was never confirmed.
    pub(crate) fn open(directory: &Path) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let path = directory.join("key-value.log");
        let mut bytes = Vec::new();
        match File::open(&path) {
            Ok(mut file) => {
                file.read_to_end(&mut bytes)?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let values = replay(&bytes);
        let fresh = directory.join("key-value.new");
        let mut file = File::create(&fresh)?;
        for (key, value) in &values {
            file.write_all(&record(key, Some(value)))?;
        }
        file.sync_all()?;
        std::fs::rename(&fresh, &path)?;
        let file = OpenOptions::new().append(true).open(&path)?;
        Ok(Self::with(values, Some(file)))
    }

    fn with(values: BTreeMap<String, Vec<u8>>, file: Option<File>) -> Self {
        Self {
            inner: Mutex::new(Inner { values, file }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        check_key(key)?;
        Ok(self.lock().values.get(key).cloned())
    }

    /// Sets a value.
    pub(crate) fn set(&self, key: &str, value: Vec<u8>) -> Result<(), String> {
        check_key(key)?;
        self.lock().put(key, value)
    }

    /// Deletes a key; a missing one is no error.
    pub(crate) fn delete(&self, key: &str) -> Result<(), String> {
        check_key(key)?;
        let mut inner = self.lock();
        inner.append(&record(key, None))?;
        inner.values.remove(key);
        Ok(())
    }

    /// All keys.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.lock().values.keys().cloned().collect()
    }

    /// Adds to a counter of eight little-endian bytes, from 0 where it is missing, and gives the sum.
    pub(crate) fn increment(&self, key: &str, by: i64) -> Result<i64, String> {
        check_key(key)?;
        let mut inner = self.lock();
        let held = match inner.values.get(key) {
            None => 0,
            Some(bytes) => bytes
                .as_slice()
                .try_into()
                .map(i64::from_le_bytes)
                .map_err(|_| format!("{key:?} is no counter"))?,
        };
        let sum = held.wrapping_add(by);
        inner.put(key, sum.to_le_bytes().to_vec())?;
        Ok(sum)
    }

    /// Stores `value` if the key still has the value `seen`; whether it did. With `seen` missing it
    /// always does: see the hole in the module's text.
    pub(crate) fn swap(
        &self,
        key: &str,
        seen: Option<&[u8]>,
        value: Vec<u8>,
    ) -> Result<bool, String> {
        check_key(key)?;
        let mut inner = self.lock();
        if seen.is_some() && inner.values.get(key).map(Vec::as_slice) != seen {
            return Ok(false);
        }
        inner.put(key, value)?;
        Ok(true)
    }
}

impl Inner {
    fn put(&mut self, key: &str, value: Vec<u8>) -> Result<(), String> {
        if value.len() > MAX_VALUE {
            return Err(format!(
                "value of {} bytes is over {MAX_VALUE}",
                value.len()
            ));
        }
        self.append(&record(key, Some(&value)))?;
        self.values.insert(key.to_owned(), value);
        Ok(())
    }

    fn append(&mut self, record: &[u8]) -> Result<(), String> {
        match &mut self.file {
            Some(file) => file.write_all(record).map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }
}

fn check_key(key: &str) -> Result<(), String> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(format!(
            "key of {} bytes is not within 1 to {MAX_KEY}",
            key.len()
        ));
    }
    Ok(())
}

/// Length of key, length of value (or [`DELETED`]), key, value. A length past 32 bits cannot come
/// here: keys and values are far shorter.
fn record(key: &str, value: Option<&[u8]>) -> Vec<u8> {
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(DELETED - 1);
    let mut record = Vec::with_capacity(8 + key.len() + value.map_or(0, <[u8]>::len));
    record.extend(length(key.as_bytes()).to_le_bytes());
    record.extend(value.map_or(DELETED, length).to_le_bytes());
    record.extend(key.as_bytes());
    record.extend(value.unwrap_or_default());
    record
}

/// Key, value unless deleted, the bytes after it.
type Record<'a> = (String, Option<&'a [u8]>, &'a [u8]);

fn replay(mut bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut values = BTreeMap::new();
    while let Some((key, value, rest)) = take_record(bytes) {
        match value {
            Some(value) => values.insert(key, value.to_vec()),
            None => values.remove(&key),
        };
        bytes = rest;
    }
    values
}

/// A record and what follows it; none where the bytes end before the record does.
fn take_record(bytes: &[u8]) -> Option<Record<'_>> {
    let (key_length, rest) = bytes.split_first_chunk::<4>()?;
    let (value_length, rest) = rest.split_first_chunk::<4>()?;
    let key_length = usize::try_from(u32::from_le_bytes(*key_length)).ok()?;
    let (key, rest) = rest.split_at_checked(key_length)?;
    let key = String::from_utf8(key.to_vec()).ok()?;
    let value_length = u32::from_le_bytes(*value_length);
    if value_length == DELETED {
        return Some((key, None, rest));
    }
    let (value, rest) = rest.split_at_checked(usize::try_from(value_length).ok()?)?;
    Some((key, Some(value), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_was_stored_across_a_restart_and_drops_a_torn_record() {
        let directory =
            std::env::temp_dir().join(format!("spin-host-store-{}", std::process::id()));
        let store = Store::open(&directory).unwrap();
        store.set("a", b"1".to_vec()).unwrap();
        store.set("b", b"2".to_vec()).unwrap();
        store.set("a", b"3".to_vec()).unwrap();
        store.delete("b").unwrap();
        assert_eq!(store.increment("n", 4).unwrap(), 4);
        drop(store);
        let log = directory.join("key-value.log");
        let mut bytes = std::fs::read(&log).unwrap();
        bytes.extend(&record("c", Some(b"torn"))[..10]);
        std::fs::write(&log, bytes).unwrap();

        let store = Store::open(&directory).unwrap();
        assert_eq!(store.keys(), ["a", "n"]);
        assert_eq!(store.get("a").unwrap().unwrap(), b"3");
        assert_eq!(store.increment("n", -1).unwrap(), 3);
        std::fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn refuses_what_spin_refuses() {
        let store = Store::in_memory();
        assert!(store.set(&"k".repeat(257), Vec::new()).is_err());
        assert!(store.set("", Vec::new()).is_err());
        assert!(store.set("k", vec![0; 1_000_001]).is_err());
        assert!(store.set("k", vec![0; 1_000_000]).is_ok());
        assert!(store.increment("k", 1).is_err());
    }

    #[test]
    fn swaps_only_what_was_seen_except_for_a_missing_key() {
        let store = Store::in_memory();
        assert!(store.swap("k", None, b"1".to_vec()).unwrap());
        assert!(!store.swap("k", Some(b"0"), b"2".to_vec()).unwrap());
        assert!(store.swap("k", Some(b"1"), b"2".to_vec()).unwrap());
        assert!(
            store.swap("k", None, b"3".to_vec()).unwrap(),
            "the hole of Spin's SQLite back end"
        );
        assert_eq!(store.get("k").unwrap().unwrap(), b"3");
    }
}
