//! Environments and their server-side keys.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::app::{Person, TestApp};

const ENVIRONMENTS: &str = "/api/v1/environments/";

/// Ann, and the id of a project of hers.
async fn world() -> (TestApp, Person, i64) {
    let t = TestApp::start().await;
    let ann = t.person("ann").await;
    let acme = t.organisation("Acme", &ann).await;
    let made = ann
        .post(
            "/api/v1/projects/",
            json!({"name": "Main", "organisation": acme}),
        )
        .await;
    let project = made.expect(201)["id"].as_i64().unwrap();
    (t, ann, project)
}

async fn make(ann: &Person, project: i64, name: &str) -> Value {
    ann.post(ENVIRONMENTS, json!({"name": name, "project": project}))
        .await
        .expect(201)
}

#[tokio::test]
async fn an_environment_from_cradle_to_grave() {
    let (t, ann, project) = world().await;
    let body = json!({"name": "Development", "project": project, "api_key": "chosen-key", "banner_text": ""});
    let made = ann.post(ENVIRONMENTS, body).await.expect(201);
    assert_eq!(made["api_key"], "chosen-key");
    assert_eq!(made["allow_client_traits"], true);
    assert_eq!(made["metadata"], json!([]));
    assert_eq!(t.to_publish().await, ["chosen-key"]);
    let other = make(&ann, project, "Production").await;
    assert_eq!(other["api_key"].as_str().unwrap().len(), 22);

    let path = format!("{ENVIRONMENTS}chosen-key/");
    let found = ann.get(&path).await.expect(200);
    assert_eq!(found["total_segment_overrides"], 0);
    let by_uuid = format!(
        "{ENVIRONMENTS}get-by-uuid/{}/",
        found["uuid"].as_str().unwrap()
    );
    assert_eq!(ann.get(&by_uuid).await.expect(200), found);
    let list = ann
        .get(&format!("{ENVIRONMENTS}?project={project}&page_size=1"))
        .await
        .expect(200);
    assert_eq!((&list["count"], &list["results"][0]), (&json!(2), &made));
    let plain = ann
        .get(&format!("/api/v1/projects/{project}/environments/"))
        .await
        .expect(200);
    assert_eq!(plain.as_array().unwrap().len(), 2);
    assert_eq!(plain[0].get("metadata"), None);

    t.clear_jobs().await;
    let change =
        json!({"hide_disabled_flags": false, "use_mv_v2_evaluation": false, "description": "x"});
    let changed = ann.patch(&path, change).await.expect(200);
    assert_eq!(changed["hide_disabled_flags"], false);
    assert_eq!(
        changed["use_mv_v2_evaluation"], true,
        "an alias that cannot be written"
    );
    assert_eq!(t.to_publish().await, ["chosen-key"]);
    let document = ann.get(&format!("{path}document/")).await.expect(200);
    assert_eq!(
        (&document["api_key"], &document["project"]["name"]),
        (&json!("chosen-key"), &json!("Main"))
    );

    t.clear_jobs().await;
    ann.put(&path, json!({"name": "Dev", "api_key": "new-key"}))
        .await
        .expect(200);
    ann.get(&path).await.expect(404);
    assert_eq!(t.to_publish().await, ["chosen-key", "new-key"]);
    ann.delete(&format!("{ENVIRONMENTS}new-key/"))
        .await
        .expect(204);
    assert_eq!(
        t.audit().await[1..],
        [
            "New Environment created: Development",
            "New Environment created: Production",
            "Environment updated: Development",
            "Environment updated: Dev",
            "Environment deleted: Dev",
        ]
    );
}

