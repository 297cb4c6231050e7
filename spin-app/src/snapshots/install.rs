//! Installing a package: journal, parts, keys, head, sweep. The order is told in the parent module.

use serde::{Deserialize, Serialize};
use yardarm_core::edge::{Install, Unavailable};
use yardarm_core::snapshot::{Package, PackageMeta};
use yardarm_core::time::Timestamp;

use super::{ENVIRONMENTS, Head, environments, head_key, part_key, pieces, server_key};
use crate::key_value::{Change, KeyValue, update};
use crate::stored_json;

/// The largest snapshot that travels in the head. It is read with every request, also by an instance
/// that has the snapshot already, so it is small.
const INLINE: usize = 32 << 10;
/// How long an installation may be under way, in microseconds. What started earlier and is not
/// serving has failed.
const UNDER_WAY: i64 = 60_000_000;

/// A package taken apart.
#[derive(Debug, Clone)]
pub(crate) struct Parcel {
    pub(crate) meta: PackageMeta,
    pub(crate) snapshot: Vec<u8>,
    pub(crate) document: Vec<u8>,
    pub(crate) buckets: Vec<Vec<u8>>,
}

impl From<&Package> for Parcel {
    fn from(package: &Package) -> Self {
        let meta = package.meta();
        Self {
            snapshot: package.snapshot().to_vec(),
            document: package.document().to_vec(),
            buckets: (0..meta.override_buckets)
                .map(|bucket| package.override_bucket(bucket).unwrap_or_default().to_vec())
                .collect(),
            meta,
        }
    }
}

impl Parcel {
    fn tag(&self) -> String {
        super::tag(self.meta.version, &self.meta.content_hash)
    }

    fn head(&self, previous: Option<String>) -> Head {
        Head {
            environment_key: self.meta.environment_key.clone(),
            version: self.meta.version,
            content_hash: self.meta.content_hash.clone(),
            gone: self.meta.gone,
            inline: self.inline(),
            previous,
        }
    }

    fn inline(&self) -> bool {
        self.snapshot.len() <= INLINE
    }
}

/// What a version may have left in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    tag: String,
    version: u64,
    started_micros: i64,
    snapshot_pieces: u32,
    document_pieces: u32,
    buckets: u32,
    /// Of the largest bucket.
    bucket_pieces: u32,
    server_keys: Vec<String>,
}

