//! Options.

use serde_json::{Value, json};

use crate::fixture::{Fixture, column};

fn shares(state: &Value) -> Vec<f64> {
    state["multivariate_feature_state_values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value["percentage_allocation"].as_f64().unwrap())
        .collect()
}

#[tokio::test]
async fn options_make_a_feature_multivariate_and_reach_every_state() {
    let f = Fixture::start().await;
    let id = f.feature_id("x").await;
    let one = f.features(&format!("{id}/"));
    let options = format!("{one}mv-options/");
    let vip = f.segment_id("vip").await;
    f.segment_override(
        id,
        json!({"segment": vip}),
        json!({"type": "unicode", "string_value": "v"}),
    )
    .await;
    f.published().await;

    let a = json!({"type": "unicode", "feature": id, "string_value": "a", "default_percentage_allocation": 30, "key": "ka"});
    let a = f.ann.post(&options, a).await.expect(201);
    assert_eq!(a["default_percentage_allocation"], json!(30.0));
    assert_eq!(f.published().await, ["dev", "prod"]);
    let b = json!({"type": "int", "feature": id, "integer_value": 7, "default_percentage_allocation": 50});
    let b = f.ann.post(&options, b).await.expect(201);
    assert_eq!(f.ann.get(&one).await.expect(200)["type"], "MULTIVARIATE");
    let listed = f.ann.get(&options).await.expect(200);
    assert_eq!(column(&listed, "id"), [a["id"].clone(), b["id"].clone()]);
    assert_eq!(shares(&f.default_state("prod", id).await), [30.0, 50.0]);
    let states = format!(
        "/api/v1/features/featurestates/?environment={}&feature={id}",
        f.dev
    );
    let states = f.ann.get(&states).await.expect(200);
    assert_eq!(
        states["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(shares)
            .collect::<Vec<_>>(),
        [[30.0, 50.0]; 2]
    );

    // Where the others leave less, a new option gets less.
    let state = f.default_state("dev", id).await;
    let path = format!("/api/v1/environments/dev/featurestates/{}/", state["id"]);
    let weights = json!([
        {"multivariate_feature_option": a["id"], "percentage_allocation": 60},
        {"multivariate_feature_option": b["id"], "percentage_allocation": 35},
    ]);
    f.ann
        .put(&path, json!({"multivariate_feature_state_values": weights}))
        .await
        .expect(200);
    let c = json!({"feature": id, "string_value": "c", "default_percentage_allocation": 20});
    let c = f.ann.post(&options, c).await.expect(201);
    assert_eq!(shares(&f.default_state("dev", id).await), [60.0, 35.0, 5.0]);
    assert_eq!(
        shares(&f.default_state("prod", id).await),
        [30.0, 50.0, 20.0]
    );

    let path = format!("{options}{}/", c["id"]);
    let changed = f.ann.put(
        &path,
        json!({"feature": id, "string_value": "c2", "default_percentage_allocation": 5}),
    );
    let changed = changed.await.expect(200);
    assert_eq!(
        (&changed["string_value"], &changed["type"]),
        (&json!("c2"), &json!("unicode"))
    );
    // The reference fails at this.
    let changed = f.ann.patch(&path, json!({"key": "kc"})).await.expect(200);
    assert_eq!(
        (&changed["key"], &changed["string_value"]),
        (&json!("kc"), &json!("c2"))
    );
    assert_eq!(f.ann.get(&path).await.expect(200), changed);
    let by_uuid = format!(
        "/api/v1/multivariate/options/get-by-uuid/{}/",
        c["uuid"].as_str().unwrap()
    );
    assert_eq!(f.ann.get(&by_uuid).await.expect(200), changed);
    f.eve.get(&by_uuid).await.expect(404);
    // A changed default is for new states only.
    assert_eq!(
        shares(&f.default_state("prod", id).await),
        [30.0, 50.0, 20.0]
    );
    f.published().await;
    f.ann.patch(&path, json!({})).await.expect(200);
    assert!(f.published().await.is_empty());

    for option in [&a, &b, &c] {
        f.ann
            .delete(&format!("{options}{}/", option["id"]))
            .await
            .expect(204);
    }
    f.ann.get(&path).await.expect(404);
    assert_eq!(f.published().await, ["dev", "prod"]);
    assert_eq!(f.ann.get(&one).await.expect(200)["type"], "STANDARD");
    assert!(shares(&f.default_state("dev", id).await).is_empty());
    assert_eq!(
        f.audit(4).await[..2],
        [
            "Multivariate option changed of feature 'x'.",
            "Multivariate option removed from feature 'x'."
        ]
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_in_flagsmiths_words() {
    let f = Fixture::start().await;
    let id = f.feature_id("x").await;
    let other = f.feature_id("y").await;
    let options = f.features(&format!("{id}/mv-options/"));
    let a = json!({"feature": id, "string_value": "a", "default_percentage_allocation": 30, "key": "k"});
    let a = f.ann.post(&options, a).await.expect(201);
    for (body, error) in [
        (json!({}), json!({"feature": ["This field is required."]})),
        (
            json!({"feature": other, "default_percentage_allocation": 1}),
            json!({"feature": [format!("Invalid pk \"{other}\" - object does not exist.")]}),
        ),
        (
            json!({"feature": id, "default_percentage_allocation": 90}),
            json!({"default_percentage_allocation": ["Invalid percentage allocation"]}),
        ),
        // Everything is the default.
        (
            json!({"feature": id}),
            json!({"default_percentage_allocation": ["Invalid percentage allocation"]}),
        ),
        (
            json!({"feature": id, "default_percentage_allocation": 0, "key": "k"}),
            json!({"key": ["Multivariate option with this key already exists for the feature."]}),
        ),
        (
            json!({"feature": id, "default_percentage_allocation": 0, "key": "control"}),
            json!({"key": ["\"control\" is a reserved variant key."]}),
        ),
        (
            json!({"feature": id, "type": "float", "default_percentage_allocation": -1}),
            json!({
                "type": ["\"float\" is not a valid choice."],
                "default_percentage_allocation": ["Ensure this value is greater than or equal to 0."],
            }),
        ),
    ] {
        assert_eq!(f.ann.post(&options, body).await.expect(400), error);
    }
    let elsewhere = f.features(&format!("{other}/mv-options/{}/", a["id"]));
    assert_eq!(
        f.ann.get(&elsewhere).await.expect(404),
        json!({"detail": "No MultivariateFeatureOption matches the given query."})
    );
    f.ann.delete(&elsewhere).await.expect(404);
    for person in [&f.bob, &f.eve] {
        person.get(&options).await.expect(404);
        person.post(&options, json!({})).await.expect(404);
        let one = format!("{options}{}/", a["id"]);
        person.put(&one, json!({})).await.expect(404);
        person.patch(&one, json!({})).await.expect(404);
        person.delete(&one).await.expect(404);
    }
}

#[tokio::test]
async fn a_features_body_may_hold_its_options() {
    let f = Fixture::start().await;
    let body = json!({"name": "x", "initial_value": "control", "multivariate_options": [
        {"type": "int", "integer_value": 1, "default_percentage_allocation": 50},
        {"type": "bool", "boolean_value": true, "default_percentage_allocation": 50},
    ]});
    let made = f.feature(body).await;
    assert_eq!(made["type"], "MULTIVARIATE");
    let (first, second) = (
        &made["multivariate_options"][0],
        &made["multivariate_options"][1],
    );
    assert_eq!(
        (&first["integer_value"], &second["boolean_value"]),
        (&json!(1), &json!(true))
    );
    let id = made["id"].as_i64().unwrap();
    assert_eq!(shares(&f.default_state("dev", id).await), [50.0, 50.0]);
    f.published().await;

    let path = f.features(&format!("{id}/"));
    let same = json!({"multivariate_options": made["multivariate_options"]});
    f.ann.put(&path, same).await.expect(200);
    assert!(f.published().await.is_empty());
    let next = json!({"multivariate_options": [
        {"id": first["id"], "integer_value": 2, "default_percentage_allocation": 10},
        {"string_value": "new", "default_percentage_allocation": 15},
    ]});
    let changed = f.ann.patch(&path, next).await.expect(200);
    assert_eq!(changed["multivariate_options"][0]["integer_value"], 2);
    assert_eq!(changed["multivariate_options"][0]["uuid"], first["uuid"]);
    assert_eq!(changed["multivariate_options"][1]["string_value"], "new");
    assert_eq!(f.published().await, ["dev", "prod"]);
    assert_eq!(shares(&f.default_state("dev", id).await), [50.0, 15.0]);

    let foreign =
        json!({"multivariate_options": [{"id": 999_999, "default_percentage_allocation": 1}]});
    f.ann.patch(&path, foreign).await.expect(400);
    let too_much = json!({"multivariate_options": [{"id": first["id"]}, {"default_percentage_allocation": 95}]});
    assert_eq!(
        f.ann.patch(&path, too_much).await.expect(400),
        json!({"multivariate_options": ["Invalid percentage allocation"]})
    );
    let none = f
        .ann
        .patch(&path, json!({"multivariate_options": []}))
        .await
        .expect(200);
    assert_eq!(
        (&none["type"], &none["multivariate_options"]),
        (&json!("STANDARD"), &json!([]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn options_made_at_once_do_not_exceed_the_whole_together() {
    let f = Fixture::start().await;
    let id = f.feature_id("x").await;
    let options = f.features(&format!("{id}/mv-options/"));
    let mut tasks = Vec::new();
    for _ in 0..4 {
        let (ann, options) = (f.ann.clone(), options.clone());
        let body = json!({"feature": id, "default_percentage_allocation": 40});
        tasks.push(tokio::spawn(async move {
            ann.post(&options, body).await.status.as_u16()
        }));
    }
    let mut statuses = Vec::new();
    for task in tasks {
        statuses.push(task.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 400, 400]);
    assert_eq!(shares(&f.default_state("dev", id).await), [40.0, 40.0]);
}
