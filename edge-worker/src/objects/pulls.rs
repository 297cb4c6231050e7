//! The object that pulls: packages that the control plane has of keys somebody asks with, or the documents of an existing
//! Flagsmith, looked at by alarm. One object, so that each question is asked once.

#[cfg(feature = "upstream")]
mod looks;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use futures_util::lock::Mutex;
use worker::{
    DurableObject, Env, Request, Response, State, console_log, console_warn, durable_object,
};
use yardarm_core::edge::pull_through::{self, Gate, Key, Leave, Pulled};
use yardarm_core::edge::{KeyRef, Unavailable};
use yardarm_core::time::Timestamp;

use crate::config::Config;
use crate::environments::Environments;
use crate::host::now_millis;
use crate::outbound::ask;
use crate::pulls::{Told, read_key};
use crate::snapshots::file;

/// The largest document or package, in bytes: it is in memory several times while it is compiled.
const ROOM: usize = 16 << 20;
/// How long the control plane may take.
const SILENCE: Duration = Duration::from_secs(10);
/// How long an answer serves those who asked meanwhile, in microseconds.
const RECENT: i64 = 2_000_000;

/// The object.
#[cfg_attr(feature = "upstream", durable_object(alarm))]
#[cfg_attr(not(feature = "upstream"), durable_object(fetch))]
pub struct Pulls {
    env: Env,
    config: Rc<Config>,
    gate: RefCell<Gate>,
    /// Few at a time, as questions are rationed.
    asking: RefCell<Vec<(Key, Asking)>>,
    #[cfg(feature = "upstream")]
    looks: looks::Looks,
}

/// A question: who asks it waits here, and finds what the one before was told, and when.
type Asking = Rc<Mutex<Option<(Answer, i64)>>>;

/// What is told of a key; `None` where that cannot be told now.
type Answer = Option<Told>;

impl DurableObject for Pulls {
    #[cfg_attr(
        not(feature = "upstream"),
        expect(unused_variables, reason = "only looks are written down")
    )]
    fn new(state: State, env: Env) -> Self {
        Self {
            config: Config::of(&env),
            env,
            gate: RefCell::default(),
            asking: RefCell::default(),
            #[cfg(feature = "upstream")]
            looks: looks::Looks::new(state),
        }
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        #[cfg(feature = "upstream")]
        if let Some(upstream) = &self.config.upstream {
            self.looks.go_on(upstream).await?;
            if request.path() == "/looks" {
                return Response::from_json(&self.looks.stand(upstream).await);
            }
        }
        let Some(key) = read_key(&request.text().await?) else {
            return Response::error("no such call", 404);
        };
        match self.pull(key).await {
            Some(told) => Response::from_json(&told),
            None => Response::error("nothing was pulled", 503),
        }
    }

    #[cfg(feature = "upstream")]
    async fn alarm(&self) -> worker::Result<Response> {
        if let Some(upstream) = &self.config.upstream {
            // First, so that an error does not end the looks.
            self.looks.set_alarm(upstream).await?;
            for key in self.looks.due(upstream).await {
                self.pull(key).await;
            }
        }
        Response::empty()
    }
}

impl Pulls {
    /// Brings in what there is of a key; who asks for the same meanwhile is told the same.
    async fn pull(&self, key: Key) -> Answer {
        #[cfg(feature = "upstream")]
        let key = match self
            .config
            .upstream
            .as_ref()
            .map(|of| of.named(&key.by_ref()))
        {
            Some(Some(pair)) => Key::Client(pair.client().to_owned()),
            Some(None) => return Some(Told::new()),
            None => key,
        };
        let lock = self.asking(&key);
        let mut recent = lock.lock().await;
        let answer = match &*recent {
            Some((answer, at)) if (*at..at + RECENT).contains(&now().micros()) => answer.clone(),
            _ => {
                let told = self.ask(&key).await;
                let answer = told.inspect_err(|error| console_warn!("{error}")).ok();
                *recent = Some((answer.clone(), now().micros()));
                answer
            }
        };
        drop(recent);
        // One is the caller's, one the list's.
        if Rc::strong_count(&lock) <= 2 {
            self.asking.borrow_mut().retain(|(of, _)| *of != key);
        }
        answer
    }

    /// The question about a key.
    fn asking(&self, key: &Key) -> Asking {
        let mut all = self.asking.borrow_mut();
        if let Some((_, asking)) = all.iter().find(|(of, _)| of == key) {
            return Rc::clone(asking);
        }
        let asking = Asking::default();
        all.push((key.clone(), Rc::clone(&asking)));
        asking
    }

    async fn ask(&self, key: &Key) -> Result<Told, Unavailable> {
        let key = key.by_ref();
        #[cfg(feature = "upstream")]
        if let Some(upstream) = &self.config.upstream {
            return looks::look_at(self, upstream, &key).await;
        }
        // KV says for a minute that there is nothing, where it was asked before there was.
        if let KeyRef::Client(environment) = key
            && let held = self.held(environment).await?
            && !held.is_empty()
        {
            return Ok(held);
        }
        let Some((url, secret)) = self.config.control_plane() else {
            return Ok(Told::new());
        };
        let leave = self.gate.borrow_mut().leave(&key, now());
        match leave {
            Leave::Ask => {}
            Leave::Unknown => return Ok(Told::new()),
            Leave::Later | Leave::Wait => {
                let why = "the control plane is not asked now";
                return Err(Unavailable(why.to_owned()));
            }
        }
        let pulled = question(url, secret, &key).await;
        self.gate.borrow_mut().learn(&key, &pulled, now());
        match pulled {
            Pulled::Unknown => Ok(Told::new()),
            Pulled::Trouble(problem) => Err(Unavailable(problem)),
            Pulled::Package(package) => {
                let meta = package.meta();
                file(&self.env, &package).await?;
                console_log!("{} pulled from the control plane", meta.environment_key);
                Ok(vec![(meta.environment_key, meta.version)])
            }
        }
    }

    /// What is held of an environment, by the object that files publications.
    async fn held(&self, environment: &str) -> Result<Told, Unavailable> {
        let any = [(environment.to_owned(), 0)];
        Environments(&self.env).newer_than(&any).await
    }
}

async fn question(url: &str, secret: &[u8], key: &KeyRef<'_>) -> Pulled {
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

fn now() -> Timestamp {
    Timestamp::from_millis(now_millis())
}
