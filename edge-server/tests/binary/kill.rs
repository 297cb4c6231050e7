//! Killed at any moment, and started again: what was confirmed is there, whole.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use yardarm_conformance::environment::Environment;

use crate::serving::{Serving, identify};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_publishing_it_serves_the_old_or_the_new_version() {
    let directory = TempDir::new().unwrap();
    let environment = Environment::fresh("killed");
    let mut edge = Serving::start(directory.path());
    assert_eq!(edge.publish(&environment, 1).await, StatusCode::CREATED);
    for version in 2..14 {
        let publishing = tokio::spawn({
            let (target, package) = (edge.target.clone(), environment.package(version));
            async move { target.publish(&package).await.map(|answer| answer.status()) }
        });
        tokio::time::sleep(Duration::from_micros(version * 300)).await;
        edge.kill();
        let confirmed = matches!(publishing.await, Ok(Ok(StatusCode::CREATED)));

        edge = Serving::start(directory.path());
        let value = edge.value(&environment).await.unwrap();
        let (old, new) = (Environment::value(version - 1), Environment::value(version));
        assert!(value == new || value == old && !confirmed, "{value}");
        // The publisher tries again until it is confirmed.
        assert!(edge.publish(&environment, version).await.is_success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_traits_are_set_it_has_all_that_were_confirmed() {
    let directory = TempDir::new().unwrap();
    let environment = Environment::fresh("traits");
    let mut edge = Serving::start(directory.path());
    edge.publish(&environment, 1).await;
    let mut confirmed = Vec::new();
    for round in 0..6 {
        let setting = tokio::spawn({
            let (target, key) = (edge.target.clone(), environment.key.clone());
            async move {
                let mut confirmed = Vec::new();
                for n in 0.. {
                    let name = format!("t{round}_{n}");
                    let body = json!({"identifier": "ann",
                        "traits": [{"trait_key": name, "trait_value": n}]});
                    match target.send(identify(&key, body.to_string())).await {
                        Ok(answer) if answer.status() == StatusCode::OK => confirmed.push(name),
                        _ => break,
                    }
                }
                confirmed
            }
        });
        tokio::time::sleep(Duration::from_millis(20 + round * 7)).await;
        edge.kill();
        confirmed.extend(setting.await.unwrap());
        edge = Serving::start(directory.path());
    }
    assert!(confirmed.len() > 6, "{confirmed:?}");
    let request = identify(&environment.key, r#"{"identifier":"ann"}"#);
    let ann: Value = serde_json::from_slice(edge.send(request).await.body()).unwrap();
    let held: Vec<&str> = ann["traits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|held| held["trait_key"].as_str().unwrap())
        .collect();
    let lost: Vec<_> = confirmed
        .iter()
        .filter(|name| !held.contains(&name.as_str()))
        .collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
}
