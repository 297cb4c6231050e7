//! What edges send home: who may, what counts, and that it counts once.

use std::io::Write as _;

use axum::body::Body;
use chrono::TimeDelta;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Request, request};
use serde_json::{Value, json};
use yardarm_core::edge::signature;

use crate::app::{Reply, TestApp};
use crate::fixture::Fixture;

pub(crate) const PATH: &str = "/api/v1/edge/deliveries/";
pub(crate) const SECRET: &str = "a secret of one edge";

/// An edge target, enabled or not.
pub(crate) async fn target(t: &TestApp, name: &str, secret: &str, enabled: bool) -> i64 {
    let row = t
        .sql()
        .await
        .query_one(
            "insert into edge_target (name, url, secret, enabled, created_at)
             values ($1, 'http://127.0.0.1:9', $2, $3, $4) returning id",
            &[&name, &secret, &enabled, &t.clock.now()],
        )
        .await
        .unwrap();
    row.get(0)
}

/// Delivers a body as the target with this secret does.
pub(crate) async fn deliver_as(t: &TestApp, secret: &str, body: &str, skew: i64) -> Reply {
    let at = t.clock.now().timestamp() + skew;
    let request = signed(secret, at, body.as_bytes());
    t.send(request.body(Body::from(body.to_owned())).unwrap())
        .await
}

fn signed(secret: &str, at: i64, body: &[u8]) -> request::Builder {
    let signature = signature::sign(secret.as_bytes(), "POST", PATH, at, body);
    Request::post(PATH)
        .header("host", "test")
        .header("content-type", "application/json")
        .header(signature::TIMESTAMP_HEADER, at)
        .header(signature::SIGNATURE_HEADER, signature)
}

/// Delivers a batch.
pub(crate) async fn deliver(t: &TestApp, body: &Value) -> Reply {
    deliver_as(t, SECRET, &body.to_string(), 0).await
}

/// An id of a batch.
pub(crate) fn id(number: u32) -> String {
    format!("{number:032x}")
}

pub(crate) fn seen(environment: &str, identifier: &str, at: i64, traits: &Value) -> Value {
    json!({
        "environment_key": environment, "identifier": identifier, "created_at_micros": at, "traits": traits,
    })
}

pub(crate) fn batch(number: u32, identities: &[Value]) -> Value {
    json!({"id": id(number), "edge": "worker", "identities": identities})
}

#[tokio::test]
async fn only_an_enabled_target_may_deliver() {
    let t = TestApp::start().await;
    let empty = batch(1, &[]).to_string();
    let none = deliver_as(&t, SECRET, &empty, 0).await.expect(401);
    assert_eq!(none["detail"], "Invalid signature.");
    target(&t, "one", SECRET, true).await;
    target(&t, "two", "another", true).await;
    target(&t, "off", "disabled", false).await;

    for (secret, skew, detail) in [
        ("wrong", 0, "Invalid signature."),
        ("disabled", 0, "Invalid signature."),
        ("", 0, "Invalid signature."),
        (SECRET, 301, "Timestamp is out of bounds."),
        (SECRET, -301, "Timestamp is out of bounds."),
    ] {
        let refused = deliver_as(&t, secret, &empty, skew).await.expect(401);
        assert_eq!(refused["detail"], detail, "{secret} {skew}");
    }
    let unsigned = t.nobody().post(PATH, json!({})).await.expect(401);
    assert_eq!(unsigned["detail"], "Missing or malformed signature.");

    let taken = deliver_as(&t, SECRET, &empty, 299).await.expect(200);
    let answer = json!({"id": id(1), "status": "applied", "skipped": 0});
    assert_eq!(taken, answer);
    let other = batch(2, &[]).to_string();
    let taken = deliver_as(&t, "another", &other, -299).await.expect(200);
    assert_eq!(taken["status"], "applied");
}

#[tokio::test]
async fn what_is_no_batch_is_refused_for_good() {
    let t = TestApp::start().await;
    target(&t, "one", SECRET, true).await;
    for body in [
        "",
        "[]",
        "{}",
        "{\"id\":1,\"edge\":\"worker\"}",
        "\u{1f980}",
    ] {
        let refused = deliver_as(&t, SECRET, body, 0).await.expect(400);
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.starts_with("JSON parse error - "), "{detail}");
    }
    let refused = deliver(&t, &json!({"id": "XY", "edge": "worker"})).await;
    assert_eq!(
        refused.expect(400),
        json!({"id": ["Enter 32 lower-case hex digits."]})
    );
    let large = format!(
        "{{\"id\":\"{}\",\"edge\":\"{}\"}}",
        id(1),
        "x".repeat(8 << 20)
    );
    deliver_as(&t, SECRET, &large, 0).await.expect(413);
}

