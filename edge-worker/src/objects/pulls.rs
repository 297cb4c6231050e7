//! The object that pulls: the documents of an existing Flagsmith, looked at by alarm, or packages that the control
//! plane has of keys somebody asks with. One object, so that each question is asked once.

mod looks;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use futures_util::lock::Mutex;
use worker::{
    DurableObject, Env, Request, Response, State, console_log, console_warn, durable_object,
};
use yardarm_core::edge::pull_through::{self, Gate, Leave, Pulled};
use yardarm_core::edge::upstream::{KeyPair, Watch};
use yardarm_core::edge::{KeyRef, Unavailable};
use yardarm_core::snapshot::Snapshot;
use yardarm_core::time::Timestamp;

use crate::config::Config;
use crate::environments::Environments;
use crate::host::now_millis;
use crate::outbound::ask;
use crate::pulls::{Key, Look, Told};
use crate::snapshots::{file, read};

/// The largest document or package, in bytes: it is in memory several times while it is compiled.
const ROOM: usize = 16 << 20;
/// How long the control plane may take.
const SILENCE: Duration = Duration::from_secs(10);
/// How long an answer serves those who asked meanwhile, in microseconds.
const RECENT: i64 = 2_000_000;

/// The object; its storage has the watch of each environment, as JSON under its client-side key.
#[durable_object(alarm)]
pub struct Pulls {
    state: State,
    env: Env,
    config: Rc<Config>,
    watched: RefCell<HashMap<String, Watched>>,
    gate: RefCell<Gate>,
    asking: RefCell<HashMap<Key, Asking>>,
}

/// A question: who asks it waits here, and finds what the one before was told, and when.
type Asking = Rc<Mutex<Option<(Told, i64)>>>;

#[derive(Debug, Clone, Default)]
struct Watched {
    watch: Watch,
    next_at: i64,
    written_at: i64,
}

impl DurableObject for Pulls {
    fn new(state: State, env: Env) -> Self {
        Self {
            config: Config::of(&env),
            state,
            env,
            watched: RefCell::default(),
            gate: RefCell::default(),
            asking: RefCell::default(),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let reply = match request.path().as_str() {
            "/pull" => {
                let key: Key = super::message(&request.bytes().await?)?;
                Response::from_json(&self.pull(key).await)
            }
            "/looks" => Response::from_json(&self.looks().await),
            _ => return Response::error("no such call", 404),
        };
        if let Some(upstream) = &self.config.upstream
            && self.state.storage().get_alarm().await?.is_none()
        {
            self.state.storage().set_alarm(upstream.interval).await?;
        }
        reply
    }

    async fn alarm(&self) -> worker::Result<Response> {
        if let Some(upstream) = &self.config.upstream {
            // First, so that an error does not end the looks.
            self.state.storage().set_alarm(upstream.interval).await?;
            for pair in &upstream.pairs {
                if self.watched(pair).await.next_at <= now().micros() {
                    self.pull(Key::Client(pair.client().to_owned())).await;
                }
            }
        }
        Response::empty()
    }
}

impl Pulls {
    /// Brings in what there is of a key; who asks for the same meanwhile is told the same.
    async fn pull(&self, key: Key) -> Told {
        let key = match self
            .config
            .upstream
            .as_ref()
            .map(|of| of.named(&key.by_ref()))
        {
            Some(Some(pair)) => Key::Client(pair.client().to_owned()),
            Some(None) => return Told::Unknown,
            None => key,
        };
        let lock = Rc::clone(self.asking.borrow_mut().entry(key.clone()).or_default());
        let mut recent = lock.lock().await;
        let told = match &*recent {
            Some((told, at)) if (*at..at + RECENT).contains(&now().micros()) => told.clone(),
            _ => {
                let told = self.ask(&key).await.unwrap_or_else(|error| {
                    console_warn!("{error}");
                    Told::Later
                });
                *recent = Some((told.clone(), now().micros()));
                told
            }
        };
        drop(recent);
        // One is the caller's, one the table's.
        if Rc::strong_count(&lock) <= 2 {
            self.asking.borrow_mut().remove(&key);
        }
        told
    }

    async fn ask(&self, key: &Key) -> Result<Told, Unavailable> {
        let Some(upstream) = &self.config.upstream else {
            return self.ask_control_plane(key).await;
        };
        let Some(pair) = upstream.named(&key.by_ref()) else {
            return Ok(Told::Unknown);
        };
        looks::look(self, upstream, pair).await?;
        let held = self.held(pair.client()).await?;
        Ok(held.map_or(Told::Later, |held| Told::Held {
            environment: held.environment_key().to_owned(),
            version: held.version(),
        }))
    }

    async fn ask_control_plane(&self, key: &Key) -> Result<Told, Unavailable> {
        let (Some(home), Some(secret)) = (&self.config.home, &self.config.publishing_secret) else {
            return Ok(Told::Unknown);
        };
        let by_ref = key.by_ref();
        let leave = self.gate.borrow_mut().leave(&by_ref, now());
        match leave {
            Leave::Ask => {}
            Leave::Unknown => return Ok(Told::Unknown),
            Leave::Later | Leave::Wait => return Ok(Told::Later),
        }
        let pulled = self.question(&home.url, secret, &by_ref).await;
        self.gate.borrow_mut().learn(&by_ref, &pulled, now());
        match pulled {
            Pulled::Unknown => Ok(Told::Unknown),
            Pulled::Trouble(problem) => Err(Unavailable(problem)),
            Pulled::Package(package) => {
                let meta = package.meta();
                file(&self.env, &package).await?;
                console_log!("{} pulled from the control plane", meta.environment_key);
                Ok(Told::Held {
                    environment: meta.environment_key,
                    version: meta.version,
                })
            }
        }
    }

    async fn question(&self, url: &str, secret: &[u8], key: &KeyRef<'_>) -> Pulled {
        let request = match pull_through::request(url, secret, key, now()) {
            Ok(request) => request,
            Err(error) => return Pulled::Trouble(error.to_string()),
        };
        match ask(&request, ROOM, SILENCE).await {
            Ok(answer) => {
                let head = (answer.status, &answer.headers);
                pull_through::receive(secret, key, head, answer.body, now())
            }
            Err(error) => Pulled::Trouble(error),
        }
    }

    /// What is held of an environment, by the object that files publications.
    async fn held(&self, environment: &str) -> Result<Option<Snapshot>, Unavailable> {
        let newer = Environments(&self.env)
            .newer_than(&[(environment.to_owned(), 0)])
            .await?;
        match newer.first() {
            Some((environment, version)) => read(&self.env, environment, *version).await,
            None => Ok(None),
        }
    }

    async fn looks(&self) -> Vec<Look> {
        let mut looks = Vec::new();
        let pairs = self.config.upstream.as_ref();
        for pair in pairs.into_iter().flat_map(|upstream| &upstream.pairs) {
            let status = self.watched(pair).await.watch.status(pair);
            looks.push(Look {
                environment_key: status.environment_key,
                confirmed_at: status.confirmed_at.map(Timestamp::micros),
                problem: status.problem,
            });
        }
        looks
    }

    async fn watched(&self, pair: &KeyPair) -> Watched {
        if let Some(watched) = self.watched.borrow().get(pair.client()) {
            return watched.clone();
        }
        let stored = self.state.storage().get::<String>(pair.client()).await;
        let stored = stored.ok().flatten().unwrap_or_default();
        Watched {
            watch: serde_json::from_str(&stored).unwrap_or_default(),
            ..Watched::default()
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(now_millis())
}
