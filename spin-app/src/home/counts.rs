//! What is done after a reply: requests and evaluations are counted in the instance's memory, left in a slot half a
//! second later, and a turn is taken where it is time to.
//!
//! A request only adds to a number. An instance that is killed takes half a second of counts with it; one that is
//! dropped for being idle, or after its last request, is not while a task of it goes on.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use http::Uri;
use spin_sdk::time::sleep;
use spin_sdk::wasip3::spawn;
use yardarm_core::edge::Effect;
use yardarm_core::edge::delivery::{self, Verdict};
use yardarm_core::edge::usage::{Counted, Counts, Tally};
use yardarm_core::time::Timestamp;

use super::slots::{self, IDENTITY_SLOTS, News, SLOTS};
use super::turns::{self, Courier};
use crate::config::{self, Home};
use crate::host;
use crate::key_value::KeyValue as _;
use crate::key_value::spin::SpinStore;
use crate::outbound;

/// Bytes of counts that an instance keeps: what 128 requests can come to, and what a store that does not answer
/// leaves here.
const MOST: usize = 256 << 10;
/// For how long counts are gathered in memory.
const GATHERED: Duration = Duration::from_millis(500);
/// How long the control plane may take to answer: less than a turn is lent for.
const EXCHANGE: Duration = Duration::from_secs(15);
/// How much of its answer is read, and how much of that is shown to the operator, in characters.
const ANSWER: usize = 64 << 10;
const SHOWN: usize = 200;

thread_local! {
    static TALLY: RefCell<Tally> = RefCell::new(Tally::new(MOST));
    /// Whether somebody waits to leave the counts.
    static IS_GATHERING: Cell<bool> = const { Cell::new(false) };
    static IS_SENDING: Cell<bool> = const { Cell::new(false) };
    /// When a turn may be to be taken, microseconds since the epoch.
    static NEXT: Cell<i64> = const { Cell::new(0) };
}

/// Counts what a request came to, and sees to it that it goes home.
pub(crate) fn after(counted: Option<Counted>, effects: Vec<Effect>) {
    if let Some(home) = config::known_home() {
        return tend(home, counted.as_ref(), effects);
    }
    spawn(async move {
        match config::home().await {
            Ok(home) => tend(home, counted.as_ref(), effects),
            Err(error) => eprintln!("not counted: {error}"),
        }
    });
}

fn tend(home: Rc<Home>, counted: Option<&Counted>, effects: Vec<Effect>) {
    if home.url.is_none() {
        return;
    }
    let now = host::now();
    let has_counts = TALLY.with_borrow_mut(|tally| {
        if home.counts {
            if let Some(counted) = counted {
                tally.count(counted, now);
            }
            for effect in effects {
                tally.record(effect, now);
            }
        }
        !tally.is_empty()
    });
    let is_time = now.micros() >= NEXT.get() && !IS_SENDING.get();
    if (has_counts || is_time) && !IS_GATHERING.replace(true) {
        spawn(async move {
            sleep(GATHERED).await;
            IS_GATHERING.set(false);
            let store = SpinStore::default();
            leave_counts(&store).await;
            take_turn(&store, home).await;
        });
    }
}

/// Leaves all counts in a slot; those that find no place there are kept.
async fn leave_counts(store: &SpinStore) {
    let counts = TALLY.with_borrow_mut(Tally::take);
    if counts == Counts::default() {
        return;
    }
    let chosen = u8::try_from(store.random() % u128::from(SLOTS - IDENTITY_SLOTS));
    let number = IDENTITY_SLOTS + chosen.unwrap_or(0);
    let news = News::Counts(counts);
    if let Err(error) = slots::leave(store, number, &news).await {
        eprintln!("{error}; the counts wait in memory");
        if let News::Counts(counts) = news {
            TALLY.with_borrow_mut(|tally| tally.absorb(counts));
        }
    }
}

async fn take_turn(store: &SpinStore, home: Rc<Home>) {
    let now = host::now().micros();
    if now < NEXT.get() || IS_SENDING.replace(true) {
        return;
    }
    let next = turns::take(store, &Messenger(Rc::clone(&home)), home.every).await;
    NEXT.set(next.unwrap_or_else(|error| {
        eprintln!("{error}; deliveries wait");
        now + home.every
    }));
    IS_SENDING.set(false);
}

/// Brings deliveries by signed requests.
struct Messenger(Rc<Home>);

impl Courier for Messenger {
    async fn send(&self, body: Vec<u8>) -> Result<(Verdict, String), String> {
        let (Some(url), Some(secret)) = (&self.0.url, config::secret().await) else {
            return Err("control_plane_url needs publishing_secret".to_owned());
        };
        let url = format!("{url}{}", delivery::PATH);
        let uri = Uri::try_from(url).map_err(|error| error.to_string())?;
        let request = delivery::request(uri, &secret, body, self.now());
        let request = request.map_err(|error| error.to_string())?;
        let answer = outbound::send(request, ANSWER, EXCHANGE).await?;
        let said = String::from_utf8_lossy(answer.body());
        let status = answer.status();
        let verdict = Verdict::of(status.as_u16(), &said);
        let said: String = said.chars().take(SHOWN).collect();
        Ok((verdict, format!("{status} {said:?}")))
    }

    fn now(&self) -> Timestamp {
        host::now()
    }
}
