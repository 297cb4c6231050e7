//! Segment overrides.

use serde_json::{Value, json};

use crate::fixture::{Fixture, column, rules};

const PATH: &str = "/api/v1/features/feature-segments/";

async fn order(f: &Fixture, feature: i64) -> Vec<(Value, Value)> {
    let page = f
        .ann
        .get(&format!("{PATH}?environment={}&feature={feature}", f.dev))
        .await
        .expect(200);
    column(&page, "segment_name")
        .into_iter()
        .zip(column(&page, "priority"))
        .collect()
}

#[tokio::test]
async fn in_two_steps() {
    let f = Fixture::start().await;
    let x = f.feature_id("x").await;
    let vip = f.segment_id("vip").await;
    f.published().await;
    let body = json!({"feature": x, "segment": vip, "environment": f.dev});
    let made = f.ann.post(PATH, body.clone()).await.expect(201);
    assert_eq!(
        made,
        json!({"id": made["id"], "uuid": made["uuid"], "feature": x, "segment": vip, "environment": f.dev, "priority": 0})
    );
    // Flagsmith takes one segment twice.
    assert_eq!(f.ann.post(PATH, body).await.expect(201)["priority"], 1);
    let shown = json!({"id": made["id"], "uuid": made["uuid"], "segment": vip, "priority": 0,
        "environment": f.dev, "segment_name": "vip", "is_feature_specific": false});
    let path = format!("{PATH}{}/", made["id"]);
    assert_eq!(f.ann.get(&path).await.expect(200), shown);
    let by_uuid = format!("{PATH}get-by-uuid/{}/", made["uuid"].as_str().unwrap());
    assert_eq!(f.ann.get(&by_uuid).await.expect(200), shown);

    // It does nothing until it has a state.
    assert!(f.published().await.is_empty());
    let state = json!({"feature": x, "environment": f.dev, "feature_segment": made["id"], "enabled": false,
        "feature_state_value": {"type": "unicode", "string_value": "v"}});
    let state = f
        .ann
        .post("/api/v1/features/featurestates/", state)
        .await
        .expect(201);
    assert_eq!(state["feature_segment"], made["id"]);
    assert_eq!(f.published().await, ["dev"]);
    let put = format!("/api/v1/features/featurestates/{}/", state["id"]);
    let body =
        json!({"feature": x, "environment": f.dev, "feature_segment": made["id"], "enabled": true});
    assert_eq!(f.ann.put(&put, body).await.expect(200)["enabled"], true);
    let body = json!({"feature_segment": 999_999});
    assert_eq!(
        f.ann.patch(&put, body).await.expect(400),
        json!({"feature_segment": ["Cannot change the feature segment of a feature state"]})
    );
    f.published().await;

    f.ann.delete(&path).await.expect(204);
    assert_eq!(f.published().await, ["dev"]);
    assert_eq!(
        f.ann.delete(&path).await.expect(404),
        json!({"detail": "No FeatureSegment matches the given query."})
    );
    let states = format!(
        "/api/v1/features/featurestates/?environment={}&feature={x}",
        f.dev
    );
    assert_eq!(f.ann.get(&states).await.expect(200)["count"], 1);
    assert_eq!(
        f.audit(1).await,
        ["Flag state / Remote config value deleted for feature 'x' and segment 'vip'"]
    );
}

