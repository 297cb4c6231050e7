//! Keys that this Worker does not hold yet: asked of the object that pulls, from an existing Flagsmith or from the
//! control plane. The object's side is [`crate::objects::pulls`].

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};
use worker::{Context, Delay, Env, console_warn};
use yardarm_core::edge::pull_through::{Gate, Leave, PATIENCE, Pulled};
use yardarm_core::edge::upstream::{KeyPair, LookStatus, UpstreamStatus};
use yardarm_core::edge::{KeyRef, Unavailable};
use yardarm_core::snapshot::Snapshot;
use yardarm_core::time::Timestamp;

use crate::config::{Config, UpstreamConfig};
use crate::environments::{call_object, decode, encode};
use crate::snapshots::{hold, read};

/// Name of the binding in `wrangler.toml`.
const BINDING: &str = "PULLS";
/// There is one such object, so that every question is asked once.
const NAME: &str = "pulls";

thread_local! {
    static GATE: RefCell<Gate> = RefCell::default();
    /// When each environment was last confirmed, and when that was asked, in microseconds since the epoch.
    static CONFIRMED: RefCell<HashMap<String, i64>> = RefCell::default();
    static ASKED_AT: Cell<i64> = const { Cell::new(0) };
}

/// A key as it travels to the object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Key {
    /// Client-side.
    Client(String),
    /// SHA-256 of a server-side key.
    Server(String),
}

/// What the object says of a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Told {
    /// It is held now, in this version.
    Held {
        /// The environment's client-side key.
        environment: String,
        /// Its version.
        version: u64,
    },
    /// There is no such key.
    Unknown,
    /// That cannot be told now.
    Later,
}

/// How the looks at one environment stand, as it travels.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Look {
    pub(crate) environment_key: String,
    pub(crate) confirmed_at: Option<i64>,
    pub(crate) problem: Option<String>,
}

impl Key {
    fn of(key: &KeyRef<'_>) -> Self {
        match *key {
            KeyRef::Client(key) => Self::Client(key.to_owned()),
            KeyRef::Server(hash) => Self::Server(hash.to_owned()),
        }
    }

    pub(crate) fn by_ref(&self) -> KeyRef<'_> {
        match self {
            Self::Client(key) => KeyRef::Client(key),
            Self::Server(hash) => KeyRef::Server(hash),
        }
    }
}

/// One request's way to the object.
pub(crate) struct Pulls<'a> {
    pub(crate) env: &'a Env,
    pub(crate) context: &'a Context,
    pub(crate) config: &'a Config,
    pub(crate) now: Timestamp,
}

impl Pulls<'_> {
    /// What a key leads to, given what is held of it.
    pub(crate) async fn complete(
        &self,
        key: KeyRef<'_>,
        found: Option<Snapshot>,
    ) -> Result<Option<Snapshot>, Unavailable> {
        if let Some(upstream) = &self.config.upstream {
            let is_named = upstream.named(&key).is_some();
            if !is_named {
                let others = self.config.publishing_secret.is_some();
                return Ok(found.filter(|_| others));
            }
            self.ask_how_looks_stand(upstream);
            if found.is_some() {
                return Ok(found);
            }
            return match self.pull(&key).await? {
                // Not unknown, only not read yet.
                None => Err(Unavailable("upstream was not heard yet".to_owned())),
                found => Ok(found),
            };
        }
        let may_ask = self.config.home.is_some() && self.config.publishing_secret.is_some();
        if found.is_some() || !may_ask {
            return Ok(found);
        }
        match GATE.with_borrow_mut(|gate| gate.leave(&key, self.now)) {
            Leave::Unknown => return Ok(None),
            Leave::Later | Leave::Wait => {
                return Err(Unavailable("too many unknown keys".to_owned()));
            }
            Leave::Ask => {}
        }
        let pulled = self.pull(&key).await;
        if let Ok(None) = pulled {
            GATE.with_borrow_mut(|gate| gate.learn(&key, &Pulled::Unknown, self.now));
        }
        pulled
    }

    /// Has the object bring in what there is of a key; `None` when there is nothing.
    async fn pull(&self, key: &KeyRef<'_>) -> Result<Option<Snapshot>, Unavailable> {
        let body = encode(&Key::of(key))?;
        let call = std::pin::pin!(call_object(self.env, BINDING, NAME, "/pull", Some(&body)));
        let told = match select(call, Delay::from(PATIENCE)).await {
            Either::Left((told, _)) => {
                told.map_err(|error| Unavailable(format!("pulls object: {error}")))?
            }
            Either::Right(_) => return Err(Unavailable("pulling takes long".to_owned())),
        };
        match decode(&told)? {
            Told::Unknown => Ok(None),
            Told::Later => Err(Unavailable("nothing was pulled".to_owned())),
            Told::Held {
                environment,
                version,
            } => {
                let found = read(self.env, &environment, version).await?;
                let found = found
                    .ok_or_else(|| Unavailable("what was pulled is not there yet".to_owned()))?;
                hold(key, &found, self.now.micros() / 1_000);
                Ok(Some(found))
            }
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
