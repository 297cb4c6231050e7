//! Compiled packages, made once for all targets and the mounted edge.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::sync::Mutex as AsyncMutex;
use yardarm_core::snapshot::{Package, compile};

use super::assemble::{Assembled, assemble};
use crate::store::Pool;

/// How many environments' packages are kept. A change goes to every target within moments; keeping
/// more would only cost memory.
const KEPT: usize = 32;

type Slot = Arc<AsyncMutex<Option<(u64, Package)>>>;

/// The most recently used packages.
#[derive(Debug)]
pub(crate) struct Packages {
    pool: Pool,
    slots: Mutex<VecDeque<(String, Slot)>>,
}

impl Packages {
    pub(crate) fn new(pool: Pool) -> Self {
        Self {
            pool,
            slots: Mutex::default(),
        }
    }

    /// What is to be published under a key, at the given version or a newer one, with its version.
    /// `None` when there is nothing of the kind (any more). Whoever asks for the same meanwhile waits.
    pub(crate) async fn get(
        &self,
        api_key: &str,
        at_least: u64,
    ) -> anyhow::Result<Option<(u64, Package)>> {
        let slot = self.slot(api_key);
        let mut kept = slot.lock().await;
        if let Some((version, package)) = &*kept
            && *version >= at_least
        {
            return Ok(Some((*version, package.clone())));
        }
        let made = self.make(api_key).await?;
        kept.clone_from(&made);
        Ok(made)
    }

    fn slot(&self, api_key: &str) -> Slot {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = match slots.iter().position(|(key, _)| key == api_key) {
            Some(found) => slots
                .remove(found)
                .map(|(_, slot)| slot)
                .unwrap_or_default(),
            None => Slot::default(),
        };
        slots.push_back((api_key.to_owned(), Arc::clone(&slot)));
        while slots.len() > KEPT {
            slots.pop_front();
        }
        slot
    }

    async fn make(&self, api_key: &str) -> anyhow::Result<Option<(u64, Package)>> {
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