#[tokio::test]
async fn in_one_step() {
    let f = Fixture::start().await;
    let made = f
        .feature(
            json!({"name": "x", "initial_value": "12", "multivariate_options": [
            {"string_value": "a", "default_percentage_allocation": 30},
            {"string_value": "b", "default_percentage_allocation": 20}]}),
        )
        .await;
    let x = made["id"].as_i64().unwrap();
    let (a, b) = (
        &made["multivariate_options"][0]["id"],
        &made["multivariate_options"][1]["id"],
    );
    let vip = f.segment_id("vip").await;
    f.published().await;
    let path = format!("/api/v1/environments/dev/features/{x}/create-segment-override/");
    let body = json!({"enabled": true, "feature_segment": {"segment": vip},
        "feature_state_value": {"type": "bool", "boolean_value": false},
        "multivariate_feature_state_values": [
            {"multivariate_feature_option": a, "percentage_allocation": 100},
            {"multivariate_feature_option": b, "percentage_allocation": 0}]});
    let over = f.ann.post(&path, body).await.expect(201);
    assert_eq!(
        over["feature_state_value"],
        json!({"type": "bool", "string_value": null, "integer_value": 12, "boolean_value": false})
    );
    assert_eq!(over["feature_segment"]["priority"], 0);
    assert_eq!(over["feature_segment"]["segment"], vip);
    assert_eq!(
        over["multivariate_feature_state_values"][0]["percentage_allocation"],
        100.0
    );
    assert_eq!(f.published().await, ["dev"]);
    // Without shares of its own, an override gets the options' defaults.
    let value = json!({"type": "unicode", "string_value": "v"});
    let plain = f
        .segment_override(x, json!({"segment": vip}), value.clone())
        .await;
    assert_eq!(
        plain["multivariate_feature_state_values"][0]["percentage_allocation"],
        30.0
    );

    for (body, error) in [
        (
            json!({}),
            json!({"feature_state_value": ["This field is required."]}),
        ),
        (
            json!({"feature_state_value": value}),
            json!({"feature_segment": ["This field is required."]}),
        ),
        (
            json!({"feature_state_value": value, "feature_segment": {"segment": 999_999}}),
            json!({"feature_segment": {"segment": ["Invalid pk \"999999\" - object does not exist."]}}),
        ),
        (
            json!({"feature_state_value": value, "feature_segment": {"segment": vip, "priority": -1}}),
            json!({"feature_segment": {"priority": ["Ensure this value is greater than or equal to 0."]}}),
        ),
        (
            json!({"feature_state_value": value, "feature_segment": 7}),
            json!({"feature_segment": {"non_field_errors": ["Invalid data. Expected a dictionary, but got int."]}}),
        ),
    ] {
        assert_eq!(f.ann.post(&path, body).await.expect(400), error);
    }
    assert_eq!(order(&f, x).await.len(), 2);
    let nowhere = "/api/v1/environments/dev/features/999999/create-segment-override/";
    f.ann
        .post(nowhere, json!({"enabled": true}))
        .await
        .expect(404);
    for person in [&f.bob, &f.eve] {
        person.post(&path, json!({})).await.expect(403);
    }
}

