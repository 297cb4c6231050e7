//! Identities and their stored traits.

use serde_json::{Value, json};

use crate::app::{Person, TestApp};

/// Somebody who administers an environment, and the path of its identities.
async fn environment(t: &TestApp) -> (Person, String, i64) {
    let ann = t.person("ann").await;
    let acme = t.organisation("Acme", &ann).await;
    let sql = t.sql().await;
    let row = sql
        .query_one(
            "with made as (
                insert into project (organisation_id, name, created_at)
                values ($1, 'Main', now()) returning id
            )
            insert into environment (project_id, name, api_key, created_at, updated_at)
            select id, 'Development', 'dev', now(), now() from made returning id",
            &[&acme],
        )
        .await
        .unwrap();
    t.clear_jobs().await;
    let path = "/api/v1/environments/dev/identities/".to_owned();
    (ann, path, row.get(0))
}

async fn create(ann: &Person, path: &str, identifier: &str) -> i64 {
    let made = ann.post(path, json!({"identifier": identifier})).await;
    made.expect(201)["id"].as_i64().unwrap()
}

#[tokio::test]
async fn an_identity_from_cradle_to_grave() {
    let t = TestApp::start().await;
    let (ann, path, environment) = environment(&t).await;
    let empty = ann.get(&path).await.expect(200);
    assert_eq!(empty["results"], json!([]));

    let made = ann.post(&path, json!({"identifier": " alice "})).await;
    let alice = made.expect(201);
    assert_eq!(
        alice,
        json!({"id": alice["id"], "identifier": "alice", "environment": environment})
    );
    let one = format!("{path}{}/", alice["id"]);
    assert_eq!(ann.get(&one).await.expect(200), alice);
    let renamed = ann.put(&one, json!({"identifier": "Alice B"})).await;
    assert_eq!(renamed.expect(200)["identifier"], "Alice B");
    let kept = ann.patch(&one, json!({})).await.expect(200);
    assert_eq!(kept["identifier"], "Alice B");

    ann.delete(&one).await.expect(204);
    let gone = ann.get(&one).await.expect(404);
    assert_eq!(
        gone,
        json!({"detail": "No Identity matches the given query."})
    );
    assert_eq!(t.audit().await.last().unwrap(), "Identity deleted: Alice B");
    assert!(
        t.to_publish().await.is_empty(),
        "no override, nothing to publish"
    );
}

#[tokio::test]
async fn an_overridden_identity_is_published_when_it_changes() {
    let t = TestApp::start().await;
    let (ann, path, environment) = environment(&t).await;
    let id = create(&ann, &path, "alice").await;
    t.sql()
        .await
        .execute(
            "with made as (
                insert into feature (project_id, name, created_at)
                select project_id, 'f', now() from environment where id = $1 returning id
            )
            insert into feature_state (environment_id, feature_id, identity_id, created_at, updated_at)
            select $1, id, $2, now(), now() from made",
            &[&environment, &id],
        )
        .await
        .unwrap();
    t.clear_jobs().await;
    let one = format!("{path}{id}/");
    ann.put(&one, json!({"identifier": "bob"}))
        .await
        .expect(200);
    assert_eq!(t.to_publish().await, ["dev"]);
    t.clear_jobs().await;
    ann.delete(&one).await.expect(204);
    assert_eq!(t.to_publish().await, ["dev"]);
}

#[tokio::test]
async fn search_and_pages() {
    let t = TestApp::start().await;
    let (ann, path, _) = environment(&t).await;
    for identifier in ["alice", "Malik", "bob_100%"] {
        create(&ann, &path, identifier).await;
    }
    for (query, expected) in [
        ("?q=ALI", vec!["alice", "Malik"]),
        ("?q=%22ali%22", vec![]),
        ("?q=%22alice%22", vec!["alice"]),
        ("?q=_", vec!["bob_100%"]),
        ("?q=%25", vec!["bob_100%"]),
        ("?page_size=1&page=2", vec!["Malik"]),
    ] {
        let found = ann.get(&format!("{path}{query}")).await.expect(200);
        let found: Vec<&str> = found["results"]
            .as_array()
            .unwrap()
            .iter()
            .map(|identity| identity["identifier"].as_str().unwrap())
            .collect();
        assert_eq!(found, expected, "{query}");
    }
    ann.get(&format!("{path}?page=9")).await.expect(404);
}

