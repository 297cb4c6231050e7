//! The edge within the process: fed from the database, with identities in it.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::future::join_all;
use http::{Method, Request};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tower::ServiceExt as _;
use yardarm::app::{App, Clock, Random};
use yardarm::background::{Background, Stoppable};
use yardarm::store::Pool;
use yardarm::telemetry::Metrics;
use yardarm::{jobs, publish, router};
use yardarm_core::edge::KeyRef;
use yardarm_edge::StreamSettings;

use crate::app::{Reply, TestApp, connect, database, send};
use crate::edge::{RemoteEdge, SECRET, read_looks};
use crate::world::{Look, World};

/// A whole process: admin API, its own edge, jobs.
pub(crate) struct Served {
    pub(crate) router: Router,
    background: Option<Stoppable>,
    /// Not listening: only what this process commits itself is heard of.
    _deaf: Option<Background>,
    _folder: TempDir,
}

impl Served {
    pub(crate) async fn new(url: &str) -> Self {
        Self::start(url, true, None).await
    }

    async fn start(url: &str, listening: bool, token: Option<&str>) -> Self {
        let pool = Pool::new(url, 8, Clock::system()).unwrap();
        let metrics = Metrics::new();
        let background =
            Background::new(&pool, publish::Settings::default(), metrics.clone()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let edge = background
            .mount(folder.path(), StreamSettings::default())
            .await
            .unwrap();
        let app = App::new(pool, Clock::system(), Random::system());
        let router = router::whole(app, &edge, metrics, token);
        let (background, deaf) = if listening {
            background.work(jobs::Settings::default()).await.unwrap();
            (Some(background.listen()), None)
        } else {
            (None, Some(background))
        };
        Self {
            router,
            background,
            _deaf: deaf,
            _folder: folder,
        }
    }

    pub(crate) async fn get(&self, path: &str, key: &str) -> Reply {
        self.ask(Method::GET, path, key, None).await
    }

    pub(crate) async fn post(&self, path: &str, key: &str, body: Value) -> Reply {
        self.ask(Method::POST, path, key, Some(body)).await
    }

    async fn ask(&self, method: Method, path: &str, key: &str, body: Option<Value>) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "test");
        request = request.header("x-environment-key", key);
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
            None => Body::empty(),
        };
        send(&self.router, request.body(body).unwrap()).await
    }

    /// `POST /identities/`.
    pub(crate) async fn identify(&self, key: &str, body: &Value) -> Reply {
        let body = Some(body.clone());
        self.ask(Method::POST, "/api/v1/identities/", key, body)
            .await
    }

    pub(crate) async fn log_in(&self, body: &Value) -> Reply {
        let path = "/api/v1/auth/login/";
        self.ask(Method::POST, path, "", Some(body.clone())).await
    }

    async fn flags(&self, key: &str) -> Vec<Look> {
        read_looks(&self.get("/api/v1/flags/", key).await.expect(200))
    }

    pub(crate) async fn until_flags(&self, key: &str, wanted: &[Look]) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let reply = self.get("/api/v1/flags/", key).await;
            if reply.status == 200 && read_looks(&reply.json()) == wanted {
                return;
            }
            assert!(Instant::now() < end, "still {reply:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn stop(self) {
        if let Some(background) = self.background {
            background.stop().await;
        }
    }
}

fn look(name: &str, on: bool, value: Value) -> Look {
    (name.to_owned(), on, value)
}

#[tokio::test]
async fn what_this_process_commits_is_served_before_it_answers() {
    let t = TestApp::start().await;
    let admin = t.person("admin").await;
    let organisation = t.organisation("o", &admin).await;
    let served = Served::start(&t.url, false, None).await;
    let world = World::in_organisation(t.sql().await, organisation).await;
    world.environment("env").await;
    world.feature("off").await;
    let refused = served.get("/api/v1/flags/", "env").await;
    assert_eq!(refused.status, 403, "nobody told it");

    let admin = admin.at(&served.router);
    let project = format!("/api/v1/projects/{}/", world.project);
    admin
        .patch(&project, json!({"hide_disabled_flags": false}))
        .await
        .expect(200);
    assert_eq!(served.flags("env").await, [look("off", false, Value::Null)]);
    admin
        .patch(&project, json!({"hide_disabled_flags": true}))
        .await
        .expect(200);
    assert_eq!(served.flags("env").await, []);
    admin.delete(&project).await.expect(204);
    assert_eq!(
        served.get("/api/v1/flags/", "env").await.status,
        403,
        "deleted with its project"
    );
}

