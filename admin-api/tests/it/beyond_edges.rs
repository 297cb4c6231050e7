//! What publication reaches besides edges: stores of static files, and the CDN in front of an edge.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use yardarm::app::Clock;
use yardarm::background::{Background, Stoppable};
use yardarm::publish::{Cloudflare, ExportSettings, Settings};
use yardarm::store::Pool;
use yardarm::telemetry::Metrics;

use crate::app::{connect, database, serve};
use crate::edge::{RemoteEdge, SECRET};
use crate::world::World;

async fn world(url: &str) -> World {
    World::new(connect(url).await).await
}

async fn target(world: &World, url: &str, secret: &str) {
    let statement =
        "insert into edge_target (name, url, secret, created_at) values ('t', $1, $2, now())";
    world
        .sql
        .execute(statement, &[&url, &secret])
        .await
        .unwrap();
}

async fn work(url: &str, settings: Settings) -> Stoppable {
    let pool = Pool::new(url, 8, Clock::system()).unwrap();
    let background = Background::new(&pool, settings, Metrics::new()).unwrap();
    background
        .work(yardarm::jobs::Settings::default())
        .await
        .unwrap();
    background.listen()
}

async fn until<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < end, "{what}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn json_at(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn names(flags: &Value) -> Vec<&str> {
    let flags = flags.as_array().unwrap().iter();
    flags
        .map(|flag| flag["feature"]["name"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn an_environment_is_files_in_a_folder() {
    let url = database().await;
    let world = world(&url).await;
    world.environment("env").await;
    let banner = world.feature("banner").await;
    let secret = world.feature("secret").await;
    let statement = "update feature set is_server_key_only = true where id = $1";
    world.sql.execute(statement, &[&secret]).await.unwrap();
    world.set("env", banner, true, "one").await;
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("flags");
    target(&world, &format!("file://{}", below.display()), "").await;
    let export = ExportSettings {
        folder: Some(folder.path().to_owned()),
        retention: Duration::ZERO,
    };
    let settings = Settings {
        export,
        ..Settings::default()
    };
    let background = work(&url, settings).await;

    let public = below.join("public/env");
    let private = below.join("private/env");
    let value_is = async |value: &str| {
        let pointer = json_at(&public.join("latest.json"))?;
        let flags = json_at(&public.join(pointer["path"].as_str()?))?;
        (flags[0]["feature_state_value"] == value).then_some((pointer, flags))
    };
    let (first, flags) = until("first", async || value_is("one").await).await;
    assert_eq!(
        names(&flags),
        ["banner"],
        "what is for servers only is not public"
    );
    assert_eq!(first["environment_key"], "env");
    let document = until("the document", async || {
        let pointer = json_at(&private.join("latest.json"))?;
        json_at(&private.join(pointer["path"].as_str()?))
    })
    .await;
    assert_eq!(document["feature_states"].as_array().unwrap().len(), 2);

    world.set("env", banner, true, "two").await;
    let (second, _) = until("second", async || value_is("two").await).await;
    assert!(second["version"].as_u64() > first["version"].as_u64());
    let file = |pointer: &Value| public.join(pointer["path"].as_str().unwrap());
    assert!(
        file(&first).exists(),
        "the one before stays, whatever its age"
    );
    world.set("env", banner, true, "three").await;
    until("third", async || value_is("three").await).await;
    until("the first to go", async || {
        (!file(&first).exists()).then_some(())
    })
    .await;
    assert!(file(&second).exists());

    world.delete("env").await;
    until("all to go", async || {
        let left = [&public, &private].map(|part| part.join("latest.json").exists());
        (left == [false, false]).then_some(())
    })
    .await;
    background.stop().await;
}

#[tokio::test]
async fn folders_elsewhere_are_not_written() {
    let url = database().await;
    let world = world(&url).await;
    world.environment("env").await;
    let folder = tempfile::tempdir().unwrap();
    target(&world, &format!("file://{}", folder.path().display()), "").await;
    let background = work(&url, Settings::default()).await;
    let error = until("an error", async || {
        let row = world
            .sql
            .query_one("select last_error from edge_target", &[])
            .await
            .unwrap();
        row.get::<_, Option<String>>(0)
    })
    .await;
    assert!(error.contains("YARDARM_EXPORT_DIR"), "{error}");
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none());
    background.stop().await;
}

/// A file as a bucket has it.
#[derive(Debug, Clone)]
struct Stored {
    body: Bytes,
    content_type: String,
    caching: String,
}

/// As much of S3 as an export asks for.
#[derive(Debug, Clone, Default)]
struct Bucket {
    files: Arc<Mutex<BTreeMap<String, Stored>>>,
    written: Arc<Mutex<Vec<String>>>,
}

async fn s3(State(bucket): State<Bucket>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let header = |name: &str| {
        let value = head.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    };
    assert!(
        header("authorization").contains("Credential=the-id/"),
        "{head:?}"
    );
    let path = head
        .uri
        .path()
        .trim_start_matches("/bucket")
        .trim_start_matches('/')
        .to_owned();
    let query = head.uri.query().unwrap_or_default();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let mut files = bucket.files.lock().unwrap();
    match head.method {
        Method::GET if query.contains("list-type=2") => {
            let prefix = query
                .split('&')
                .find_map(|pair| pair.strip_prefix("prefix="));
            let prefix = prefix.unwrap_or_default().replace("%2F", "/");
            let mut entries = String::new();
            for (name, file) in files.iter().filter(|(name, _)| name.starts_with(&prefix)) {
                let size = file.body.len();
                let when = "<LastModified>2026-01-01T00:00:00.000Z</LastModified>";
                let rest = format!("<ETag>\"x\"</ETag><Size>{size}</Size>");
                for piece in [
                    "<Contents><Key>",
                    name,
                    "</Key>",
                    when,
                    &rest,
                    "</Contents>",
                ] {
                    entries.push_str(piece);
                }
            }
            format!("<ListBucketResult>{entries}</ListBucketResult>").into_response()
        }
        Method::GET => match files.get(&path) {
            Some(file) => {
                let headers = [
                    ("etag", "\"x\""),
                    ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
                ];
                (headers, file.body.clone()).into_response()
            }
            None => StatusCode::NOT_FOUND.into_response(),
        },
        Method::PUT => {
            let (content_type, caching) = (header("content-type"), header("cache-control"));
            let file = Stored {
                body,
                content_type,
                caching,
            };
            files.insert(path.clone(), file);
            bucket.written.lock().unwrap().push(path);
            [("etag", "\"x\"")].into_response()
        }
        Method::DELETE => {
            files.remove(&path);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

#[tokio::test]
async fn an_environment_is_files_in_a_bucket() {
    let url = database().await;
    let world = world(&url).await;
    world.environment("env").await;
    let feature = world.feature("banner").await;
    let bucket = Bucket::default();
    let (endpoint, _serving) = serve(Router::new().fallback(s3).with_state(bucket.clone())).await;
    let store = format!("s3://bucket/some/prefix?endpoint={endpoint}&region=auto");
    target(&world, &store, "the-id:the-key").await;
    let background = work(&url, Settings::default()).await;
    let pointed = async || {
        let at = "some/prefix/public/env/latest.json";
        let file = bucket.files.lock().unwrap().get(at).cloned()?;
        serde_json::from_slice::<Value>(&file.body).ok()
    };
    let first = until("the pointer", pointed).await;
    let files = bucket.files.lock().unwrap().clone();
    let hash = first["content_hash"].as_str().unwrap();
    let expected = [
        ("private/env/latest.json".to_owned(), "private, no-cache"),
        (
            "public/env/latest.json".to_owned(),
            "public, max-age=2, stale-if-error=86400",
        ),
        (
            format!("private/env/{hash}/environment-document.json"),
            "private, max-age=31536000, immutable",
        ),
        (
            format!("public/env/{hash}/flags.json"),
            "public, max-age=31536000, immutable",
        ),
    ];
    assert_eq!(files.len(), expected.len(), "{:?}", files.keys());
    for (name, caching) in expected {
        let file = &files[&format!("some/prefix/{name}")];
        assert_eq!(
            (file.content_type.as_str(), file.caching.as_str()),
            ("application/json", caching)
        );
    }
    let written = bucket.written.lock().unwrap().clone();
    assert_eq!(
        written.last().unwrap(),
        "some/prefix/public/env/latest.json"
    );

    world.set("env", feature, true, "on").await;
    until("the change", async || {
        (pointed().await? != first).then_some(())
    })
    .await;
    // The bucket tells of 2026-01-01: old enough. The one before stays all the same.
    let hashes: BTreeSet<_> = {
        let files = bucket.files.lock().unwrap();
        files
            .keys()
            .filter_map(|name| name.split('/').nth(4).map(str::to_owned))
            .collect()
    };
    assert!(hashes.contains(hash), "{hashes:?}");
    until("a confirmation", async || {
        let row = world.sql.query_one(
            "select last_error, last_success_at is not null from edge_target",
            &[],
        );
        let row = row.await.unwrap();
        assert_eq!(row.get::<_, Option<String>>(0), None);
        row.get::<_, bool>(1).then_some(())
    })
    .await;
    background.stop().await;
}

/// What was asked of Cloudflare: each call's tags.
#[derive(Debug, Clone, Default)]
struct Purges {
    failures_left: Arc<Mutex<u32>>,
    calls: Arc<Mutex<Vec<Vec<String>>>>,
}

async fn cloudflare(State(purges): State<Purges>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    assert_eq!(head.uri.path(), "/client/v4/zones/the-zone/purge_cache");
    assert_eq!(head.method, Method::POST);
    if head.headers["authorization"] != "Bearer the-token" {
        return StatusCode::FORBIDDEN.into_response();
    }
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    {
        let mut failures = purges.failures_left.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            let answer = json!({"success": false, "errors": [{"code": 10000, "message": "busy"}]});
            return (StatusCode::TOO_MANY_REQUESTS, answer.to_string()).into_response();
        }
    }
    let body: Value = serde_json::from_slice(&body).unwrap();
    let tags = serde_json::from_value(body["tags"].clone()).unwrap();
    purges.calls.lock().unwrap().push(tags);
    json!({"success": true, "errors": [], "result": {"id": "x"}})
        .to_string()
        .into_response()
}

#[tokio::test]
async fn a_cdn_is_purged_of_what_an_edge_has_confirmed() {
    let url = database().await;
    let world = world(&url).await;
    let keys: BTreeSet<String> = (0..40).map(|n| format!("key{n}")).collect();
    for key in &keys {
        world.environment(key).await;
    }
    let edge = RemoteEdge::start().await;
    target(&world, &edge.url(), SECRET).await;
    let purges = Purges::default();
    *purges.failures_left.lock().unwrap() = 1;
    let (api, _serving) = serve(
        Router::new()
            .fallback(cloudflare)
            .with_state(purges.clone()),
    )
    .await;
    let cloudflare = Cloudflare {
        api: format!("{api}/client/v4"),
        zone: "the-zone".to_owned(),
        token: "the-token".to_owned(),
    };
    assert!(!format!("{cloudflare:?}").contains("the-token"));
    let settings = Settings {
        cloudflare: Some(cloudflare),
        ..Settings::default()
    };
    let background = work(&url, settings).await;
    let tags = |calls: &[Vec<String>]| calls.iter().flatten().cloned().collect::<BTreeSet<_>>();
    let all: BTreeSet<_> = keys.iter().map(|key| format!("env-{key}")).collect();
    let calls = until("every purge", async || {
        let calls = purges.calls.lock().unwrap().clone();
        (tags(&calls) == all).then_some(calls)
    })
    .await;
    assert!(
        calls.iter().all(|tags| (1..=30).contains(&tags.len())),
        "{calls:?}"
    );
    assert!(calls.len() < 40, "{} calls are not coalesced", calls.len());
    until("no purge to wait", async || {
        let row = world
            .sql
            .query_one("select count(*) from job where kind = 'purge'", &[]);
        (row.await.unwrap().get::<_, i64>(0) == 0).then_some(())
    })
    .await;
    background.stop().await;
}
