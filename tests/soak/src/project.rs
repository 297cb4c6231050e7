//! The project that is asked about: features and overrides of every kind.

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::admin::{Admin, id};

/// How many features are plain.
const PLAIN: usize = 8;
/// Trait values that segments look at; the drivers send these.
pub(crate) const PLANS: [&str; 4] = ["free", "pro", "enterprise", "unlimited"];

/// What was made, by its ids.
#[derive(Debug)]
pub(crate) struct Project {
    pub(crate) id: i64,
    pub(crate) environment: i64,
    /// The client-side key.
    pub(crate) key: String,
    pub(crate) server_key: String,
    pub(crate) features: Vec<Feature>,
    pub(crate) segments: Vec<i64>,
}

/// A feature.
#[derive(Debug)]
pub(crate) struct Feature {
    pub(crate) id: i64,
    pub(crate) name: String,
    /// The environment's own state of it.
    pub(crate) state: i64,
    /// Its multivariate options.
    pub(crate) options: Vec<i64>,
}

impl Project {
    /// Makes it.
    pub(crate) async fn make(admin: &Admin) -> anyhow::Result<Self> {
        let organisation = admin
            .post("/api/v1/organisations/", &json!({"name": "Soak"}))
            .await?;
        let project = json!({"name": "Soak", "organisation": id(&organisation)?});
        let project = id(&admin.post("/api/v1/projects/", &project).await?)?;
        let environment = json!({"name": "Soak", "project": project});
        let environment = admin.post("/api/v1/environments/", &environment).await?;
        let key = environment["api_key"]
            .as_str()
            .context("no key")?
            .to_owned();
        let keys = format!("/api/v1/environments/{key}/api-keys/");
        let server_key = admin.post(&keys, &json!({"name": "soak"})).await?;
        let mut made = Self {
            id: project,
            environment: id(&environment)?,
            key,
            server_key: server_key["key"].as_str().context("no key")?.to_owned(),
            features: Vec::new(),
            segments: Vec::new(),
        };
        made.make_features(admin).await?;
        made.make_segments(admin).await?;
        made.make_overrides(admin).await?;
        Ok(made)
    }

    async fn make_features(&mut self, admin: &Admin) -> anyhow::Result<()> {
        let values = [
            json!("text"),
            json!("12"),
            json!("true"),
            json!(""),
            json!(r#"{"json": [1, 2]}"#),
            json!("gr\u{fc}n \u{1f6a9}"),
            json!("x".repeat(300)),
            Value::Null,
        ];
        for (number, value) in values.iter().enumerate().take(PLAIN) {
            let body = json!({"name": format!("plain_{number}"), "default_enabled": number % 2 == 0,
                "initial_value": value});
            self.make_feature(admin, body).await?;
        }
        for number in 0..3 {
            let option = |name: &str, share: u32| {
                json!({"type": "unicode", "string_value": format!("{name} of {number}"),
                    "default_percentage_allocation": share, "key": format!("key-{name}")})
            };
            let body = json!({"name": format!("split_{number}"), "default_enabled": true,
                "initial_value": "control", "multivariate_options": [option("a", 30), option("b", 40)]});
            self.make_feature(admin, body).await?;
        }
        for number in 0..2 {
            let body = json!({"name": format!("secret_{number}"), "default_enabled": true,
                "initial_value": "for servers", "is_server_key_only": true});
            self.make_feature(admin, body).await?;
        }
        Ok(())
    }

    async fn make_feature(&mut self, admin: &Admin, body: Value) -> anyhow::Result<()> {
        let features = format!("/api/v1/projects/{}/features/", self.id);
        let made = admin.post(&features, &body).await?;
        let feature = id(&made)?;
        let options = admin
            .get(&format!("{features}{feature}/mv-options/"))
            .await?;
        let options = options["results"].as_array().or_else(|| options.as_array());
        let options = options
            .into_iter()
            .flatten()
            .map(id)
            .collect::<Result<_, _>>()?;
        let states = format!(
            "/api/v1/environments/{}/featurestates/?feature={feature}",
            self.key
        );
        let states = admin.get(&states).await?;
        self.features.push(Feature {
            id: feature,
            name: body["name"].as_str().unwrap_or_default().to_owned(),
            state: id(&states["results"][0])?,
            options,
        });
        Ok(())
    }

    async fn make_segments(&mut self, admin: &Admin) -> anyhow::Result<()> {
        for number in 0..4 {
            let segments = format!("/api/v1/projects/{}/segments/", self.id);
            let body = self.segment(number, number);
            self.segments
                .push(id(&admin.post(&segments, &body).await?)?);
        }
        Ok(())
    }

    /// What a segment is; the `turn` makes it another.
    pub(crate) fn segment(&self, number: usize, turn: usize) -> Value {
        let condition = |property: &str, operator: &str, value: String| json!({"property": property, "operator": operator, "value": value});
        let plan = PLANS[turn % PLANS.len()];
        let conditions = match number {
            0 => vec![condition("plan", "EQUAL", plan.to_owned())],
            1 => vec![
                condition("age", "GREATER_THAN_INCLUSIVE", (turn % 60).to_string()),
                condition("plan", "NOT_EQUAL", plan.to_owned()),
            ],
            2 => vec![condition(
                "",
                "PERCENTAGE_SPLIT",
                (turn * 7 % 100).to_string(),
            )],
            _ => vec![
                condition("email", "CONTAINS", format!("{}@example", turn % 3)),
                condition("plan", "IN", format!("{plan},none")),
            ],
        };
        let kind = if turn.is_multiple_of(3) { "ANY" } else { "ALL" };
        json!({
            "name": format!("segment_{number}"), "project": self.id,
            "rules": [{"type": "ALL", "conditions": [], "rules": [
                {"type": kind, "rules": [], "conditions": conditions},
            ]}],
        })
    }

    async fn make_overrides(&self, admin: &Admin) -> anyhow::Result<()> {
        // Plain ones by two segments, split ones, a disabled one, and one for servers.
        for (feature, segment) in [(0, 0), (0, 1), (1, 2), (2, 3), (8, 0), (9, 2), (11, 1)] {
            self.override_for_segment(admin, feature, segment).await?;
        }
        Ok(())
    }

    /// Overrides a feature for a segment.
    pub(crate) async fn override_for_segment(
        &self,
        admin: &Admin,
        feature: usize,
        segment: usize,
    ) -> anyhow::Result<()> {
        let path = format!(
            "/api/v1/environments/{}/features/{}/create-segment-override/",
            self.key, self.features[feature].id
        );
        let body = json!({
            "feature_segment": {"segment": self.segments[segment]},
            "enabled": true,
            "feature_state_value": {"type": "unicode", "string_value": format!("for segment {segment}")},
        });
        admin.post(&path, &body).await?;
        Ok(())
    }
}