#[tokio::test]
async fn whoever_listens_is_told_of_a_change_before_its_author_is() {
    let t = TestApp::start().await;
    let admin = t.person("admin").await;
    let organisation = t.organisation("o", &admin).await;
    let served = Served::start(&t.url, false, Some("open sesame")).await;
    let world = World::in_organisation(t.sql().await, organisation).await;
    world.environment("env").await;
    let admin = admin.at(&served.router);
    let project = format!("/api/v1/projects/{}/", world.project);
    let change = async |on: bool| {
        let change = json!({ "hide_disabled_flags": on });
        admin.patch(&project, change).await.expect(200);
    };
    change(false).await;
    let stream = Request::get("/sse/environments/env/stream").body(Body::empty());
    let stream = served.router.clone().oneshot(stream.unwrap()).await;
    let mut events = stream.unwrap().into_body();
    let mut told = async || {
        let frame = events.frame().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    };
    let first = told().await.unwrap();
    change(true).await;
    // Nothing else can come first: an event is repeated after seconds only.
    let second = told().await.unwrap();
    let flags = served.get("/api/v1/flags/", "env").await;
    let time = flags.headers["x-flagsmith-document-updated-at"].to_str();
    let data = format!("data: {{\"updated_at\": {}}}\n\n", time.unwrap());
    assert!(second.ends_with(&data), "{second:?} is not of {data:?}");
    assert!(!first.ends_with(&data), "{first:?}");

    let metrics = Request::get("/metrics").header("authorization", "Bearer open sesame");
    let metrics = send(&served.router, metrics.body(Body::empty()).unwrap()).await;
    assert!(metrics.text.contains("yardarm_event_streams 1\n"));
    admin.delete(&project).await.expect(204);
    assert_eq!(told().await, None, "deleted with its project");
}

#[tokio::test]
async fn what_others_commit_is_heard() {
    let url = database().await;
    let world = World::new(connect(&url).await).await;
    world.environment("env").await;
    let feature = world.feature("flag").await;
    let served = Served::new(&url).await;
    assert_eq!(
        served.flags("env").await,
        [look("flag", false, Value::Null)],
        "from the start"
    );
    world.set("env", feature, true, "new").await;
    served
        .until_flags("env", &[look("flag", true, json!("new"))])
        .await;
    world.rename("env", "other").await;
    served
        .until_flags("other", &[look("flag", true, json!("new"))])
        .await;
    // The new name is published first.
    let end = Instant::now() + Duration::from_secs(10);
    while served.get("/api/v1/flags/", "env").await.status != 403 {
        assert!(Instant::now() < end, "the old name is still served");
        sleep(Duration::from_millis(20)).await;
    }
    served.stop().await;
}

#[tokio::test]
async fn overrides_of_identities_count_also_where_the_document_leaves_them_out() {
    let url = database().await;
    let world = World::new(connect(&url).await).await;
    world.environment("env").await;
    world.server_key("env", "ser.key").await;
    let feature = world.feature("flag").await;
    world
        .sql
        .batch_execute(&format!(
            "with made as (
                insert into identity (environment_id, identifier, created_at)
                select id, 'alice', now() from environment returning id, environment_id
             )
             insert into feature_state (environment_id, feature_id, identity_id, enabled, string_value, created_at, updated_at)
             select environment_id, {feature}, id, true, 'hers', now(), now() from made"
        ))
        .await
        .unwrap();
    let served = Served::new(&url).await;
    let flags = |reply: Reply| read_looks(&reply.expect(200)["flags"]);
    let document = served
        .get("/api/v1/environment-document/", "ser.key")
        .await
        .expect(200);
    assert_eq!(document["identity_overrides"][0]["identifier"], "alice");

    world
        .sql
        .execute(
            "update environment set use_identity_overrides_in_local_eval = false,
                version = nextval('environment_version')",
            &[],
        )
        .await
        .unwrap();
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let document = served
            .get("/api/v1/environment-document/", "ser.key")
            .await
            .expect(200);
        if document["identity_overrides"] == json!([]) {
            break;
        }
        assert!(Instant::now() < end);
        sleep(Duration::from_millis(10)).await;
    }
    let alice = served
        .get("/api/v1/identities/?identifier=alice", "env")
        .await;
    assert_eq!(flags(alice), [look("flag", true, json!("hers"))]);
    let bob = served
        .get("/api/v1/identities/?identifier=bob", "env")
        .await;
    assert_eq!(flags(bob), [look("flag", false, Value::Null)]);
    served.stop().await;
}

