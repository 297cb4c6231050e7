//! An existing Flagsmith that this is an edge of, as a request sees it: what the feature `upstream` adds to [`crate::pulls`].
//! The object that looks at it is [`crate::objects::pulls`].

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use worker::{Env, console_warn};
use yardarm_core::edge::upstream::{KeyPair, LookStatus, UpstreamStatus};
use yardarm_core::edge::{KeyRef, Unavailable};
use yardarm_core::snapshot::Snapshot;
use yardarm_core::time::Timestamp;

use crate::config::UpstreamConfig;
use crate::environments::{call_object, decode};
use crate::pulls::{BINDING, NAME, Pulls};

thread_local! {
    /// When each environment was last confirmed, and when that was asked, in microseconds since the epoch.
    static CONFIRMED: RefCell<HashMap<String, i64>> = RefCell::default();
    static ASKED_AT: Cell<i64> = const { Cell::new(0) };
}

/// How the looks at one environment stand, as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Look {
    pub(crate) environment_key: String,
    pub(crate) confirmed_at: Option<i64>,
    pub(crate) problem: Option<String>,
}

impl Pulls<'_> {
    /// What a key leads to where there is an upstream: what others publish, and what upstream has of its pairs.
    pub(crate) async fn complete_of_upstream(
        &self,
        upstream: &UpstreamConfig,
        key: KeyRef<'_>,
        found: Option<Snapshot>,
    ) -> Result<Option<Snapshot>, Unavailable> {
        let is_named = upstream.named(&key).is_some();
        if !is_named {
            let others = self.config.publishing_secret.is_some();
            return Ok(found.filter(|_| others));
        }
        self.ask_how_looks_stand(upstream);
        if found.is_some() {
            return Ok(found);
        }
        match self.pull(&key).await? {
            // Not unknown, only not read yet.
            None => Err(Unavailable("upstream was not heard yet".to_owned())),
            found => Ok(found),
        }
    }

    /// Asks after the reply when each environment was confirmed, as often as upstream is looked at. That
    /// also keeps the object looking.
    fn ask_how_looks_stand(&self, upstream: &UpstreamConfig) {
        let interval = i64::try_from(upstream.interval.as_micros()).unwrap_or(i64::MAX);
        let age = self.now.micros().saturating_sub(ASKED_AT.get());
        if (0..interval).contains(&age) {
            return;
        }
        ASKED_AT.set(self.now.micros());
        let env = self.env.clone();
        self.context.wait_until(async move {
            match looks(&env).await {
                Ok(looks) => CONFIRMED.with_borrow_mut(|confirmed| {
                    for look in looks {
                        if let Some(at) = look.confirmed_at {
                            confirmed.insert(look.environment_key, at);
                        }
                    }
                }),
                Err(error) => console_warn!("{error}"),
            }
        });
    }
}

/// How the looks at upstream stand, for `/health`.
pub(crate) async fn status(
    env: &Env,
    upstream: &UpstreamConfig,
) -> Result<UpstreamStatus, Unavailable> {
    let environments = looks(env).await?.into_iter().map(|look| LookStatus {
        environment_key: look.environment_key,
        confirmed_at: look.confirmed_at.map(Timestamp),
        problem: look.problem,
    });
    let environments: Vec<LookStatus> = environments.collect();
    let count = u32::try_from(environments.len()).unwrap_or(u32::MAX);
    Ok(UpstreamStatus {
        stale_after: upstream
            .grace
            .map(|grace| (upstream.interval + grace * count).as_secs()),
        environments,
    })
}

/// When an environment was last confirmed, as far as this isolate has heard.
pub(crate) fn confirmed_at(environment_key: &str) -> Option<Timestamp> {
    CONFIRMED.with_borrow(|confirmed| confirmed.get(environment_key).copied().map(Timestamp))
}

async fn looks(env: &Env) -> Result<Vec<Look>, Unavailable> {
    let looks = call_object(env, BINDING, NAME, "/looks", None).await;
    decode(&looks.map_err(|error| Unavailable(format!("pulls object: {error}")))?)
}

impl UpstreamConfig {
    /// The pair that a key is of.
    pub(crate) fn named(&self, key: &KeyRef<'_>) -> Option<&KeyPair> {
        let is_it = |pair: &&KeyPair| match *key {
            KeyRef::Client(key) => pair.client() == key,
            KeyRef::Server(hash) => pair.server_hash() == hash,
        };
        self.pairs.iter().find(is_it)
    }
}
