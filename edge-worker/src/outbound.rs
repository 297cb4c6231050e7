//! What this Worker asks of others: an upstream, its control plane.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::js_sys::futures::JsFuture;
use worker::js_sys::{Promise, Uint8Array};

#[wasm_bindgen(module = "/src/outbound.js")]
extern "C" {
    #[wasm_bindgen(js_name = ask)]
    fn glue_ask(url: &str, headers: &str, room: u32, silence: u32) -> Promise;
    type Told;
    #[wasm_bindgen(method, getter)]
    fn status(this: &Told) -> u16;
    #[wasm_bindgen(method, getter)]
    fn headers(this: &Told) -> String;
    #[wasm_bindgen(method, getter)]
    fn body(this: &Told) -> Uint8Array;
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Asks, and reads at most `room` bytes of an answer that must be whole in `silence`. The error says why it is
/// not, and names no header.
pub(crate) async fn ask(
    request: &Request<Bytes>,
    room: usize,
    silence: Duration,
) -> Result<Answer, String> {
    let mut lines = String::new();
    for (name, value) in request.headers() {
        if let Ok(value) = value.to_str() {
            for part in [name.as_str(), "\n", value, "\n"] {
                lines.push_str(part);
            }
        }
    }
    let room = u32::try_from(room).unwrap_or(u32::MAX);
    let silence = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
    let asking = glue_ask(&request.uri().to_string(), &lines, room, silence);
    let told = JsFuture::from(asking)
        .await
        .map_err(|error| reason(&error))?;
    let told: Told = told.unchecked_into();
    let mut headers = HeaderMap::new();
    let told_headers = told.headers();
    let mut lines = told_headers.split('\n');
    while let (Some(name), Some(value)) = (lines.next(), lines.next()) {
        if let Ok(name) = HeaderName::try_from(name)
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.append(name, value);
        }
    }
    Ok(Answer {
        status: StatusCode::from_u16(told.status()).unwrap_or(StatusCode::BAD_GATEWAY),
        headers,
        body: Bytes::from(told.body().to_vec()),
    })
}

fn reason(error: &JsValue) -> String {
    let error: Option<&worker::js_sys::Error> = error.dyn_ref();
    error.map_or_else(
        || "no answer".to_owned(),
        |error| String::from(error.message()),
    )
}
