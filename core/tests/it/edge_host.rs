//! What a host gives and gets besides bytes: effects, failing stores, row ids.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use yardarm_core::edge::delivery::{Labels, Resource};
use yardarm_core::edge::{Effect, Evaluation, Host as _, Outcome, handle};
use yardarm_core::snapshot::compile;
use yardarm_core::testing::{MemoryHost, run_ready};
use yardarm_core::time::Timestamp;

const KEY: &str = "hostEnvironmentKey0001";

fn host(composite_hashing: bool) -> MemoryHost {
    let half = json!([{
        "multivariate_feature_option": { "value": "half", "key": "half" },
        "percentage_allocation": 50, "id": 1
    }]);
    let publication = json!({
        "version": 1,
        "updated_at_micros": 1,
        "document": {
            "id": 1, "api_key": KEY, "name": "e",
            "use_identity_composite_key_for_hashing": composite_hashing,
            "project": { "id": 1, "organisation": { "id": 1 } },
            "feature_states": [
                { "feature": { "id": 1, "name": "one" }, "enabled": true, "django_id": 1 },
                {
                    "feature": { "id": 2, "name": "split", "type": "MULTIVARIATE" },
                    "enabled": true, "django_id": 2, "feature_state_value": "control",
                    "multivariate_feature_state_values": half
                }
            ]
        }
    });
    let publication = serde_json::from_value(publication).expect("a publication");
    let host = MemoryHost::new(None, Timestamp::from_secs(5)).with_row_ids();
    run_ready(host.install(&compile(&publication).0)).expect("a store in memory works");
    host
}

