//! What people change of identities reaches the edges that keep identities of their own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use yardarm::app::Clock;
use yardarm_core::edge::signature;
use yardarm_core::time::Timestamp;

use crate::app::{Person, TestApp};
use crate::convergence::look_at_targets;
use crate::edge::{RemoteEdge, SECRET};
use crate::mounted::Served;
use crate::world::World;

const IDENTITIES: &str = "/api/v1/environments/env/identities/";

/// An admin at a whole process, with an environment `env`.
async fn start() -> (TestApp, Served, Person, World) {
    let t = TestApp::start().await;
    let ann = t.person("ann").await;
    let organisation = t.organisation("o", &ann).await;
    let world = World::in_organisation(t.sql().await, organisation).await;
    world.environment("env").await;
    let served = Served::new(&t.url).await;
    let ann = ann.at(&served.router);
    (t, served, ann, world)
}

async fn target(t: &TestApp, url: &str) {
    let statement =
        "insert into edge_target (name, url, secret, created_at) values ('edge', $1, $2, now())";
    let sql = t.sql().await;
    sql.execute(statement, &[&url, &SECRET]).await.unwrap();
}

/// The stored traits of an identity at an edge.
async fn traits(edge: &RemoteEdge, identifier: &str) -> Vec<(String, Value)> {
    let url = format!("{}/api/v1/identities/?identifier={identifier}", edge.url());
    let request = edge.http.get(url).header("X-Environment-Key", "env");
    let Ok(answer) = request.send().await else {
        return vec![("no answer".to_owned(), Value::Null)];
    };
    if answer.status() != StatusCode::OK {
        return vec![(answer.status().to_string(), Value::Null)];
    }
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let mut traits: Vec<(String, Value)> = body["traits"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|found| {
            let key = found["trait_key"].as_str().unwrap().to_owned();
            (key, found["trait_value"].clone())
        })
        .collect();
    traits.sort_by(|one, other| one.0.cmp(&other.0));
    traits
}

