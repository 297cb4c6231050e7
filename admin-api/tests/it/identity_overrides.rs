//! Overrides for one identity, and what an identity gets of everything.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::fixture::Fixture;

const IDENTITIES: &str = "/api/v1/environments/dev/identities/";

fn states(identity: i64) -> String {
    format!("{IDENTITIES}{identity}/featurestates/")
}

#[tokio::test]
async fn an_override_from_cradle_to_grave() {
    let f = Fixture::start().await;
    let feature = f.feature(json!({"name": "x", "initial_value": "42"})).await["id"].clone();
    let alice = f.identity("alice").await;
    let path = states(alice);
    f.published().await;

    let body = json!({"feature": feature, "enabled": true});
    let made = f.ann.post(&path, body.clone()).await.expect(201);
    assert_eq!(
        made["feature_state_value"], 42,
        "it starts as the feature does"
    );
    assert_eq!(
        (&made["identity"], &made["enabled"]),
        (&json!(alice), &json!(true))
    );
    assert_eq!(f.published().await, ["dev"]);
    assert_eq!(
        f.ann.post(&path, body).await.expect(400),
        json!([
            "['Feature state already exists for this environment, feature, version, segment & identity combination']"
        ])
    );

    let one = format!("{path}{}/", made["id"]);
    assert_eq!(f.ann.get(&one).await.expect(200), made);
    let put = f.ann.put(&one, json!({"feature_state_value": 43})).await;
    assert_eq!(put.expect(200)["feature_state_value"], 43);
    let patched = f.ann.patch(&one, json!({"enabled": false})).await;
    assert_eq!(
        patched.expect(200),
        json!({"feature": feature, "enabled": false})
    );
    assert_eq!(f.published().await, ["dev"]);
    let listed = f.ann.get(&path).await.expect(200);
    assert_eq!(listed["count"], 1);
    assert_eq!(
        listed["results"][0]["identity"],
        json!({"id": alice, "identifier": "alice"})
    );

    let bob = f.identity("bob").await;
    f.ann
        .get(&format!("{}{}/", states(bob), made["id"]))
        .await
        .expect(404);
    f.ann.delete(&one).await.expect(204);
    assert_eq!(f.published().await, ["dev"]);
    assert_eq!(
        f.ann.delete(&one).await.expect(404),
        json!({"detail": "No FeatureState matches the given query."})
    );
}

/// Each adds a row below the environment before it takes the environment's next version.
#[tokio::test]
async fn what_is_made_at_once_is_all_made() {
    let f = Fixture::start().await;
    let feature = f.feature_id("x").await;
    let mut paths = Vec::new();
    for number in 0..24 {
        paths.push(states(f.identity(&format!("identity {number}")).await));
    }
    let overrides = paths.iter().map(async |path| {
        let body = json!({"feature": feature, "enabled": true});
        f.ann.post(path, body).await.expect(201);
    });
    let names: Vec<String> = (0..8).map(|number| format!("feature_{number}")).collect();
    let features = names.iter().map(|name| f.feature_id(name));
    tokio::join!(join_all(overrides), join_all(features));
}

#[tokio::test]
async fn a_feature_of_another_project_is_forbidden() {
    let f = Fixture::start().await;
    let alice = f.identity("alice").await;
    for body in [
        json!({"enabled": true}),
        json!({"feature": 999_999, "enabled": true}),
    ] {
        f.ann.post(&states(alice), body).await.expect(403);
    }
    f.ann.get(&states(999_999)).await.expect(404);
    f.bob.get(&states(alice)).await.expect(403);
    f.eve
        .get(&format!("{}all/", states(alice)))
        .await
        .expect(403);
}

fn resolved(all: &Value, name: &str) -> Value {
    let found = all
        .as_array()
        .unwrap()
        .iter()
        .find(|flag| flag["feature"]["name"] == name);
    found.unwrap().clone()
}

