//! Usage: counted in the isolate's memory, and left with an outbox object every few seconds.
//!
//! A request only adds to a number. The first one after the counts were taken also waits, after its reply, for
//! the next time they are, so that an isolate that is asked no more leaves nothing behind. An isolate that the
//! platform ends meanwhile takes up to [`LONGEST`] of counts with it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use worker::{Context, Delay, Env, console_error};
use yardarm_core::edge::Effect;
use yardarm_core::edge::usage::{Counted, Counts, Tally};
use yardarm_core::time::Timestamp;

use crate::config::Config;
use crate::host::random;
use crate::outbox::{EDGE, Outbox};

/// Bytes of counts an isolate keeps while no object takes them.
const MOST: usize = 1 << 20;
/// Rows in one call of the object, whose rows take 2 MB.
const ROWS: usize = 2_000;
/// The longest that counts are gathered, in milliseconds: a request may go on for 30 seconds after its reply.
const LONGEST: i64 = 5_000;
/// How long after its time a flush is taken for lost with its request, in milliseconds.
const OVERDUE: i64 = 10_000;

thread_local! {
    static TALLY: RefCell<Tally> = RefCell::new(Tally::new(MOST));
    /// When the counts are taken next, milliseconds since the epoch; 0 while nobody waits to.
    static DUE: Cell<i64> = const { Cell::new(0) };
    /// Which object this isolate leaves its counts with.
    static NUMBER: u32 = {
        let [a, b, c, d, ..] = random();
        u32::from_le_bytes([a, b, c, d])
    };
}

/// Counts what a request came to.
pub(crate) fn count(
    (env, context, config): (&Env, &Context, &Rc<Config>),
    counted: Option<&Counted>,
    effects: Vec<Effect>,
    now: Timestamp,
) {
    let Some(home) = config.home.as_ref().filter(|home| home.counts) else {
        return;
    };
    if counted.is_none() && effects.is_empty() {
        return;
    }
    TALLY.with_borrow_mut(|tally| {
        if let Some(counted) = counted {
            tally.count(counted, now);
        }
        for effect in effects {
            tally.record(effect, now);
        }
    });
    let now = now.micros() / 1_000;
    if now < DUE.get() + OVERDUE {
        return;
    }
    let pause = (home.every / 2).min(LONGEST);
    DUE.set(now + pause);
    let (env, config) = (env.clone(), Rc::clone(config));
    context.wait_until(async move {
        let pause = Duration::from_millis(pause.unsigned_abs());
        Delay::from(pause).await;
        flush(&env, &config).await;
    });
}

/// Leaves all counts with the object; those that it does not take are kept.
async fn flush(env: &Env, config: &Config) {
    DUE.set(0);
    let Some(home) = &config.home else { return };
    let counts = TALLY.with_borrow_mut(Tally::take);
    let outbox = Outbox { env, home };
    for delivery in counts.into_deliveries(EDGE, ROWS) {
        let left = outbox.leave_counts(&delivery, NUMBER.with(|number| *number));
        if let Err(error) = left.await {
            console_error!("{error}; the counts wait in memory");
            TALLY.with_borrow_mut(|tally| tally.absorb(Counts::from(delivery)));
        }
    }
}
