//! What every request is handled with: built once, shared by all.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use deadpool_postgres::PoolError;
use rand::rngs::StdRng;
use rand::{RngCore as _, SeedableRng as _};

use crate::http::throttle::Throttle;
use crate::publish::Packages;
use crate::store::{Db, Pool};
use crate::usage::{Retention, UsageStore};

/// The program's state.
#[derive(Clone, Debug)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: Pool,
    clock: Clock,
    random: Random,
    logins: Throttle,
    usage: UsageStore,
    packages: Arc<Packages>,
}

impl App {
    /// An application on the database behind `pool`, where usage is, too.
    pub fn new(pool: Pool, clock: Clock, random: Random) -> Self {
        let usage = UsageStore::postgres(pool.clone(), Retention::default());
        Self::with_usage(pool, usage, clock, random)
    }

    /// An application with usage somewhere else.
    pub fn with_usage(pool: Pool, usage: UsageStore, clock: Clock, random: Random) -> Self {
        Self(Arc::new(Inner {
            packages: Arc::new(Packages::new(pool.clone())),
            pool,
            clock,
            random,
            logins: Throttle::per_minute(20),
            usage,
        }))
    }

    /// A connection to the database.
    ///
    /// # Errors
    /// When the database cannot be reached, or no connection comes free in time.
    pub async fn db(&self) -> Result<Db, PoolError> {
        self.0.pool.get().await
    }

    /// The pool itself, for work that outlives a request.
    pub fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// What time it is.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// Unguessable bytes.
    pub fn random(&self) -> &Random {
        &self.0.random
    }

    /// Where usage is kept.
    pub(crate) fn usage(&self) -> &UsageStore {
        &self.0.usage
    }

    /// What edges may pull.
    pub(crate) fn packages(&self) -> &Arc<Packages> {
        &self.0.packages
    }

    /// How often a client may try to log in.
    pub(crate) fn logins(&self) -> &Throttle {
        &self.0.logins
    }
}

/// The time, which tests set.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<AtomicI64>>);

impl Clock {
    /// The computer's clock.
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands still until it is moved.
    pub fn fixed(at: DateTime<Utc>) -> Self {
        Self(Some(Arc::new(AtomicI64::new(at.timestamp_micros()))))
    }

    /// Now, in whole microseconds as Postgres keeps them.
    pub fn now(&self) -> DateTime<Utc> {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that reads the clock"
        )]
        let micros = match &self.0 {
            Some(fixed) => fixed.load(Ordering::SeqCst),
            None => Utc::now().timestamp_micros(),
        };
        DateTime::from_timestamp_micros(micros).unwrap_or_default()
    }

    /// Moves a fixed clock on; the computer's clock stays as it is.
    pub fn advance(&self, by: TimeDelta) {
        if let Some(fixed) = &self.0 {
            fixed.fetch_add(by.num_microseconds().unwrap_or_default(), Ordering::SeqCst);
        }
    }
}

/// The source of tokens and keys, which tests seed.
pub struct Random(Mutex<StdRng>);

impl Random {
    /// Seeded by the operating system.
    pub fn system() -> Self {
        Self(Mutex::new(StdRng::from_os_rng()))
    }

    /// The same numbers every time: for tests only.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// `N` random bytes.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .fill_bytes(&mut bytes);
        bytes
    }

    /// Twenty-two characters that are easy to tell apart: 128 random bits in base 57, as Flagsmith's
    /// environment keys are (`shortuuid`).
    pub fn short_key(&self) -> String {
        const ALPHABET: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
        let mut number = u128::from_be_bytes(self.bytes());
        let mut key = [0_u8; 22];
        for place in key.iter_mut().rev() {
            let digit = usize::try_from(number % 57).unwrap_or_default();
            *place = ALPHABET[digit];
            number /= 57;
        }
        key.iter().copied().map(char::from).collect()
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random")
    }
}
