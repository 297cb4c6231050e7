//! What goes home to the control plane: identities that changed here, and usage.
//!
//! ```text
//! a change ── journal (on disk before the identity) ──┐
//!                                                     ├── every few seconds ── outbox (on disk, with an id) ── signed POST
//! a request ── CountedUsage (memory) ─────────────────┘                            until it is confirmed
//! ```
//!
//! **What is promised.** A change of an identity that was answered reaches the control plane, whatever happens to
//! this process, the network or the control plane meanwhile: it is on disk until confirmed. Counts are in memory for
//! up to one interval, so a kill loses those; a stop in peace does not. While the control plane is away, deliveries
//! of counts take at most [`MOST_USAGE`] bytes of disk; then they stay in memory, alike ones added up, and past
//! its bound only their number is kept and told with the next delivery.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use yardarm_core::edge::delivery::Delivery;
use yardarm_core::edge::{TraitChange, Unavailable};
use yardarm_core::time::Timestamp;

use crate::durable::DataDirectory;
use crate::identities::Identities as _;
use crate::identity_files::IdentityFiles;
use crate::usage::CountedUsage;

mod journal;
mod link;
mod outbox;

pub use journal::Journal;
use link::{Link, Sent};
use outbox::{IDENTITIES, Outbox, USAGE_ROWS, Waiting};

/// How many deliveries wait on disk before more is only packed now and then, in larger ones.
const CROWDED: usize = 64;
/// How often counts are stored while deliveries are piling up.
const CROWDED_PAUSE: Duration = Duration::from_mins(1);
/// How many bytes of counts wait on disk.
const MOST_USAGE: u64 = 64 << 20;
/// The longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How many deliveries a control plane that can be reached may turn down before the next pause.
const MOST_TROUBLES: usize = 3;
/// How long a stop waits for the last deliveries. What is not sent then is sent after the next start.
const FAREWELL: Duration = Duration::from_secs(5);

/// Where deliveries go and how often.
#[derive(Debug, Clone)]
pub struct DeliverySettings {
    /// The control plane's URL, without a path of its own.
    pub control_plane: String,
    /// What the edge's target signs with.
    pub secret: Vec<u8>,
    /// How long changes and counts are gathered.
    pub every: Duration,
}

/// Why deliveries cannot be made at all.
#[derive(Debug, thiserror::Error)]
pub enum DeliveriesError {
    /// The data directory cannot be used.
    #[error("deliveries: {0}")]
    Io(#[from] io::Error),
    /// The URL is none, or no HTTP client can be made.
    #[error("control plane {url:?}: {reason}")]
    Link {
        /// The URL as it was given.
        url: String,
        /// Why.
        reason: String,
    },
}

/// The way home. [`Self::run`] goes it until it is told to stop.
#[derive(Debug)]
pub struct Deliveries {
    stored: Arc<Stored>,
    usage: Option<Arc<CountedUsage>>,
    link: Link,
    every: Duration,
    packed_usage: Option<Instant>,
}

/// What lies on disk.
#[derive(Debug)]
struct Stored {
    journal: Arc<Journal>,
    outbox: Mutex<Outbox>,
    _owner: Arc<DataDirectory>,
}

impl Deliveries {
    /// Opens what a data directory holds, and the way to the control plane. Blocks: for the start of a process.
    pub fn open(
        owner: &Arc<DataDirectory>,
        settings: &DeliverySettings,
        usage: Option<Arc<CountedUsage>>,
    ) -> Result<Self, DeliveriesError> {
        let link = Link::new(settings).map_err(|error| DeliveriesError::Link {
            url: settings.control_plane.clone(),
            reason: format!("{error:#}"),
        })?;
        let directory = owner.path().join("deliveries");
        Ok(Self {
            stored: Arc::new(Stored {
                journal: Arc::new(Journal::open(directory.join("changes"))?),
                outbox: Mutex::new(Outbox::open(directory.join("outbox"))?),
                _owner: Arc::clone(owner),
            }),
            usage,
            link,
            every: settings.every.max(Duration::from_millis(10)),
            packed_usage: None,
        })
    }

