//! What the real component brings home to its control plane, whoever is away or killed meanwhile. (A control plane in bad
//! moods is `yardarm-conformance --home-port`.)
//!
//! Skipped, with a word, until `scripts/build-spin` has built the component.

#![expect(clippy::unwrap_used, reason = "a test's own steps must not fail")]

mod running;

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use running::{Running, SECRET, component};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use yardarm_conformance::Target;
use yardarm_conformance::environment::Environment;
use yardarm_conformance::home::{Home, Mood};
use yardarm_core::edge::TraitScalar;
use yardarm_core::edge::delivery::Resource;

/// Posts a trait each of one identity, all at once; whether each was answered.
async fn post_traits(target: Target, key: String, names: Vec<String>) -> Vec<(String, bool)> {
    let mut posts = JoinSet::new();
    for name in names {
        let body = json!({
            "identifier": "ann",
            "traits": [{ "trait_key": name, "trait_value": 1 }],
        });
        let request = Request::post("/api/v1/identities/")
            .header("x-environment-key", &key)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body.to_string()))
            .unwrap();
        let target = target.clone();
        posts.spawn(async move {
            let answer = target.send(request).await;
            (
                name,
                answer.is_ok_and(|answer| answer.status().is_success()),
            )
        });
    }
    posts.join_all().await
}

/// Waits while asking what is held, as a control plane does.
async fn until(running: &Running, what: &str, mut there: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(begun.elapsed() < Duration::from_secs(90), "{what}");
        let target = &running.target;
        let question = target.signed(Method::GET, "/edge/v1/environments", Bytes::new());
        assert_eq!(
            target.send(question).await.unwrap().status(),
            StatusCode::OK
        );
        sleep(Duration::from_millis(200)).await;
    }
}

async fn published(running: &Running, name: &str) -> String {
    let environment = Environment::fresh(name);
    let answer = running.target.publish(&environment.package(1)).await;
    assert_eq!(answer.unwrap().status(), StatusCode::CREATED);
    environment.key
}

#[tokio::test]
async fn two_hundred_parallel_traits_come_home() {
    let Some(component) = component() else { return };
    let state = tempfile::tempdir().unwrap();
    let home = Home::listen(0, SECRET).await.unwrap();
    let running = Running::start_with_home(&component, state.path(), &home.url());
    let key = published(&running, "parallel").await;
    let names = (0..200).map(|n| format!("t{n}")).collect();
    let posted = post_traits(running.target.clone(), key.clone(), names).await;
    assert!(posted.iter().all(|(_, answered)| *answered));
    until(&running, "200 traits", || {
        let ann = home.identity(&key, "ann");
        ann.is_some_and(|ann| ann.traits.len() == 200)
            && home.requests(&key, Resource::Identities) == 200
    })
    .await;
    home.check().unwrap();
}

#[tokio::test]
async fn what_was_answered_before_a_kill_comes_home_after_it() {
    let Some(component) = component() else { return };
    let state = tempfile::tempdir().unwrap();
    let home = Home::listen(0, SECRET).await.unwrap();
    let mut running = Running::start_with_home(&component, state.path(), &home.url());
    let key = published(&running, "killed").await;
    let mut answered = Vec::new();
    for (round, mood) in [Mood::Away, Mood::LosesReplies, Mood::Takes]
        .into_iter()
        .enumerate()
    {
        home.set(mood);
        let names = (0..40).map(|n| format!("t{round}-{n}")).collect();
        answered.extend(post_traits(running.target.clone(), key.clone(), names).await);
        // In the middle of more of it, and of a delivery.
        let names = (0..40).map(|n| format!("u{round}-{n}")).collect();
        let stopping = Duration::from_millis(120 * u64::try_from(round + 1).unwrap());
        let posts = tokio::spawn(post_traits(running.target.clone(), key.clone(), names));
        sleep(stopping).await;
        running.kill();
        answered.extend(posts.await.unwrap());
        running = Running::start_with_home(&component, state.path(), &home.url());
    }
    home.set(Mood::Takes);
    answered.retain(|(_, answered)| *answered);
    assert!(answered.len() >= 120, "{}", answered.len());
    until(&running, "every trait that was answered", || {
        home.identity(&key, "ann").is_some_and(|ann| {
            let is_there = |name: &str| ann.get(name) == Some(&TraitScalar::Int(1));
            answered.iter().all(|(name, _)| is_there(name))
        })
    })
    .await;
    home.check().unwrap();
}
