//! Where news wait in the store until they are home: 16 slots for identities, 4 for usage.
//!
//! ```text
//! home/<slot>         what was left since the last page, and the names of the pages, oldest first
//! home/<slot>/<name>  a page: marks of identities not looked up yet, or a delivery whose id is <name>
//! ```
//!
//! A slot changes by compare-and-set. What was left in it becomes a page when it is long or is to be sent; a page
//! is written before a slot names it, and is never changed but from marks into the delivery that they come to.
//! Whoever dies in between leaves at worst a page that nobody names.

use yardarm_core::edge::Unavailable;
use yardarm_core::edge::delivery::{Delivery, IdentityChange};
use yardarm_core::edge::usage::{Counts, Tally};

use crate::key_value::{Change, KeyValue, update};
use crate::stored_json;

/// Slots of identities, one for each hex digit: those that change at once seldom share one.
pub(super) const IDENTITY_SLOTS: u8 = 16;
/// All slots; those after the identities' are of usage.
pub(super) const SLOTS: u8 = IDENTITY_SLOTS + 4;
/// How many bytes may be left in a slot before they become a page: every change writes them anew.
const FULL: usize = 32 << 10;
/// Pages of a slot of usage; of what is beyond only the number is kept.
const MOST_USAGE_PAGES: usize = 128;
/// Bytes of a page's name in a slot.
const NAME: usize = 32;
/// What this kind of host calls itself.
const EDGE: &str = "spin";

/// A slot. Stored as the names, a line feed, and what was left as JSON.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Names of pages, the oldest first.
    pub(super) pages: Vec<String>,
    /// What was left since.
    part: Delivery,
}

/// What is left in a slot.
#[derive(Debug, Clone)]
pub(crate) enum News {
    /// An identity about to change: when that was noted stands in the place of when it was created, and true in that
    /// of every value.
    Mark(IdentityChange),
    /// Usage.
    Counts(Counts),
}

impl News {
    fn join(&self, part: &mut Delivery, has_room: bool) {
        match self {
            Self::Mark(mark) => {
                let mut held = part.identities.iter_mut();
                let held = held.find(|held| {
                    held.identifier == mark.identifier
                        && held.environment_key == mark.environment_key
                });
                let Some(held) = held else {
                    part.identities.push(mark.clone());
                    return;
                };
                held.created_at_micros = held.created_at_micros.max(mark.created_at_micros);
                for version in &mark.traits {
                    // Of two changes of a trait, the later may be the one that is never made: one that deletes it
                    // does not replace one that sets it.
                    let mut alike = held
                        .traits
                        .iter_mut()
                        .filter(|held| held.key == version.key);
                    match alike.find(|held| held.value.is_none() == version.value.is_none()) {
                        Some(held) => {
                            held.changed_at_micros =
                                held.changed_at_micros.max(version.changed_at_micros);
                        }
                        None => held.traits.push(version.clone()),
                    }
                }
            }
            Self::Counts(counts) if has_room => {
                let mut tally: Tally = Tally::new(usize::MAX);
                tally.absorb(Counts::from(std::mem::take(part)));
                tally.absorb(counts.clone());
                let sums = tally.take();
                part.requests = sums.requests;
                part.evaluations = sums.evaluations;
                part.dropped = sums.dropped;
            }
            Self::Counts(counts) => part.dropped = part.dropped.saturating_add(total(counts)),
        }
    }
}

/// How much was counted.
fn total(counts: &Counts) -> u64 {
    let requests = counts.requests.iter().map(|row| row.count);
    let evaluations = counts.evaluations.iter();
    let evaluations = evaluations.map(|row| u64::try_from(row.count).unwrap_or(0));
    requests
        .chain(evaluations)
        .fold(counts.dropped, u64::saturating_add)
}

/// The key of a slot.
fn key(number: u8) -> String {
    format!("home/{number}")
}

/// The key of a page.
pub(super) fn page_key(number: u8, name: &str) -> String {
    format!("home/{number}/{name}")
}