#[tokio::test]
async fn priorities_are_given_as_asked() {
    let f = Fixture::start().await;
    let x = f.feature_id("x").await;
    let value = json!({"type": "unicode", "string_value": "v"});
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let segment = f.segment_id(name).await;
        let over = f
            .segment_override(x, json!({"segment": segment}), value.clone())
            .await;
        ids.push(over["feature_segment"]["id"].as_i64().unwrap());
    }
    let named = |names: [(&str, i32); 3]| names.map(|(name, place)| (json!(name), json!(place)));
    assert_eq!(order(&f, x).await, named([("a", 0), ("b", 1), ("c", 2)]));
    f.published().await;

    let path = format!("{PATH}update-priorities/");
    let body = json!([{"id": ids[2], "priority": 0}, {"id": ids[0], "priority": 1}]);
    let reply = f.ann.post(&path, body.clone()).await.expect(200);
    let shown: Vec<(i64, i64)> = reply
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            (
                row["id"].as_i64().unwrap(),
                row["priority"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(shown, [(ids[0], 1), (ids[2], 0)]);
    assert_eq!(order(&f, x).await, named([("c", 0), ("a", 1), ("b", 2)]));
    assert_eq!(f.published().await, ["dev"]);
    assert_eq!(
        f.audit(1).await,
        ["Segment overrides re-ordered for feature 'x'."]
    );
    f.ann.post(&path, body).await.expect(200);
    assert!(f.published().await.is_empty());

    // A priority that is taken pushes its holder down; a gap stays.
    let fourth = f.segment_id("d").await;
    f.segment_override(x, json!({"segment": fourth, "priority": 1}), value.clone())
        .await;
    let last = f.segment_id("e").await;
    f.segment_override(x, json!({"segment": last, "priority": 9}), value)
        .await;
    let places: Vec<(Value, Value)> = [("c", 0), ("d", 1), ("a", 2), ("b", 3), ("e", 9)]
        .map(|(name, place)| (json!(name), json!(place)))
        .into();
    assert_eq!(order(&f, x).await, places);

    let y = f.feature_id("y").await;
    let other = json!({"feature": y, "segment": fourth, "environment": f.dev});
    let other = f.ann.post(PATH, other).await.expect(201)["id"]
        .as_i64()
        .unwrap();
    for (body, error) in [
        (
            json!({"id": 1, "priority": 0}),
            json!({"non_field_errors": ["Expected a list of items but got type \"dict\"."]}),
        ),
        (
            json!([{"id": 999_999, "priority": 0}]),
            json!({"non_field_errors": ["Some of the provided ids were not found."]}),
        ),
        (
            json!([{"id": ids[0], "priority": 0}, {"id": other, "priority": 1}]),
            json!({"non_field_errors": ["All of them must belong to one feature in one environment."]}),
        ),
        (
            json!([{"id": ids[0]}, {"id": ids[1], "priority": 1}]),
            json!([{"priority": ["This field is required."]}, {}]),
        ),
    ] {
        assert_eq!(f.ann.post(&path, body).await.expect(400), error);
    }
    assert_eq!(f.ann.post(&path, json!([])).await.expect(200), json!([]));
    f.eve
        .post(&path, json!([{"id": ids[0], "priority": 0}]))
        .await
        .expect(403);
}

#[tokio::test]
async fn what_is_wrong_is_told_in_flagsmiths_words() {
    let f = Fixture::start().await;
    let (x, y) = (f.feature_id("x").await, f.feature_id("y").await);
    let only = json!({"name": "only", "feature": x, "rules": rules("a", "b")});
    let only = f.ann.post(&f.segments(""), only).await.expect(201)["id"].clone();
    assert_eq!(
        f.ann.get(PATH).await.expect(400),
        json!({"environment": ["This field is required."], "feature": ["This field is required."]})
    );
    f.ann.post(PATH, json!({})).await.expect(403);
    for (body, error) in [
        (
            json!({"environment": f.dev}),
            json!({"feature": ["This field is required."], "segment": ["This field is required."]}),
        ),
        (
            json!({"environment": f.dev, "feature": y, "segment": only}),
            json!({"feature": [format!("Can only create segment override(using this segment) for feature {x}")]}),
        ),
        (
            json!({"environment": f.dev, "feature": 999_999, "segment": only}),
            json!({"feature": ["Invalid pk \"999999\" - object does not exist."]}),
        ),
    ] {
        assert_eq!(f.ann.post(PATH, body).await.expect(400), error);
    }
    let body = json!({"environment": f.dev, "feature": x, "segment": only});
    let made = f.ann.post(PATH, body.clone()).await.expect(201);
    let one = format!("{PATH}{}/", made["id"]);
    assert_eq!(
        f.ann.get(&one).await.expect(200)["is_feature_specific"],
        true
    );
    for person in [&f.bob, &f.eve] {
        person.post(PATH, body.clone()).await.expect(403);
        person.get(&one).await.expect(403);
        person.delete(&one).await.expect(403);
        person
            .get(&format!("{PATH}?environment={}&feature={x}", f.dev))
            .await
            .expect(403);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn overrides_made_at_once_do_not_share_a_priority() {
    let f = Fixture::start().await;
    let x = f.feature_id("x").await;
    let vip = f.segment_id("vip").await;
    let mut tasks = Vec::new();
    for number in 0..6 {
        let place = match number % 2 {
            0 => json!({"segment": vip}),
            _ => json!({"segment": vip, "priority": 0}),
        };
        let ann = f.ann.clone();
        let path = format!("/api/v1/environments/dev/features/{x}/create-segment-override/");
        let body = json!({"feature_segment": place, "feature_state_value": {"string_value": "v"}});
        tasks.push(tokio::spawn(async move {
            ann.post(&path, body).await.expect(201)
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let priorities: Vec<Value> = order(&f, x)
        .await
        .into_iter()
        .map(|(_, place)| place)
        .collect();
    assert_eq!(priorities, [0, 1, 2, 3, 4, 5]);
}
