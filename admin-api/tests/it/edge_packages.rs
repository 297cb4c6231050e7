//! Pull-through: an edge that lacks an environment asks for it.

use axum::body::Body;
use http::{Request, StatusCode};
use sha2::{Digest as _, Sha256};
use yardarm_core::edge::{KeyRef, pull_through, signature};
use yardarm_core::time::Timestamp;

use crate::app::{Reply, TestApp};
use crate::deliveries::{SECRET, target};
use crate::pulling_edge::PullingEdge;
use crate::world::World;

fn now(t: &TestApp) -> Timestamp {
    Timestamp(t.clock.now().timestamp_micros())
}

async fn ask(t: &TestApp, key: &KeyRef<'_>, secret: &str) -> Reply {
    let request = pull_through::request("http://test", secret.as_bytes(), key, now(t)).unwrap();
    let (mut head, _) = request.into_parts();
    let path = head.uri.path().to_owned();
    head.uri = path.parse().unwrap();
    let mut request = Request::from_parts(head, Body::empty());
    request
        .headers_mut()
        .insert("host", "test".parse().unwrap());
    t.send(request).await
}

fn sha256(key: &str) -> String {
    hex::encode(Sha256::digest(key))
}

#[tokio::test]
async fn only_an_enabled_target_may_pull_and_only_what_there_is() {
    let t = TestApp::start().await;
    let world = World::new(t.sql().await).await;
    world.environment("held").await;
    world.environment("gone").await;
    world.delete("gone").await;
    world.server_key("held", "ser.held").await;
    let held = KeyRef::Client("held");
    let detail = ask(&t, &held, SECRET).await.expect(401)["detail"].clone();
    assert_eq!(detail, "Invalid signature.");
    target(&t, "off", SECRET, false).await;
    ask(&t, &held, SECRET).await.expect(401);
    let on = target(&t, "on", "another", true).await;
    ask(&t, &held, SECRET).await.expect(401);
    let sql = t.sql().await;
    let confirmed = "insert into edge_delivery (target_id, api_key, version, confirmed_at)
                     values ($1, 'held', 1, now()), ($1, 'other', 1, now())";
    sql.execute(confirmed, &[&on]).await.unwrap();

    let (known, unknown) = (sha256("ser.held"), sha256("ser.other"));
    for (key, status) in [
        (held.clone(), 200),
        (KeyRef::Server(&known), 200),
        // A tombstone, which keeps the edge from asking again.
        (KeyRef::Client("gone"), 200),
        (KeyRef::Client("never"), 404),
        (KeyRef::Client("he/ld"), 404),
        (KeyRef::Server(&unknown), 404),
        (KeyRef::Server("nohash"), 404),
    ] {
        let reply = ask(&t, &key, "another").await;
        assert_eq!(reply.status, status, "{key:?}");
    }
    // Who asks for it has lost what it confirmed, and its identities.
    let left = "select api_key from edge_delivery where target_id = $1";
    let left = sql.query(left, &[&on]).await.unwrap();
    let left: Vec<String> = left.iter().map(|row| row.get(0)).collect();
    assert_eq!(left, ["other"]);
    // Signed for one environment, sent for another.
    let at = now(&t).secs();
    let signed = signature::sign(b"another", "GET", &pull_through::path(&held), at, b"");
    let request = Request::get(pull_through::path(&KeyRef::Client("gone")))
        .header("host", "test")
        .header(signature::TIMESTAMP_HEADER, at)
        .header(signature::SIGNATURE_HEADER, signed)
        .body(Body::empty());
    t.send(request.unwrap()).await.expect(401);
}

#[tokio::test]
async fn an_emptied_edge_serves_what_it_is_asked_for() {
    let t = TestApp::with_the_computers_clock().await;
    let world = World::new(t.sql().await).await;
    let feature = world.feature("banner").await;
    world.environment("env").await;
    world.set("env", feature, true, "hello").await;
    world.server_key("env", "ser.env").await;
    target(&t, "edge", SECRET, true).await;
    let edge = PullingEdge::of(&t, SECRET).await;
    let (status, body) = edge.flags("ser.env").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(body.contains("hello"));
    assert_eq!(edge.flags("env").await.0, StatusCode::OK);
    assert_eq!(edge.flags("other").await.0, StatusCode::FORBIDDEN);
    edge.cut_off();
    assert_eq!(edge.flags("env").await.0, StatusCode::OK, "it is held now");
}
