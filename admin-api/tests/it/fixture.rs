//! A project with two environments and an admin, for tests of what is in one.

use serde_json::{Value, json};

use crate::app::{Person, TestApp};

/// Acme's project `Main` with the environments `dev` and `prod`.
pub(crate) struct Fixture {
    pub(crate) t: TestApp,
    /// Acme's admin.
    pub(crate) ann: Person,
    /// A plain member of Acme.
    pub(crate) bob: Person,
    /// Somebody else, with an organisation of her own.
    pub(crate) eve: Person,
    pub(crate) project: i64,
    /// The id of `dev`.
    pub(crate) dev: i64,
    /// The id of `prod`.
    pub(crate) prod: i64,
}

impl Fixture {
    pub(crate) async fn start() -> Self {
        Self::at(TestApp::start().await).await
    }

    /// In this application.
    pub(crate) async fn at(t: TestApp) -> Self {
        let (ann, bob, eve) = (
            t.person("ann").await,
            t.person("bob").await,
            t.person("eve").await,
        );
        let acme = t.organisation("Acme", &ann).await;
        t.join(acme, &bob, "USER").await;
        t.organisation("Evil", &eve).await;
        let project = json!({"name": "Main", "organisation": acme});
        let project = ann.post("/api/v1/projects/", project).await.expect(201);
        let project = project["id"].as_i64().unwrap();
        let mut fixture = Self {
            t,
            ann,
            bob,
            eve,
            project,
            dev: 0,
            prod: 0,
        };
        fixture.dev = fixture.environment("dev").await;
        fixture.prod = fixture.environment("prod").await;
        fixture.t.clear_jobs().await;
        fixture
    }

    /// One more environment, whose key is its name.
    async fn environment(&self, name: &str) -> i64 {
        let row = self
            .t
            .sql()
            .await
            .query_one(
                "insert into environment (project_id, name, api_key, created_at, updated_at)
                 values ($1, $2, $2, $3, $3) returning id",
                &[&self.project, &name, &self.t.clock.now()],
            )
            .await
            .unwrap();
        row.get(0)
    }

    /// An identity of `dev`.
    pub(crate) async fn identity(&self, identifier: &str) -> i64 {
        let row = self
            .t
            .sql()
            .await
            .query_one(
                "insert into identity (environment_id, identifier, created_at)
                 values ($1, $2, $3) returning id",
                &[&self.dev, &identifier, &self.t.clock.now()],
            )
            .await
            .unwrap();
        row.get(0)
    }

    /// The project's features, or what is below.
    pub(crate) fn features(&self, rest: &str) -> String {
        format!("/api/v1/projects/{}/features/{rest}", self.project)
    }

    /// The project's segments, or what is below.
    pub(crate) fn segments(&self, rest: &str) -> String {
        format!("/api/v1/projects/{}/segments/{rest}", self.project)
    }

    /// A new feature.
    pub(crate) async fn feature(&self, body: Value) -> Value {
        self.ann.post(&self.features(""), body).await.expect(201)
    }

    /// A new feature's id.
    pub(crate) async fn feature_id(&self, name: &str) -> i64 {
        self.feature(json!({ "name": name })).await["id"]
            .as_i64()
            .unwrap()
    }

    /// A new segment's id.
    pub(crate) async fn segment_id(&self, name: &str) -> i64 {
        let body = json!({"name": name, "rules": rules("plan", name)});
        let made = self.ann.post(&self.segments(""), body).await.expect(201);
        made["id"].as_i64().unwrap()
    }

    /// An override of a feature for a segment in `dev`.
    pub(crate) async fn segment_override(&self, feature: i64, place: Value, value: Value) -> Value {
        let path = format!("/api/v1/environments/dev/features/{feature}/create-segment-override/");
        let body = json!({"enabled": true, "feature_segment": place, "feature_state_value": value});
        self.ann.post(&path, body).await.expect(201)
    }

    /// The default of a feature in an environment.
    pub(crate) async fn default_state(&self, environment: &str, feature: i64) -> Value {
        let path = format!("/api/v1/environments/{environment}/featurestates/?feature={feature}");
        self.ann.get(&path).await.expect(200)["results"][0].clone()
    }

    /// What was published since the last time.
    pub(crate) async fn published(&self) -> Vec<String> {
        let keys = self.t.to_publish().await;
        self.t.clear_jobs().await;
        keys
    }

    /// The last `count` sentences of the audit log.
    pub(crate) async fn audit(&self, count: usize) -> Vec<String> {
        let mut logs = self.t.audit().await;
        logs.split_off(logs.len().saturating_sub(count))
    }
}

/// Rules with one condition: the trait `property` equals `value`.
pub(crate) fn rules(property: &str, value: &str) -> Value {
    json!([{"type": "ALL", "conditions": [], "rules": [
        {"type": "ANY", "rules": [], "conditions": [
            {"operator": "EQUAL", "property": property, "value": value}
        ]}
    ]}])
}

/// One field of each of a page's results.
pub(crate) fn column(page: &Value, field: &str) -> Vec<Value> {
    page["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item[field].clone())
        .collect()
}