#[tokio::test]
async fn a_batch_may_come_packed() {
    let t = TestApp::start().await;
    target(&t, "one", SECRET, true).await;
    let packed = |plain: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    };
    let deliver = async |coding: &str, body: &[u8], signs: &[u8]| {
        let request = signed(SECRET, t.clock.now().timestamp(), signs);
        let request = request.header("content-encoding", coding);
        t.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    };
    let plain = batch(1, &[]).to_string();
    let body = packed(plain.as_bytes());
    // The signature is of the bytes as sent.
    deliver("gzip", &body, plain.as_bytes()).await.expect(401);
    let taken = deliver("gzip", &body, &body).await.expect(200);
    assert_eq!(taken["status"], "applied");
    let taken = deliver("identity", plain.as_bytes(), plain.as_bytes()).await;
    assert_eq!(taken.expect(200)["status"], "already");
    let other = deliver("br", &body, &body).await;
    let detail = "Unsupported content encoding \"br\" in request. Use gzip or none.";
    assert_eq!(other.headers["accept-encoding"], "gzip");
    assert_eq!(other.expect(415), json!({"detail": detail}));
    let bomb = packed(&vec![b' '; 1 << 20]).repeat(9);
    deliver("gzip", &bomb, &bomb).await.expect(413);
    deliver("gzip", plain.as_bytes(), plain.as_bytes())
        .await
        .expect(400);
}

#[tokio::test]
async fn identities_that_only_an_edge_has_seen_are_listed_searched_and_shown() {
    let f = Fixture::start().await;
    target(&f.t, "one", SECRET, true).await;
    let now = f.t.clock.now().timestamp_micros();
    let traits = json!([
        {"key": "plan", "value": "pro", "changed_at_micros": now},
        {"key": "age", "value": 41, "changed_at_micros": now},
        {"key": "vip", "value": true, "changed_at_micros": now},
        {"key": "ratio", "value": 0.5, "changed_at_micros": now},
        {"key": "gone", "value": null, "changed_at_micros": now},
    ]);
    let identities = [
        seen("dev", "alice@edge", now - 5_000_000, &traits),
        seen("dev", "bob@edge", now, &json!([])),
        seen("prod", "alice@edge", now, &json!([])),
        seen("unknown", "alice@edge", now, &json!([])),
    ];
    let taken = deliver(&f.t, &batch(1, &identities)).await.expect(200);
    assert_eq!(
        taken,
        json!({"id": id(1), "status": "applied", "skipped": 1})
    );

    let list = f
        .ann
        .get("/api/v1/environments/dev/identities/")
        .await
        .expect(200);
    assert_eq!(list["count"], 2, "{list}");
    assert_eq!(
        list["results"][0]["identifier"], "alice@edge",
        "it was first"
    );
    let path = "/api/v1/environments/dev/identities/?q=ALICE";
    let found = f.ann.get(path).await.expect(200);
    assert_eq!(found["count"], 1);
    let alice = format!(
        "/api/v1/environments/dev/identities/{}/",
        found["results"][0]["id"]
    );
    f.ann.get(&alice).await.expect(200);
    let shown = f.ann.get(&format!("{alice}traits/")).await.expect(200);
    let shown: Vec<(&str, &str)> = shown["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["trait_key"].as_str().unwrap(),
                row["value_type"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("age", "int"),
            ("plan", "unicode"),
            ("ratio", "float"),
            ("vip", "bool")
        ]
    );
    f.eve.get(&alice).await.expect(403);
    assert!(
        f.t.to_publish().await.is_empty(),
        "edges need not hear of it"
    );
}

