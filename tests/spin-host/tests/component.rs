//! The real component in the host, where it matters that it is the real one: what is stored outlives
//! the process, a process killed at any moment leaves a whole version serving, and environments past
//! the store's limit of 1 MB a value come back byte for byte.
//!
//! Skipped, with a word, until `scripts/build-spin` has built the component.

#![expect(clippy::unwrap_used, reason = "a test's own steps must not fail")]

mod running;

use std::time::Duration;

use http::StatusCode;
use running::{Running, component};
use serde_json::{Value, json};
use yardarm_conformance::environment::{Environment, FLAG};
use yardarm_conformance::sha256_hex;
use yardarm_core::snapshot::{Package, Publication, compile};

const SERVER_KEY: &str = "ser.spin-host-test";

/// An environment whose snapshot, document and flags are some megabytes, telling the version.
fn large(key: &str, version: u64) -> Package {
    let states: Vec<Value> = (0..1_200)
        .map(|n| {
            json!({
                "feature": { "id": n, "name": format!("{FLAG}_{n}"), "type": "STANDARD" },
                "enabled": true,
                "django_id": n,
                "feature_segment": null,
                "featurestate_uuid": format!("00000000-0000-4000-8000-{n:012}"),
                "feature_state_value": format!("{version}-{n}-{}", "x".repeat(1_500)),
                "multivariate_feature_state_values": []
            })
        })
        .collect();
    let publication: Publication = serde_json::from_value(json!({
        "version": version,
        "updated_at_micros": 1_767_225_600_000_000_i64 + i64::try_from(version).unwrap(),
        "server_keys": [{ "sha256": sha256_hex(SERVER_KEY), "active": true }],
        "document": {
            "id": 1,
            "api_key": key,
            "name": "Large",
            "updated_at": "2026-01-01T00:00:00.000000+00:00",
            "allow_client_traits": true,
            "project": {
                "id": 1,
                "name": "Large",
                "hide_disabled_flags": false,
                "enable_realtime_updates": false,
                "server_key_only_feature_ids": [],
                "organisation": {
                    "id": 1,
                    "name": "Large",
                    "feature_analytics": false,
                    "stop_serving_flags": false,
                    "persist_trait_data": true
                },
                "segments": []
            },
            "feature_states": states,
            "identity_overrides": []
        }
    }))
    .unwrap();
    compile(&publication).0
}

#[tokio::test]
async fn what_was_stored_outlives_the_process() {
    let Some(component) = component() else { return };
    let state = tempfile::tempdir().unwrap();
    let environment = Environment::fresh("restart");
    let mut running = Running::start(&component, state.path());
    let reply = running
        .target
        .publish(&environment.package(4))
        .await
        .unwrap();
    assert_eq!(reply.status(), StatusCode::CREATED);
    let traits = json!({
        "identifier": "ann",
        "traits": [{ "trait_key": "colour", "trait_value": "blue" }]
    });
    running
        .post("/api/v1/identities/", &environment.key, &traits)
        .await;
    running.kill();

    let running = Running::start(&component, state.path());
    let (status, flags) = running.get("/api/v1/flags/", &environment.key).await;
    assert_eq!(status, StatusCode::OK);
    assert!(String::from_utf8_lossy(&flags).contains(&Environment::value(4)));
    let (_, ann) = running
        .get("/api/v1/identities/?identifier=ann", &environment.key)
        .await;
    let ann: Value = serde_json::from_slice(&ann).unwrap();
    assert_eq!(ann["traits"][0]["trait_value"], "blue");
    for (version, status) in [(3, StatusCode::CONFLICT), (4, StatusCode::OK)] {
        let reply = running
            .target
            .publish(&environment.package(version))
            .await
            .unwrap();
        assert_eq!(reply.status(), status, "version {version}");
    }
}

