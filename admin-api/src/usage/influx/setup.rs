//! Making in InfluxDB what Flagsmith's documentation has people make by hand: buckets and tasks.

use anyhow::{Context as _, bail};
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::tasks::{Task, tasks};
use super::{Influx, describe, query};

#[derive(Deserialize)]
struct Named {
    id: String,
    name: String,
}

#[derive(Deserialize)]
struct Organisations {
    orgs: Vec<Named>,
}

#[derive(Deserialize)]
struct Buckets {
    buckets: Vec<Named>,
}

#[derive(Deserialize)]
struct Tasks {
    tasks: Vec<Named>,
}

impl Influx {
    /// Makes the buckets and tasks that are missing, by their names, and tells of each. Those that are there stay as
    /// they are.
    ///
    /// # Errors
    /// When InfluxDB does not answer, or does not let us.
    pub async fn set_up(&self) -> anyhow::Result<Vec<String>> {
        let organisation = self.organisation().await?;
        let tasks = tasks(&self.settings.bucket);
        let mut wanted = vec![self.settings.bucket.clone()];
        wanted.extend(tasks.iter().map(|task| task.bucket.clone()));
        wanted.dedup();
        let mut told = Vec::new();
        for bucket in wanted {
            let made = self.make_bucket(&organisation, &bucket).await?;
            told.push(format!("bucket {bucket}: {}", outcome(made)));
        }
        for task in tasks {
            let made = self.make_task(&organisation, &task).await?;
            told.push(format!("task {}: {}", task.name, outcome(made)));
        }
        Ok(told)
    }

    /// The organisation's id, whether it was given by name or id.
    async fn organisation(&self) -> anyhow::Result<String> {
        let given = &self.settings.org;
        for by in ["org", "orgID"] {
            let path = format!("/api/v2/orgs?{}", query(&[(by, given)]));
            let answer = self
                .send(Method::GET, &path, JSON, Vec::new().into())
                .await?;
            match answer.status {
                StatusCode::OK => {
                    let found: Organisations = serde_json::from_slice(&answer.body)?;
                    if let Some(found) = found.orgs.into_iter().next() {
                        return Ok(found.id);
                    }
                }
                StatusCode::NOT_FOUND | StatusCode::BAD_REQUEST => {}
                _ => bail!("InfluxDB: {}", describe(&answer)),
            }
        }
        bail!("InfluxDB has no organisation {given}")
    }

    async fn make_bucket(&self, organisation: &str, name: &str) -> anyhow::Result<bool> {
        let path = format!(
            "/api/v2/buckets?{}",
            query(&[("orgID", organisation), ("name", name)])
        );
        let answer = self
            .send(Method::GET, &path, JSON, Vec::new().into())
            .await?;
        if answer.status == StatusCode::OK {
            let found: Buckets = serde_json::from_slice(&answer.body)?;
            if found.buckets.iter().any(|bucket| bucket.name == name) {
                return Ok(false);
            }
        }
        let body = json!({"orgID": organisation, "name": name, "retentionRules": []});
        self.make("/api/v2/buckets", &body).await?;
        Ok(true)
    }

    async fn make_task(&self, organisation: &str, task: &Task) -> anyhow::Result<bool> {
        let path = format!(
            "/api/v2/tasks?{}",
            query(&[("orgID", organisation), ("name", task.name)])
        );
        let answer = self
            .send(Method::GET, &path, JSON, Vec::new().into())
            .await?;
        if answer.status != StatusCode::OK {
            bail!("InfluxDB: {}", describe(&answer));
        }
        let found: Tasks = serde_json::from_slice(&answer.body)?;
        if found.tasks.iter().any(|found| found.name == task.name) {
            return Ok(false);
        }
        let body = json!({"orgID": organisation, "status": "active", "flux": task.flux});
        self.make("/api/v2/tasks", &body).await?;
        Ok(true)
    }

    async fn make(&self, path: &str, body: &serde_json::Value) -> anyhow::Result<()> {
        let answer = self
            .send(Method::POST, path, JSON, body.to_string().into())
            .await
            .context("cannot make what is missing")?;
        if !answer.status.is_success() {
            bail!("InfluxDB: {}", describe(&answer));
        }
        Ok(())
    }
}

const JSON: &str = "application/json";

fn outcome(made: bool) -> &'static str {
    if made { "made" } else { "was there" }
}
