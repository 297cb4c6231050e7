//! Features.

use serde_json::json;

use crate::fixture::{Fixture, column, rules};

#[tokio::test]
async fn a_feature_from_cradle_to_grave() {
    let f = Fixture::start().await;
    let made = f
        .feature(json!({"name": "banner", "initial_value": "42", "default_enabled": true, "description": "d"}))
        .await;
    assert_eq!(made["type"], "STANDARD");
    assert_eq!(made["owners"][0]["email"], "ann@example.com");
    assert_eq!(made["created_date"], "2026-01-02T03:04:05.678901Z");
    assert_eq!(made.get("code_references_counts"), None);
    assert_eq!(f.published().await, ["dev", "prod"]);
    for environment in ["dev", "prod"] {
        let state = f
            .default_state(environment, made["id"].as_i64().unwrap())
            .await;
        assert_eq!(
            (&state["enabled"], &state["feature_state_value"]),
            (&json!(true), &json!(42))
        );
    }

    let path = f.features(&format!("{}/", made["id"]));
    let found = f.ann.get(&path).await.expect(200);
    assert_eq!(found["code_references_counts"], json!([]));
    assert_eq!(found["environment_feature_state"], json!(null));
    let by_uuid = format!(
        "/api/v1/features/get-by-uuid/{}/",
        made["uuid"].as_str().unwrap()
    );
    assert_eq!(f.ann.get(&by_uuid).await.expect(200)["id"], made["id"]);
    let nowhere = "/api/v1/features/get-by-uuid/00000000-0000-0000-0000-000000000000/";
    f.ann.get(nowhere).await.expect(404);

    let body = json!({"name": "ignored", "initial_value": "ignored", "default_enabled": false,
        "description": "e", "is_archived": true, "is_server_key_only": true});
    let changed = f.ann.patch(&path, body).await.expect(200);
    assert_eq!(changed["name"], "banner");
    assert_eq!(changed["initial_value"], "42");
    assert_eq!(changed["default_enabled"], true);
    assert_eq!(changed["description"], "e");
    assert_eq!(changed["is_archived"], true);
    assert_eq!(changed["is_server_key_only"], true);
    assert_eq!(f.published().await, ["dev", "prod"]);

    // What changes nothing is not published.
    assert_eq!(
        f.ann.put(&path, json!({})).await.expect(200)["description"],
        "e"
    );
    assert!(f.published().await.is_empty());

    f.ann.delete(&path).await.expect(204);
    assert_eq!(f.published().await, ["dev", "prod"]);
    f.ann.delete(&path).await.expect(404);
    assert_eq!(
        f.ann.get(&path).await.expect(404),
        json!({"detail": "No Feature matches the given query."})
    );
    assert_eq!(
        f.audit(3).await,
        [
            "New Flag / Remote Config created: banner",
            "Flag / Remote Config updated: banner",
            "Flag / Remote Config Deleted: banner",
        ]
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_in_flagsmiths_words() {
    let f = Fixture::start().await;
    f.feature_id("banner").await;
    for (body, error) in [
        (json!({}), json!({"name": ["This field is required."]})),
        (
            json!({"name": "BANNER"}),
            json!({"name": ["Feature with that name already exists for this project. Note that feature names are case insensitive."]}),
        ),
        (
            json!({"name": "x".repeat(2001)}),
            json!({"name": ["Ensure this field has no more than 2000 characters."]}),
        ),
        (
            json!({"name": "x", "type": "CONFIG"}),
            json!({"type": ["\"CONFIG\" is not a valid choice."]}),
        ),
        (
            json!({"name": "x", "initial_value": false}),
            json!({"initial_value": ["Not a valid string."]}),
        ),
        (
            json!({"name": "x", "tags": [999_999]}),
            json!({"tags": ["Invalid pk \"999999\" - object does not exist."]}),
        ),
        (
            json!({"name": "x", "metadata": [{"model_field": 99_999, "field_value": "y"}]}),
            json!({"metadata": [{"model_field": ["Invalid pk \"99999\" - object does not exist."]}]}),
        ),
        (
            json!({"name": "x", "owners": [999_999]}),
            json!({"non_field_errors": ["Some users not found"]}),
        ),
        (
            json!({"name": "x", "multivariate_options": [
                {"string_value": "a", "default_percentage_allocation": 60},
                {"string_value": "b", "default_percentage_allocation": 60}]}),
            json!({"multivariate_options": ["Invalid percentage allocation"]}),
        ),
        (
            json!({"name": "x", "multivariate_options": [
                {"string_value": "a", "key": "k", "default_percentage_allocation": 6},
                {"string_value": "b", "key": "k", "default_percentage_allocation": 6}]}),
            json!({"key": ["Multivariate option with this key already exists for the feature."]}),
        ),
    ] {
        assert_eq!(f.ann.post(&f.features(""), body).await.expect(400), error);
    }
    // Nothing of what was refused is left.
    assert_eq!(f.ann.get(&f.features("")).await.expect(200)["count"], 1);

    let project = format!("/api/v1/projects/{}/", f.project);
    f.ann
        .patch(&project, json!({"feature_name_regex": "[a-z_]+"}))
        .await
        .expect(200);
    assert_eq!(
        f.ann
            .post(&f.features(""), json!({"name": "UPPER1"}))
            .await
            .expect(400),
        json!({"name": ["Feature name must match regex: [a-z_]+"]})
    );
}

#[tokio::test]
async fn projects_may_start_everything_off() {
    let f = Fixture::start().await;
    let project = format!("/api/v1/projects/{}/", f.project);
    f.ann
        .patch(&project, json!({"prevent_flag_defaults": true}))
        .await
        .expect(200);
    let made = f
        .feature(json!({"name": "x", "initial_value": "v", "default_enabled": true}))
        .await;
    let state = f.default_state("dev", made["id"].as_i64().unwrap()).await;
    assert_eq!(
        (&state["enabled"], &state["feature_state_value"]),
        (&json!(false), &json!(null))
    );
}

#[tokio::test]
async fn lists_are_filtered_sorted_and_paged() {
    let f = Fixture::start().await;
    let alpha = f
        .feature(json!({"name": "alpha", "initial_value": "hello", "default_enabled": true}))
        .await;
    let gamma = f
        .feature(json!({"name": "Gamma", "initial_value": "12"}))
        .await;
    let mv = json!({"name": "beta", "multivariate_options": [{"string_value": "x", "default_percentage_allocation": 50}]});
    let beta = f.feature(mv).await;
    let archived = f
        .feature(json!({"name": "omega", "is_archived": true, "owners": []}))
        .await;
    assert_eq!(archived["owners"], json!([]));

    let dev = f.dev;
    let ann = f.ann.id;
    for (query, names) in [
        (String::new(), vec!["alpha", "Gamma", "beta", "omega"]),
        (
            "sort_field=name".into(),
            vec!["alpha", "beta", "Gamma", "omega"],
        ),
        (
            "sort_field=name&sort_direction=DESC".into(),
            vec!["omega", "Gamma", "beta", "alpha"],
        ),
        (
            "sort_direction=DESC".into(),
            vec!["omega", "beta", "Gamma", "alpha"],
        ),
        ("search=AM".into(), vec!["Gamma"]),
        ("search=%25".into(), vec![]),
        ("is_archived=true".into(), vec!["omega"]),
        ("is_archived=false".into(), vec!["alpha", "Gamma", "beta"]),
        ("type=MULTIVARIATE".into(), vec!["beta"]),
        (format!("is_enabled=true&environment={dev}"), vec!["alpha"]),
        (
            format!("is_enabled=false&environment={dev}"),
            vec!["Gamma", "beta", "omega"],
        ),
        (
            "is_enabled=true".into(),
            vec!["alpha", "Gamma", "beta", "omega"],
        ),
        (format!("value_search=ELL&environment={dev}"), vec!["alpha"]),
        (format!("value_search=12&environment={dev}"), vec!["Gamma"]),
        (format!("owners={ann}"), vec!["alpha", "Gamma", "beta"]),
        ("owners=999999".into(), vec![]),
        ("tags=7".into(), vec![]),
        ("tags=".into(), vec!["alpha", "Gamma", "beta", "omega"]),
        ("page_size=3&page=2".into(), vec!["omega"]),
    ] {
        let page = f
            .ann
            .get(&f.features(&format!("?{query}")))
            .await
            .expect(200);
        assert_eq!(column(&page, "name"), names, "{query}");
    }
    for (query, error) in [
        (
            "sort_field=nope",
            json!({"sort_field": ["\"nope\" is not a valid choice."]}),
        ),
        ("tags=abc", json!({"tags": ["Tag IDs must be integers."]})),
        (
            "environment=abc",
            json!({"environment": ["A valid integer is required."]}),
        ),
    ] {
        assert_eq!(
            f.ann
                .get(&f.features(&format!("?{query}")))
                .await
                .expect(400),
            error
        );
    }
    f.ann.get(&f.features("?page=99")).await.expect(404);

    // Overrides are counted where one asks, and come first for their segment and identity.
    let vip = f.segment_id("vip").await;
    let value = json!({"type": "unicode", "string_value": "for vips"});
    f.segment_override(beta["id"].as_i64().unwrap(), json!({"segment": vip}), value)
        .await;
    let ida = f.identity("ida").await;
    let path = "/api/v1/features/featurestates/";
    let body =
        json!({"feature": gamma["id"], "environment": dev, "identity": ida, "enabled": true});
    f.ann.post(path, body).await.expect(201);
    let by_segment = f
        .ann
        .get(&f.features(&format!("?environment={dev}&segment={vip}")))
        .await
        .expect(200);
    assert_eq!(
        column(&by_segment, "name"),
        ["beta", "alpha", "Gamma", "omega"]
    );
    let first = &by_segment["results"][0];
    assert_eq!(
        first["segment_feature_state"]["feature_state_value"],
        "for vips"
    );
    assert_eq!(first["num_segment_overrides"], 1);
    assert_eq!(first["environment_feature_state"]["environment"], dev);
    assert_eq!(
        by_segment["results"][1]["environment_feature_state"]["feature_state_value"],
        "hello"
    );
    let by_identity = f
        .ann
        .get(&f.features(&format!("?environment={dev}&identity={ida}")))
        .await
        .expect(200);
    assert_eq!(
        column(&by_identity, "name"),
        ["Gamma", "alpha", "beta", "omega"]
    );
    assert_eq!(
        column(&by_identity, "num_identity_overrides"),
        [json!(1), json!(null), json!(null), json!(null)]
    );
    let prod = f
        .ann
        .get(&f.features(&format!("?environment={}", f.prod)))
        .await
        .expect(200);
    assert_eq!(column(&prod, "num_segment_overrides"), [0, 0, 0, 0]);
    let one = f.features(&format!("{}/?environment={dev}&segment={vip}", beta["id"]));
    assert_eq!(
        f.ann.get(&one).await.expect(200)["num_segment_overrides"],
        1
    );
    assert_eq!(alpha["num_identity_overrides"], json!(null));
}

#[tokio::test]
async fn owners_come_and_go() {
    let f = Fixture::start().await;
    let id = f.feature_id("x").await;
    let add = f.features(&format!("{id}/add-owners/"));
    let remove = f.features(&format!("{id}/remove-owners/"));
    f.published().await;
    let both = f
        .ann
        .post(&add, json!({"user_ids": [f.bob.id]}))
        .await
        .expect(200);
    assert_eq!(both["owners"].as_array().unwrap().len(), 2);
    assert_eq!(both["owners"][1]["email"], f.bob.email);
    // Eve is not in the organisation.
    for unknown in [999_999, f.eve.id] {
        assert_eq!(
            f.ann
                .post(&add, json!({"user_ids": [unknown]}))
                .await
                .expect(400),
            json!({"non_field_errors": ["Some users not found"]})
        );
    }
    assert_eq!(
        f.ann.post(&add, json!({})).await.expect(400),
        json!({"user_ids": ["This field is required."]})
    );
    let left = f
        .ann
        .post(&remove, json!({"user_ids": [f.bob.id]}))
        .await
        .expect(200);
    assert_eq!(left["owners"].as_array().unwrap().len(), 1);
    // Owners are nothing that flags depend on.
    assert!(f.published().await.is_empty());

    let project = format!("/api/v1/projects/{}/", f.project);
    f.ann
        .patch(&project, json!({"enforce_feature_owners": true}))
        .await
        .expect(200);
    let last = json!({"user_ids": [f.ann.id]});
    assert_eq!(
        f.ann.post(&remove, last).await.expect(400),
        json!({"non_field_errors": ["A feature of this project needs an owner."]})
    );
    let none = json!({"name": "y", "owners": []});
    assert_eq!(
        f.ann.post(&f.features(""), none).await.expect(400),
        json!({"owners": ["A feature of this project needs an owner."]})
    );
}

#[tokio::test]
async fn strangers_and_plain_members_get_nothing() {
    let f = Fixture::start().await;
    let id = f.feature_id("secret").await;
    f.published().await;
    let one = f.features(&format!("{id}/"));
    for person in [&f.bob, &f.eve] {
        person.get(&f.features("")).await.expect(404);
        person
            .post(&f.features(""), json!({"name": "x"}))
            .await
            .expect(404);
        person.get(&one).await.expect(404);
        person
            .patch(&one, json!({"description": "x"}))
            .await
            .expect(404);
        person.put(&one, json!({})).await.expect(404);
        person.delete(&one).await.expect(404);
        person
            .post(&format!("{one}add-owners/"), json!({"user_ids": [1]}))
            .await
            .expect(404);
        person
            .post(&format!("{one}remove-owners/"), json!({"user_ids": [1]}))
            .await
            .expect(404);
    }
    f.t.nobody().get(&one).await.expect(401);
    assert!(f.published().await.is_empty());
    assert_eq!(f.ann.get(&one).await.expect(200)["name"], "secret");

    // Another project's features are not reached through one's own.
    let evil = json!({"name": "Evil", "organisation": f.project + 1});
    let theirs = f.eve.post("/api/v1/projects/", evil).await.expect(201);
    let through = format!("/api/v1/projects/{}/features/{id}/", theirs["id"]);
    f.eve.get(&through).await.expect(404);
    f.eve.delete(&through).await.expect(404);
    let segment = json!({"name": "s", "feature": id, "rules": rules("a", "b")});
    let segments = format!("/api/v1/projects/{}/segments/", theirs["id"]);
    f.eve.post(&segments, segment).await.expect(400);
}

#[tokio::test]
async fn ten_thousand_features_cost_what_ten_do() {
    let f = Fixture::start().await;
    f.t.sql()
        .await
        .execute(
            "with made as (
                insert into feature (project_id, name, created_at)
                select $1, 'f' || n, $2 from generate_series(1, 10000) as n returning id
            )
            insert into feature_state (environment_id, feature_id, created_at, updated_at)
            select $3, id, $2, $2 from made",
            &[&f.project, &f.t.clock.now(), &f.dev],
        )
        .await
        .unwrap();
    let page = f
        .ann
        .get(&f.features(&format!("?environment={}&page_size=5000", f.dev)))
        .await
        .expect(200);
    assert_eq!(page["count"], 10_000);
    assert_eq!(page["results"].as_array().unwrap().len(), 999);
    assert!(page["next"].as_str().unwrap().contains("page=2"));
    let last = f
        .ann
        .get(&f.features("?page_size=999&page=11"))
        .await
        .expect(200);
    assert_eq!(last["results"].as_array().unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_environment_gets_a_state_of_every_feature_made_at_once() {
    let f = Fixture::start().await;
    let mut tasks = Vec::new();
    for number in 0..4 {
        let (ann, features, project) = (f.ann.clone(), f.features(""), f.project);
        tasks.push(tokio::spawn(async move {
            let feature = json!({"name": format!("f{number}")});
            ann.post(&features, feature).await.expect(201);
            let environment = json!({"name": format!("e{number}"), "project": project});
            ann.post("/api/v1/environments/", environment)
                .await
                .expect(201);
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let rows =
        f.t.sql()
            .await
            .query_one("select count(*) from feature_state", &[])
            .await
            .unwrap();
    assert_eq!(rows.get::<_, i64>(0), 4 * 6);
}