#[tokio::test]
async fn an_environment_of_megabytes_comes_back_whole() {
    let Some(component) = component() else { return };
    let state = tempfile::tempdir().unwrap();
    let running = Running::start(&component, state.path());
    for version in [1, 2, 3] {
        let package = large("env-large", version);
        assert!(package.snapshot().len() > 2_000_000 && package.size() > 3_000_000);
        let reply = running.target.publish(&package).await.unwrap();
        assert_eq!(reply.status(), StatusCode::CREATED, "{reply:?}");
        let (status, document) = running
            .get("/api/v1/environment-document/", SERVER_KEY)
            .await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(document, package.document_page(0).unwrap());
        let (_, flags) = running.get("/api/v1/flags/", "env-large").await;
        let flags: Value = serde_json::from_slice(&flags).unwrap();
        let last = &flags[1_199]["feature_state_value"];
        assert!(
            last.as_str()
                .unwrap()
                .starts_with(&format!("{version}-1199-"))
        );
    }
}

#[tokio::test]
async fn killed_while_publishing_it_still_serves_a_whole_version() {
    let Some(component) = component() else { return };
    let state = tempfile::tempdir().unwrap();
    let mut running = Running::start(&component, state.path());
    let reply = running
        .target
        .publish(&large("env-large", 1))
        .await
        .unwrap();
    assert_eq!(reply.status(), StatusCode::CREATED);
    for version in 2..14 {
        let package = large("env-large", version);
        let target = running.target.clone();
        let publication = tokio::spawn({
            let package = package.clone();
            async move { target.publish(&package).await }
        });
        tokio::time::sleep(Duration::from_millis(version * 3)).await;
        running.kill();
        drop(publication.await);

        running = Running::start(&component, state.path());
        let (status, flags) = running.get("/api/v1/flags/", "env-large").await;
        assert_eq!(status, StatusCode::OK);
        let flags: Value = serde_json::from_slice(&flags).unwrap();
        let serving = [version - 1, version].into_iter().find(|serving| {
            flags
                .as_array()
                .unwrap()
                .iter()
                .enumerate()
                .all(|(n, flag)| {
                    let value = flag["feature_state_value"].as_str().unwrap();
                    value.starts_with(&format!("{serving}-{n}-"))
                })
        });
        assert!(
            serving.is_some(),
            "neither {} nor {version} is whole",
            version - 1
        );
        let reply = running.target.publish(&package).await.unwrap();
        assert!(reply.status().is_success(), "{reply:?}");
    }
}

#[tokio::test]
async fn a_store_that_takes_no_more_serves_what_it_has() {
    let Some(component) = component() else { return };
    let state = tempfile::tempdir().unwrap();
    let environment = Environment::fresh("full");
    let mut running = Running::start(&component, state.path());
    let package = environment.package(1);
    assert_eq!(
        running.target.publish(&package).await.unwrap().status(),
        StatusCode::CREATED
    );
    let ann = json!({"identifier": "ann", "traits": [{"trait_key": "a", "trait_value": 1}]});
    running
        .post("/api/v1/identities/", &environment.key, &ann)
        .await;
    running.kill();
    // Compiled once without the limit, which counts for the compiled code, too; then hardly more than is stored.
    let stored = std::fs::metadata(state.path().join("key-value.log"))
        .unwrap()
        .len();
    let mut running = Running::start_limited(&component, state.path(), stored / 512 + 2);
    let reply = running
        .target
        .publish(&large(&environment.key, 2))
        .await
        .unwrap();
    assert_eq!(reply.status(), StatusCode::SERVICE_UNAVAILABLE, "{reply:?}");
    let (status, flags) = running.get("/api/v1/flags/", &environment.key).await;
    assert_eq!(status, StatusCode::OK);
    assert!(String::from_utf8_lossy(&flags).contains(&Environment::value(1)));
    let (status, ann) = running
        .get("/api/v1/identities/?identifier=ann", &environment.key)
        .await;
    assert_eq!(status, StatusCode::OK);
    let ann: Value = serde_json::from_slice(&ann).unwrap();
    assert_eq!(ann["traits"][0]["trait_value"], 1);
    running.kill();

    let running = Running::start(&component, state.path());
    let reply = running
        .target
        .publish(&large(&environment.key, 2))
        .await
        .unwrap();
    assert_eq!(reply.status(), StatusCode::CREATED, "{reply:?}");
}
