//! Installing a package: journal, parts, keys, head, list, sweep. The order is told in the parent module.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use yardarm_core::edge::{Install, Unavailable};
use yardarm_core::snapshot::{Package, PackageMeta, Snapshot};
use yardarm_core::time::Timestamp;

use super::list::list;
use super::{Head, Homes, head_key, part_key, pieces, server_key, snapshot_key};
use crate::key_value::{Change, KeyValue, update};
use crate::stored_json;

/// The largest snapshot that travels in the head. It is read with every request, also by an instance
/// that has the snapshot already, so it is small.
const INLINE: usize = 48 << 10;
/// How long an installation may be under way, in microseconds. What started earlier and is not
/// serving has failed.
const UNDER_WAY: i64 = 60_000_000;

/// How often a version is tried again because another head came in between.
const ATTEMPTS: u32 = 100;

/// A package on its way into the store.
struct Parcel<'a> {
    package: &'a Package,
    meta: PackageMeta,
    tag: String,
}

impl<'a> Parcel<'a> {
    fn new(package: &'a Package) -> Self {
        let meta = package.meta();
        Self {
            tag: super::tag(meta.version, &meta.content_hash),
            package,
            meta,
        }
    }

    fn snapshot(&self) -> &[u8] {
        self.package.opened().bytes()
    }

    fn inline(&self) -> bool {
        self.snapshot().len() <= INLINE
    }

    fn key(&self, part: &str) -> String {
        part_key(&self.meta.environment_key, &self.tag, part)
    }

    fn head(&self, previous: Option<String>, homes: Homes) -> Head {
        Head {
            environment_key: self.meta.environment_key.clone(),
            version: self.meta.version,
            content_hash: self.meta.content_hash.clone(),
            gone: self.meta.gone,
            format: Snapshot::FORMAT,
            inline: self.inline(),
            previous,
            homes,
        }
    }
}

/// A head, and where its parts are.
#[derive(Default)]
struct Base {
    head: Option<Head>,
    /// The tags that the parts are under, by name. `None` where that cannot be told.
    parts: Option<HashMap<[u8; 32], String>>,
}

impl Base {
    /// What is held of an environment; nothing where another Yardarm wrote it.
    async fn read<K: KeyValue>(store: &K, environment_key: &str) -> Result<Self, Unavailable> {
        let Some(bytes) = store.get(&head_key(environment_key)).await? else {
            return Ok(Self::default());
        };
        let (head, at) = Head::from_bytes(&bytes)?;
        if !head.is_readable() {
            return Ok(Self::default());
        }
        let snapshot = if head.inline {
            bytes.get(at..).map(<[u8]>::to_vec)
        } else {
            pieces::read(store, &snapshot_key(&head)).await?
        };
        let snapshot = snapshot.and_then(|bytes| Snapshot::open(bytes.into()).ok());
        let parts = snapshot.map(|snapshot| {
            let own = head.tag();
            let places = (0..snapshot.parts()).enumerate();
            let parts = places.filter_map(|(place, number)| {
                let name = snapshot.part_name(number)?;
                Some((*name.sha256, head.homes.tag(place, &own).to_owned()))
            });
            parts.collect()
        });
        Ok(Self {
            head: Some(head),
            parts,
        })
    }

    /// The tag that a part is under.
    fn home(&self, name: &[u8; 32]) -> Option<&str> {
        Some(self.parts.as_ref()?.get(name)?.as_str())
    }
}

/// What a version may have left in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    tag: String,
    version: u64,
    /// When somebody last worked on it.
    started_micros: i64,
    snapshot_pieces: u32,
    server_keys: Vec<String>,
    /// Parts that were written under its tag, or were about to be.
    #[serde(default)]
    parts: Vec<Written>,
    /// Whether nothing is left of it but parts that others have from it.
    #[serde(default)]
    is_swept: bool,
}