#[tokio::test]
async fn what_is_wrong_with_an_identity() {
    let t = TestApp::start().await;
    let (ann, path, _) = environment(&t).await;
    let alice = create(&ann, &path, "alice").await;
    create(&ann, &path, "bob").await;
    let long = "x".repeat(2001);
    for (body, expected) in [
        (
            json!({}),
            json!({"identifier": ["This field is required."]}),
        ),
        (
            json!({"identifier": ""}),
            json!({"identifier": ["This field may not be blank."]}),
        ),
        (
            json!({"identifier": long}),
            json!({"identifier": ["Ensure this field has no more than 2000 characters."]}),
        ),
        (
            json!({"identifier": "alice"}),
            json!({"identifier": "Identity with identifier 'alice' already exists in this environment"}),
        ),
    ] {
        assert_eq!(ann.post(&path, body).await.expect(400), expected);
    }
    let taken = ann
        .put(&format!("{path}{alice}/"), json!({"identifier": "bob"}))
        .await;
    assert!(taken.expect(400)["identifier"].is_array());
    ann.get(&format!("{path}nobody/")).await.expect(404);
}

#[tokio::test]
async fn a_trait_from_cradle_to_grave() {
    let t = TestApp::start().await;
    let (ann, path, _) = environment(&t).await;
    let alice = create(&ann, &path, "alice").await;
    let traits = format!("{path}{alice}/traits/");
    let plan = ann
        .post(
            &traits,
            json!({"trait_key": "plan", "value_type": "unicode", "string_value": " gold "}),
        )
        .await
        .expect(201);
    assert_eq!(plan["string_value"], " gold ", "values are not trimmed");
    assert_eq!(plan["integer_value"], Value::Null);
    let age = ann
        .post(
            &traits,
            json!({"trait_key": "age", "value_type": "int", "integer_value": 21}),
        )
        .await
        .expect(201);
    let one = format!("{traits}{}/", age["id"]);
    let older = ann.patch(&one, json!({"integer_value": 22})).await;
    assert_eq!(older.expect(200)["integer_value"], 22);
    let put = ann
        .put(
            &one,
            json!({"trait_key": "age", "value_type": "float", "float_value": 22.5}),
        )
        .await
        .expect(200);
    assert_eq!(
        (&put["value_type"], &put["float_value"]),
        (&json!("float"), &json!(22.5))
    );
    assert_eq!(ann.get(&one).await.expect(200), put);
    assert_eq!(ann.get(&traits).await.expect(200)["count"], 2);
    ann.delete(&one).await.expect(204);
    ann.get(&one).await.expect(404);
    assert_eq!(
        t.audit().await.last().unwrap(),
        "Trait deleted for Identity alice: age"
    );
}

#[tokio::test]
async fn a_trait_can_be_deleted_everywhere() {
    let t = TestApp::start().await;
    let (ann, path, _) = environment(&t).await;
    let mut first = String::new();
    for identifier in ["alice", "bob"] {
        let id = create(&ann, &path, identifier).await;
        let traits = format!("{path}{id}/traits/");
        let body = json!({"trait_key": "plan", "string_value": "gold"});
        let made = ann.post(&traits, body).await.expect(201);
        first = format!("{traits}{}/", made["id"]);
    }
    ann.delete(&format!("{first}?deleteAllMatchingTraits=true"))
        .await
        .expect(204);
    let left: i64 = t
        .sql()
        .await
        .query_one("select count(*) from identity_trait", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(left, 0);
}

#[tokio::test]
async fn what_is_wrong_with_a_trait() {
    let t = TestApp::start().await;
    let (ann, path, _) = environment(&t).await;
    let alice = create(&ann, &path, "alice").await;
    let traits = format!("{path}{alice}/traits/");
    let body = json!({"trait_key": "plan", "string_value": "gold"});
    ann.post(&traits, body.clone()).await.expect(201);
    assert!(ann.post(&traits, body).await.expect(400)["trait_key"].is_array());
    let wrong = ann
        .post(&traits, json!({"trait_key": "z", "value_type": "nope"}))
        .await;
    assert_eq!(
        wrong.expect(400),
        json!({"value_type": ["\"nope\" is not a valid choice."]})
    );
    let empty = ann.post(&traits, json!({})).await.expect(400);
    assert_eq!(empty, json!({"trait_key": ["This field is required."]}));
    ann.get(&format!("{path}999999/traits/")).await.expect(404);
}

#[tokio::test]
async fn strangers_and_plain_members_stay_out() {
    let t = TestApp::start().await;
    let (ann, path, _) = environment(&t).await;
    create(&ann, &path, "alice").await;
    let eve = t.person("eve").await;
    eve.get(&path).await.expect(403);
    eve.post(&path, json!({"identifier": "x"}))
        .await
        .expect(403);
    t.nobody().get(&path).await.expect(401);
}
