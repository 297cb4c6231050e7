//! Compiled packages, made once for all targets and the mounted edge.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context as _;
use tokio::sync::{Mutex as AsyncMutex, Semaphore};
use yardarm_core::snapshot::{Package, compile};

use super::assemble::{Assembled, assemble};
use crate::store::Pool;

/// How many environments' packages are kept. A change goes to every target within moments; keeping
/// more would only cost memory.
const KEPT: usize = 32;
/// How many bytes of them, but for the one made last: a hundred thousand identity overrides are 80 MB.
const KEPT_BYTES: usize = 128 << 20;

/// How many are made at once: assembling and compiling take ten times a package's size in memory.
const MADE_AT_ONCE: usize = 4;

type Slot = Arc<AsyncMutex<Option<(u64, Package)>>>;

/// The most recently used packages.
#[derive(Debug)]
pub(crate) struct Packages {
    pool: Pool,
    shelf: Mutex<Shelf>,
    /// [`MADE_AT_ONCE`] permits.
    making: Semaphore,
}

/// What is kept, unused for longest first.
#[derive(Debug, Default)]
struct Shelf(VecDeque<Kept>);

#[derive(Debug)]
struct Kept {
    api_key: String,
    slot: Slot,
    /// Of what was last made; 0 while nothing is.
    bytes: usize,
}

impl Shelf {
    /// Where the package of a key is, or will be.
    fn slot(&mut self, api_key: &str) -> Slot {
        let known = self.0.iter().position(|kept| kept.api_key == api_key);
        let kept = known.and_then(|at| self.0.remove(at));
        let kept = kept.unwrap_or_else(|| Kept {
            api_key: api_key.to_owned(),
            slot: Slot::default(),
            bytes: 0,
        });
        let slot = Arc::clone(&kept.slot);
        self.0.push_back(kept);
        while self.0.len() > KEPT {
            self.0.pop_front();
        }
        slot
    }

    /// Notes how large the package of a key is, and lets go of others until all fit.
    fn weigh(&mut self, api_key: &str, bytes: usize) {
        for kept in self.0.iter_mut().filter(|kept| kept.api_key == api_key) {
            kept.bytes = bytes;
        }
        let mut sum: usize = self.0.iter().map(|kept| kept.bytes).sum();
        self.0.retain(|kept| {
            let goes = sum > KEPT_BYTES && kept.bytes > 0 && kept.api_key != api_key;
            if goes {
                sum -= kept.bytes;
            }
            !goes
        });
    }
}

impl Packages {
    pub(crate) fn new(pool: Pool) -> Self {
        Self {
            pool,
            shelf: Mutex::default(),
            making: Semaphore::new(MADE_AT_ONCE),
        }
    }

    /// What is to be published under a key, at the given version or a newer one, with its version.
    /// `None` when there is nothing of the kind (any more). Whoever asks for the same meanwhile waits.
    ///
    /// Once begun it is made, also when the caller goes away: an edge that pulls may not have the
    /// patience, and finds it when it asks again.
    pub(crate) async fn get(
        self: &Arc<Self>,
        api_key: &str,
        at_least: u64,
    ) -> anyhow::Result<Option<(u64, Package)>> {
        let slot = self.shelf().slot(api_key);
        let mut kept = slot.lock_owned().await;
        if let Some((version, package)) = &*kept
            && *version >= at_least
        {
            return Ok(Some((*version, package.clone())));
        }
        let (this, api_key) = (Arc::clone(self), api_key.to_owned());
        let making = tokio::spawn(async move {
            let made = this.make(&api_key).await?;
            kept.clone_from(&made);
            let bytes = made.as_ref().map_or(0, |(_, package)| package.size());
            this.shelf().weigh(&api_key, bytes);
            anyhow::Ok(made)
        });
        making.await.context("making a package was given up")?
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn make(&self, api_key: &str) -> anyhow::Result<Option<(u64, Package)>> {
        let _making = self.making.acquire().await?;
        let mut db = self.pool.get().await?;
        let tx = db.read().await?;
        let assembled = assemble(&tx, api_key).await?;
        tx.commit().await?;
        drop(db);
        Ok(match assembled {
            None => None,
            Some(Assembled::Tombstone {
                version,
                updated_at_micros,
            }) => Some((
                version,
                Package::tombstone(api_key, version, updated_at_micros),
            )),
            Some(Assembled::Environment(publication)) => {
                let version = publication.version;
                // Compiling a large environment takes a while: not on a thread that answers requests.
                let compiled = tokio::task::spawn_blocking(move || compile(&publication));
                let (package, warnings) = compiled.await.context("the compiler panicked")?;
                for warning in warnings {
                    tracing::warn!(version, warning, "odd data in an environment");
                }
                Some((version, package))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(shelf: &Shelf) -> Vec<&str> {
        shelf.0.iter().map(|kept| kept.api_key.as_str()).collect()
    }

    #[test]
    fn what_is_unused_for_longest_goes_when_there_is_too_much() {
        let mut shelf = Shelf::default();
        for key in ["a", "making", "b", "c"] {
            shelf.slot(key);
        }
        shelf.weigh("a", KEPT_BYTES / 2);
        shelf.weigh("b", KEPT_BYTES / 2);
        assert_eq!(keys(&shelf), ["a", "making", "b", "c"]);
        let used = shelf.slot("a");
        shelf.weigh("c", 1);
        assert_eq!(keys(&shelf), ["making", "c", "a"]);
        assert!(Arc::ptr_eq(&used, &shelf.slot("a")));
        // A newer version takes the place of the one before.
        shelf.weigh("a", 1);
        shelf.slot("b");
        shelf.weigh("b", KEPT_BYTES - 2);
        assert_eq!(keys(&shelf), ["making", "c", "a", "b"]);
        // One that is too large stays for the other targets.
        shelf.weigh("c", 2 * KEPT_BYTES);
        assert_eq!(keys(&shelf), ["making", "c"]);
        for n in 0..KEPT {
            shelf.slot(&n.to_string());
        }
        assert_eq!(shelf.0.len(), KEPT);
    }
}
