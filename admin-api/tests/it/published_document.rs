//! Rows made from a recorded environment document come out as that document again.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::app::{connect, database};
use crate::mounted::Served;

/// The recorded answers, where they are.
fn recorded(label: &str) -> Option<Value> {
    let shared = std::env::var_os("YARDARM_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"),
        PathBuf::from,
    );
    let path = shared.join("conformance/recorded/sdk.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: there is no {}", path.display());
        return None;
    };
    let records = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found = records
        .into_iter()
        .find(|record| record["group"] == "environment-document" && record["label"] == label);
    Some(found.expect("a recording of that name")["resp_body"].clone())
}

async fn run(sql: &Client, statement: &str, params: &[&(dyn ToSql + Sync)]) {
    if let Err(error) = sql.execute(statement, params).await {
        panic!("{error:?}\n{statement}");
    }
}

fn uuid(value: &Value) -> Uuid {
    value.as_str().unwrap().parse().unwrap()
}

fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap().parse().unwrap()
}

/// A value's type and its columns.
fn columns(value: &Value) -> (&'static str, Option<&str>, Option<i32>, Option<bool>) {
    match value {
        Value::Null => ("unicode", None, None, None),
        Value::Bool(value) => ("bool", None, None, Some(*value)),
        Value::Number(value) => (
            "int",
            None,
            Some(value.as_i64().unwrap().try_into().unwrap()),
            None,
        ),
        Value::String(value) => ("unicode", Some(value), None, None),
        other => panic!("{other} is no value of a flag"),
    }
}

struct Rows<'a> {
    sql: &'a Client,
    environment: i64,
    next_segment: i64,
}

impl Rows<'_> {
    async fn state(&mut self, state: &Value, segment: Option<i64>, identity: Option<i64>) {
        let sql = self.sql;
        let feature = state["feature"]["id"].as_i64();
        let mut feature_segment = None;
        if let Some(segment) = segment {
            self.next_segment += 1;
            feature_segment = Some(self.next_segment);
            let priority =
                i32::try_from(state["feature_segment"]["priority"].as_i64().unwrap()).unwrap();
            run(
                sql,
                "insert into feature_segment (id, feature_id, segment_id, environment_id, priority)
                 overriding system value values ($1, $2, $3, $4, $5)",
                &[
                    &feature_segment,
                    &feature,
                    &segment,
                    &self.environment,
                    &priority,
                ],
            )
            .await;
        }
        let (kind, text, integer, boolean) = columns(&state["feature_state_value"]);
        run(
            sql,
            "insert into feature_state (id, uuid, environment_id, feature_id, feature_segment_id, identity_id,
                enabled, value_type, string_value, integer_value, boolean_value, created_at, updated_at)
             overriding system value values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now(), now())",
            &[
                &state["django_id"].as_i64(),
                &uuid(&state["featurestate_uuid"]),
                &self.environment,
                &feature,
                &feature_segment,
                &identity,
                &state["enabled"].as_bool(),
                &kind,
                &text,
                &integer,
                &boolean,
            ],
        )
        .await;
        for weighted in state["multivariate_feature_state_values"]
            .as_array()
            .unwrap()
        {
            let option = &weighted["multivariate_feature_option"];
            let (kind, text, integer, boolean) = columns(&option["value"]);
            run(
                sql,
                "insert into multivariate_option
                    (id, feature_id, key, type, string_value, integer_value, boolean_value)
                 overriding system value values ($1, $2, $3, $4, $5, $6, $7) on conflict do nothing",
                &[&option["id"].as_i64(), &feature, &option["key"].as_str(), &kind, &text, &integer, &boolean],
            )
            .await;
            run(
                sql,
                "insert into multivariate_state_value
                    (id, uuid, feature_state_id, multivariate_option_id, percentage_allocation)
                 overriding system value values ($1, $2, $3, $4, $5)",
                &[
                    &weighted["id"].as_i64(),
                    &uuid(&weighted["mv_fs_value_uuid"]),
                    &state["django_id"].as_i64(),
                    &option["id"].as_i64(),
                    &weighted["percentage_allocation"].as_f64(),
                ],
            )
            .await;
        }
    }
}

/// The document's rules as the API stores them: `property`, and an id at everything.
fn stored_rules(rules: &Value) -> Value {
    let rules =
        rules.as_array().unwrap().iter().map(|rule| {
            let conditions = rule["conditions"].as_array().unwrap().iter().map(|condition| {
            json!({
                "id": 1, "operator": condition["operator"], "property": condition["property_"],
                "value": condition["value"], "description": null,
            })
        });
            json!({
                "id": 1, "type": rule["type"], "rules": stored_rules(&rule["rules"]),
                "conditions": conditions.collect::<Vec<_>>(),
            })
        });
    rules.collect()
}

async fn make_rows(sql: &Client, document: &Value) {
    make_surroundings(sql, document).await;
    make_states(sql, document).await;
    // Of no use to anybody: neither overridden, nor for every feature.
    run(
        sql,
        "insert into segment (project_id, feature_id, name, rules, created_at, updated_at)
         select project_id, id, 'for one feature only', '[]', now(), now()
         from feature order by id limit 1",
        &[],
    )
    .await;
}

