//! What goes home to the control plane from all isolates and identities: kept, gathered, and sent until confirmed.
//!
//! A part is on disk when the platform lets the answer go; an alarm gathers parts into deliveries and sends them, one
//! after the other. A delivery is stored with its id before it is first sent, so each attempt sends the same. While the
//! control plane is away, parts of usage take at most [`MOST_USAGE`]; of what is beyond only the number is kept.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use worker::{
    DurableObject, Env, Request, Response, State, console_error, console_warn, durable_object,
};
use yardarm_core::edge::delivery::{Delivery, Verdict};

use super::parcels::Parcels;
use crate::config::Config;
use crate::home;
use crate::host::random;
pub(super) use crate::outbox::EDGE;

/// Bytes of usage that one object keeps.
const MOST_USAGE: u64 = 16 << 20;
/// Deliveries sent by one alarm, which the platform gives 15 minutes and 1,000 calls.
const A_TURN: usize = 32;
/// The longest pause between two attempts, in milliseconds.
const LONGEST_PAUSE: u64 = 60_000;

/// The object; its storage is [`Parcels`].
#[durable_object(alarm)]
pub struct Outbox {
    state: State,
    env: Env,
    /// Whether an alarm is known to be set.
    woken: Cell<bool>,
    failures: Cell<u32>,
    /// Bytes of usage that wait, once they were looked up.
    usage_bytes: RefCell<Option<u64>>,
}

impl DurableObject for Outbox {
    fn new(state: State, env: Env) -> Self {
        Self {
            state,
            env,
            woken: Cell::new(false),
            failures: Cell::new(0),
            usage_bytes: RefCell::new(None),
        }
    }

    /// Takes a part: a [`Delivery`] without an id.
    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let body = request.text().await?;
        let part: Delivery = serde_json::from_str(&body)?;
        self.keep(&part, &body)?;
        let every = Config::of(&self.env).home.as_ref().map(|home| home.every);
        if let Some(every) = every.filter(|_| !self.woken.get()) {
            let storage = self.state.storage();
            if storage.get_alarm().await?.is_none() {
                storage
                    .set_alarm(Duration::from_millis(every.unsigned_abs()))
                    .await?;
            }
            self.woken.set(true);
        }
        Response::empty()
    }

    /// Sends what waits. An error would make the platform try again a few times only, so none leaves here.
    async fn alarm(&self) -> worker::Result<Response> {
        self.woken.set(false);
        let again = match self.send().await {
            Ok(again) => again,
            Err(error) => {
                console_error!("outbox: {error}");
                Some(self.pause())
            }
        };
        if let Some(again) = again {
            self.state.storage().set_alarm(again).await?;
            self.woken.set(true);
        }
        Response::empty()
    }
}

impl Outbox {
    fn keep(&self, part: &Delivery, body: &str) -> worker::Result<()> {
        let parcels = Parcels::open(&self.state)?;
        if !part.identities.is_empty() {
            return parcels.keep(false, body);
        }
        let mut held = self.usage_bytes.borrow_mut();
        let bytes = match *held {
            Some(bytes) => bytes,
            None => parcels.usage_bytes()?,
        };
        if bytes >= MOST_USAGE {
            *held = Some(bytes);
            return parcels.drop_counts(counted(part));
        }
        parcels.keep(true, body)?;
        *held = Some(bytes + body.len() as u64);
        Ok(())
    }

    /// Sends until nothing waits, or something has to; then tells after which time to go on.
    async fn send(&self) -> worker::Result<Option<Duration>> {
        let config = Config::of(&self.env);
        let parcels = Parcels::open(&self.state)?;
        for _ in 0..A_TURN {
            let next = parcels.next(id)?;
            // What was packed is no part any more.
            *self.usage_bytes.borrow_mut() = None;
            let Some(parcel) = next else {
                return Ok(None);
            };
            let (verdict, told) = home::send(&config, parcel.body.clone().into_bytes()).await;
            match verdict {
                Verdict::Confirmed => {
                    self.failures.set(0);
                    parcels.remove(&parcel)?;
                }
                Verdict::TooLarge if parcels.cut(&parcel, id)? => {}
                Verdict::Refused | Verdict::TooLarge => {
                    console_error!(
                        "the control plane refused a delivery, which is dropped: {told}"
                    );
                    parcels.remove(&parcel)?;
                }
                Verdict::Later => {
                    let pause = self.pause();
                    console_warn!("deliveries wait {pause:?} for the control plane: {told}");
                    return Ok(Some(pause));
                }
            }
        }
        Ok(Some(Duration::ZERO))
    }

    /// Twice as long each time, up to a half less by chance.
    fn pause(&self) -> Duration {
        let failures = self.failures.get();
        self.failures.set(failures.saturating_add(1));
        let longest = (1_000_u64 << failures.min(10)).min(LONGEST_PAUSE);
        let [chance, ..] = random();
        Duration::from_millis(longest - longest * u64::from(chance) / 512)
    }
}

/// How much a part counted.
fn counted(part: &Delivery) -> u64 {
    let requests = part.requests.iter().map(|row| row.count);
    let evaluations = part.evaluations.iter();
    let evaluations = evaluations.map(|row| u64::try_from(row.count).unwrap_or(0));
    requests
        .chain(evaluations)
        .fold(part.dropped, u64::saturating_add)
}

/// 128 random bits in hex.
fn id() -> String {
    format!("{:032x}", u128::from_be_bytes(random()))
}
