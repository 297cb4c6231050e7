//! Talking to the objects that hold event streams: what is asked, and the calls.
//!
//! An environment's streams are shared among a few objects, `STREAM_SHARDS`; each stream goes to one of
//! them at random. The objects' side is [`crate::objects::streams`].

use bytes::Bytes;
use futures_util::future::join_all;
use http::Response;
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsCast as _;
use wasm_bindgen::closure::Closure;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::js_sys::futures::{JsFuture, future_to_promise};
use worker::js_sys::{Promise, Reflect};
use worker::{Env, console_warn, web_sys};
use yardarm_core::edge::Unavailable;
use yardarm_core::edge::stream::{Subscription, event};
use yardarm_core::snapshot::Snapshot;

use crate::config::Config;
use crate::environments::{call_object, encode};
use crate::snapshots::catch_up;
use crate::wire;

#[wasm_bindgen(module = "/src/streams.js")]
extern "C" {
    #[wasm_bindgen(js_name = openStream)]
    fn open_stream(
        namespace: &JsValue,
        name: &str,
        opening: &str,
        head: &JsValue,
        heard: &JsValue,
    ) -> Promise;
}

/// Name of the binding in `wrangler.toml`.
const BINDING: &str = "STREAMS";

/// What there is to tell of an environment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct News {
    /// Its client-side key.
    pub(crate) environment_key: String,
    /// Its version.
    pub(crate) version: u64,
    /// What is sent to who listens; `None` once it is deleted.
    pub(crate) event: Option<String>,
}

impl News {
    /// The news that a snapshot is.
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let event = (!snapshot.settings().gone).then(|| event(snapshot));
        Self {
            environment_key: snapshot.environment_key().to_owned(),
            version: snapshot.version(),
            event: event.map(|event| String::from_utf8_lossy(&event).into_owned()),
        }
    }
}

/// What an object is asked for a stream with.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Opening {
    /// What the isolate that asks knows.
    pub(crate) news: News,
    /// What the stream begins with, before the event.
    pub(crate) retry: String,
}

/// Opens a stream under a head; `None` where the object has no room.
pub(crate) async fn open(
    env: &Env,
    head: &Response<Bytes>,
    subscription: &Subscription,
    shard: u8,
) -> worker::Result<Option<web_sys::Response>> {
    let news = News::of(&subscription.snapshot);
    let environment_key = news.environment_key.clone();
    let opening = Opening {
        news,
        retry: String::from_utf8_lossy(&subscription.retry).into_owned(),
    };
    let opening = serde_json::to_string(&opening)?;
    let namespace = Reflect::get(env, &JsValue::from_str(BINDING))?;
    let name = name(&environment_key, shard);
    let heard = heard(env.clone(), environment_key);
    let opened = open_stream(&namespace, &name, &opening, &wire::head_of(head)?, &heard);
    Ok(JsFuture::from(opened).await?.dyn_into().ok())
}

/// Called with each version that passes by, on the way to the client, who asks as soon as it hears.
fn heard(env: Env, environment_key: String) -> JsValue {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "JavaScript has whole numbers in a float; versions are below 2^53"
    )]
    let heard = move |version: f64| {
        let (env, environment_key) = (env.clone(), environment_key.clone());
        future_to_promise(async move {
            catch_up(&env, &environment_key, version as u64).await;
            Ok(JsValue::UNDEFINED)
        })
    };
    Closure::<dyn Fn(f64) -> Promise>::new(heard).into_js_value()
}

/// Tells every object that may hold streams of an environment. One that cannot be reached finds out by
/// itself.
pub(crate) async fn tell(env: &Env, news: &News) {
    let body = match encode(news) {
        Ok(body) => body,
        Err(Unavailable(error)) => {
            console_warn!("{error}");
            return;
        }
    };
    let shards = 0..Config::of(env).streams.shards;
    let telling = shards.map(async |shard| {
        let name = name(&news.environment_key, shard);
        if let Err(error) = call_object(env, BINDING, &name, "/tell", Some(&body)).await {
            console_warn!("streams object {name}: {error}");
        }
    });
    join_all(telling).await;
}

/// The name of an object. The shard stands first, so that no key can run into it.
fn name(environment_key: &str, shard: u8) -> String {
    format!("{shard}/{environment_key}")
}
