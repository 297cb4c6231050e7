//! Feature states, on the surface with plain values and on the one with typed ones.

use serde_json::{Value, json};

use crate::fixture::{Fixture, column};

const TYPED: &str = "/api/v1/features/featurestates/";

fn flat(state: &Value) -> String {
    format!("/api/v1/environments/dev/featurestates/{}/", state["id"])
}

#[tokio::test]
async fn plain_values_are_typed_by_their_json() {
    let f = Fixture::start().await;
    let id = f
        .feature(json!({"name": "x", "initial_value": "hello"}))
        .await["id"]
        .as_i64()
        .unwrap();
    let state = f.default_state("dev", id).await;
    let path = flat(&state);
    f.published().await;
    f.t.clock.advance(chrono::TimeDelta::seconds(1));
    let changed = f
        .ann
        .put(
            &path,
            json!({"enabled": true, "feature_state_value": "changed"}),
        )
        .await;
    let changed = changed.expect(200);
    assert_eq!(changed["enabled"], true);
    assert_eq!(changed["updated_at"], "2026-01-02T03:04:06.678901Z");
    assert_eq!(changed["created_at"], state["created_at"]);
    assert_eq!(f.published().await, ["dev"]);
    for (value, shown) in [
        (json!(12), json!(12)),
        (json!(true), json!(true)),
        (json!(null), json!(null)),
        (json!(1.25), json!("1.25")),
        (json!(" spaced "), json!(" spaced ")),
    ] {
        let changed = f
            .ann
            .put(&path, json!({"feature_state_value": value}))
            .await
            .expect(200);
        assert_eq!(changed["feature_state_value"], shown);
        assert_eq!(f.published().await, ["dev"]);
    }
    for (body, error) in [
        (
            json!({"feature_state_value": {"a": 1}}),
            json!({"string_value": ["Not a valid string."]}),
        ),
        (
            json!({"enabled": "maybe"}),
            json!({"enabled": ["Must be a valid boolean."]}),
        ),
        (
            json!({"feature_state_value": 2_147_483_648_u32}),
            json!({"integer_value": ["Ensure this value is less than or equal to 2147483647."]}),
        ),
        (
            json!({"feature_state_value": "v".repeat(20_001)}),
            json!({"string_value": ["Ensure this field has no more than 20000 characters."]}),
        ),
    ] {
        assert_eq!(f.ann.put(&path, body).await.expect(400), error);
    }
    assert_eq!(
        f.ann.put(&path, json!({})).await.expect(200)["feature_state_value"],
        " spaced "
    );
    assert!(f.published().await.is_empty());
    assert_eq!(
        f.ann
            .patch(&path, json!({"enabled": false}))
            .await
            .expect(200),
        json!({"feature": id, "enabled": false})
    );
    assert_eq!(f.ann.get(&path).await.expect(200)["enabled"], false);
    assert_eq!(
        f.audit(7).await,
        [
            "Remote config value updated for feature: x",
            "Remote config value updated for feature: x",
            "Remote config value updated for feature: x",
            "Remote config value updated for feature: x",
            "Remote config value updated for feature: x",
            "Remote config value updated for feature: x",
            "Flag state updated for feature: x",
        ]
    );
}

#[tokio::test]
async fn typed_values_keep_their_other_columns() {
    let f = Fixture::start().await;
    let id = f.feature(json!({"name": "x", "initial_value": "12"})).await["id"]
        .as_i64()
        .unwrap();
    let other = f.feature_id("y").await;
    let state = f.default_state("dev", id).await;
    let path = format!("{TYPED}{}/", state["id"]);
    let place = |rest: Value| {
        let mut body = json!({"feature": id, "environment": f.dev});
        body.as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        body
    };
    let body = place(
        json!({"enabled": true, "feature_state_value": {"type": "unicode", "string_value": "nested"}}),
    );
    let changed = f.ann.put(&path, body).await.expect(200);
    assert_eq!(
        changed["feature_state_value"],
        json!({"type": "unicode", "string_value": "nested", "integer_value": 12, "boolean_value": null})
    );
    // The reference fails without the environment.
    let body = json!({"feature_state_value": {"type": "int", "integer_value": 5}});
    let changed = f.ann.patch(&path, body).await.expect(200);
    assert_eq!(
        changed["feature_state_value"],
        json!({"type": "int", "string_value": "nested", "integer_value": 5, "boolean_value": null})
    );
    let by_uuid = format!("{TYPED}get-by-uuid/{}/", state["uuid"].as_str().unwrap());
    assert_eq!(f.ann.get(&by_uuid).await.expect(200), changed);
    for (body, error) in [
        (
            json!({}),
            json!({"feature": ["This field is required."], "environment": ["This field is required."]}),
        ),
        (
            json!({"feature": other, "environment": f.prod}),
            json!({
                "feature": ["Cannot change the feature of a feature state"],
                "environment": ["Cannot change the environment of a feature state"],
            }),
        ),
        (
            place(json!({"feature_state_value": {"type": "zip"}})),
            json!({"feature_state_value": {"type": ["\"zip\" is not a valid choice."]}}),
        ),
    ] {
        assert_eq!(f.ann.put(&path, body).await.expect(400), error);
    }
    f.ann
        .put(&format!("{TYPED}999999/"), json!({}))
        .await
        .expect(404);
}

