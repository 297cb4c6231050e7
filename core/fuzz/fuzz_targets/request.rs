//! Whole requests: a first line `METHOD path?query`, a second with a content type, and the body.
#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use yardarm_core::edge::{Host as _, handle};
use yardarm_core::snapshot::{Publication, compile};
use yardarm_core::testing::{MemoryHost, run_ready};
use yardarm_core::time::Timestamp;

const KEY: &str = "fuzzEnvironmentKey0001";

static PUBLICATION: LazyLock<Publication> = LazyLock::new(|| {
    serde_json::from_value(serde_json::json!({
        "version": 1,
        "updated_at_micros": 1,
        "document": {
            "id": 1, "api_key": KEY,
            "project": { "id": 1, "organisation": { "id": 1 } },
            "feature_states": [{ "feature": { "id": 1, "name": "f" } }],
            "identity_overrides": [{
                "identifier": "i",
                "identity_features": [{ "feature": { "id": 1, "name": "f" } }]
            }]
        }
    }))
    .expect("a publication")
});

fuzz_target!(|input: &[u8]| {
    let mut parts = input.splitn(3, |byte| *byte == b'\n');
    let (line, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let body = Bytes::copy_from_slice(parts.next().unwrap_or_default());
    let Some((method, target)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(' '))
    else {
        return;
    };
    let request = http::Request::builder()
        .method(method)
        .uri(target)
        .header("x-environment-key", KEY)
        .header("content-type", kind)
        .header("if-modified-since", kind)
        .body(body);
    let Ok(request) = request else { return };
    let host = MemoryHost::new(Some(b"secret"), Timestamp::from_secs(1));
    run_ready(host.install(&compile(&PUBLICATION).0)).expect("a store in memory works");
    let reply = run_ready(handle(&host, request)).reply;
    assert!(!reply.status().is_server_error());
});
