//! The route of event streams: who gets one, with which head and which events.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use yardarm_core::edge::stream::{Streaming, event, refuse};
use yardarm_core::edge::{Host as _, Outcome, handle};
use yardarm_core::snapshot::{Package, compile};
use yardarm_core::testing::{MemoryHost, run_ready};
use yardarm_core::time::Timestamp;

const KEY: &str = "streamEnvironmentKey01";

fn package(version: u64, updated_at_micros: i64) -> Package {
    let publication = json!({
        "version": version,
        "updated_at_micros": updated_at_micros,
        "document": {
            "id": 1, "api_key": KEY, "name": "e",
            "project": { "id": 1, "organisation": { "id": 1 } },
            "feature_states": []
        }
    });
    compile(&serde_json::from_value(publication).expect("a publication")).0
}

fn holding(package: &Package) -> MemoryHost {
    let host = MemoryHost::new(None, Timestamp::from_secs(5));
    run_ready(host.install(package)).expect("a store in memory works");
    host
}

fn ask(host: &MemoryHost, method: &str, path: &str) -> Outcome {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("origin", "https://app.example")
        .header("last-event-id", "7")
        .body(Bytes::new());
    run_ready(handle(host, request.expect("a request")))
}

fn stream(host: &MemoryHost, key: &str) -> Outcome {
    ask(host, "GET", &format!("/sse/environments/{key}/stream"))
}

fn detail(reply: &Response<Bytes>) -> Value {
    let body: Value = serde_json::from_slice(reply.body()).expect("JSON");
    body["detail"].clone()
}

#[test]
fn a_held_environment_has_a_stream_that_any_page_may_read() {
    let host = holding(&package(7, 1_795_357_662_447_162));
    let Outcome { reply, stream, .. } = stream(&host, KEY);
    assert_eq!(reply.status(), StatusCode::OK);
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-store"),
        ("x-accel-buffering", "no"),
        ("access-control-allow-origin", "*"),
        ("x-flagsmith-document-updated-at", "1795357662.447162"),
    ] {
        assert_eq!(reply.headers()[name], value, "{name}");
    }
    let exposed = reply.headers()["access-control-expose-headers"].to_str();
    assert!(exposed.unwrap().contains("X-Flagsmith-Document-Updated-At"));
    assert!(!reply.headers().contains_key("content-length"));
    let Some(Streaming::Open(subscription)) = stream else {
        panic!("a stream is opened");
    };
    assert_eq!(subscription.snapshot.environment_key(), KEY);
    let retry = String::from_utf8(subscription.retry.to_vec()).unwrap();
    let wait = retry.strip_prefix("retry: ").unwrap();
    let wait: u16 = wait.strip_suffix('\n').unwrap().parse().unwrap();
    assert!((1_000..5_000).contains(&wait), "{wait}");
}

/// What SDKs compare an event with: the header of an answer, and the time in the document.
#[test]
fn an_event_has_the_time_of_the_answers() {
    for (micros, updated_at) in [
        (1_795_357_662_447_162, "1795357662.447162"),
        (1_795_357_662_000_000, "1795357662.0"),
        (1_795_357_662_100_000, "1795357662.1"),
    ] {
        let host = holding(&package(7, micros));
        let Some(Streaming::Open(subscription)) = stream(&host, KEY).stream else {
            panic!("a stream is opened");
        };
        assert_eq!(
            event(&subscription.snapshot),
            format!(
                "id: 7\nevent: environment_updated\ndata: {{\"updated_at\": {updated_at}}}\n\n"
            )
        );
        let flags = Request::get("/api/v1/flags/").header("x-environment-key", KEY);
        let flags = run_ready(handle(&host, flags.body(Bytes::new()).unwrap())).reply;
        assert_eq!(
            flags.headers()["x-flagsmith-document-updated-at"],
            updated_at
        );
    }
}

#[test]
fn what_is_not_held_or_deleted_has_none() {
    let host = holding(&package(7, 1));
    run_ready(host.install(&Package::tombstone(KEY, 8, 2))).unwrap();
    for key in [KEY, "unknown", "ser.unknown"] {
        let Outcome { reply, stream, .. } = stream(&host, key);
        assert_eq!(reply.status(), StatusCode::NOT_FOUND, "{key}");
        assert_eq!(detail(&reply), "Not found.");
        assert!(matches!(stream, Some(Streaming::Refused)), "{key}");
    }
}

#[test]
fn a_store_that_does_not_answer_is_no_missing_environment() {
    let host = holding(&package(7, 1));
    host.set_broken(true);
    let reply = stream(&host, KEY).reply;
    assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reply.headers()["retry-after"], "1");
}

#[test]
fn head_tells_of_a_stream_and_opens_none() {
    let host = holding(&package(7, 1));
    let path = format!("/sse/environments/{KEY}/stream");
    let Outcome { reply, stream, .. } = ask(&host, "HEAD", &path);
    assert_eq!(reply.status(), StatusCode::OK);
    assert_eq!(reply.headers()["content-type"], "text/event-stream");
    assert!(stream.is_none());
    let post = ask(&host, "POST", &path).reply;
    assert_eq!(post.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(post.headers()["allow"], "GET, HEAD");
}

#[test]
fn a_head_becomes_a_refusal_that_a_page_can_read() {
    let host = holding(&package(7, 1));
    let reply = refuse(stream(&host, KEY).reply);
    assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE);
    for (name, value) in [
        ("content-type", "application/json"),
        ("access-control-allow-origin", "*"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(reply.headers()[name], value, "{name}");
    }
    assert!(reply.headers().contains_key("retry-after"));
    assert!(detail(&reply).as_str().unwrap().contains("streams"));
}
