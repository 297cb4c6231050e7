//! What the tables cannot tell of OFREP: which changes its entity tag follows, and a store that fails.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use yardarm_core::edge::{Host as _, handle};
use yardarm_core::snapshot::compile;
use yardarm_core::testing::{MemoryHost, run_ready};
use yardarm_core::time::Timestamp;

const KEY: &str = "ofrepEnvironmentKey001";

fn publish(host: &MemoryHost, version: u64, value: &str) {
    let overriding = json!({
        "feature": { "id": 1, "name": "banner" }, "enabled": true, "feature_state_value": "hello, staff",
        "feature_segment": { "priority": 0 }
    });
    let segment = json!({
        "id": 1, "name": "staff", "feature_states": [overriding],
        "rules": [{ "type": "ALL", "rules": [], "conditions": [
            { "operator": "EQUAL", "property_": "plan", "value": "staff" }
        ] }]
    });
    let publication = json!({
        "version": version,
        "updated_at_micros": version,
        "document": {
            "id": 1, "api_key": KEY, "name": "e",
            "project": { "id": 1, "organisation": { "id": 1, "persist_trait_data": true }, "segments": [segment] },
            "feature_states": [
                { "feature": { "id": 1, "name": "banner" }, "enabled": true, "feature_state_value": value }
            ]
        }
    });
    let publication = serde_json::from_value(publication).expect("a publication");
    run_ready(host.install(&compile(&publication).0)).expect("a store in memory works");
}

fn host() -> MemoryHost {
    let host = MemoryHost::new(None, Timestamp::from_secs(5));
    publish(&host, 1, "hello");
    host
}

fn ask(host: &MemoryHost, path: &str, etag: Option<&str>, body: &Value) -> Response<Bytes> {
    let mut request = Request::builder()
        .method("POST")
        .uri(path)
        .header("x-api-key", KEY)
        .header("x-environment-key", KEY)
        .header("content-type", "application/json");
    if let Some(etag) = etag {
        request = request.header("if-none-match", etag);
    }
    let request = request.body(body.to_string().into()).expect("a request");
    run_ready(handle(host, request)).reply
}

/// All flags of a context; 304 where the tag still stands.
fn bulk(host: &MemoryHost, etag: Option<&str>, context: &Value) -> Response<Bytes> {
    let body = json!({ "context": context });
    ask(host, "/ofrep/v1/evaluate/flags", etag, &body)
}

fn etag(reply: &Response<Bytes>) -> &str {
    reply.headers()["etag"].to_str().expect("text")
}

#[test]
fn the_tag_stands_until_context_version_or_stored_traits_change() {
    let host = host();
    let ann = || json!({ "targetingKey": "ann", "plan": "free" });
    let first = bulk(&host, None, &ann());
    let tag = Some(etag(&first));
    let again = bulk(&host, tag, &ann());
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(Some(etag(&again)), tag);
    assert!(again.body().is_empty());

    // Even where the flags come out alike.
    for other in [
        json!({ "targetingKey": "bob", "plan": "free" }),
        json!({ "targetingKey": "ann", "plan": "team" }),
        json!({ "targetingKey": "ann", "plan": "staff" }),
        json!({}),
    ] {
        assert_eq!(bulk(&host, tag, &other).status(), StatusCode::OK);
    }

    let tag_of_ann = bulk(&host, None, &json!({ "targetingKey": "ann" }));
    let stored =
        json!({ "identifier": "ann", "traits": [{ "trait_key": "plan", "trait_value": "staff" }] });
    assert_eq!(
        ask(&host, "/api/v1/identities/", None, &stored).status(),
        StatusCode::OK
    );
    let after = bulk(
        &host,
        Some(etag(&tag_of_ann)),
        &json!({ "targetingKey": "ann" }),
    );
    assert_eq!(after.status(), StatusCode::OK);

    // The same flags in a newer version.
    publish(&host, 2, "hello");
    assert_eq!(bulk(&host, tag, &ann()).status(), StatusCode::OK);
}

#[test]
fn nothing_is_stored() {
    let host = host();
    bulk(
        &host,
        None,
        &json!({ "targetingKey": "ann", "plan": "staff" }),
    );
    let key = yardarm_core::edge::KeyRef::Client(KEY);
    let snapshot = run_ready(host.snapshot(key))
        .expect("works")
        .expect("is held");
    assert_eq!(
        run_ready(host.identity(&snapshot, "ann")).expect("works"),
        None
    );
}

#[test]
fn a_store_that_does_not_answer_is_no_missing_flag() {
    let host = host();
    host.set_broken(true);
    let reply = bulk(&host, None, &json!({ "targetingKey": "ann" }));
    assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.headers()["retry-after"], "1");
    let body: Value = serde_json::from_slice(reply.body()).expect("JSON");
    assert_eq!(body["errorCode"], "GENERAL");
}