impl Slot {
    fn open(key: &str, held: Option<&[u8]>) -> Result<Self, Unavailable> {
        let Some(held) = held else {
            return Ok(Self::default());
        };
        let end = held.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let (names, part) = held.split_at(end);
        let names = names.chunks(NAME).map(String::from_utf8_lossy);
        Ok(Self {
            pages: names.map(Into::into).collect(),
            part: stored_json::read(key, part)?,
        })
    }

    fn to_bytes(&self) -> Result<Vec<u8>, Unavailable> {
        let mut bytes = self.pages.concat().into_bytes();
        bytes.push(b'\n');
        bytes.append(&mut stored_json::write(&self.part)?);
        Ok(bytes)
    }
}

/// A slot as it is.
pub(super) async fn look<K: KeyValue>(store: &K, number: u8) -> Result<Slot, Unavailable> {
    let key = key(number);
    Slot::open(&key, store.get(&key).await?.as_deref())
}

/// Leaves news in a slot.
pub(crate) async fn leave<K: KeyValue>(
    store: &K,
    number: u8,
    news: &News,
) -> Result<(), Unavailable> {
    let key = key(number);
    loop {
        let is_left = update(store, &key, |held| {
            let mut slot = Slot::open(&key, held)?;
            let names = slot.pages.len() * NAME;
            let has_room = held.is_none_or(|held| held.len() <= FULL + names);
            let is_bounded = matches!(news, News::Counts(_));
            if !has_room && (!is_bounded || slot.pages.len() < MOST_USAGE_PAGES) {
                return Ok(Change::Keep(false));
            }
            news.join(&mut slot.part, has_room);
            Ok(Change::Store(slot.to_bytes()?, true))
        })
        .await?;
        if is_left {
            return Ok(());
        }
        seal(store, number).await?;
    }
}

/// Makes a page of what was left in a slot, and tells how many pages it has; nothing where others changed it meanwhile.
pub(super) async fn seal<K: KeyValue>(store: &K, number: u8) -> Result<Option<usize>, Unavailable> {
    let slot = look(store, number).await?;
    if slot.part == Delivery::default() {
        return Ok(Some(slot.pages.len()));
    }
    let key = key(number);
    let (held, seen) = store.look(&key).await?;
    let mut slot = Slot::open(&key, held.as_deref())?;
    let name = name(store.random());
    let mut page = std::mem::take(&mut slot.part);
    if page.identities.is_empty() {
        address(&mut page, &name);
    }
    write_page(store, number, &name, &page).await?;
    let place = page_key(number, &name);
    slot.pages.push(name);
    if store.swap(seen, &slot.to_bytes()?).await? {
        return Ok(Some(slot.pages.len()));
    }
    store.delete(&place).await?;
    Ok(None)
}

/// Makes a delivery of a page.
pub(super) fn address(page: &mut Delivery, name: &str) {
    name.clone_into(&mut page.id);
    EDGE.clone_into(&mut page.edge);
}

/// Writes a page that no slot names yet.
pub(super) async fn write_page<K: KeyValue>(
    store: &K,
    number: u8,
    name: &str,
    page: &Delivery,
) -> Result<(), Unavailable> {
    let page = stored_json::write(page)?;
    store.set(&page_key(number, name), &page).await
}

/// Names these pages in the place of another; whether that was still there.
pub(super) async fn replace<K: KeyValue>(
    store: &K,
    number: u8,
    name: &str,
    by: &[&str],
) -> Result<bool, Unavailable> {
    let key = key(number);
    update(store, &key, |held| {
        let mut slot = Slot::open(&key, held)?;
        let Some(place) = slot.pages.iter().position(|page| page == name) else {
            return Ok(Change::Keep(false));
        };
        let by = by.iter().map(|name| (*name).to_owned());
        drop(slot.pages.splice(place..=place, by));
        Ok(Change::Store(slot.to_bytes()?, true))
    })
    .await
}

/// The name of a page: 32 hex digits.
pub(super) fn name(random: u128) -> String {
    format!("{random:032x}")
}