#[tokio::test]
async fn what_is_wrong_is_told_in_flagsmiths_words() {
    let (t, ann, project) = world().await;
    make(&ann, project, "Development").await;
    let forbidden = json!({"detail": "You do not have permission to perform this action."});
    assert_eq!(
        ann.post(ENVIRONMENTS, json!({})).await.expect(403),
        forbidden
    );
    assert_eq!(
        ann.post(ENVIRONMENTS, json!({"project": project}))
            .await
            .expect(400),
        json!({"name": ["This field is required."]})
    );
    assert_eq!(
        ann.post(
            ENVIRONMENTS,
            json!({"name": "Development", "project": project})
        )
        .await
        .expect(400),
        json!({"non_field_errors": ["An environment with this name already exists."]})
    );
    let key =
        json!({"name": "X", "project": project, "api_key": "ser.x", "banner_colour": "#12345678"});
    assert_eq!(
        ann.post(ENVIRONMENTS, key).await.expect(400),
        json!({
            "api_key": ["Client-side keys must not start with \"ser.\"."],
            "banner_colour": ["Ensure this field has no more than 7 characters."],
        })
    );
    for query in ["", "?project=abc", "?project=999999"] {
        assert_eq!(
            ann.get(&format!("{ENVIRONMENTS}{query}")).await.expect(400),
            json!(["Invalid or missing value for project parameter."])
        );
    }
    let unknown = ann.get(&format!("{ENVIRONMENTS}nope/")).await;
    assert_eq!(
        unknown.expect(404),
        json!({"detail": "No Environment matches the given query."})
    );
    let eve = t.person("eve").await;
    let key = make(&ann, project, "Other").await["api_key"]
        .as_str()
        .unwrap()
        .to_owned();
    let detailed = format!("{ENVIRONMENTS}{key}/user-detailed-permissions/{}/", eve.id);
    assert_eq!(
        ann.get(&detailed).await.expect(200)["is_directly_granted"],
        false
    );
    let listed = eve
        .get(&format!("{ENVIRONMENTS}?project={project}"))
        .await
        .expect(200);
    assert_eq!(listed["count"], 0);
}