/// A part by name, in so many pieces, and whether all of them are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Written(String, u32, bool);

impl Entry {
    fn new(parcel: &Parcel<'_>) -> Self {
        Self {
            tag: parcel.tag.clone(),
            version: parcel.meta.version,
            started_micros: 0,
            snapshot_pieces: if parcel.inline() {
                0
            } else {
                pieces::count(parcel.snapshot().len())
            },
            server_keys: parcel.meta.server_keys.clone(),
            parts: Vec::new(),
            is_swept: false,
        }
    }

    fn has(&self, name: &str) -> bool {
        self.parts.iter().any(|part| part.0 == name && part.2)
    }
}

fn journal_key(environment_key: &str) -> String {
    format!("{}/journal", head_key(environment_key))
}

fn journal(bytes: Option<&[u8]>) -> Result<Vec<Entry>, Unavailable> {
    bytes.map_or(Ok(Vec::new()), |bytes| stored_json::read("journal", bytes))
}

/// What becomes of a version beside the head held.
fn compare(held: Option<&Head>, version: u64) -> Option<Install> {
    let held = held?;
    match version.cmp(&held.version) {
        std::cmp::Ordering::Less => Some(Install::Older { held: held.version }),
        std::cmp::Ordering::Equal => Some(Install::Already),
        std::cmp::Ordering::Greater => None,
    }
}

/// Stores a package unless a newer version is held or parts of it are missing.
pub(crate) async fn install<K: KeyValue>(
    store: &K,
    package: &Package,
    now: Timestamp,
) -> Result<Install, Unavailable> {
    let parcel = Parcel::new(package);
    let environment_key = parcel.meta.environment_key.as_str();
    for _ in 0..ATTEMPTS {
        let base = Base::read(store, environment_key).await?;
        let outcome = match compare(base.head.as_ref(), parcel.meta.version) {
            Some(outcome) => Some(outcome),
            None => advance(store, &parcel, &base, now).await?,
        };
        if let Some(outcome) = outcome {
            let serving = Base::read(store, environment_key).await?;
            if let Some(head) = &serving.head {
                list(store, head).await?;
                sweep(store, &serving, head, now).await?;
            }
            return Ok(outcome);
        }
    }
    Err(Unavailable(format!(
        "{environment_key}: other versions came in between {ATTEMPTS} times"
    )))
}

/// Writes what came and, with everything there, makes the version serve. `None` when another head has
/// come in between, which may not have what the one in `base` had.
async fn advance<K: KeyValue>(
    store: &K,
    parcel: &Parcel<'_>,
    base: &Base,
    now: Timestamp,
) -> Result<Option<Install>, Unavailable> {
    let own = write_parts(store, parcel, base, now).await?;
    let snapshot = parcel.package.opened();
    let (mut missing, mut tags, mut borrowed) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..snapshot.parts() {
        let Some(name) = snapshot.part_name(number) else {
            continue;
        };
        if let Some(home) = base.home(name.sha256) {
            tags.push(home);
            borrowed.push((home, name.to_hex()));
        } else if own.contains(name.sha256) {
            tags.push(&parcel.tag);
        } else {
            missing.push(number);
        }
    }
    if !missing.is_empty() {
        return Ok(Some(Install::Incomplete { missing }));
    }
    let homes = Homes::new(tags.into_iter(), &parcel.tag);
    if !borrowed.is_empty() {
        pieces::write(
            store,
            &parcel.key("borrowed"),
            &stored_json::write(&borrowed)?,
        )
        .await?;
    }
    for sha256 in &parcel.meta.server_keys {
        let key = server_key(sha256);
        let environment_key = parcel.meta.environment_key.as_bytes();
        if store.get(&key).await?.as_deref() != Some(environment_key) {
            store.set(&key, environment_key).await?;
        }
    }
    move_head(store, parcel, base, &homes).await
}

