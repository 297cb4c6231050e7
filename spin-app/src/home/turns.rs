//! Sending: one at a time takes a turn, and sends all that waits.
//!
//! Spin runs nothing by itself, so a turn begins after the reply to some request. `home/turn` says when the next may
//! begin, and how often the control plane was not there. Whoever takes a turn puts that time off by more than a call
//! takes, and again before each call, so that others begin while it sends only if it died. Two at once send the same
//! deliveries, which the control plane takes once: what keeps them right is that pages are built and replaced by
//! compare-and-set.

use std::time::Duration;

use yardarm_core::edge::Unavailable;
use yardarm_core::edge::delivery::{Delivery, Verdict};
use yardarm_core::time::Timestamp;

use super::marks::{self, Lookup};
use super::slots::{self, News, SLOTS};
use crate::key_value::{Change, KeyValue, update};
use crate::stored_json;

/// Where the next turn is noted.
const TURN: &str = "home/turn";
/// For how long a turn is somebody's without a word: longer than a call takes.
const LEASE: i64 = 20_000_000;
/// The longest pause between two attempts.
const LONGEST_PAUSE: i64 = 60_000_000;
/// A turn noted for later than this was noted by a clock that was wrong.
const NEVER: i64 = 2 * LONGEST_PAUSE;
/// How many pages more than there are at first may be seen to in one slot: halves, and marks that found no room.
const CUTS: usize = 100;
/// How often, and with which pause, a page is looked for.
const LOOKS: u32 = 6;
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// How often a slot is sealed anew that others keep changing, before it waits for the next turn.
const SEALS: u32 = 20;

/// Who brings deliveries to the control plane.
pub(crate) trait Courier {
    /// Sends a delivery; gives what became of it, and what the operator has to know of that. An error says why nobody
    /// was there to take it.
    async fn send(&self, body: Vec<u8>) -> Result<(Verdict, String), String>;

    /// The time.
    fn now(&self) -> Timestamp;
}

/// When the next turn may begin. Stored as eight bytes and four, the lowest first.
#[derive(Debug, Default)]
struct Turn {
    /// Microseconds since the epoch.
    at: i64,
    failures: u32,
}

impl Turn {
    /// What cannot be read is as if nobody had had a turn.
    fn read(held: Option<&[u8]>) -> Self {
        let parts = held.and_then(|held| held.split_first_chunk::<8>());
        parts.map_or_else(Self::default, |(at, failures)| Self {
            at: i64::from_le_bytes(*at),
            failures: failures.try_into().map_or(0, u32::from_le_bytes),
        })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.at.to_le_bytes().to_vec();
        bytes.extend(self.failures.to_le_bytes());
        bytes
    }
}

/// What became of the first page of a slot.
enum Step {
    /// There is none.
    Nothing,
    /// It is gone, or another one now.
    Done,
    /// It has to wait.
    Later(String),
    /// So has everything.
    Away(String),
}

/// Sends all that waits if it is time to; gives when it is next. Deliveries are `every` microseconds apart.
pub(crate) async fn take<K: KeyValue, C: Courier>(
    store: &K,
    courier: &C,
    every: i64,
) -> Result<i64, Unavailable> {
    let now = courier.now().micros();
    let is_early = |turn: &Turn| (now..now.saturating_add(NEVER)).contains(&turn.at);
    let noted = Turn::read(store.get(TURN).await?.as_deref());
    if is_early(&noted) {
        return Ok(noted.at);
    }
    let claimed = update(store, TURN, |held| {
        let turn = Turn::read(held);
        if is_early(&turn) {
            return Ok(Change::Keep(Err(turn.at)));
        }
        let failures = turn.failures;
        Ok(Change::Store(put_off(now, failures), Ok(failures)))
    })
    .await?;
    let failures = match claimed {
        Ok(failures) => failures,
        Err(at) => return Ok(at),
    };
    let waits = match send_all(store, courier, failures).await {
        Ok(waits) => waits,
        Err(error) => Some(error.to_string()),
    };
    let mut turn = Turn {
        at: courier.now().micros() + every,
        failures: 0,
    };
    if let Some(why) = waits {
        let pause = pause(failures, store.random());
        eprintln!("deliveries wait {} ms: {why}", pause / 1_000);
        turn = Turn {
            at: courier.now().micros() + pause,
            failures: failures.saturating_add(1),
        };
    }
    store.set(TURN, &turn.to_bytes()).await?;
    Ok(turn.at)
}

fn put_off(now: i64, failures: u32) -> Vec<u8> {
    let at = now + LEASE;
    Turn { at, failures }.to_bytes()
}

/// Twice as long each time, up to a half less by chance.
fn pause(failures: u32, random: u128) -> i64 {
    let longest = (1_000_000_i64 << failures.min(10)).min(LONGEST_PAUSE);
    let chance = i64::try_from(random & 0xff).unwrap_or(0);
    longest - longest * chance / 512
}