#[tokio::test]
async fn a_batch_counts_once_and_the_later_change_of_a_trait_stays() {
    let f = Fixture::start().await;
    target(&f.t, "one", SECRET, true).await;
    let now = f.t.clock.now().timestamp_micros();
    let plan =
        |value: Value, at: i64| json!([{"key": "plan", "value": value, "changed_at_micros": at}]);
    let first = batch(1, &[seen("dev", "a", now, &plan(json!("free"), now))]);
    deliver(&f.t, &first).await.expect(200);
    let plan_now = async || {
        let sql = f.t.sql().await;
        let row = sql
            .query_opt(
                "select string_value, changed_at_micros from identity_trait",
                &[],
            )
            .await
            .unwrap();
        row.map(|row| (row.get::<_, String>(0), row.get::<_, i64>(1)))
    };

    // A person is later than the edge, and the repetition of the batch changes nothing.
    let list = f
        .ann
        .get("/api/v1/environments/dev/identities/")
        .await
        .expect(200);
    let traits = format!(
        "/api/v1/environments/dev/identities/{}/traits/",
        list["results"][0]["id"]
    );
    let trait_id = f.ann.get(&traits).await.expect(200)["results"][0]["id"].clone();
    f.t.clock.advance(TimeDelta::seconds(1));
    let body = json!({"string_value": "team"});
    f.ann
        .patch(&format!("{traits}{trait_id}/"), body)
        .await
        .expect(200);
    let again = deliver(&f.t, &first).await.expect(200);
    assert_eq!(again["status"], "already");
    assert_eq!(plan_now().await, Some(("team".to_owned(), now + 1_000_000)));

    // What an edge changed before is too late; what it changed after is not; from the future is now.
    let changes = [
        (plan(json!("old"), now + 999_999), "team", now + 1_000_000),
        (plan(Value::Null, now + 999_999), "team", now + 1_000_000),
        (plan(json!("new"), now + 1_000_001), "new", now + 1_000_001),
        (plan(json!("tie"), now + 1_000_001), "new", now + 1_000_001),
    ];
    for (number, (traits, value, at)) in (2..).zip(changes) {
        let body = batch(number, &[seen("dev", "a", now - 60_000_000, &traits)]);
        deliver(&f.t, &body).await.expect(200);
        assert_eq!(plan_now().await, Some((value.to_owned(), at)));
    }
    f.t.clock.advance(TimeDelta::minutes(1));
    let later = f.t.clock.now().timestamp_micros();
    let far = plan(json!("far"), later + 86_400_000_000);
    deliver(&f.t, &batch(8, &[seen("dev", "a", later, &far)]))
        .await
        .expect(200);
    assert_eq!(plan_now().await, Some(("far".to_owned(), later)));
    let gone = plan(Value::Null, later + 1);
    deliver(&f.t, &batch(9, &[seen("dev", "a", later, &gone)]))
        .await
        .expect(200);
    assert_eq!(plan_now().await, None);

    let sql = f.t.sql().await;
    let row = sql
        .query_one("select created_at from identity", &[])
        .await
        .unwrap();
    let created: chrono::DateTime<chrono::Utc> = row.get(0);
    assert_eq!(
        created.timestamp_micros(),
        now - 60_000_000,
        "the earlier one counts"
    );
}

#[tokio::test]
async fn ten_thousand_rows_are_one_batch() {
    let f = Fixture::start().await;
    target(&f.t, "one", SECRET, true).await;
    let now = f.t.clock.now().timestamp_micros();
    let identities: Vec<Value> = (0..10_000)
        .map(|number| {
            let traits = json!([{"key": "n", "value": number, "changed_at_micros": now}]);
            seen("dev", &format!("identity-{number}"), now, &traits)
        })
        .collect();
    let started = std::time::Instant::now();
    deliver(&f.t, &batch(1, &identities)).await.expect(200);
    println!("new: {:?}", started.elapsed());
    let started = std::time::Instant::now();
    deliver(&f.t, &batch(2, &identities)).await.expect(200);
    println!("known: {:?}", started.elapsed());
    let row =
        f.t.sql()
            .await
            .query_one(
                "select count(*), sum(integer_value)::bigint from identity
             join identity_trait on identity_trait.identity_id = identity.id",
                &[],
            )
            .await
            .unwrap();
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, i64>(1)),
        (10_000, 49_995_000)
    );
}

#[tokio::test]
async fn two_edges_may_deliver_the_same_identities_at_once() {
    let f = Fixture::start().await;
    target(&f.t, "one", SECRET, true).await;
    let now = f.t.clock.now().timestamp_micros();
    let make = |number: u32, reversed: bool| {
        let mut identities: Vec<Value> = (0..300)
            .map(|n| {
                let key = format!("from-{number}");
                let traits = json!([{"key": key, "value": n, "changed_at_micros": now}]);
                seen("dev", &format!("identity-{n}"), now, &traits)
            })
            .collect();
        if reversed {
            identities.reverse();
        }
        batch(number, &identities)
    };
    let batches: Vec<Value> = (0..6).map(|number| make(number, number % 2 == 0)).collect();
    let deliveries = batches.iter().map(|body| deliver(&f.t, body));
    for reply in futures_util::future::join_all(deliveries).await {
        reply.expect(200);
    }
    let sql = f.t.sql().await;
    let row = sql
        .query_one(
            "select count(distinct identity_id), count(*) from identity_trait",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (300, 1800));
}