#[tokio::test]
async fn identities_live_in_the_database() {
    let url = database().await;
    let world = World::new(connect(&url).await).await;
    world.environment("env").await;
    let served = Served::new(&url).await;
    let post = |traits: Value| {
        let body = json!({"identifier": "alice", "traits": traits});
        served.ask(Method::POST, "/api/v1/identities/", "env", Some(body))
    };
    let stored = |reply: Reply| {
        let traits = reply.expect(200)["traits"].as_array().unwrap().clone();
        traits
            .into_iter()
            .map(|t| {
                (
                    t["trait_key"].as_str().unwrap().to_owned(),
                    t["trait_value"].clone(),
                    t["id"].as_i64(),
                )
            })
            .collect::<Vec<_>>()
    };
    let made = stored(
        post(json!([{"trait_key": "a", "trait_value": "x"}, {"trait_key": "n", "trait_value": 1}]))
            .await,
    );
    let rows = world
        .sql
        .query("select id from identity_trait order by id", &[])
        .await
        .unwrap();
    let ids: Vec<Option<i64>> = rows.iter().map(|row| Some(row.get(0))).collect();
    assert_eq!(
        made,
        [
            ("a".into(), json!("x"), ids[0]),
            ("n".into(), json!(1), ids[1])
        ],
        "new: real ids"
    );

    let changed = stored(
        post(json!([
            {"trait_key": "n", "trait_value": 2.5},
            {"trait_key": "a", "trait_value": null},
            {"trait_key": "new", "trait_value": true},
        ]))
        .await,
    );
    assert_eq!(
        changed,
        [
            ("n".into(), json!(2.5), ids[1]),
            ("new".into(), json!(true), None)
        ],
        "flagsmith-observed.md 3.4: a trait that is new on an existing identity is echoed without id"
    );
    let read = stored(
        served
            .get("/api/v1/identities/?identifier=alice", "env")
            .await,
    );
    assert_eq!(read.len(), 2);
    assert!(read.iter().all(|(_, _, id)| id.is_some()), "{read:?}");
    let count: i64 = world
        .sql
        .query_one("select count(*) from identity", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(count, 1);
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_changes_of_one_identity_lose_nothing() {
    let url = database().await;
    let world = World::new(connect(&url).await).await;
    world.environment("env").await;
    let served = Served::new(&url).await;
    let adds = (0..40).map(|number| {
        let add = json!({"identifier": "alice", "trait_key": "n", "increment_by": 1});
        let set = json!({"identifier": "alice", "traits": [{"trait_key": format!("t{number}"), "trait_value": number}]});
        let served = &served;
        async move {
            let path = "/api/v1/traits/increment-value/";
            served.ask(Method::POST, path, "env", Some(add)).await.expect(200);
            served.ask(Method::POST, "/api/v1/identities/", "env", Some(set)).await.expect(200);
        }
    });
    join_all(adds).await;
    let traits = served
        .get("/api/v1/identities/?identifier=alice", "env")
        .await
        .expect(200);
    let traits = traits["traits"].as_array().unwrap();
    assert_eq!(traits.len(), 41);
    let n = traits.iter().find(|t| t["trait_key"] == "n").unwrap();
    assert_eq!(n["trait_value"], 40);
    served.stop().await;
}

#[tokio::test]
async fn a_folder_filled_from_another_database_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let mount = async |url: &str| {
        let pool = Pool::new(url, 2, Clock::system()).unwrap();
        let settings = publish::Settings::default();
        let background = Background::new(&pool, settings, Metrics::new()).unwrap();
        let edge = background
            .mount(folder.path(), StreamSettings::default())
            .await
            .unwrap();
        let held = edge.host().snapshots().snapshot(&KeyRef::Client("env"));
        background.listen().stop().await;
        held.map(|snapshot| snapshot.version())
    };
    let url = database().await;
    let world = World::new(connect(&url).await).await;
    world.environment("env").await;
    let version = mount(&url).await.expect("served");
    assert_eq!(mount(&url).await, Some(version), "kept over a restart");
    // As a backup brings it back.
    world
        .sql
        .execute("update environment set version = version - 1", &[])
        .await
        .unwrap();
    assert_eq!(mount(&url).await, Some(version - 1));
    assert_eq!(mount(&database().await).await, None);
}

#[tokio::test]
async fn metrics_tell_of_requests_queue_and_targets() {
    let url = database().await;
    let world = World::new(connect(&url).await).await;
    let edge = RemoteEdge::start().await;
    world
        .sql
        .execute(
            "insert into edge_target (name, url, secret, created_at) values ('paris', $1, $2, now())",
            &[&edge.url(), &SECRET],
        )
        .await
        .unwrap();
    let served = Served::start(&url, true, Some("open sesame")).await;
    world.environment("env").await;
    served.until_flags("env", &[]).await;
    let page = async |token: &str| {
        let request = Request::builder().uri("/metrics").header("host", "test");
        let request = request.header("authorization", format!("Bearer {token}"));
        send(&served.router, request.body(Body::empty()).unwrap()).await
    };
    assert_eq!(page("open says me").await.status, 401);
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let text = page("open sesame").await.text;
        let all = [
            r#"yardarm_http_requests_total{method="GET",route="/api/v1/flags/",status="200"}"#,
            r#"yardarm_publication_seconds_count{target="paris"} 1"#,
            r#"yardarm_target_lag_environments{target="paris"} 0"#,
            r#"yardarm_jobs_waiting{kind="reconcile"} 1"#,
            "yardarm_mounted_environments 1",
        ];
        let missing = all.iter().find(|line| !text.contains(**line));
        let Some(missing) = missing else { break };
        assert!(Instant::now() < end, "{missing} is not in\n{text}");
        sleep(Duration::from_millis(20)).await;
    }
    served.stop().await;
}