    /// Sends changes of these identities home from now on, after applying what a crash left in the journal
    /// and not in the identity.
    pub async fn follow(&self, identities: &IdentityFiles) -> Result<(), Unavailable> {
        let unavailable = |error: io::Error| Unavailable(format!("journal: {error}"));
        for log in self.stored.journal.finish().map_err(unavailable)? {
            for change in journal::read(&log).map_err(unavailable)? {
                let now = Timestamp(change.created_at_micros);
                let adopt = TraitChange::Adopt(change.traits);
                let (environment, identifier) = (&change.environment_key, &change.identifier);
                let adopted = identities.change_identity(environment, identifier, &adopt, now);
                // Taking over is never refused.
                let _record = adopted.await?;
            }
        }
        identities.tell(Arc::clone(&self.stored.journal));
        Ok(())
    }

    /// Packs and sends until `stop`, and then once more.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = pin!(stop);
        let mut pack_at = Instant::now() + self.every;
        let mut send_at = Instant::now();
        let mut failures = 0;
        let mut more = true;
        loop {
            let waits = self.stored.outbox().len() > 0;
            let next = if waits { pack_at.min(send_at) } else { pack_at };
            tokio::select! {
                () = &mut stop => break,
                () = tokio::time::sleep_until(next) => {}
            }
            if Instant::now() >= pack_at {
                more = self.pack().await;
                pack_at = Instant::now() + self.every;
            }
            if Instant::now() < send_at {
                continue;
            }
            let sent = tokio::select! {
                () = &mut stop => break,
                sent = self.send(pack_at) => sent,
            };
            match sent {
                Ok(()) if failures > 0 => {
                    tracing::info!(failures, "the control plane takes deliveries again");
                    failures = 0;
                }
                Ok(()) => {}
                Err(reason) => {
                    more = false;
                    failures += 1;
                    let pause = pause(failures, self.every);
                    let waiting = self.stored.outbox().len();
                    tracing::warn!(
                        reason,
                        waiting,
                        ?pause,
                        "deliveries wait for the control plane"
                    );
                    send_at = Instant::now() + pause;
                }
            }
            if more && self.stored.outbox().len() == 0 {
                pack_at = Instant::now();
            }
        }
        self.packed_usage = None;
        let farewell = async {
            while self.pack().await {
                self.send(Instant::now() + FAREWELL).await?;
            }
            self.send(Instant::now() + FAREWELL).await
        };
        let outcome = timeout(FAREWELL, farewell).await;
        let waiting = self.stored.outbox().len();
        if waiting > 0 {
            tracing::warn!(waiting, ?outcome, "deliveries wait for the next start");
        }
    }

    /// Stores what was gathered as deliveries. Tells whether there is more, for when these are gone.
    async fn pack(&mut self) -> bool {
        let crowded = self.stored.outbox().len() >= CROWDED;
        let rested = self
            .packed_usage
            .is_none_or(|packed| packed.elapsed() >= CROWDED_PAUSE);
        let usage = self.usage.clone().filter(|_| !crowded || rested);
        if usage.is_some() {
            self.packed_usage = Some(Instant::now());
        }
        let stored = Arc::clone(&self.stored);
        let packed = tokio::task::spawn_blocking(move || {
            let identities = stored.pack_identities();
            let counts = usage.map_or(Ok(()), |usage| stored.pack_usage(&usage));
            counts.and(identities)
        });
        let packed = packed.await.map_err(io::Error::other).flatten();
        packed.unwrap_or_else(|error| {
            tracing::error!(%error, "deliveries cannot be stored; what they carry is kept");
            false
        })
    }

