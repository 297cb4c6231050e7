//! Targets through the API: for superusers, with how far behind each is and never their secrets.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::app::{Person, TestApp};
use crate::edge::{RemoteEdge, SECRET};
use crate::mounted::Served;
use crate::world::World;

const TARGETS: &str = "/api/v1/edge/targets/";

async fn superuser(t: &TestApp) -> Person {
    let person = t.person("root").await;
    let sql = t.sql().await;
    sql.execute(
        "update users set is_superuser = true where id = $1",
        &[&person.id],
    )
    .await
    .unwrap();
    person
}

#[tokio::test]
async fn a_target_from_cradle_to_grave() {
    let t = TestApp::start().await;
    let root = superuser(&t).await;
    let asked = json!({"name": "paris", "url": "http://edge.internal:8080", "secret": "hush"});
    let made = root.post(TARGETS, asked).await.expect(201);
    let id = made["id"].as_i64().unwrap();
    assert_eq!(
        made,
        json!({
            "id": id, "name": "paris", "kind": "edge", "url": "http://edge.internal:8080", "enabled": true,
            "created_at": crate::app::START,
            "environments": {"total": 0, "confirmed": 0},
            "version": {"wanted": 0, "held": 0},
            "lag": {"environments": 0, "versions": 0, "seconds": 0.0},
            "last_confirmation": null,
            "last_error": null, "last_error_at": null, "last_success_at": null,
        })
    );
    let path = format!("{TARGETS}{id}/");
    let changed = root
        .patch(&path, json!({"enabled": false}))
        .await
        .expect(200);
    assert_eq!(
        (&changed["enabled"], &changed["name"]),
        (&json!(false), &json!("paris"))
    );
    let put = json!({"name": "oslo", "url": "https://oslo.example.com/", "enabled": true});
    assert_eq!(root.put(&path, put).await.expect(200)["name"], "oslo");
    let secret: String = t
        .sql()
        .await
        .query_one("select secret from edge_target", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(secret, "hush", "left out, it stays");
    let listed = root.get(TARGETS).await;
    assert!(!listed.text.contains("hush"));
    assert_eq!(listed.expect(200)["count"], 1);
    root.post(&format!("{path}reconcile/"), json!({}))
        .await
        .expect(200);
    root.delete(&path).await.expect(204);
    root.get(&path).await.expect(404);
    root.delete(&path).await.expect(404);
    assert_eq!(
        t.audit().await,
        [
            "New edge target: paris",
            "Edge target updated: paris",
            "Edge target updated: oslo",
            "Edge target deleted: oslo",
        ]
    );
}

#[tokio::test]
async fn what_is_wrong_is_told() {
    let t = TestApp::start().await;
    let root = superuser(&t).await;
    let required = json!(["This field is required."]);
    assert_eq!(
        root.post(TARGETS, json!({})).await.expect(400),
        json!({"name": required, "url": required, "secret": required})
    );
    let asked = json!({"name": "a", "url": "ftp://a", "secret": ""});
    let told = root.post(TARGETS, asked).await.expect(400);
    assert_eq!(told["url"], json!(["Enter a valid http(s) URL."]));
    assert_eq!(told["secret"], json!(["This field may not be blank."]));
    let good = json!({"name": "a", "url": "http://a", "secret": "s"});
    root.post(TARGETS, good.clone()).await.expect(201);
    assert_eq!(
        root.post(TARGETS, good).await.expect(400),
        json!({"name": ["An edge target with this name already exists."]})
    );
    root.get(&format!("{TARGETS}nope/")).await.expect(404);
    root.post(&format!("{TARGETS}77/reconcile/"), json!({}))
        .await
        .expect(404);
}

#[tokio::test]
async fn only_superusers_may() {
    let t = TestApp::start().await;
    let admin = t.person("admin").await;
    t.organisation("o", &admin).await;
    for path in [TARGETS, "/api/v1/edge/targets/1/"] {
        t.nobody().get(path).await.expect(401);
        admin.get(path).await.expect(403);
    }
    let asked = json!({"name": "paris", "url": "http://edge", "secret": "hush"});
    admin.post(TARGETS, asked).await.expect(403);
    admin.delete("/api/v1/edge/targets/1/").await.expect(403);
    admin
        .post("/api/v1/edge/targets/1/reconcile/", json!({}))
        .await
        .expect(403);
}

#[tokio::test]
async fn a_target_shows_how_far_it_is_and_what_is_wrong() {
    let t = TestApp::start().await;
    let root = superuser(&t).await;
    let world = World::new(t.sql().await).await;
    world.environment("one").await;
    world.environment("two").await;
    let served = Served::new(&t.url).await;
    let root = root.at(&served.router);
    let until = async |id: &Value, what: &str, good: &dyn Fn(&Value) -> bool| {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let state = root.get(&format!("{TARGETS}{id}/")).await.expect(200);
            if good(&state) {
                return state;
            }
            assert!(Instant::now() < end, "{what}: {state:#}");
            sleep(Duration::from_millis(20)).await;
        }
    };
    let edge = RemoteEdge::start().await;
    let asked = json!({"name": "paris", "url": edge.url(), "secret": "another"});
    let id = root.post(TARGETS, asked).await.expect(201)["id"].clone();
    let state = until(&id, "refused", &|state| state["last_error"].is_string()).await;
    assert!(
        state["last_error"].as_str().unwrap().contains("401"),
        "{state}"
    );
    assert_eq!(state["environments"], json!({"total": 2, "confirmed": 0}));
    assert_eq!(state["lag"]["environments"], 2);
    assert!(state["lag"]["seconds"].as_f64().unwrap() > 0.0);

    root.patch(&format!("{TARGETS}{id}/"), json!({"secret": SECRET}))
        .await
        .expect(200);
    let state = until(&id, "confirmed", &|state| {
        state["environments"]["confirmed"] == 2
    })
    .await;
    assert_eq!(
        state["lag"],
        json!({"environments": 0, "versions": 0, "seconds": 0.0})
    );
    assert_eq!(state["version"]["held"], state["version"]["wanted"]);
    until(&id, "well again", &|state| {
        state["last_error"].is_null() && state["last_success_at"].is_string()
    })
    .await;
    assert_eq!(edge.flags("one").await, Ok(Vec::new()));
    assert_eq!(state["last_confirmation"], Value::Null, "older than it");
    world.feature("new").await;
    let state = until(&id, "told how long a change took", &|state| {
        state["last_confirmation"].is_object()
    })
    .await;
    let took = state["last_confirmation"]["seconds"].as_f64().unwrap();
    assert!((0.0..20.0).contains(&took), "{took}");

    // Disabled, it is left alone; enabled again, it gets what it lacks.
    root.patch(&format!("{TARGETS}{id}/"), json!({"enabled": false}))
        .await
        .expect(200);
    world.delete("one").await;
    sleep(Duration::from_millis(300)).await;
    let new = ("new".to_owned(), false, Value::Null);
    assert_eq!(edge.flags("one").await, Ok(vec![new]));
    root.patch(&format!("{TARGETS}{id}/"), json!({"enabled": true}))
        .await
        .expect(200);
    until(&id, "caught up", &|state| state["lag"]["environments"] == 0).await;
    assert!(edge.flags("one").await.is_err());
    served.stop().await;
}