/// Makes the version serve, unless the head is another than the one it was compared with.
async fn move_head<K: KeyValue>(
    store: &K,
    parcel: &Parcel<'_>,
    base: &Base,
    homes: &Homes,
) -> Result<Option<Install>, Unavailable> {
    update(store, &head_key(&parcel.meta.environment_key), |bytes| {
        let held = bytes
            .map(Head::from_bytes)
            .transpose()?
            .map(|(head, _)| head);
        let readable = held.as_ref().filter(|held| held.is_readable());
        if let Some(outcome) = compare(readable, parcel.meta.version) {
            return Ok(Change::Keep(Some(outcome)));
        }
        if readable.map(Head::tag) != base.head.as_ref().map(Head::tag) {
            return Ok(Change::Keep(None));
        }
        let head = parcel.head(held.map(|held| held.tag()), homes.clone());
        Ok(Change::Store(
            head.to_bytes(parcel.snapshot())?,
            Some(Install::Stored),
        ))
    })
    .await
}

/// Writes the parts that came and are not in `base`, and the snapshot. What a crash leaves of them is in
/// the journal. Gives the names of all parts that are under the version's own tag by now.
async fn write_parts<K: KeyValue>(
    store: &K,
    parcel: &Parcel<'_>,
    base: &Base,
    now: Timestamp,
) -> Result<HashSet<[u8; 32]>, Unavailable> {
    let named = parcel.package.named_parts();
    let came: HashMap<String, &Bytes> = named
        .filter(|(name, _)| base.home(name).is_none())
        .map(|(name, part)| (hex::encode(name), part))
        .collect();
    let before = note(store, parcel, now, |entry| {
        for (name, part) in &came {
            if !entry.parts.iter().any(|part| part.0 == *name) {
                let pieces = pieces::count(part.len());
                entry.parts.push(Written(name.clone(), pieces, false));
            }
        }
    })
    .await?;
    if !parcel.inline() {
        pieces::write(store, &parcel.key("snapshot"), parcel.snapshot()).await?;
    }
    let new: Vec<(&String, &Bytes)> = came
        .iter()
        .filter(|(name, _)| !before.has(name))
        .map(|(name, part)| (name, *part))
        .collect();
    for (name, part) in &new {
        pieces::write(store, &parcel.key(name), part).await?;
    }
    let after = if new.is_empty() {
        before
    } else {
        note(store, parcel, now, |entry| {
            let written = |part: &&mut Written| came.contains_key(&part.0);
            for part in entry.parts.iter_mut().filter(written) {
                part.2 = true;
            }
        })
        .await?
    };
    let snapshot = parcel.package.opened();
    let names = (0..snapshot.parts()).filter_map(|number| snapshot.part_name(number));
    let done: HashSet<&str> = after
        .parts
        .iter()
        .filter(|part| part.2)
        .map(|part| part.0.as_str())
        .collect();
    Ok(names
        .filter(|name| done.contains(name.to_hex().as_str()))
        .map(|name| *name.sha256)
        .collect())
}

/// Changes a version's journal entry, making it where it is missing; gives it as it is then.
async fn note<K: KeyValue>(
    store: &K,
    parcel: &Parcel<'_>,
    now: Timestamp,
    mut change: impl FnMut(&mut Entry),
) -> Result<Entry, Unavailable> {
    update(store, &journal_key(&parcel.meta.environment_key), |bytes| {
        let mut entries = journal(bytes)?;
        let known = entries.iter().position(|entry| entry.tag == parcel.tag);
        let mut entry = known.map_or_else(|| Entry::new(parcel), |at| entries.remove(at));
        entry.started_micros = entry.started_micros.max(now.micros());
        change(&mut entry);
        entries.push(entry.clone());
        Ok(Change::Store(stored_json::write(&entries)?, entry))
    })
    .await
}