pub(crate) async fn until_traits(edge: &RemoteEdge, identifier: &str, wanted: &[(&str, Value)]) {
    let wanted: Vec<(String, Value)> = wanted
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    // A job that came too early waits twice as long each time; a busy machine makes that several.
    let end = Instant::now() + Duration::from_mins(1);
    loop {
        let found = traits(edge, identifier).await;
        if found == wanted {
            return;
        }
        assert!(Instant::now() < end, "{identifier} still has {found:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// The edge knows a moment before Postgres does that it was told.
async fn until_nothing_is_left_to_tell(t: &TestApp) {
    let sql = t.sql().await;
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let count = "select count(*) from edge_identity_change";
        let left: i64 = sql.query_one(count, &[]).await.unwrap().get(0);
        if left == 0 {
            return;
        }
        assert!(Instant::now() < end, "{left} marks are left");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Hands changes of identities to an edge, as a control plane does.
async fn hand(edge: &RemoteEdge, body: &Value) {
    let path = "/edge/v1/environments/env/identities";
    let (body, at) = (body.to_string(), Clock::system().now().timestamp());
    let signature = signature::sign(SECRET.as_bytes(), "POST", path, at, body.as_bytes());
    let sent = reqwest::Client::new()
        .post(format!("{}{path}", edge.url()))
        .header(signature::TIMESTAMP_HEADER, at)
        .header(signature::SIGNATURE_HEADER, signature)
        .body(body)
        .send();
    assert_eq!(sent.await.unwrap().status(), 200);
}

#[tokio::test]
async fn edits_of_people_reach_an_edge_that_was_away_too() {
    let (t, served, ann, _world) = start().await;
    let mut edge = RemoteEdge::start().await;
    target(&t, &edge.url()).await;
    // Nobody else says that there is a new one.
    look_at_targets(&t.sql().await).await;

    // Made by a person, perhaps before the edge has ever heard of the environment.
    let body = json!({"identifier": "alice"});
    let alice = ann.post(IDENTITIES, body).await.expect(201)["id"].clone();
    let path = format!("{IDENTITIES}{alice}/traits/");
    let new = |key: &str, kind: &str, field: &str, value: Value| json!({"trait_key": key, "value_type": kind, field: value});
    let plan = ann
        .post(&path, new("plan", "unicode", "string_value", json!("free")))
        .await;
    let plan = format!("{path}{}/", plan.expect(201)["id"]);
    let ratio = new("ratio", "float", "float_value", json!(2.0));
    ann.post(&path, ratio).await.expect(201);
    let wanted = [("plan", json!("free")), ("ratio", json!(2.0))];
    until_traits(&edge, "alice", &wanted).await;

    // What an SDK says at the edge afterwards is later.
    let set =
        json!({"identifier": "alice", "traits": [{"trait_key": "plan", "trait_value": "team"}]});
    let sent = reqwest::Client::new()
        .post(format!("{}/api/v1/identities/", edge.url()))
        .header("X-Environment-Key", "env")
        .header("Content-Type", "application/json")
        .body(set.to_string());
    assert_eq!(sent.send().await.unwrap().status(), 200);
    until_traits(
        &edge,
        "alice",
        &[("plan", json!("team")), ("ratio", json!(2.0))],
    )
    .await;

    // And a person's change after that is later still, also when the edge is away.
    edge.go_down().await;
    ann.patch(&plan, json!({"string_value": "pro"}))
        .await
        .expect(200);
    ann.patch(&plan, json!({"trait_key": "tier"}))
        .await
        .expect(200);
    edge.come_up(false).await;
    until_traits(
        &edge,
        "alice",
        &[("ratio", json!(2.0)), ("tier", json!("pro"))],
    )
    .await;

    // Another name, a trait deleted from everybody, and the identity itself.
    let before = Clock::system().now().timestamp_micros();
    let named = format!("{IDENTITIES}{alice}/");
    ann.patch(&named, json!({"identifier": "alicia"}))
        .await
        .expect(200);
    until_traits(&edge, "alice", &[]).await;
    until_traits(
        &edge,
        "alicia",
        &[("ratio", json!(2.0)), ("tier", json!("pro"))],
    )
    .await;
    let delete = "/api/v1/environments/env/delete-traits/";
    ann.post(delete, json!({"key": "tier"})).await.expect(200);
    until_traits(&edge, "alicia", &[("ratio", json!(2.0))]).await;
    ann.delete(&named).await.expect(204);
    until_traits(&edge, "alicia", &[]).await;

    // What comes late and is older than the deletions changes nothing.
    let old = |key: &str, at| json!({"key": key, "value": "old", "changed_at_micros": at});
    let change = |traits: Value| json!({"identities": [{"environment_key": "env", "identifier": "alicia", "created_at_micros": 1, "traits": traits}]});
    hand(
        &edge,
        &change(json!([old("tier", before), old("ratio", before)])),
    )
    .await;
    until_traits(&edge, "alicia", &[]).await;
    let after = Clock::system().now().timestamp_micros();
    hand(
        &edge,
        &change(json!([old("tier", before), old("ratio", after)])),
    )
    .await;
    until_traits(&edge, "alicia", &[("ratio", json!("old"))]).await;
    until_nothing_is_left_to_tell(&t).await;
    served.stop().await;
}

/// An edge that writes down what it is told, and answers as it likes.
#[derive(Clone, Default)]
struct Scribe {
    told: Arc<Mutex<Vec<Value>>>,
    refusals: Arc<Mutex<Vec<StatusCode>>>,
}

async fn answer(State(scribe): State<Scribe>, request: Request) -> (StatusCode, String) {
    let (head, body) = request.into_parts();
    let body: Bytes = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());
    let now = header(signature::TIMESTAMP_HEADER)
        .unwrap()
        .parse()
        .unwrap();
    signature::verify(
        SECRET.as_bytes(),
        head.method.as_str(),
        head.uri.path(),
        header(signature::TIMESTAMP_HEADER),
        header(signature::SIGNATURE_HEADER),
        &body,
        Timestamp::from_secs(now),
    )
    .unwrap();
    match (&head.method, head.uri.path()) {
        (&Method::GET, _) => (StatusCode::OK, json!({"environments": []}).to_string()),
        (&Method::PUT, _) => (StatusCode::CREATED, "{}".to_owned()),
        (&Method::POST, "/edge/v1/environments/env/identities") => {
            scribe
                .told
                .lock()
                .unwrap()
                .push(serde_json::from_slice(&body).unwrap());
            let refusal = scribe.refusals.lock().unwrap().pop();
            (
                refusal.unwrap_or(StatusCode::OK),
                json!({"applied": 1}).to_string(),
            )
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn many_changes_become_one_and_a_refusal_is_tried_again() {
    let (t, served, ann, _world) = start().await;
    let scribe = Scribe::default();
    *scribe.refusals.lock().unwrap() = vec![StatusCode::SERVICE_UNAVAILABLE, StatusCode::NOT_FOUND];
    let body = json!({"identifier": "bob"});
    let bob = ann.post(IDENTITIES, body).await.expect(201)["id"].clone();
    let path = format!("{IDENTITIES}{bob}/traits/");
    // At first nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    target(&t, &format!("http://{}", listener.local_addr().unwrap())).await;
    let new = json!({"trait_key": "n", "value_type": "int", "integer_value": 0});
    let made = ann.post(&path, new).await.expect(201);
    let n = format!("{path}{}/", made["id"]);
    for number in 1..=5 {
        ann.patch(&n, json!({"integer_value": number}))
            .await
            .expect(200);
    }
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let router = Router::new().fallback(answer).with_state(scribe.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });

    until_nothing_is_left_to_tell(&t).await;
    let told = scribe.told.lock().unwrap().clone();
    assert_eq!(told.len(), 3, "{told:?}");
    let identity = &told[2]["identities"][0];
    assert_eq!(
        (&identity["environment_key"], &identity["identifier"]),
        (&json!("env"), &json!("bob"))
    );
    let traits = identity["traits"].as_array().unwrap();
    assert_eq!(traits.len(), 1, "{traits:?}");
    let row = t
        .sql()
        .await
        .query_one("select changed_at_micros from identity_trait", &[])
        .await
        .unwrap();
    let expected = json!({"key": "n", "value": 5, "changed_at_micros": row.get::<_, i64>(0)});
    assert_eq!(traits[0], expected);
    served.stop().await;
}