#[tokio::test]
async fn lists_by_surface() {
    let f = Fixture::start().await;
    let (x, y) = (f.feature_id("x").await, f.feature_id("y").await);
    let vip = f.segment_id("vip").await;
    let over = f
        .segment_override(
            x,
            json!({"segment": vip}),
            json!({"type": "int", "integer_value": 9}),
        )
        .await;
    let ida = f.identity("ida").await;
    let body =
        json!({"feature": x, "identity": ida, "enabled": true, "feature_state_value": "hers"});
    let hers = f
        .ann
        .post("/api/v1/environments/dev/featurestates/", body)
        .await
        .expect(201);
    assert_eq!(
        (&hers["identity"], &hers["feature_state_value"]),
        (&json!(ida), &json!("hers"))
    );

    let flat = "/api/v1/environments/dev/featurestates/";
    for (query, features) in [
        (String::new(), vec![x, y]),
        (format!("?feature={y}"), vec![y]),
        ("?feature_name=x".into(), vec![x]),
        ("?feature_name=nope".into(), vec![]),
        ("?page_size=1&page=2".into(), vec![y]),
        ("?anyIdentity=1".into(), vec![x]),
    ] {
        let page = f.ann.get(&format!("{flat}{query}")).await.expect(200);
        assert_eq!(column(&page, "feature"), features, "{query}");
    }
    let any = f
        .ann
        .get(&format!("{flat}?anyIdentity=1"))
        .await
        .expect(200);
    assert_eq!(
        any["results"][0]["identity"],
        json!({"id": ida, "identifier": "ida"})
    );
    // The reference fails at this.
    assert_eq!(
        f.ann.get(&format!("{flat}?feature=abc")).await.expect(400),
        json!({"feature": ["A valid integer is required."]})
    );

    let dev = f.dev;
    let all = f
        .ann
        .get(&format!("{TYPED}?environment={dev}&feature={x}"))
        .await
        .expect(200);
    assert_eq!(all["count"], 3);
    let segment = format!(
        "{TYPED}?environment={dev}&feature_segment={}",
        over["feature_segment"]["id"]
    );
    assert_eq!(
        column(&f.ann.get(&segment).await.expect(200), "id"),
        [over["id"].clone()]
    );
    let identity = f
        .ann
        .get(&format!("{TYPED}?environment={dev}&identity={ida}"))
        .await
        .expect(200);
    assert_eq!(column(&identity, "id"), [hers["id"].clone()]);
    f.ann.get(TYPED).await.expect(403);
    f.ann
        .get(&format!("{TYPED}?environment=999999"))
        .await
        .expect(403);
}

#[tokio::test]
async fn states_are_made_once() {
    let f = Fixture::start().await;
    let x = f.feature(json!({"name": "x", "initial_value": "10"})).await["id"]
        .as_i64()
        .unwrap();
    let flat = "/api/v1/environments/dev/featurestates/";
    let exists = json!([
        "['Feature state already exists for this environment, feature, version, segment & identity combination']"
    ]);
    let body = json!({"feature": x, "enabled": true});
    assert_eq!(f.ann.post(flat, body.clone()).await.expect(400), exists);
    f.ann.post(flat, json!({"enabled": true})).await.expect(403);
    assert_eq!(
        f.ann
            .post(flat, json!({"feature": 999_999}))
            .await
            .expect(400),
        json!({"feature": ["Invalid pk \"999999\" - object does not exist."]})
    );
    let state = f.default_state("dev", x).await;
    f.published().await;
    let path = format!("{flat}{}/", state["id"]);
    f.ann.delete(&path).await.expect(204);
    f.ann.delete(&path).await.expect(404);
    assert_eq!(f.published().await, ["dev"]);
    assert_eq!(f.audit(1).await, ["Flag / Remote Config Deleted: x"]);
    assert_eq!(
        f.ann.post(flat, body).await.expect(201)["feature_state_value"],
        10
    );

    f.identity("ida").await;
    let hers = json!({"feature": x, "environment": f.dev, "identifier": "ida", "enabled": true,
        "feature_state_value": {"type": "unicode", "string_value": "hers"}});
    let made = f.ann.post(TYPED, hers.clone()).await.expect(201);
    assert_eq!(
        made["feature_state_value"],
        json!({"type": "unicode", "string_value": "hers", "integer_value": 10, "boolean_value": null})
    );
    assert_eq!(f.ann.post(TYPED, hers).await.expect(400), exists);
    assert_eq!(
        f.audit(2).await,
        [
            "Flag state / Remote config value updated for feature 'x' and identity 'ida'",
            "Remote config value updated for identity override on feature 'x' and identity 'ida'.",
        ]
    );
    for (body, error) in [
        (
            json!({"feature": x, "environment": f.dev, "identifier": "nobody"}),
            json!({"non_field_errors": ["Invalid identifier"]}),
        ),
        (
            json!({"feature": x, "environment": f.dev, "identity": 999_999}),
            json!({"identity": ["Invalid pk \"999999\" - object does not exist."]}),
        ),
        (
            json!({"feature": x, "environment": f.dev, "feature_segment": 999_999}),
            json!({"feature_segment": ["Invalid pk \"999999\" - object does not exist."]}),
        ),
    ] {
        assert_eq!(f.ann.post(TYPED, body).await.expect(400), error);
    }
    f.ann.post(TYPED, json!({"feature": x})).await.expect(403);
}