#[tokio::test]
async fn a_new_environment_has_a_state_for_every_feature() {
    let (t, ann, project) = world().await;
    let sql = t.sql().await;
    for (name, value) in [
        ("a", Some("42")),
        ("b", Some("True")),
        ("c", Some("1.5")),
        ("d", None),
        ("e", Some("99999999999")),
    ] {
        sql.execute(
            "insert into feature (project_id, name, default_enabled, initial_value, created_at)
             values ($1, $2, true, $3, now())",
            &[&project, &name, &value],
        )
        .await
        .unwrap();
    }
    sql.execute(
        "insert into multivariate_option (feature_id, string_value, default_percentage_allocation)
         select id, 'x', 30 from feature where name = 'c'",
        &[],
    )
    .await
    .unwrap();
    make(&ann, project, "Development").await;
    let rows = sql
        .query(
            "select feature.name, enabled, value_type, coalesce(string_value, integer_value::text, boolean_value::text)
             from feature_state join feature on feature.id = feature_id order by 1",
            &[],
        )
        .await
        .unwrap();
    let states: Vec<(String, bool, String, Option<String>)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect();
    let told: Vec<(&str, bool, &str, Option<&str>)> = states
        .iter()
        .map(|(name, enabled, kind, value)| {
            (name.as_str(), *enabled, kind.as_str(), value.as_deref())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("a", true, "int", Some("42")),
            ("b", true, "bool", Some("true")),
            ("c", true, "unicode", Some("1.5")),
            ("d", true, "unicode", None),
            ("e", true, "unicode", Some("99999999999")),
        ]
    );
    let options: i64 = sql
        .query_one(
            "select count(*) from multivariate_state_value where percentage_allocation = 30",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert_eq!(options, 1);
}

#[tokio::test]
async fn a_clone_has_the_values_and_the_overrides() {
    let (t, ann, project) = world().await;
    let sql = t.sql().await;
    sql.batch_execute(&format!(
        "insert into feature (project_id, name, created_at) values ({project}, 'f', now());
         insert into segment (project_id, name, rules, created_at, updated_at) values ({project}, 's', '[]', now(), now());"
    ))
    .await
    .unwrap();
    let source = make(&ann, project, "Development").await;
    let id = source["id"].as_i64().unwrap();
    sql.batch_execute(&format!(
        "insert into multivariate_option (feature_id, string_value) select id, 'x' from feature;
         insert into feature_segment (feature_id, segment_id, environment_id, priority)
             select feature.id, segment.id, {id}, 3 from feature, segment;
         insert into feature_state (environment_id, feature_id, feature_segment_id, enabled, string_value, created_at, updated_at)
             select {id}, feature_id, id, true, 'seg', now(), now() from feature_segment;
         insert into multivariate_state_value (feature_state_id, multivariate_option_id, percentage_allocation)
             select feature_state.id, multivariate_option.id, 40 from feature_state, multivariate_option;"
    ))
    .await
    .unwrap();
    let path = format!(
        "{ENVIRONMENTS}{}/clone/",
        source["api_key"].as_str().unwrap()
    );
    ann.post(&path, json!({})).await.expect(400);
    let clone = ann.post(&path, json!({"name": "Clone"})).await.expect(200);
    assert_eq!(clone["project"], project);
    let rows = sql
        .query(
            "select copy.string_value, place.priority, copy.hashing_salt = original.id, value.percentage_allocation
             from feature_state as copy
             left join feature_segment as place on place.id = copy.feature_segment_id and place.environment_id = copy.environment_id
             join feature_state as original
                 on original.environment_id <> copy.environment_id
                 and (original.feature_segment_id is null) = (copy.feature_segment_id is null)
             join multivariate_state_value as value on value.feature_state_id = copy.id
             where copy.environment_id = $1 order by copy.id",
            &[&clone["id"].as_i64().unwrap()],
        )
        .await
        .unwrap();
    let copies: Vec<(Option<String>, Option<i32>, bool, f64)> = rows
        .iter()
        .map(|row| (row.get(0), row.get(1), row.get(2), row.get(3)))
        .collect();
    assert_eq!(
        copies,
        [
            (None, None, true, 40.0),
            (Some("seg".to_owned()), Some(3), true, 40.0)
        ]
    );
    let key = clone["api_key"].as_str().unwrap();
    assert!(t.to_publish().await.iter().any(|waiting| waiting == key));
}

#[tokio::test]
async fn traits_as_a_whole() {
    let (t, ann, project) = world().await;
    let environment = make(&ann, project, "Development").await;
    t.sql()
        .await
        .batch_execute(&format!(
            "insert into identity (environment_id, identifier, created_at) values ({}, 'i', now());
             insert into identity_trait (identity_id, trait_key, value_type) select id, k, 'unicode' from identity, (values ('b'), ('a')) as t (k);",
            environment["id"]
        ))
        .await
        .unwrap();
    let path = format!(
        "{ENVIRONMENTS}{}/",
        environment["api_key"].as_str().unwrap()
    );
    let keys = async || ann.get(&format!("{path}trait-keys/")).await.expect(200);
    assert_eq!(keys().await, json!({"keys": ["a", "b"]}));
    ann.post(&format!("{path}delete-traits/"), json!({"key": "a"}))
        .await
        .expect(200);
    assert_eq!(keys().await, json!({"keys": ["b"]}));
    assert_eq!(
        ann.post(&format!("{path}delete-traits/"), json!({}))
            .await
            .expect(400),
        json!({"detail": "Couldn't delete trait keys."})
    );
}

#[tokio::test]
async fn server_side_keys_are_shown_once() {
    let (t, ann, project) = world().await;
    let environment = make(&ann, project, "Development").await;
    let client_key = environment["api_key"].as_str().unwrap();
    let path = format!("{ENVIRONMENTS}{client_key}/api-keys/");
    t.clear_jobs().await;
    let made = ann
        .post(
            &path,
            json!({"name": "server", "expires_at": "2030-01-01T00:00:00Z"}),
        )
        .await
        .expect(201);
    let full = made["key"].as_str().unwrap();
    assert!(full.starts_with("ser.") && full.len() == 26, "{full}");
    assert_eq!(made["expires_at"], "2030-01-01T00:00:00Z");
    assert_eq!(t.to_publish().await, [client_key]);

    let listed = ann.get(&path).await.expect(200);
    let hint = listed[0]["key"].as_str().unwrap();
    assert_eq!(hint, format!("{}...{}", &full[..8], &full[23..]));
    let row = t
        .sql()
        .await
        .query_one("select sha256, hint from environment_key", &[])
        .await
        .unwrap();
    assert_eq!(
        row.get::<_, Vec<u8>>(0),
        Sha256::digest(full.as_bytes()).to_vec()
    );
    assert_eq!(row.get::<_, String>(1), hint);

    let one = format!("{path}{}/", made["id"]);
    let changed = ann
        .put(&one, json!({"name": "renamed", "expires_at": null}))
        .await
        .expect(200);
    assert_eq!(
        (&changed["name"], &changed["expires_at"]),
        (&json!("renamed"), &json!(null))
    );
    assert_eq!(
        ann.patch(&one, json!({"active": false})).await.expect(200)["active"],
        false
    );
    let read = ann.get(&one).await;
    assert_eq!(
        read.expect(405),
        json!({"detail": "Method \"GET\" not allowed."})
    );
    assert_eq!(read.header("allow"), "PUT, PATCH, DELETE, OPTIONS");
    ann.delete(&one).await.expect(204);
    ann.delete(&one).await.expect(404);
    ann.patch(&one, json!({})).await.expect(404);
}