#[tokio::test]
async fn what_an_identity_gets_and_why() {
    let f = Fixture::start().await;
    let plain = f.feature_id("plain").await;
    let segmented = f.feature_id("segmented").await;
    let overridden = f.feature_id("overridden").await;
    let gold = f.segment_id("gold").await;
    let value = |text: &str| json!({"type": "unicode", "string_value": text});
    for feature in [segmented, overridden] {
        f.segment_override(feature, json!({"segment": gold}), value("for gold"))
            .await;
    }
    let alice = f.identity("alice").await;
    let plan = json!({"trait_key": "plan", "string_value": "gold"});
    f.ann
        .post(&format!("{IDENTITIES}{alice}/traits/"), plan)
        .await
        .expect(201);
    let body = json!({"feature": overridden, "enabled": true, "feature_state_value": "for alice"});
    f.ann.post(&states(alice), body).await.expect(201);
    // What people look at is not hidden from them.
    let hide = json!({"hide_disabled_flags": true, "hide_sensitive_data": true, "name": "dev"});
    f.ann
        .put("/api/v1/environments/dev/", hide)
        .await
        .expect(200);

    let all = f
        .ann
        .get(&format!("{}all/", states(alice)))
        .await
        .expect(200);
    assert_eq!(
        resolved(&all, "plain"),
        json!({
            "feature": {"id": plain, "name": "plain", "type": "STANDARD"},
            "enabled": false,
            "feature_state_value": null,
            "overridden_by": null,
            "segment": null,
            "multivariate_feature_state_values": [],
        })
    );
    let by_segment = resolved(&all, "segmented");
    assert_eq!(by_segment["overridden_by"], "SEGMENT");
    assert_eq!(by_segment["segment"], json!({"id": gold, "name": "gold"}));
    assert_eq!(by_segment["feature_state_value"], "for gold");
    let by_identity = resolved(&all, "overridden");
    assert_eq!(by_identity["overridden_by"], "IDENTITY");
    assert_eq!(by_identity["segment"], Value::Null);
    assert_eq!(by_identity["feature_state_value"], "for alice");
}

#[tokio::test]
async fn overrides_can_be_taken_over_from_another_identity() {
    let f = Fixture::start().await;
    let both = f.feature_id("both").await;
    let source_only = f
        .feature(json!({"name": "source_only", "multivariate_options": [
            {"type": "unicode", "string_value": "a", "default_percentage_allocation": 0}]}))
        .await;
    let target_only = f.feature_id("target_only").await;
    let (alice, bob) = (f.identity("alice").await, f.identity("bob").await);
    let option = &source_only["multivariate_options"][0]["id"];
    for (identity, body) in [
        (
            alice,
            json!({"feature": both, "enabled": true, "feature_state_value": "alice's"}),
        ),
        (
            alice,
            json!({"feature": source_only["id"], "enabled": true, "multivariate_feature_state_values":
                [{"multivariate_feature_option": option, "percentage_allocation": 100}]}),
        ),
        (
            bob,
            json!({"feature": both, "enabled": false, "feature_state_value": 1}),
        ),
        (bob, json!({"feature": target_only, "enabled": true})),
    ] {
        f.ann.post(&states(identity), body).await.expect(201);
    }
    f.published().await;
    let clone = format!("{}clone-from-given-identity/", states(bob));
    let all = f
        .ann
        .post(&clone, json!({"source_identity_id": alice}))
        .await
        .expect(200);
    assert_eq!(resolved(&all, "both")["feature_state_value"], "alice's");
    assert_eq!(resolved(&all, "source_only")["feature_state_value"], "a");
    assert_eq!(resolved(&all, "target_only")["overridden_by"], Value::Null);
    assert_eq!(f.published().await, ["dev"]);

    assert_eq!(
        f.ann.post(&clone, json!({})).await.expect(400),
        json!({"source_identity_id": ["This field is required."]})
    );
    f.ann
        .post(&clone, json!({"source_identity_id": 999_999}))
        .await
        .expect(404);
}