    /// Sends what waits, oldest first, until `until`. An error says why the rest has to wait.
    async fn send(&self, until: Instant) -> Result<(), String> {
        let mut troubles = 0;
        let all = self.stored.outbox().waiting();
        for waiting in all {
            if Instant::now() > until {
                break;
            }
            let Some(body) = self.stored.with(&waiting, Outbox::read).await? else {
                continue;
            };
            match self.link.send(body).await {
                Sent::Confirmed => self.stored.with(&waiting, Outbox::remove).await?,
                Sent::Refused(reason) => {
                    tracing::error!(reason, file = %waiting.path.display(), "a delivery was refused and is dropped");
                    self.stored.with(&waiting, Outbox::remove).await?;
                }
                Sent::TooLarge => {
                    if !self.stored.with(&waiting, Outbox::cut).await? {
                        tracing::error!(file = %waiting.path.display(), "a single row is too large for the control plane and is dropped");
                        self.stored.with(&waiting, Outbox::remove).await?;
                    }
                }
                Sent::Unreached(reason) => return Err(reason),
                Sent::Troubled(reason) => {
                    troubles += 1;
                    if troubles >= MOST_TROUBLES {
                        return Err(reason);
                    }
                }
            }
        }
        if troubles > 0 {
            return Err("the control plane could not take some".to_owned());
        }
        Ok(())
    }
}

impl Stored {
    fn outbox(&self) -> std::sync::MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with a delivery on disk, on a thread that may wait for it.
    async fn with<T: Send + 'static>(
        self: &Arc<Self>,
        waiting: &Waiting,
        work: impl FnOnce(&mut Outbox, &Waiting) -> io::Result<T> + Send + 'static,
    ) -> Result<T, String> {
        let (stored, waiting) = (Arc::clone(self), waiting.clone());
        let done = tokio::task::spawn_blocking(move || work(&mut stored.outbox(), &waiting));
        match done.await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(format!("outbox: {error}")),
            Err(error) => Err(format!("outbox: {error}")),
        }
    }

    /// Packs the oldest log, unless an earlier one is still on its way. Tells whether there are more.
    fn pack_identities(&self) -> io::Result<bool> {
        let logs = self.journal.finish()?;
        let mut outbox = self.outbox();
        let Some((log, rest)) = logs.split_first().filter(|_| !outbox.has_identities()) else {
            return Ok(!logs.is_empty());
        };
        for delivery in Delivery::of_identities(journal::read(log)?, "native", IDENTITIES) {
            outbox.put(delivery)?;
        }
        // A crash before this sends them again, which changes nothing.
        std::fs::remove_file(log)?;
        Ok(!rest.is_empty())
    }

    fn pack_usage(&self, usage: &CountedUsage) -> io::Result<()> {
        if self.outbox().usage_bytes() >= MOST_USAGE {
            return Ok(());
        }
        let mut outcome = Ok(());
        for delivery in usage.take().into_deliveries("native", USAGE_ROWS) {
            if outcome.is_ok() {
                outcome = self.outbox().put(delivery.clone());
            }
            if outcome.is_err() {
                usage.put_back(delivery.into());
            }
        }
        outcome
    }
}

/// Twice as long each time, up to a minute, and up to a half less by chance, so that a thousand edges do not come back
/// together.
fn pause(failures: u32, every: Duration) -> Duration {
    let first = every.min(Duration::from_secs(1));
    let longest = first
        .saturating_mul(1_u32 << failures.min(10))
        .min(LONGEST_PAUSE);
    longest.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_minute() {
        let every = Duration::from_secs(10);
        for (failures, least, most) in [(1, 1, 2), (3, 4, 8), (9, 30, 60), (u32::MAX, 30, 60)] {
            let pause = pause(failures, every).as_secs_f64();
            let range = f64::from(least)..=f64::from(most);
            assert!(range.contains(&pause), "{failures}: {pause}");
        }
        assert!(pause(1, Duration::from_millis(20)) <= Duration::from_millis(40));
    }
}