#[tokio::test]
async fn shares_are_of_all_options_and_at_most_the_whole() {
    let f = Fixture::start().await;
    let made = f
        .feature(json!({"name": "x", "multivariate_options": [
            {"string_value": "a", "default_percentage_allocation": 30},
            {"string_value": "b", "default_percentage_allocation": 20}]}))
        .await;
    let (a, b) = (
        &made["multivariate_options"][0]["id"],
        &made["multivariate_options"][1]["id"],
    );
    let state = f.default_state("dev", made["id"].as_i64().unwrap()).await;
    let path = flat(&state);
    f.published().await;
    let put = |a_share: i32, b_share: i32| {
        json!({"multivariate_feature_state_values": [
            {"multivariate_feature_option": a, "percentage_allocation": a_share},
            {"multivariate_feature_option": b, "percentage_allocation": b_share}]})
    };
    let changed = f.ann.put(&path, put(40, 10)).await.expect(200);
    let ids = &state["multivariate_feature_state_values"];
    assert_eq!(
        changed["multivariate_feature_state_values"],
        json!([
            {"id": ids[0]["id"], "multivariate_feature_option": a, "percentage_allocation": 40.0},
            {"id": ids[1]["id"], "multivariate_feature_option": b, "percentage_allocation": 10.0},
        ])
    );
    assert_eq!(f.published().await, ["dev"]);
    assert_eq!(
        f.audit(1).await,
        ["Multivariate value changed for feature 'x'."]
    );
    assert_eq!(
        f.ann.put(&path, put(90, 20)).await.expect(400),
        json!({"non_field_errors": ["Multivariate percentage values exceed 100%."]})
    );
    let one = json!({"multivariate_feature_state_values": [
        {"multivariate_feature_option": b, "percentage_allocation": 100}]});
    let changed = f.ann.put(&path, one).await.expect(200);
    assert_eq!(
        changed["multivariate_feature_state_values"][0]["percentage_allocation"],
        0.0
    );
    let foreign = json!({"multivariate_feature_state_values": [
        {"multivariate_feature_option": 999_999, "percentage_allocation": 1}]});
    f.ann.put(&path, foreign).await.expect(400);
}

#[tokio::test]
async fn strangers_and_plain_members_get_nothing() {
    let f = Fixture::start().await;
    let id = f.feature_id("x").await;
    let state = f.default_state("dev", id).await;
    f.published().await;
    let path = flat(&state);
    let typed = format!("{TYPED}{}/", state["id"]);
    for person in [&f.bob, &f.eve] {
        person
            .get("/api/v1/environments/dev/featurestates/")
            .await
            .expect(403);
        person.get(&path).await.expect(403);
        person
            .put(&path, json!({"enabled": true}))
            .await
            .expect(403);
        person
            .patch(&path, json!({"enabled": true}))
            .await
            .expect(403);
        person.delete(&path).await.expect(403);
        let new = json!({"feature": id, "environment": f.dev});
        person
            .post("/api/v1/environments/dev/featurestates/", new.clone())
            .await
            .expect(403);
        person.post(TYPED, new).await.expect(403);
        person.put(&typed, json!({})).await.expect(403);
        person.patch(&typed, json!({})).await.expect(403);
        person
            .get(&format!("{TYPED}?environment={}", f.dev))
            .await
            .expect(403);
        let by_uuid = format!("{TYPED}get-by-uuid/{}/", state["uuid"].as_str().unwrap());
        person.get(&by_uuid).await.expect(403);
    }
    assert!(f.published().await.is_empty());
    // A state is found in its own environment only.
    let elsewhere = format!("/api/v1/environments/prod/featurestates/{}/", state["id"]);
    assert_eq!(
        f.ann.get(&elsewhere).await.expect(404),
        json!({"detail": "No FeatureState matches the given query."})
    );
    f.ann
        .put(&elsewhere, json!({"enabled": true}))
        .await
        .expect(404);
    f.ann.delete(&elsewhere).await.expect(404);
    f.ann
        .get("/api/v1/environments/nope/featurestates/")
        .await
        .expect(404);
}
