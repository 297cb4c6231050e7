//! Rows made directly, in transactions that do what the write transaction does: change, and give the
//! environments concerned a new version.

use serde_json::{Value, json};
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;

/// A project with two features and a segment that holds whoever has the trait `plan` = `pro`.
pub(crate) struct World {
    pub(crate) sql: Client,
    pub(crate) project: i64,
    pub(crate) segment: i64,
}

/// How a feature looks from outside: name, enabled, value.
pub(crate) type Look = (String, bool, Value);

impl World {
    pub(crate) async fn new(sql: Client) -> Self {
        let statement =
            "insert into organisation (name, created_at) values ('o', now()) returning id";
        let organisation = id(&sql, statement, &[]).await;
        Self::in_organisation(sql, organisation).await
    }

    /// The world that this database holds already.
    pub(crate) async fn again(sql: Client) -> Self {
        let project = id(&sql, "select min(id) from project", &[]).await;
        let segment = id(&sql, "select min(id) from segment", &[]).await;
        Self {
            sql,
            project,
            segment,
        }
    }

    pub(crate) async fn in_organisation(sql: Client, organisation: i64) -> Self {
        let project = id(
            &sql,
            "insert into project (organisation_id, name, created_at) values ($1, 'p', now()) returning id",
            &[&organisation],
        )
        .await;
        let rules = json!([{"id": 1, "type": "ALL", "conditions": [], "rules": [{
            "id": 2, "type": "ANY", "conditions": [
                {"id": 1, "operator": "EQUAL", "property": "plan", "value": "pro", "description": null},
            ],
        }]}]);
        let segment = id(
            &sql,
            "insert into segment (project_id, name, rules, created_at, updated_at)
             values ($1, 'pro', $2, now(), now()) returning id",
            &[&project, &rules],
        )
        .await;
        Self {
            sql,
            project,
            segment,
        }
    }

    /// A feature, on in no environment.
    pub(crate) async fn feature(&self, name: &str) -> i64 {
        let feature = id(
            &self.sql,
            "insert into feature (project_id, name, created_at) values ($1, $2, now()) returning id",
            &[&self.project, &name],
        )
        .await;
        self.change(
            "insert into feature_state (environment_id, feature_id, created_at, updated_at)
             select id, $1, now(), now() from environment where project_id = $2",
            &[&feature, &self.project],
            None,
        )
        .await;
        feature
    }

    /// An environment with every feature off.
    pub(crate) async fn environment(&self, key: &str) {
        let environment = id(
            &self.sql,
            "with made as (
                insert into environment (project_id, name, api_key, created_at, updated_at)
                values ($1, gen_random_uuid()::text, $2, now(), now()) returning id
             ), states as (
                insert into feature_state (environment_id, feature_id, created_at, updated_at)
                select made.id, feature.id, now(), now() from made, feature where feature.project_id = $1
             )
             select id from made",
            &[&self.project, &key],
        )
        .await;
        assert!(environment > 0);
    }

    /// A server-side key.
    pub(crate) async fn server_key(&self, environment: &str, key: &str) {
        self.change(
            "insert into environment_key (environment_id, name, sha256, hint, created_at)
             select id, 'k', sha256($2::text::bytea), '', now() from environment where api_key = $1",
            &[&environment, &key],
            Some(environment),
        )
        .await;
    }

    /// Switches a feature and gives it a value.
    pub(crate) async fn set(&self, environment: &str, feature: i64, on: bool, value: &str) {
        self.change(
            "update feature_state set enabled = $3, string_value = $4
             where feature_id = $2 and feature_segment_id is null and identity_id is null
               and environment_id = (select id from environment where api_key = $1)",
            &[&environment, &feature, &on, &value],
            Some(environment),
        )
        .await;
    }

    /// Overrides a feature for the segment, or changes that override.
    pub(crate) async fn override_segment(
        &self,
        environment: &str,
        feature: i64,
        on: bool,
        value: &str,
    ) {
        self.change(
            "with old as (
                delete from feature_segment
                where feature_id = $2 and segment_id = $3
                  and environment_id = (select id from environment where api_key = $1)
             ), made as (
                insert into feature_segment (feature_id, segment_id, environment_id, priority)
                select $2, $3, id, 0 from environment where api_key = $1
                returning id, environment_id
             )
             insert into feature_state
                (environment_id, feature_id, feature_segment_id, enabled, string_value, created_at, updated_at)
             select environment_id, $2, id, $4, $5, now(), now() from made",
            &[&environment, &feature, &self.segment, &on, &value],
            Some(environment),
        )
        .await;
    }

    /// Gives an environment another key.
    pub(crate) async fn rename(&self, from: &str, to: &str) {
        self.change(
            "update environment set api_key = $2 where api_key = $1",
            &[&from, &to],
            None,
        )
        .await;
    }

    /// Deletes an environment.
    pub(crate) async fn delete(&self, key: &str) {
        self.change("delete from environment where api_key = $1", &[&key], None)
            .await;
    }

    /// Runs a statement and, in the same transaction, gives the environment (or all) a new version.
    async fn change(
        &self,
        statement: &str,
        params: &[&(dyn ToSql + Sync)],
        environment: Option<&str>,
    ) {
        self.sql.batch_execute("begin").await.unwrap();
        self.sql.execute(statement, params).await.unwrap();
        self.sql
            .execute(
                "update environment set version = nextval('environment_version'), updated_at = now()
                 where $1::text is null or api_key = $1",
                &[&environment],
            )
            .await
            .unwrap();
        self.sql.batch_execute("commit").await.unwrap();
    }

    /// Every environment's key.
    pub(crate) async fn keys(&self) -> Vec<String> {
        texts(&self.sql, "select api_key from environment order by id").await
    }

    /// Every key that must be refused.
    pub(crate) async fn gone(&self) -> Vec<String> {
        texts(
            &self.sql,
            "select api_key from publication where gone order by api_key",
        )
        .await
    }

    /// What the database says of an environment's features, for everybody or for the segment.
    pub(crate) async fn looks(&self, key: &str, in_segment: bool) -> Vec<Look> {
        let rows = self
            .sql
            .query(
                "select feature.name, coalesce(override.enabled, state.enabled),
                        case when override.id is null then state.string_value else override.string_value end
                 from environment
                 join feature on feature.project_id = environment.project_id
                 join feature_state as state on state.environment_id = environment.id
                    and state.feature_id = feature.id
                    and state.feature_segment_id is null and state.identity_id is null
                 left join feature_state as override on override.environment_id = environment.id
                    and override.feature_id = feature.id
                    and override.feature_segment_id is not null and $2
                 where environment.api_key = $1
                 order by feature.id",
                &[&key, &in_segment],
            )
            .await
            .unwrap();
        rows.iter()
            .map(|row| {
                let value: Option<String> = row.get(2);
                (
                    row.get(0),
                    row.get(1),
                    value.map_or(Value::Null, Value::from),
                )
            })
            .collect()
    }
}

async fn id(sql: &Client, statement: &str, params: &[&(dyn ToSql + Sync)]) -> i64 {
    sql.query_one(statement, params).await.unwrap().get(0)
}

async fn texts(sql: &Client, statement: &str) -> Vec<String> {
    sql.query(statement, &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect()
}