/// Gives why something has to wait, if it has to. A delivery that the control plane cannot take now keeps only its own slot
/// waiting.
async fn send_all<K: KeyValue, C: Courier>(
    store: &K,
    courier: &C,
    failures: u32,
) -> Result<Option<String>, Unavailable> {
    let mut waits = None;
    for number in 0..SLOTS {
        let mut pages = None;
        for _ in 0..SEALS {
            pages = slots::seal(store, number).await?;
            if pages.is_some() {
                break;
            }
        }
        // What comes meanwhile is for the next turn: a slot that is busy must not keep the others waiting.
        let most = match pages {
            Some(0) => 0,
            pages => pages.unwrap_or(0) + CUTS,
        };
        for _ in 0..most {
            match send_first(store, courier, number, failures).await? {
                Step::Nothing => break,
                Step::Done => {}
                Step::Later(why) => {
                    waits = Some(why);
                    break;
                }
                Step::Away(why) => return Ok(Some(why)),
            }
        }
    }
    Ok(waits)
}

async fn send_first<K: KeyValue, C: Courier>(
    store: &K,
    courier: &C,
    number: u8,
    failures: u32,
) -> Result<Step, Unavailable> {
    let slot = slots::look(store, number).await?;
    let Some(name) = slot.pages.first() else {
        return Ok(Step::Nothing);
    };
    let place = slots::page_key(number, name);
    let Some((held, seen)) = find(store, &place).await? else {
        eprintln!("{place} is not there, and what it told is lost");
        slots::replace(store, number, name, &[]).await?;
        return Ok(Step::Done);
    };
    let page: Delivery = match stored_json::read(&place, &held) {
        Ok(page) => page,
        Err(error) => {
            eprintln!("dropped: {error}");
            remove(store, number, name).await?;
            return Ok(Step::Done);
        }
    };
    let (page, body) = if page.id.is_empty() {
        let built = build(store, (number, name), page, courier.now()).await?;
        let body = stored_json::write(&built)?;
        if !store.swap(seen, &body).await? {
            return Ok(Step::Done);
        }
        (built, body)
    } else {
        (page, held)
    };
    if page == empty(name) {
        remove(store, number, name).await?;
        return Ok(Step::Done);
    }
    let put_off = put_off(courier.now().micros(), failures);
    store.set(TURN, &put_off).await?;
    let (verdict, told) = match courier.send(body).await {
        Ok(answer) => answer,
        Err(why) => return Ok(Step::Away(why)),
    };
    match verdict {
        Verdict::Later => return Ok(Step::Later(told)),
        Verdict::Confirmed => remove(store, number, name).await?,
        Verdict::TooLarge if cut(store, (number, name), page).await? => {}
        Verdict::TooLarge | Verdict::Refused => {
            eprintln!("the control plane refused a delivery, which is dropped: {told}");
            remove(store, number, name).await?;
        }
    }
    Ok(Step::Done)
}

/// A page that a slot names. Some stores show the latest of one key before that of another: one that is not there is
/// waited for a little.
async fn find<K: KeyValue>(
    store: &K,
    place: &str,
) -> Result<Option<(Vec<u8>, K::Seen)>, Unavailable> {
    for _ in 0..LOOKS {
        if let (Some(held), seen) = store.look(place).await? {
            return Ok(Some((held, seen)));
        }
        store.pause(LONGEST_LOOK).await;
    }
    Ok(None)
}

/// What a page of marks comes to: a delivery, perhaps of nothing.
async fn build<K: KeyValue>(
    store: &K,
    (number, name): (u8, &str),
    mut page: Delivery,
    now: Timestamp,
) -> Result<Delivery, Unavailable> {
    let Lookup { rows, open, rest } = marks::look_up(store, &page, now).await;
    for mark in open {
        slots::leave(store, number, &News::Mark(mark)).await?;
    }
    if !rest.is_empty() {
        let second = slots::name(store.random());
        page.identities = rest;
        slots::write_page(store, number, &second, &page).await?;
        slots::replace(store, number, name, &[name, &second]).await?;
    }
    page.identities = rows;
    slots::address(&mut page, name);
    Ok(page)
}

/// The delivery of nothing.
fn empty(name: &str) -> Delivery {
    let mut page = Delivery::default();
    slots::address(&mut page, name);
    page
}

/// Forgets a page; who dies in between leaves one that no slot names.
async fn remove<K: KeyValue>(store: &K, number: u8, name: &str) -> Result<(), Unavailable> {
    slots::replace(store, number, name, &[]).await?;
    store.delete(&slots::page_key(number, name)).await
}

/// Puts both halves in the place of a delivery that is too large. False where it cannot be cut.
async fn cut<K: KeyValue>(
    store: &K,
    (number, name): (u8, &str),
    page: Delivery,
) -> Result<bool, Unavailable> {
    let Some((mut first, mut second)) = page.halves() else {
        return Ok(false);
    };
    let names = [store.random(), store.random()].map(slots::name);
    for (half, name) in [(&mut first, &names[0]), (&mut second, &names[1])] {
        slots::address(half, name);
        slots::write_page(store, number, name, half).await?;
    }
    if slots::replace(store, number, name, &[&names[0], &names[1]]).await? {
        store.delete(&slots::page_key(number, name)).await?;
    } else {
        // Somebody else cut it.
        for name in &names {
            store.delete(&slots::page_key(number, name)).await?;
        }
    }
    Ok(true)
}
