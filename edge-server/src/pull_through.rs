//! Asks the control plane of keys that are not held: once, however many wait for the answer.
//!
//! Whether to ask and what the answer is worth is core's ([`yardarm_core::edge::pull_through`]).

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use yardarm_core::edge::pull_through::{self, Gate, Key, Leave, PATIENCE, Pulled};
use yardarm_core::edge::{KeyRef, Unavailable};

use crate::host::now;
use crate::outbound::Client;
use crate::snapshots::SnapshotStore;

/// The largest package.
const PACKAGE: usize = 512 << 20;
/// How long the control plane may be silent. Whoever asked does not wait so long, but a package that comes late
/// is there for the next.
const SILENCE: Duration = Duration::from_secs(10);

/// Where to ask.
pub struct PullThrough {
    url: String,
    secret: Vec<u8>,
    client: Client,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    gate: Gate,
    /// Questions that are under way, and what those who wait for them will see.
    flying: HashMap<Key, watch::Receiver<Option<Landed>>>,
}

/// How a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Landed {
    /// The store has what there is.
    Told,
    /// It is not known.
    Untold,
}

impl PullThrough {
    /// Asks the control plane at `url` (`https://host[:port]`), signing with the secret of this edge's target.
    pub fn new(url: String, secret: Vec<u8>, client: Client) -> Self {
        Self {
            url,
            secret,
            client,
            asked: Mutex::default(),
        }
    }

    /// Brings into the store what the control plane has of a key, or finds that it has nothing. Waits
    /// [`PATIENCE`] at most.
    pub(crate) async fn pull(
        self: &Arc<Self>,
        key: &KeyRef<'_>,
        snapshots: &SnapshotStore,
    ) -> Result<(), Unavailable> {
        let mut landing = match self.landing(key, snapshots) {
            Ok(landing) => landing,
            Err(Leave::Unknown) => return Ok(()),
            Err(_) => return Err(Unavailable("the control plane is not asked now".to_owned())),
        };
        let landed = timeout(PATIENCE, landing.wait_for(Option::is_some)).await;
        match landed.map(|landed| landed.ok().and_then(|landed| *landed)) {
            Ok(Some(Landed::Told)) => Ok(()),
            Ok(_) => Err(Unavailable("the control plane told nothing".to_owned())),
            Err(_) => Err(Unavailable("the control plane is slow".to_owned())),
        }
    }

    /// Where the answer will be seen: of the question under way, or of a new one.
    fn landing(
        self: &Arc<Self>,
        key: &KeyRef<'_>,
        snapshots: &SnapshotStore,
    ) -> Result<watch::Receiver<Option<Landed>>, Leave> {
        let key = Key::of(key);
        let mut asked = self.asked();
        // One that ended without a word (a panic) keeps nobody from asking again.
        let flying = asked.flying.get(&key);
        if let Some(landing) = flying.filter(|landing| landing.has_changed().is_ok()) {
            return Ok(landing.clone());
        }
        match asked.gate.leave(&key.by_ref(), now()) {
            Leave::Ask => {}
            other => return Err(other),
        }
        let (told, landing) = watch::channel(None);
        asked.flying.insert(key.clone(), landing.clone());
        let (this, snapshots) = (Arc::clone(self), snapshots.clone());
        tokio::spawn(async move {
            let landed = this.ask(&key, &snapshots).await;
            this.asked().flying.remove(&key);
            told.send_replace(Some(landed));
        });
        Ok(landing)
    }

    async fn ask(&self, key: &Key, snapshots: &SnapshotStore) -> Landed {
        let pulled = self.exchange(key).await;
        self.asked().gate.learn(&key.by_ref(), &pulled, now());
        match pulled {
            Pulled::Unknown => Landed::Told,
            Pulled::Package(package) => {
                let environment = package.meta().environment_key;
                match snapshots.install(&package).await {
                    Ok(outcome) => {
                        tracing::info!(%environment, ?outcome, "pulled from the control plane");
                        Landed::Told
                    }
                    Err(error) => {
                        tracing::error!(%environment, %error, "what was pulled is not served");
                        Landed::Untold
                    }
                }
            }
            Pulled::Trouble(problem) => {
                tracing::warn!(problem, "a key that is not held could not be looked up");
                Landed::Untold
            }
        }
    }

    async fn exchange(&self, key: &Key) -> Pulled {
        let request = pull_through::request(&self.url, &self.secret, &key.by_ref(), now());
        let request = match request {
            Ok(request) => request,
            Err(error) => return Pulled::Trouble(error.to_string()),
        };
        let answer = match self.client.send(request, PACKAGE, SILENCE).await {
            Ok(answer) => answer,
            Err(error) => return Pulled::Trouble(error.to_string()),
        };
        let (key, secret) = (key.clone(), self.secret.clone());
        // Checking the hashes of a large package takes a while.
        let receive = move || {
            let head = (answer.status, &answer.headers);
            pull_through::receive(&secret, &key.by_ref(), head, answer.body, now())
        };
        match tokio::task::spawn_blocking(receive).await {
            Ok(pulled) => pulled,
            Err(error) => Pulled::Trouble(error.to_string()),
        }
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for PullThrough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullThrough")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_look_that_ended_without_a_word_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = SnapshotStore::open(folder.path()).unwrap();
        let nowhere = "http://127.0.0.1:1".to_owned();
        let pulls = PullThrough::new(nowhere, b"secret".to_vec(), Client::new().unwrap());
        let pulls = Arc::new(pulls);
        let key = KeyRef::Client("environment");
        let (told, landing) = watch::channel(None);
        pulls.asked().flying.insert(Key::of(&key), landing);
        drop(told);
        let asked = pulls.pull(&key, &snapshots).await;
        assert!(asked.is_err(), "nobody is there");
        assert!(pulls.asked().flying.is_empty(), "it was asked anew");
    }
}
