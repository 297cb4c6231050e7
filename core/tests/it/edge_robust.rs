//! Whatever comes in, there is an answer.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request};
use proptest::prelude::*;
use serde_json::json;
use yardarm_core::edge::{Host as _, READ_HEADERS, handle};
use yardarm_core::snapshot::compile;
use yardarm_core::testing::{MemoryHost, run_ready};
use yardarm_core::time::Timestamp;

const KEY: &str = "robustEnvironmentKey01";

fn host() -> MemoryHost {
    let publication = serde_json::from_value(json!({
        "version": 1,
        "updated_at_micros": 1,
        "document": {
            "id": 1, "api_key": KEY, "name": "e",
            "project": { "id": 1, "organisation": { "id": 1 } },
            "feature_states": [{ "feature": { "id": 1, "name": "f" }, "enabled": true }],
            "identity_overrides": [{
                "identifier": "i",
                "identity_features": [{ "feature": { "id": 1, "name": "f" } }]
            }]
        }
    }));
    let host = MemoryHost::new(Some(b"secret"), Timestamp::from_secs(1));
    let publication = publication.expect("a publication");
    run_ready(host.install(&compile(&publication).0)).expect("a store in memory works");
    host
}

fn path() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "/api/v1/flags/",
        "/api/v1/flags",
        "/api/v1/flags/i",
        "/api/v1/flags/1/multivariate-options/",
        "/api/v1/identities/",
        "/api/v1/identities/i/",
        "/api/v1/identities/i/traits/k",
        "/api/v1/traits/",
        "/api/v1/traits/bulk/",
        "/api/v1/traits/increment-value/",
        "/api/v1/environment-document/",
        "/api/v1/analytics/flags/",
        "/api/v2/analytics/flags/",
        "/edge/v1/environments",
        "/edge/v1/environments/k",
        "/health",
        "/version/",
    ]);
    let query = "(\\?(identifier|feature|transient|format)=[a-z%0-9+&=;]{0,8})?";
    prop_oneof![
        8 => (known, query).prop_map(|(path, query)| format!("{path}{query}")),
        1 => "(/[a-zA-Z0-9%._~!$&'()*+,;=:@-]{0,9}){1,5}",
        1 => "/api/v1/(flags|identities|traits)/[a-z%0-9/.]{0,12}",
    ]
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    let json = prop_oneof![
        Just(r#"{"identifier":"i","traits":[{"trait_key":"k","trait_value":1}]}"#),
        Just(r#"[{"identity":{"identifier":"i"},"trait_key":"k","trait_value":null}]"#),
        Just(r#"{"identity":{"identifier":"i"},"trait_key":"k","trait_value":[{}]}"#),
        Just(r#"{"evaluations":[{"feature_name":"f","enabled_when_evaluated":1,"count":2}]}"#),
        Just(r#"{"identifier":"i","trait_key":"k","increment_by":9223372036854775807}"#),
    ];
    // Whole, cut short, or with one byte changed; or anything at all.
    let damaged = (
        json,
        any::<prop::sample::Index>(),
        any::<u8>(),
        any::<bool>(),
    );
    prop_oneof![
        damaged.prop_map(|(json, at, byte, cut)| {
            let mut bytes = json.as_bytes().to_vec();
            let at = at.index(bytes.len());
            if cut {
                bytes.truncate(at);
            } else {
                bytes[at] = byte;
            }
            bytes
        }),
        prop::collection::vec(any::<u8>(), 0..64),
        "[\\[\\]{}\",:0-9eE.+\\\\u -]{0,40}".prop_map(String::into_bytes),
    ]
}

fn header() -> impl Strategy<Value = (HeaderName, HeaderValue)> {
    let name = prop::sample::select(READ_HEADERS.to_vec());
    let known = prop::sample::select(vec![
        KEY,
        "ser.x",
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "*/*",
        "text/html;q=x,,",
        "*",
        "\"x\", W/\"y",
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "-99999999999999999999",
        "1",
    ]);
    let value = prop_oneof![
        3 => known.prop_map(HeaderValue::from_static),
        1 => prop::collection::vec(32_u8..=255, 0..24).prop_filter_map("a header", |bytes| {
            HeaderValue::from_bytes(&bytes).ok()
        }),
    ];
    (name, value)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn every_request_gets_an_answer(
        method in prop_oneof!["GET", "POST", "PUT", "HEAD", "OPTIONS", "PATCH", "[A-Z!#]{1,7}"],
        path in path(),
        headers in prop::collection::vec(header(), 0..5),
        with_key in prop::bool::weighted(0.8),
        is_json in prop::bool::weighted(0.8),
        body in body(),
    ) {
        let Ok(mut request) = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(path)
            .body(Bytes::from(body))
        else {
            return Ok(());
        };
        for (name, value) in headers {
            request.headers_mut().append(name, value);
        }
        if with_key {
            request.headers_mut().insert("x-environment-key", HeaderValue::from_static(KEY));
        }
        if is_json {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert("content-type", json);
        }
        let is_head = request.method() == Method::HEAD;
        let reply = run_ready(handle(&host(), request)).reply;
        let status = reply.status();
        prop_assert!(status.is_success() || status.is_redirection() || status.is_client_error());
        prop_assert!(!is_head || reply.body().is_empty());
        // What says it is JSON is JSON, in ASCII.
        let is_json = reply.headers().get("content-type").is_some_and(|of| of == "application/json");
        if is_json && !is_head {
            prop_assert!(reply.body().is_ascii());
            prop_assert!(serde_json::from_slice::<serde_json::Value>(reply.body()).is_ok());
        }
    }
}