fn ask(host: &MemoryHost, method: &str, path: &str, body: &Value) -> Outcome {
    let body = if body.is_null() {
        Bytes::new()
    } else {
        body.to_string().into()
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("x-environment-key", KEY)
        .header("x-api-key", KEY)
        .header("content-type", "application/json")
        .body(body);
    run_ready(handle(host, request.expect("a request")))
}

fn json_of(reply: &Response<Bytes>) -> Value {
    serde_json::from_slice(reply.body()).expect("JSON")
}

fn row(count: i64) -> Evaluation {
    Evaluation {
        feature_name: "one".to_owned(),
        identity_identifier: None,
        enabled_when_evaluated: None,
        count,
    }
}

#[test]
fn counts_of_known_flags_are_handed_over() {
    let host = host(true);
    let counts = json!({ "one": 3, "nope": 1, "split": "2" });
    let outcome = ask(&host, "POST", "/api/v1/analytics/flags/", &counts);
    let environment_key = KEY.to_owned();
    assert_eq!(
        outcome.effects,
        [Effect::Evaluations {
            environment_key,
            labels: Labels::default(),
            rows: vec![row(3)]
        }]
    );

    let rows = json!({ "evaluations": [
        { "feature_name": "nope", "enabled_when_evaluated": true, "count": 1 },
        { "feature_name": "one", "identity_identifier": " a ", "enabled_when_evaluated": "f", "count": "2" },
    ] });
    let outcome = ask(&host, "POST", "/api/v2/analytics/flags/", &rows);
    let expected = Evaluation {
        identity_identifier: Some("a".to_owned()),
        enabled_when_evaluated: Some(false),
        ..row(2)
    };
    let environment_key = KEY.to_owned();
    assert_eq!(
        outcome.effects,
        [Effect::Evaluations {
            environment_key,
            labels: Labels::default(),
            rows: vec![expected]
        }]
    );

    for nothing in [json!({}), json!({ "nope": 1 }), json!([])] {
        assert_eq!(
            ask(&host, "POST", "/api/v1/analytics/flags/", &nothing).effects,
            []
        );
    }
}

#[test]
fn a_store_that_fails_is_a_503_to_try_again() {
    let host = host(true);
    host.set_broken(true);
    for (method, path) in [
        ("GET", "/api/v1/flags/"),
        ("GET", "/api/v1/identities/?identifier=a"),
        ("POST", "/api/v1/identities/"),
        ("PUT", "/api/v1/traits/bulk/"),
    ] {
        let reply = ask(&host, method, path, &Value::Null).reply;
        assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(reply.headers()["retry-after"], "1");
        // What the store said is not for clients.
        let text = "Service temporarily unavailable, try again later.";
        assert_eq!(json_of(&reply), json!({ "detail": text }));
    }
    let ready = ask(&host, "GET", "/health/readiness/", &Value::Null).reply;
    assert_eq!(ready.status(), StatusCode::INTERNAL_SERVER_ERROR);
    host.set_broken(false);
    assert_eq!(
        ask(&host, "GET", "/api/v1/flags/", &Value::Null)
            .reply
            .status(),
        StatusCode::OK
    );
}

#[test]
fn rows_of_the_store_are_told() {
    let host = host(true);
    let traits = json!([{ "trait_key": "k", "trait_value": 1 }]);
    let body = json!({ "identifier": "a", "traits": traits });
    let reply = ask(&host, "POST", "/api/v1/identities/", &body).reply;
    // 1 is the identity's.
    assert_eq!(json_of(&reply)["traits"][0]["id"], 2);
    let path = "/api/v1/identities/a/traits/k";
    let reply = ask(&host, "POST", path, &json!({ "trait_value": "x" })).reply;
    let expected = json!({ "id": 2, "trait_key": "k", "trait_value": "x", "transient": false });
    assert_eq!(json_of(&reply), expected);
    let stored = host.stored(KEY, "a").expect("stored");
    assert_eq!((stored.id, stored.created_at_micros), (Some(1), 5_000_000));
}

/// By formula (flagsmith-observed.md 3.7) the MD5s of `2,1`, `2,2` and `2,3` give 68.2, 23.0 and 18.3 %.
#[test]
fn with_composite_hashing_off_the_row_decides() {
    let variant = |host: &MemoryHost, identifier: &str| {
        let path = format!("/api/v1/identities/?identifier={identifier}&feature=split");
        json_of(&ask(host, "GET", &path, &Value::Null).reply)["variant"].clone()
    };
    let host = host(false);
    let seen = ["first", "second", "third"].map(|identifier| variant(&host, identifier));
    assert_eq!(seen, ["control", "half", "half"]);
}

#[test]
fn looking_creates_the_identity_and_a_transient_look_does_not() {
    let host = host(true);
    ask(
        &host,
        "GET",
        "/api/v1/identities/?identifier=seen",
        &Value::Null,
    );
    ask(
        &host,
        "GET",
        "/api/v1/identities/?identifier=passing&transient=1",
        &Value::Null,
    );
    ask(
        &host,
        "POST",
        "/api/v1/identities/",
        &json!({ "identifier": "posing", "transient": true }),
    );
    ask(&host, "POST", "/api/v1/identities/", &json!({}));
    assert!(host.stored(KEY, "seen").is_some());
    assert!(host.stored(KEY, "passing").is_none() && host.stored(KEY, "posing").is_none());
}

#[test]
fn a_request_with_a_good_key_counts_whatever_becomes_of_it() {
    let host = host(true);
    for (method, path, body, resource) in [
        ("GET", "/api/v1/flags/", Value::Null, Some(Resource::Flags)),
        (
            "GET",
            "/api/v1/flags/?feature=nope",
            Value::Null,
            Some(Resource::Flags),
        ),
        (
            "POST",
            "/api/v1/identities/",
            json!({ "identifier": "a" }),
            Some(Resource::Identities),
        ),
        (
            "POST",
            "/api/v1/identities/",
            json!([]),
            Some(Resource::Identities),
        ),
        (
            "DELETE",
            "/api/v1/traits/",
            Value::Null,
            Some(Resource::Traits),
        ),
        ("GET", "/api/v1/environment-document/", Value::Null, None),
        (
            "POST",
            "/api/v1/analytics/flags/",
            json!({ "one": 1 }),
            None,
        ),
        (
            "POST",
            "/ofrep/v1/evaluate/flags",
            json!({ "context": {} }),
            Some(Resource::Flags),
        ),
        (
            "POST",
            "/ofrep/v1/evaluate/flags/one",
            json!({ "context": { "targetingKey": "a" } }),
            Some(Resource::Identities),
        ),
        ("GET", "/health", Value::Null, None),
    ] {
        let counted = ask(&host, method, path, &body).counted;
        let told = counted.as_ref().map(|counted| counted.resource);
        assert_eq!(told, resource, "{method} {path}");
        assert!(counted.is_none_or(|counted| counted.snapshot.environment_key() == KEY));
    }
    let stranger = Request::get("/api/v1/flags/").header("x-environment-key", "stranger");
    let outcome = run_ready(handle(
        &host,
        stranger.body(Bytes::new()).expect("a request"),
    ));
    assert!(outcome.counted.is_none());
}

#[test]
fn who_evaluated_is_told() {
    let host = host(true);
    let request = Request::post("/api/v1/analytics/flags/")
        .header("x-environment-key", KEY)
        .header("content-type", "application/json")
        .header("flagsmith-application-name", "shop")
        .header("user-agent", "flagsmith-python-sdk/5.0.0")
        .body(Bytes::from_static(b"{\"one\":1}"));
    let outcome = run_ready(handle(&host, request.expect("a request")));
    let Some(Effect::Evaluations { labels, .. }) = outcome.effects.first() else {
        panic!("{:?}", outcome.effects);
    };
    assert_eq!(labels.client_application_name.as_deref(), Some("shop"));
    assert_eq!(
        labels.user_agent.as_deref(),
        Some("flagsmith-python-sdk/5.0.0")
    );
}
