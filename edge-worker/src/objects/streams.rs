//! The object that holds open event streams of one environment, or a share of them.
//!
//! It has no storage: what it knows is the newest event, from the isolates that open streams here and
//! from the object that files publications. While it holds streams it also asks that object now and
//! then, so that a message that was lost delays the news and does not lose it. Without streams nothing
//! keeps it in memory, and nothing is paid for.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use wasm_bindgen::prelude::wasm_bindgen;
use worker::js_sys::Uint8Array;
use worker::js_sys::futures::spawn_local;
use worker::{
    Delay, DurableObject, Env, Request, Response, State, console_warn, durable_object, web_sys,
};
use yardarm_core::edge::Unavailable;
use yardarm_core::edge::stream::{HEARTBEAT, REPEAT_AFTER, REPEATS};

use crate::config::{self, Config};
use crate::environments::Environments;
use crate::snapshots::read;
use crate::streams::{News, Opening};

#[wasm_bindgen(module = "/src/streams.js")]
extern "C" {
    type Subscribers;

    #[wasm_bindgen(constructor)]
    fn new(
        repeats: u32,
        repeat_after: u32,
        heartbeat: Uint8Array,
        heartbeat_every: u32,
    ) -> Subscribers;
    #[wasm_bindgen(method, getter)]
    fn size(this: &Subscribers) -> u32;
    #[wasm_bindgen(method)]
    fn open(this: &Subscribers, first: Uint8Array) -> web_sys::Response;
    #[wasm_bindgen(method)]
    fn tell(this: &Subscribers, event: Uint8Array);
    #[wasm_bindgen(method)]
    fn close(this: &Subscribers);
}

/// The object.
#[durable_object(fetch)]
pub struct Streams(Rc<Shared>);

struct Shared {
    env: Env,
    settings: config::Streams,
    subscribers: Subscribers,
    newest: RefCell<Option<News>>,
    /// Whether somebody asks for what may have been missed.
    asking: Cell<bool>,
}

impl DurableObject for Streams {
    fn new(_state: State, env: Env) -> Self {
        let settings = Config::of(&env).streams;
        let subscribers = Subscribers::new(
            REPEATS,
            u32::try_from(REPEAT_AFTER.as_millis()).unwrap_or(u32::MAX),
            Uint8Array::from(&*HEARTBEAT),
            settings.heartbeat,
        );
        Self(Rc::new(Shared {
            env,
            settings,
            subscribers,
            newest: RefCell::new(None),
            asking: Cell::new(false),
        }))
    }

    async fn fetch(&self, mut request: Request) -> worker::Result<Response> {
        let body = request.bytes().await?;
        match request.path().as_str() {
            "/open" => self.0.open(super::message(&body)?),
            "/tell" => {
                self.0.learn(super::message(&body)?);
                Response::empty()
            }
            _ => Response::error("no such call", 404),
        }
    }
}

impl Shared {
    fn open(self: &Rc<Self>, opening: Opening) -> worker::Result<Response> {
        let Opening { news, retry } = opening;
        self.learn(news);
        let newest = self.newest.borrow();
        let Some(event) = newest.as_ref().and_then(|news| news.event.as_deref()) else {
            return Response::error("deleted", 404);
        };
        if self.subscribers.size() >= self.settings.per_shard {
            return Response::error("too many streams", 503);
        }
        let first = Uint8Array::from([retry.as_bytes(), event.as_bytes()].concat().as_slice());
        let response = self.subscribers.open(first);
        if !self.asking.replace(true) {
            spawn_local(Rc::clone(self).ask_now_and_then());
        }
        Ok(response.into())
    }

    /// Takes in what is new, and tells it.
    fn learn(&self, news: News) {
        let mut newest = self.newest.borrow_mut();
        if newest
            .as_ref()
            .is_some_and(|newest| newest.version >= news.version)
        {
            return;
        }
        match &news.event {
            Some(event) => self.subscribers.tell(Uint8Array::from(event.as_bytes())),
            None => self.subscribers.close(),
        }
        *newest = Some(news);
    }

    /// Asks for what may have been missed, for as long as anybody listens.
    async fn ask_now_and_then(self: Rc<Self>) {
        while self.subscribers.size() > 0 {
            if let Err(Unavailable(error)) = self.ask().await {
                console_warn!("asking for news of streams: {error}");
            }
            let pause = Duration::from_millis(self.settings.heartbeat.into());
            Delay::from(pause).await;
        }
        self.asking.set(false);
    }

    async fn ask(&self) -> Result<(), Unavailable> {
        let known = self
            .newest
            .borrow()
            .as_ref()
            .map(|news| (news.environment_key.clone(), news.version));
        let Some(known) = known else {
            return Ok(());
        };
        for (environment, version) in Environments(&self.env).newer_than(&[known]).await? {
            if let Some(snapshot) = read(&self.env, &environment, version).await? {
                self.learn(News::of(&snapshot));
            }
        }
        Ok(())
    }
}
