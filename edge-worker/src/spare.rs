//! Spare copies of what this data centre serves, in its cache (Cache API).
//!
//! Not on the way of a request: memory answers faster than the cache, and `/flags/` kept there could
//! only be found by a version that a cold isolate does not know yet. The spare copies are for the day
//! when KV does not answer: an isolate that starts then still finds what its neighbours served, and
//! flags are served as if it had been in memory all along.

use bytes::Bytes;
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::wasm_bindgen;
use worker::js_sys::futures::JsFuture;
use worker::js_sys::{Promise, Uint8Array};
use worker::{Context, console_warn};

use crate::store::Key;

/// Largest value that is kept, in bytes: the copy passes through the isolate's memory.
const MAX_BYTES: usize = 8 << 20;

#[wasm_bindgen(module = "/src/glue.js")]
extern "C" {
    #[wasm_bindgen(js_name = keepSpare)]
    fn keep_spare(name: &str, bytes: Uint8Array) -> Promise;
    #[wasm_bindgen(js_name = findSpare)]
    fn find_spare(name: &str) -> Promise;
}

/// Keeps a value that has just been taken in, after the reply.
pub(crate) fn keep(context: &Context, key: Key<'_>, value: &Bytes) {
    let (name, value) = (name(key), value.clone());
    context.wait_until(async move { put(&name, &value).await });
}

/// Keeps a value now.
pub(crate) async fn keep_now(key: Key<'_>, value: &Bytes) {
    put(&name(key), value).await;
}

/// Without a cache, as on `workers.dev`, nothing comes of it.
async fn put(name: &str, value: &Bytes) {
    if value.len() > MAX_BYTES {
        return;
    }
    let value = Uint8Array::from(value.as_ref());
    if let Err(error) = JsFuture::from(keep_spare(name, value)).await {
        console_warn!("no spare copy kept: {error:?}");
    }
}

/// The spare copy of a value.
pub(crate) async fn find(key: Key<'_>) -> Option<Bytes> {
    let found = JsFuture::from(find_spare(&name(key))).await.ok()?;
    let found: Uint8Array = found.dyn_into().ok()?;
    Some(Bytes::from(found.to_vec()))
}

/// A key in letters that any URL may have.
fn name(key: Key<'_>) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16);
    let key = key.to_string();
    let halves = key.bytes().flat_map(|byte| [byte >> 4, byte & 15]);
    halves.filter_map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::{Key, name};

    #[test]
    fn any_key_becomes_a_name() {
        assert_eq!(name(Key::Environment("é")), "656e762fc3a9");
    }
}