impl Entry {
    fn new(parcel: &Parcel, now: Timestamp) -> Self {
        Self {
            tag: parcel.tag(),
            version: parcel.meta.version,
            started_micros: now.micros(),
            snapshot_pieces: if parcel.inline() {
                0
            } else {
                pieces::count(parcel.snapshot.len())
            },
            document_pieces: pieces::count(parcel.document.len()),
            buckets: u32::try_from(parcel.buckets.len()).unwrap_or(u32::MAX),
            bucket_pieces: parcel
                .buckets
                .iter()
                .map(|b| pieces::count(b.len()))
                .max()
                .unwrap_or(0),
            server_keys: parcel.meta.server_keys.clone(),
        }
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

/// Stores a parcel unless a newer version is held.
pub(crate) async fn install<K: KeyValue>(
    store: &K,
    parcel: &Parcel,
    now: Timestamp,
) -> Result<Install, Unavailable> {
    let environment_key = parcel.meta.environment_key.as_str();
    let held = store.get(&head_key(environment_key)).await?;
    let held = held
        .as_deref()
        .map(Head::from_bytes)
        .transpose()?
        .map(|(head, _)| head);
    let outcome = if let Some(outcome) = compare(held.as_ref(), parcel.meta.version) {
        outcome
    } else {
        write_parts(store, parcel, held.as_ref(), now).await?;
        move_head(store, parcel).await?
    };
    sweep(store, environment_key, now).await?;
    Ok(outcome)
}

/// Makes the version serve, unless a newer one does by now.
async fn move_head<K: KeyValue>(store: &K, parcel: &Parcel) -> Result<Install, Unavailable> {
    update(store, &head_key(&parcel.meta.environment_key), |bytes| {
        let held = bytes
            .map(Head::from_bytes)
            .transpose()?
            .map(|(head, _)| head);
        if let Some(outcome) = compare(held.as_ref(), parcel.meta.version) {
            return Ok(Change::Keep(outcome));
        }
        let head = parcel.head(held.map(|held| held.tag()));
        Ok(Change::Store(
            head.to_bytes(&parcel.snapshot)?,
            Install::Stored,
        ))
    })
    .await
}

/// Everything but the head. What a crash leaves of it is in the journal.
async fn write_parts<K: KeyValue>(
    store: &K,
    parcel: &Parcel,
    held: Option<&Head>,
    now: Timestamp,
) -> Result<(), Unavailable> {
    let environment_key = parcel.meta.environment_key.as_str();
    let entry = Entry::new(parcel, now);
    let known_keys = update(store, &journal_key(environment_key), |bytes| {
        let mut entries = journal(bytes)?;
        // The keys of the version that serves are all there: it became the head after them.
        let known = entries
            .iter()
            .find(|entry| held.is_some_and(|held| entry.tag == held.tag()))
            .map(|entry| entry.server_keys.clone())
            .unwrap_or_default();
        entries.retain(|held| held.tag != entry.tag);
        entries.push(entry.clone());
        Ok(Change::Store(stored_json::write(&entries)?, known))
    })
    .await?;
    let tag = entry.tag.as_str();
    if !parcel.inline() {
        pieces::write(
            store,
            &part_key(environment_key, tag, "snapshot"),
            &parcel.snapshot,
        )
        .await?;
    }
    pieces::write(
        store,
        &part_key(environment_key, tag, "document"),
        &parcel.document,
    )
    .await?;
    for (number, bucket) in parcel.buckets.iter().enumerate() {
        let key = part_key(environment_key, tag, &format!("bucket/{number}"));
        pieces::write(store, &key, bucket).await?;
    }
    for sha256 in parcel
        .meta
        .server_keys
        .iter()
        .filter(|key| !known_keys.contains(key))
    {
        store
            .set(&server_key(sha256), environment_key.as_bytes())
            .await?;
    }
    list(store, environment_key).await
}

/// Adds an environment to the list of all.
async fn list<K: KeyValue>(store: &K, environment_key: &str) -> Result<(), Unavailable> {
    let add = |bytes: Option<&[u8]>| {
        let mut all = environments(bytes)?;
        if all.iter().any(|listed| listed == environment_key) {
            return Ok(Change::Keep(()));
        }
        all.push(environment_key.to_owned());
        Ok(Change::Store(stored_json::write(&all)?, ()))
    };
    match add(store.get(ENVIRONMENTS).await?.as_deref())? {
        Change::Keep(()) => Ok(()),
        Change::Store(..) => update(store, ENVIRONMENTS, add).await,
    }
}

/// Deletes what versions left behind that neither serve, nor served last, nor are being installed.
/// Server keys go as soon as the serving version lacks them; its snapshot refuses them before.
async fn sweep<K: KeyValue>(
    store: &K,
    environment_key: &str,
    now: Timestamp,
) -> Result<(), Unavailable> {
    let Some(head) = store.get(&head_key(environment_key)).await? else {
        return Ok(());
    };
    let (head, _) = Head::from_bytes(&head)?;
    let current = head.tag();
    let journal_key = journal_key(environment_key);
    let entries = journal(store.get(&journal_key).await?.as_deref())?;
    let left = |entry: &&Entry| entry.tag != current && entry.version <= head.version;
    let current_keys = entries
        .iter()
        .find(|entry| entry.tag == current)
        .map(|entry| entry.server_keys.as_slice())
        .unwrap_or_default();
    let mut forgotten: Vec<&String> = Vec::new();
    for key in entries.iter().filter(left).flat_map(|e| &e.server_keys) {
        if !current_keys.contains(key) && !forgotten.contains(&key) {
            forgotten.push(key);
        }
    }
    for sha256 in &forgotten {
        store.delete(&server_key(sha256)).await?;
    }
    let swept: Vec<&Entry> = entries
        .iter()
        .filter(left)
        .filter(|entry| head.previous.as_ref() != Some(&entry.tag))
        .filter(|entry| now.micros().saturating_sub(entry.started_micros) > UNDER_WAY)
        .collect();
    for entry in &swept {
        delete_parts(store, environment_key, entry).await?;
    }
    if swept.is_empty() && forgotten.is_empty() {
        return Ok(());
    }
    update(store, &journal_key, |bytes| {
        let mut entries = journal(bytes)?;
        entries.retain(|entry| !swept.contains(&entry));
        for entry in entries.iter_mut().filter(|entry| left(&&**entry)) {
            entry.server_keys.retain(|key| !forgotten.contains(&key));
        }
        Ok(Change::Store(stored_json::write(&entries)?, ()))
    })
    .await
}

async fn delete_parts<K: KeyValue>(
    store: &K,
    environment_key: &str,
    entry: &Entry,
) -> Result<(), Unavailable> {
    let key = |part: &str| part_key(environment_key, &entry.tag, part);
    pieces::delete(store, &key("snapshot"), entry.snapshot_pieces).await?;
    pieces::delete(store, &key("document"), entry.document_pieces).await?;
    for bucket in 0..entry.buckets {
        pieces::delete(
            store,
            &key(&format!("bucket/{bucket}")),
            entry.bucket_pieces,
        )
        .await?;
    }
    Ok(())
}
