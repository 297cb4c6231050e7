//! The signed request that brings a delivery to the control plane.

use wasm_bindgen::JsCast as _;
use wasm_bindgen::prelude::{JsValue, wasm_bindgen};
use worker::js_sys::futures::JsFuture;
use worker::js_sys::{JsString, Promise, Uint8Array};
use yardarm_core::edge::delivery::{self, Verdict};
use yardarm_core::edge::signature;

use crate::config::Config;
use crate::host::now_millis;

#[wasm_bindgen(module = "/src/glue.js")]
extern "C" {
    #[wasm_bindgen(js_name = sendHome)]
    fn send_home(url: &str, body: Uint8Array, timestamp: &str, signature: &str) -> Promise;
}

/// Sends a delivery; gives what became of it, and what the operator has to know of that.
pub(crate) async fn send(config: &Config, body: &[u8]) -> (Verdict, String) {
    let (Some(home), Some(secret)) = (&config.home, &config.publishing_secret) else {
        let told = "CONTROL_PLANE_URL needs the secret PUBLISHING_SECRET";
        return (Verdict::Later, told.to_owned());
    };
    let url = format!("{}{}", home.url, delivery::PATH);
    let seconds = now_millis() / 1_000;
    let signed = signature::sign(secret, "POST", path(&url), seconds, body);
    let answer = send_home(&url, Uint8Array::from(body), &seconds.to_string(), &signed);
    let told: String = match JsFuture::from(answer).await {
        Ok(told) => told.unchecked_into::<JsString>().into(),
        Err(error) => format!("0 {}", text(&error)),
    };
    let (status, said) = told.split_once(' ').unwrap_or((&told, ""));
    let verdict = Verdict::of(status.parse().unwrap_or(0), said);
    (verdict, told)
}

/// The path of an absolute URL without a query.
fn path(url: &str) -> &str {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(authority..).unwrap_or_default();
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
}

fn text(error: &JsValue) -> String {
    error.as_string().unwrap_or_else(|| "failed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::path;

    #[test]
    fn the_path_of_a_url() {
        for (url, expected) in [
            ("https://a.example/api/v1/", "/api/v1/"),
            ("http://127.0.0.1:8000/x/y", "/x/y"),
            ("https://a.example", "/"),
        ] {
            assert_eq!(path(url), expected);
        }
    }
}