/// The organisation, the project, the environment and the features.
async fn make_surroundings(sql: &Client, document: &Value) {
    let project = &document["project"];
    let organisation = &project["organisation"];
    run(
        sql,
        "insert into organisation (id, name, persist_trait_data, stop_serving_flags, feature_analytics, created_at)
         overriding system value values ($1, $2, $3, $4, $5, now())",
        &[
            &organisation["id"].as_i64(),
            &organisation["name"].as_str(),
            &organisation["persist_trait_data"].as_bool(),
            &organisation["stop_serving_flags"].as_bool(),
            &organisation["feature_analytics"].as_bool(),
        ],
    )
    .await;
    run(
        sql,
        "insert into project (id, organisation_id, name, hide_disabled_flags, enable_realtime_updates, created_at)
         overriding system value values ($1, $2, $3, $4, $5, now())",
        &[
            &project["id"].as_i64(),
            &organisation["id"].as_i64(),
            &project["name"].as_str(),
            &project["hide_disabled_flags"].as_bool(),
            &project["enable_realtime_updates"].as_bool(),
        ],
    )
    .await;
    let environment = document["id"].as_i64().unwrap();
    run(
        sql,
        "insert into environment (id, project_id, name, api_key, allow_client_traits, hide_disabled_flags,
            hide_sensitive_data, use_identity_composite_key_for_hashing,
            use_identity_overrides_in_local_eval, created_at, updated_at)
         overriding system value values ($1, $2, $3, $4, $5, $6, $7, $8, $9, now(), $10)",
        &[
            &environment,
            &project["id"].as_i64(),
            &document["name"].as_str(),
            &document["api_key"].as_str(),
            &document["allow_client_traits"].as_bool(),
            &document["hide_disabled_flags"].as_bool(),
            &document["hide_sensitive_data"].as_bool(),
            &document["use_identity_composite_key_for_hashing"].as_bool(),
            &document["use_identity_overrides_in_local_eval"].as_bool(),
            &time(&document["updated_at"]),
        ],
    )
    .await;
    let server_only = project["server_key_only_feature_ids"].as_array().unwrap();
    for state in document["feature_states"].as_array().unwrap() {
        let feature = &state["feature"];
        run(
            sql,
            "insert into feature (id, project_id, name, type, is_server_key_only, created_at)
             overriding system value values ($1, $2, $3, $4, $5, now())",
            &[
                &feature["id"].as_i64(),
                &project["id"].as_i64(),
                &feature["name"].as_str(),
                &feature["type"].as_str(),
                &server_only.contains(&feature["id"]),
            ],
        )
        .await;
    }
}

/// Segments, identities and all states.
async fn make_states(sql: &Client, document: &Value) {
    let (environment, project) = (document["id"].as_i64().unwrap(), &document["project"]);
    let mut rows = Rows {
        sql,
        environment,
        next_segment: 100,
    };
    // The order in which rows are made is not the order in which they are published.
    for state in document["feature_states"].as_array().unwrap().iter().rev() {
        rows.state(state, None, None).await;
    }
    for segment in project["segments"].as_array().unwrap().iter().rev() {
        run(
            sql,
            "insert into segment (id, project_id, name, rules, created_at, updated_at)
             overriding system value values ($1, $2, $3, $4, now(), now())",
            &[
                &segment["id"].as_i64(),
                &project["id"].as_i64(),
                &segment["name"].as_str(),
                &stored_rules(&segment["rules"]),
            ],
        )
        .await;
        for state in segment["feature_states"].as_array().unwrap().iter().rev() {
            rows.state(state, segment["id"].as_i64(), None).await;
        }
    }
    for identity in document["identity_overrides"]
        .as_array()
        .unwrap()
        .iter()
        .rev()
    {
        run(
            sql,
            "insert into identity (id, environment_id, identifier, created_at)
             overriding system value values ($1, $2, $3, $4)",
            &[
                &identity["django_id"].as_i64(),
                &environment,
                &identity["identifier"].as_str(),
                &time(&identity["created_date"]),
            ],
        )
        .await;
        for state in identity["identity_features"].as_array().unwrap() {
            rows.state(state, None, identity["django_id"].as_i64())
                .await;
        }
    }
}

/// Without what Flagsmith makes up on every request, and with weighted values in the order of their
/// ids: Flagsmith gives them as they lie in its table (flagsmith-observed.md 5).
fn settled(mut document: Value) -> Value {
    for identity in document["identity_overrides"].as_array_mut().unwrap() {
        assert!(identity["identity_uuid"].is_string());
        identity["identity_uuid"] = Value::Null;
    }
    sort_weighted(&mut document);
    document
}

fn sort_weighted(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(sort_weighted),
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_array_mut() {
                    Some(weighted) if name == "multivariate_feature_state_values" => {
                        weighted.sort_by_key(|value| value["id"].as_i64());
                    }
                    _ => sort_weighted(field),
                }
            }
        }
        _ => {}
    }
}

#[tokio::test]
async fn a_recorded_document_survives_the_database() {
    for label in ["envdoc", "envdoc v2", "envdoc prod"] {
        let Some(document) = recorded(label) else {
            return;
        };
        let url = database().await;
        let sql = connect(&url).await;
        // Two segments share what identifies their rows; the sequence stands before them.
        run(
            &sql,
            "select setval('segment_id_seq', 1000), setval('feature_segment_id_seq', 1000)",
            &[],
        )
        .await;
        make_rows(&sql, &document).await;
        let environment = document["id"].as_i64();
        run(
            &sql,
            "insert into environment_key (environment_id, name, sha256, hint, created_at)
             values ($1, 'k', sha256('ser.golden'::bytea), '', now())",
            &[&environment],
        )
        .await;
        let served = Served::new(&url).await;
        let answer = served
            .get("/api/v1/environment-document/", "ser.golden")
            .await;
        let got = settled(answer.expect(200));
        let wanted = settled(document);
        let (got, wanted) = (pretty(&got), pretty(&wanted));
        for (number, (got, wanted)) in got.lines().zip(wanted.lines()).enumerate() {
            assert_eq!(got, wanted, "{label}, line {}", number + 1);
        }
        assert_eq!(got, wanted, "{label}");
        served.stop().await;
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap()
}