/// Deletes what versions left behind that neither serve, nor served last, nor are being installed.
/// Server keys go as soon as the serving version lacks them; its snapshot refuses them before.
async fn sweep<K: KeyValue>(
    store: &K,
    serving: &Base,
    head: &Head,
    now: Timestamp,
) -> Result<(), Unavailable> {
    let environment_key = head.environment_key.as_str();
    let current = head.tag();
    let journal_key = journal_key(environment_key);
    let entries = journal(store.get(&journal_key).await?.as_deref())?;
    let left = |entry: &&Entry| entry.tag != current && entry.version <= head.version;
    let current_keys = entries
        .iter()
        .find(|entry| entry.tag == current)
        .map(|entry| entry.server_keys.as_slice())
        .unwrap_or_default();
    let keys_of_left = entries
        .iter()
        .filter(left)
        .flat_map(|entry| &entry.server_keys);
    let mut forgotten: Vec<&String> = Vec::new();
    for key in keys_of_left {
        if !current_keys.contains(key) && !forgotten.contains(&key) {
            forgotten.push(key);
        }
    }
    for sha256 in &forgotten {
        store.delete(&server_key(sha256)).await?;
    }
    let is_swept = |entry: &Entry| {
        left(&entry)
            && head.previous.as_ref() != Some(&entry.tag)
            && now.micros().saturating_sub(entry.started_micros) > UNDER_WAY
    };
    let lent = lent(store, serving, head).await?;
    let mut went = Vec::new();
    // Without knowing what is lent nothing can be deleted.
    for entry in entries
        .iter()
        .filter(|entry| is_swept(entry) && lent.is_some())
    {
        let is_lent = |part: &&Written| {
            let part = (entry.tag.clone(), part.0.clone());
            lent.as_ref().is_some_and(|lent| lent.contains(&part))
        };
        let (stay, go): (Vec<&Written>, Vec<&Written>) = entry.parts.iter().partition(is_lent);
        if go.is_empty() && entry.is_swept {
            continue;
        }
        let key = |part: &str| part_key(environment_key, &entry.tag, part);
        for part in &go {
            pieces::delete(store, &key(&part.0), part.1).await?;
        }
        pieces::delete(store, &key("snapshot"), entry.snapshot_pieces).await?;
        pieces::delete(store, &key("borrowed"), 1).await?;
        went.push((entry.tag.as_str(), stay));
    }
    if went.is_empty() && forgotten.is_empty() {
        return Ok(());
    }
    update(store, &journal_key, |bytes| {
        let mut entries = journal(bytes)?;
        entries.retain_mut(|entry| {
            if let Some((_, stay)) = went.iter().find(|(tag, _)| *tag == entry.tag) {
                entry.is_swept = true;
                entry.snapshot_pieces = 0;
                entry.server_keys.clear();
                entry.parts = stay.iter().copied().cloned().collect();
                return !stay.is_empty();
            }
            if left(&&*entry) {
                entry.server_keys.retain(|key| !forgotten.contains(&key));
            }
            true
        });
        Ok(Change::Store(stored_json::write(&entries)?, ()))
    })
    .await
}

/// Which parts of other versions a head and the one before it have, by tag and name. `None` where that
/// cannot be told.
async fn lent<K: KeyValue>(
    store: &K,
    serving: &Base,
    head: &Head,
) -> Result<Option<HashSet<(String, String)>>, Unavailable> {
    let Some(parts) = &serving.parts else {
        return Ok(None);
    };
    let named = parts
        .iter()
        .map(|(name, home)| (home.clone(), hex::encode(name)));
    let mut lent: HashSet<(String, String)> = named.collect();
    if let Some(previous) = &head.previous {
        let key = part_key(&head.environment_key, previous, "borrowed");
        if let Some(bytes) = pieces::read(store, &key).await? {
            let borrowed: Vec<(String, String)> = stored_json::read(&key, &bytes)?;
            lent.extend(borrowed);
        }
    }
    Ok(Some(lent))
}
