//! Projects.

use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_project_from_cradle_to_grave() {
    let t = TestApp::start().await;
    let ann = t.person("ann").await;
    let acme = t.organisation("Acme", &ann).await;

    let made = ann
        .post(
            "/api/v1/projects/",
            json!({"name": " Main ", "organisation": acme}),
        )
        .await;
    let project = made.expect(201);
    assert_eq!(project["name"], "Main");
    assert_eq!(project["only_allow_lower_case_feature_names"], true);
    assert_eq!(project["stale_flags_limit_days"], 30);
    assert_eq!(made.header("allow"), "GET, POST, HEAD, OPTIONS");
    let path = format!("/api/v1/projects/{}/", project["id"]);

    let found = ann.get(&path).await.expect(200);
    assert_eq!(found["total_features"], 0);
    assert_eq!(found["max_features_allowed"], 1000);
    let by_uuid = format!(
        "/api/v1/projects/get-by-uuid/{}/",
        project["uuid"].as_str().unwrap()
    );
    assert_eq!(ann.get(&by_uuid).await.expect(200), project);

    let changed = ann
        .patch(
            &path,
            json!({"feature_name_regex": "[a-z]+", "organisation": 99}),
        )
        .await
        .expect(200);
    assert_eq!(changed["feature_name_regex"], "[a-z]+");
    assert_eq!(changed["organisation"], acme);
    let changed = ann
        .put(&path, json!({"name": "Main 2", "feature_name_regex": null}))
        .await;
    assert_eq!(changed.expect(200)["feature_name_regex"], json!(null));

    let list = format!("/api/v1/projects/?organisation={acme}");
    assert_eq!(
        ann.get(&list).await.expect(200).as_array().unwrap().len(),
        1
    );
    ann.delete(&path).await.expect(204);
    assert_eq!(ann.get("/api/v1/projects/").await.expect(200), json!([]));
    assert_eq!(
        t.audit().await,
        [
            "New Project created: Main",
            "Project updated: Main",
            "Project updated: Main 2",
            "Project deleted: Main 2",
        ]
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_in_flagsmiths_words() {
    let t = TestApp::start().await;
    let ann = t.person("ann").await;
    let acme = t.organisation("Acme", &ann).await;
    let projects = "/api/v1/projects/";

    let empty = ann.post(projects, json!({})).await.expect(400);
    assert_eq!(
        empty,
        json!({"name": ["This field is required."], "organisation": ["This field is required."]})
    );
    let elsewhere = ann
        .post(projects, json!({"name": "P", "organisation": 999_999}))
        .await;
    let forbidden = json!({"detail": "You do not have permission to perform this action."});
    assert_eq!(elsewhere.expect(403), forbidden);
    let main = json!({"name": "Main", "organisation": acme});
    ann.post(projects, main.clone()).await.expect(201);
    assert_eq!(
        ann.post(projects, main).await.expect(400),
        json!({"non_field_errors": ["A project with this name already exists."]})
    );
    assert_eq!(
        ann.get("/api/v1/projects/?organisation=abc")
            .await
            .expect(400),
        json!({"organisation": "Must be a valid integer."})
    );
    assert_eq!(
        ann.get("/api/v1/projects/999999/").await.expect(404),
        json!({"detail": "No Project matches the given query."})
    );
}

#[tokio::test]
async fn strangers_and_plain_members_do_not_see_it() {
    let t = TestApp::start().await;
    let (ann, bob, eve) = (
        t.person("ann").await,
        t.person("bob").await,
        t.person("eve").await,
    );
    let acme = t.organisation("Acme", &ann).await;
    t.join(acme, &bob, "USER").await;
    let made = ann
        .post(
            "/api/v1/projects/",
            json!({"name": "Main", "organisation": acme}),
        )
        .await;
    let path = format!("/api/v1/projects/{}/", made.expect(201)["id"]);

    let unauthenticated = t.nobody().get(&path).await;
    assert_eq!(
        unauthenticated.expect(401),
        json!({"detail": "Authentication credentials were not provided."})
    );
    assert_eq!(
        unauthenticated.header("www-authenticate"),
        r#"Cookie realm="api""#
    );
    for person in [&bob, &eve] {
        person.get(&path).await.expect(404);
        person.patch(&path, json!({"name": "x"})).await.expect(404);
        person.delete(&path).await.expect(404);
        assert_eq!(person.get("/api/v1/projects/").await.expect(200), json!([]));
    }
    let theirs = json!({"name": "P", "organisation": acme});
    bob.post("/api/v1/projects/", theirs).await.expect(403);
    let detailed = ann
        .get(&format!("{path}user-detailed-permissions/{}/", bob.id))
        .await;
    assert_eq!(detailed.expect(200)["admin"], false);
    let all = ann
        .get(&format!("{path}all-user-permissions/{}/", ann.id))
        .await;
    assert_eq!(all.expect(200)["admin"], true);
    ann.get(&format!("{path}all-user-permissions/999999/"))
        .await
        .expect(404);
    assert_eq!(
        ann.get(&format!("{path}my-permissions/")).await.expect(200),
        json!({"permissions": [], "admin": true, "tag_based_permissions": []})
    );
}

#[tokio::test]
async fn a_change_publishes_every_environment_and_a_deletion_leaves_tombstones() {
    let t = TestApp::start().await;
    let ann = t.person("ann").await;
    let acme = t.organisation("Acme", &ann).await;
    let made = ann
        .post(
            "/api/v1/projects/",
            json!({"name": "Main", "organisation": acme}),
        )
        .await;
    let id = made.expect(201)["id"].as_i64().unwrap();
    let sql = t.sql().await;
    for key in ["one", "two"] {
        sql.execute(
            "insert into environment (project_id, name, api_key, created_at, updated_at)
             values ($1, $2, $2, $3, $3)",
            &[&id, &key, &t.clock.now()],
        )
        .await
        .unwrap();
    }
    let version = async || -> i64 {
        let row = sql
            .query_one("select max(version) from environment", &[])
            .await
            .unwrap();
        row.get(0)
    };
    let before = version().await;
    let path = format!("/api/v1/projects/{id}/");
    ann.patch(&path, json!({"hide_disabled_flags": true}))
        .await
        .expect(200);
    assert_eq!(t.to_publish().await, ["one", "two"]);
    assert!(version().await > before);
    t.clear_jobs().await;

    ann.delete(&path).await.expect(204);
    assert_eq!(t.to_publish().await, ["one", "two"]);
    let rows = sql
        .query("select api_key from environment_tombstone order by 1", &[])
        .await
        .unwrap();
    let gone: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(gone, ["one", "two"]);
}
