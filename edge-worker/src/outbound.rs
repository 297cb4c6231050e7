//! What this Worker asks of others: its control plane, an existing Flagsmith.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::js_sys::futures::JsFuture;
use worker::js_sys::{Promise, Uint8Array};
use yardarm_core::edge::ANSWER_HEADERS;

use crate::wire::format_headers;

#[wasm_bindgen(module = "/src/outbound.js")]
extern "C" {
    #[wasm_bindgen(js_name = ask)]
    fn glue_ask(
        method: &str,
        url: &str,
        headers: &str,
        body: Option<Uint8Array>,
        room: u32,
        silence: u32,
    ) -> Promise;
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
    /// Those of [`ANSWER_HEADERS`].
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
    let body = request.body();
    let body = (!body.is_empty()).then(|| Uint8Array::from(body.as_ref()));
    let asking = glue_ask(
        request.method().as_str(),
        &request.uri().to_string(),
        &format_headers(request.headers()),
        body,
        u32::try_from(room).unwrap_or(u32::MAX),
        u32::try_from(silence.as_millis()).unwrap_or(u32::MAX),
    );
    let told = JsFuture::from(asking).await;
    let told: Told = told.map_err(|error| reason(&error))?.unchecked_into();
    Ok(Answer {
        status: StatusCode::from_u16(told.status()).unwrap_or(StatusCode::BAD_GATEWAY),
        headers: parse_headers(&told.headers()),
        body: Bytes::from(told.body().to_vec()),
    })
}

/// Those of `name\nvalue\n…` that somebody here reads.
fn parse_headers(lines: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut lines = lines.split('\n');
    while let (Some(name), Some(value)) = (lines.next(), lines.next()) {
        // By text, names would bring the table of all that HTTP knows into the module.
        let name = ANSWER_HEADERS.iter().find(|known| known.as_str() == name);
        if let Some(name) = name
            && let Ok(value) = HeaderValue::from_str(value)
        {
            headers.append(name, value);
        }
    }
    headers
}

fn reason(error: &JsValue) -> String {
    let error: Option<&worker::js_sys::Error> = error.dyn_ref();
    error.map_or_else(
        || "no answer".to_owned(),
        |error| String::from(error.message()),
    )
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn headers_that_nobody_reads_are_left_out() {
        let headers = parse_headers("content-type\na/b\netag\n\"1\"\nlink\na\nlink\nb\n");
        let text = |(name, value): (&HeaderName, &HeaderValue)| format!("{name}: {value:?}");
        let told: Vec<String> = headers.iter().map(text).collect();
        assert_eq!(told, [r#"etag: "\"1\"""#, r#"link: "a""#, r#"link: "b""#]);
    }
}
