//! The core's ports, lent to one request.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use worker::{Context, Env, console_error, js_sys, web_sys};
use yardarm_core::edge::stream::Subscription;
#[cfg(feature = "upstream")]
use yardarm_core::edge::upstream::UpstreamStatus;
use yardarm_core::edge::usage::Counted;
use yardarm_core::edge::{
    ChangeError, Effect, Held, Host, IdentityRecord, Install, KeyRef, TraitChange, Unavailable,
};
use yardarm_core::snapshot::{Package, Snapshot};
use yardarm_core::time::Timestamp;

use crate::config::Config;
use crate::environments::Environments;
use crate::identities::Identities;
use crate::pulls::Pulls;
use crate::snapshots::Snapshots;
use crate::streams;
#[cfg(feature = "upstream")]
use crate::upstream;
use crate::usage;

#[wasm_bindgen::prelude::wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = crypto, js_name = getRandomValues)]
    fn fill_random(bytes: &mut [u8]);
}

/// One request's view of the platform.
pub(crate) struct WorkerHost {
    env: Env,
    context: Context,
    config: Rc<Config>,
    /// When the request arrived; the platform's clock stands still while code runs.
    now: Timestamp,
    /// The snapshot this request is answered from.
    served: RefCell<Option<Snapshot>>,
}

impl WorkerHost {
    pub(crate) fn new(env: Env, context: Context) -> Self {
        Self {
            config: Config::of(&env),
            now: Timestamp::from_millis(now_millis()),
            served: RefCell::new(None),
            env,
            context,
        }
    }

    /// The stream that the core has said to open, under the head it has written; `None` where that
    /// cannot be.
    pub(crate) async fn stream(
        &self,
        head: &Response<Bytes>,
        subscription: &Subscription,
    ) -> Option<web_sys::Response> {
        let [chance, ..] = self.random();
        let shard = chance % self.config.streams.shards;
        let opened = streams::open(&self.env, head, subscription, shard).await;
        opened.unwrap_or_else(|error| {
            console_error!("{error}");
            None
        })
    }

    /// The snapshot this request was answered from.
    pub(crate) fn served(&self) -> Option<Snapshot> {
        self.served.borrow().clone()
    }

    fn identities<'a>(&'a self, snapshot: &'a Snapshot) -> Identities<'a> {
        Identities {
            env: &self.env,
            environment: snapshot.environment_key(),
            now: self.now.micros() / 1_000,
            memory: self.config.identity_memory,
        }
    }

    /// Whether usage is counted.
    pub(crate) fn counts(&self) -> bool {
        self.config.home.as_ref().is_some_and(|home| home.counts)
    }

    /// Counts what the request came to.
    pub(crate) fn count(&self, counted: Option<&Counted>, effects: Vec<Effect>) {
        let around = (&self.env, &self.context, &self.config);
        usage::count(around, counted, effects, self.now);
    }

    fn snapshots(&self) -> Snapshots<'_> {
        Snapshots {
            env: &self.env,
            context: &self.context,
            config: &self.config,
            now: self.now.micros() / 1_000,
        }
    }
}

impl Host for WorkerHost {
    fn now(&self) -> Timestamp {
        self.now
    }

    fn random(&self) -> [u8; 16] {
        random()
    }

    fn name(&self) -> &'static str {
        "worker"
    }

    fn has_streams(&self) -> bool {
        true
    }

    fn publishing_secret(&self) -> Option<Vec<u8>> {
        self.config.publishing_secret.clone()
    }

    async fn snapshot(&self, key: KeyRef<'_>) -> Result<Option<Snapshot>, Unavailable> {
        let found = reported(self.snapshots().find(key.clone()).await)?;
        let pulls = Pulls {
            env: &self.env,
            context: &self.context,
            config: &self.config,
            now: self.now,
        };
        let found = reported(pulls.complete(key, found).await)?;
        self.served.borrow_mut().clone_from(&found);
        Ok(found)
    }

    async fn part(&self, snapshot: &Snapshot, number: u32) -> Result<Option<Bytes>, Unavailable> {
        reported(self.snapshots().part(snapshot, number).await)
    }

    async fn parts(
        &self,
        snapshot: &Snapshot,
        numbers: Range<u32>,
    ) -> Result<Option<Vec<Bytes>>, Unavailable> {
        reported(self.snapshots().parts(snapshot, numbers).await)
    }

    async fn identity(
        &self,
        snapshot: &Snapshot,
        identifier: &str,
    ) -> Result<Option<IdentityRecord>, Unavailable> {
        reported(self.identities(snapshot).read(identifier).await)
    }

    fn identity_at_hand(
        &self,
        snapshot: &Snapshot,
        identifier: &str,
    ) -> Option<Arc<IdentityRecord>> {
        self.identities(snapshot).at_hand(identifier)
    }

    fn sent_as_held(
        &self,
        snapshot: &Snapshot,
        identifier: &str,
        held: &Arc<IdentityRecord>,
        traits: &mut dyn Iterator<Item = &str>,
    ) {
        let identities = self.identities(snapshot);
        identities.owe(&self.context, identifier, held, traits);
    }

    async fn change_identity(
        &self,
        snapshot: &Snapshot,
        identifier: &str,
        change: &TraitChange,
    ) -> Result<Result<IdentityRecord, ChangeError>, Unavailable> {
        reported(self.identities(snapshot).change(identifier, change).await)
    }

    async fn install(&self, package: &Package) -> Result<Install, Unavailable> {
        reported(self.snapshots().install(package).await)
    }

    async fn held(&self) -> Result<Vec<Held>, Unavailable> {
        reported(Environments(&self.env).held().await)
    }

    #[cfg(feature = "upstream")]
    fn has_upstream(&self) -> bool {
        self.config.upstream.is_some()
    }

    #[cfg(feature = "upstream")]
    async fn upstream_status(&self) -> Result<Option<UpstreamStatus>, Unavailable> {
        match &self.config.upstream {
            None => Ok(None),
            Some(of) => reported(upstream::status(&self.env, of).await).map(Some),
        }
    }

    #[cfg(feature = "upstream")]
    fn confirmed_at(&self, snapshot: &Snapshot) -> Option<Timestamp> {
        self.config.upstream.as_ref()?;
        upstream::confirmed_at(snapshot.environment_key())
    }
}

/// Logs why a store did not answer; the core only tells the client to try again.
fn reported<T>(answer: Result<T, Unavailable>) -> Result<T, Unavailable> {
    answer.inspect_err(|error| console_error!("{error}"))
}

/// 16 random bytes.
pub(crate) fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    fill_random(&mut bytes);
    bytes
}

/// Milliseconds since the epoch.
#[expect(
    clippy::cast_possible_truncation,
    reason = "JavaScript counts whole milliseconds in a float; they fit for 285,000 years"
)]
pub(crate) fn now_millis() -> i64 {
    js_sys::Date::now() as i64
}
