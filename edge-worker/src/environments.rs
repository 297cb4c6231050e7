//! Talking to the object that files publications: what is asked, and the calls.
//!
//! The object's side is [`crate::objects::environments`].

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::Env;
use worker::js_sys::futures::JsFuture;
use worker::js_sys::{Promise, Reflect, Uint8Array};
use yardarm_core::edge::{self, Held, Unavailable};
use yardarm_core::snapshot::{Package, Snapshot};

#[wasm_bindgen(module = "/src/glue.js")]
extern "C" {
    #[wasm_bindgen(js_name = callObject)]
    fn glue_call_object(
        namespace: &JsValue,
        name: &str,
        path: &str,
        body: Option<Uint8Array>,
    ) -> Promise;
}

/// Name of the binding in `wrangler.toml`.
const BINDING: &str = "ENVIRONMENTS";
/// There is one such object: what is held is then one table, and one request asks after every
/// environment of an isolate.
const NAME: &str = "environments";

/// What the object needs to know of a package before its parts are written.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Announcement {
    /// The environment's client-side key.
    pub(crate) environment_key: String,
    /// Version of the package.
    pub(crate) version: u64,
    /// SHA-256 of every server-side key, lower-case hex.
    pub(crate) server_keys: Vec<String>,
    /// SHA-256 of every part, lower-case hex.
    pub(crate) parts: Vec<String>,
    /// Numbers of the parts that came with it.
    pub(crate) came: Vec<u32>,
}

impl From<&Package> for Announcement {
    fn from(package: &Package) -> Self {
        let meta = package.meta();
        let snapshot = package.opened();
        let numbers = 0..snapshot.parts();
        Self {
            environment_key: meta.environment_key,
            version: meta.version,
            server_keys: meta.server_keys,
            parts: part_names(snapshot),
            came: numbers
                .filter(|number| package.part(*number).is_some())
                .collect(),
        }
    }
}

/// SHA-256 of every part of a version, lower-case hex.
pub(crate) fn part_names(snapshot: &Snapshot) -> Vec<String> {
    let names = (0..snapshot.parts()).filter_map(|number| snapshot.part_name(number));
    names.map(|name| name.to_hex()).collect()
}

/// What the object says to an announcement or a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Newer than what is held. To an announcement: go on, and these parts are not in the store. To a
    /// commit: with none, done; with any, not yet.
    Newest {
        /// Numbers of the parts.
        missing: Vec<u32>,
    },
    /// This version is held.
    Already,
    /// A newer one is held.
    Older(u64),
}

/// One row of what is held; the wire form of [`Held`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    /// The environment's client-side key.
    pub(crate) environment_key: String,
    /// Version held.
    pub(crate) version: u64,
    /// SHA-256 of the package's content, lower-case hex.
    pub(crate) content_hash: String,
    /// Whether it is a tombstone (0 or 1, as the table has it).
    pub(crate) gone: u8,
}

impl From<Row> for Held {
    fn from(row: Row) -> Self {
        Self {
            environment_key: row.environment_key,
            version: row.version,
            content_hash: row.content_hash,
            gone: row.gone != 0,
        }
    }
}

/// A caller of the object.
pub(crate) struct Environments<'a>(pub(crate) &'a Env);

impl Environments<'_> {
    /// Says that a package is about to be written.
    pub(crate) async fn announce(&self, package: &Announcement) -> Result<Verdict, Unavailable> {
        let body = encode(package)?;
        decode(&self.call("/announce", Some(&body)).await?)
    }

    /// Says that these parts are written, and makes the package the current one if none is missing.
    pub(crate) async fn commit(
        &self,
        snapshot: &[u8],
        written: &[u32],
    ) -> Result<Verdict, Unavailable> {
        let written: Vec<String> = written.iter().map(u32::to_string).collect();
        let path = format!("/commit/{}", written.join(","));
        decode(&self.call(&path, Some(snapshot)).await?)
    }

    /// Which of these environments have a newer version, and which.
    pub(crate) async fn newer_than(
        &self,
        versions: &[(String, u64)],
    ) -> Result<Vec<(String, u64)>, Unavailable> {
        let body = encode(&versions)?;
        decode(&self.call("/newer", Some(&body)).await?)
    }

    /// Everything that is held.
    pub(crate) async fn held(&self) -> Result<Vec<Held>, Unavailable> {
        let rows: Vec<Row> = decode(&self.call("/held", None).await?)?;
        Ok(rows.into_iter().map(Held::from).collect())
    }

    async fn call(&self, path: &str, body: Option<&[u8]>) -> Result<Vec<u8>, Unavailable> {
        let answer = call_object(self.0, BINDING, NAME, path, body).await;
        answer.map_err(|error| Unavailable(format!("environments object {path}: {error}")))
    }
}

/// Calls one of our own objects: with a body POST, without GET. Anything but 200 is an error.
pub(crate) async fn call_object(
    env: &Env,
    binding: &str,
    name: &str,
    path: &str,
    body: Option<&[u8]>,
) -> worker::Result<Vec<u8>> {
    let namespace = Reflect::get(env, &JsValue::from_str(binding))?;
    let answer = glue_call_object(&namespace, name, path, body.map(Uint8Array::from));
    let bytes: Uint8Array = JsFuture::from(answer).await?.unchecked_into();
    Ok(bytes.to_vec())
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Unavailable> {
    serde_json::to_vec(value).map_err(|error| Unavailable(format!("cannot encode: {error}")))
}

pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unavailable> {
    edge::read_json(body).map_err(|error| Unavailable(format!("cannot decode: {error}")))
}
