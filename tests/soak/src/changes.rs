//! The person who changes things underneath, one change after the other, and writes down every version.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Method, Request};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::time::sleep;
use yardarm_conformance::Target;

use crate::admin::{Admin, id};
use crate::project::Project;
use crate::run::Run;
use crate::versions::{Stamp, stamp_of};

/// How long the control plane's own edge may take to serve what was committed.
const SERVED_WITHIN: Duration = Duration::from_secs(15);
/// How long a control plane may be away.
const BACK_WITHIN: Duration = Duration::from_mins(1);

/// Who changes things.
pub(crate) struct Changer {
    run: Arc<Run>,
    admin: Admin,
    mounted: Target,
    random: StdRng,
    turn: usize,
    /// Identities that may get overrides.
    identities: Vec<String>,
}

impl Changer {
    pub(crate) fn new(
        run: Arc<Run>,
        admin: Admin,
        mounted: Target,
        seed: u64,
        identities: Vec<String>,
    ) -> Self {
        Self {
            run,
            admin,
            mounted,
            random: StdRng::seed_from_u64(seed),
            turn: 0,
            identities,
        }
    }

    /// The person.
    pub(crate) fn admin(&self) -> &Admin {
        &self.admin
    }

    /// Writes down the version that is served now.
    pub(crate) async fn note(&self, committed: Instant) -> anyhow::Result<Stamp> {
        let request = Request::get("/api/v1/environment-document/")
            .header("x-environment-key", &self.run.project.server_key)
            .body(Bytes::new())?;
        let answer = self.mounted.send(request).await?;
        ensure!(answer.status() == 200, "the document: {}", answer.status());
        let stamp = stamp_of(answer.headers()).context("the document has no stamp")?;
        self.run.versions.add(stamp, answer.body(), committed)?;
        Ok(stamp)
    }

    /// Makes a change and writes down what it made. Tells whether there was one.
    pub(crate) async fn step(&mut self) -> bool {
        let before = self.run.versions.newest();
        let begun = Instant::now();
        let changed = self.change().await;
        let committed = Instant::now();
        match changed {
            Ok(()) => self.note_newer_than(before, committed).await,
            Err(error) => {
                let away = self
                    .run
                    .disturbances
                    .touch(&["admin"], begun.elapsed() + Duration::from_secs(5));
                if !away {
                    self.run.report.wrong(format!("a change failed: {error:#}"));
                    return false;
                }
                // Made or not: the next version that is served tells.
                self.note_whatever_is_served(committed).await
            }
        }
    }

    async fn note_newer_than(&self, before: Stamp, committed: Instant) -> bool {
        loop {
            let noted = self.note(committed).await;
            if noted.as_ref().is_ok_and(|stamp| *stamp > before) {
                return true;
            }
            let away = self.run.disturbances.touch(&["admin"], SERVED_WITHIN);
            let patience = if away { BACK_WITHIN } else { SERVED_WITHIN };
            if committed.elapsed() > patience {
                self.run.report.wrong(format!(
                    "a change is not served by the process that made it: {noted:?}, before {before}"
                ));
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn note_whatever_is_served(&self, committed: Instant) -> bool {
        while let Err(error) = self.note(committed).await {
            if committed.elapsed() > BACK_WITHIN {
                self.run
                    .report
                    .wrong(format!("the control plane stays away: {error:#}"));
                return false;
            }
            sleep(Duration::from_millis(100)).await;
        }
        true
    }

    /// One change that changes something.
    async fn change(&mut self) -> anyhow::Result<()> {
        self.turn += 1;
        let run = Arc::clone(&self.run);
        let project = &run.project;
        let number = self.random.random_range(0..project.features.len());
        let feature = &project.features[number];
        let state = format!(
            "/api/v1/environments/{}/featurestates/{}/",
            project.key, feature.state
        );
        let turn = self.turn;
        match self.random.random_range(0..20) {
            0..5 => {
                let now = self.admin.get(&state).await?;
                let enabled = !now["enabled"].as_bool().unwrap_or_default();
                self.send(Method::PATCH, &state, &json!({"enabled": enabled}))
                    .await
            }
            5..9 => {
                // Unlike every value that a feature began with, so that it is a change.
                let value = match turn % 4 {
                    0 => json!(1_000 + turn),
                    1 => json!(format!("value {turn}")),
                    2 => json!(format!("{{\"turn\": {turn}}}")),
                    _ => json!("\u{e9}".repeat(turn % 40 + 1) + &turn.to_string()),
                };
                self.send(Method::PUT, &state, &json!({"feature_state_value": value}))
                    .await
            }
            9..11 => self.weights(project).await,
            11..14 => {
                let segment = self.random.random_range(0..project.segments.len());
                let path = format!(
                    "/api/v1/projects/{}/segments/{}/",
                    project.id, project.segments[segment]
                );
                self.send(Method::PUT, &path, &project.segment(segment, turn))
                    .await
            }
            14..16 => self.segment_override(project).await,
            16..19 => self.identity_override(project, feature.id).await,
            _ => {
                let path = format!("/api/v1/projects/{}/", project.id);
                let now = self.admin.get(&path).await?;
                let hide = !now["hide_disabled_flags"].as_bool().unwrap_or_default();
                self.send(Method::PATCH, &path, &json!({"hide_disabled_flags": hide}))
                    .await
            }
        }
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<()> {
        self.admin.call(method, path, Some(body)).await.map(drop)
    }

    async fn weights(&mut self, project: &Project) -> anyhow::Result<()> {
        let split: Vec<_> = project
            .features
            .iter()
            .filter(|of| !of.options.is_empty())
            .collect();
        let feature = split.choose(&mut self.random).context("no split feature")?;
        let path = format!(
            "/api/v1/environments/{}/featurestates/{}/",
            project.key, feature.state
        );
        let first = self.turn % 60;
        let shares = [first, 99 - first];
        let weights: Vec<Value> = feature
            .options
            .iter()
            .zip(shares)
            .map(|(option, share)| {
                json!({"multivariate_feature_option": option, "percentage_allocation": share})
            })
            .collect();
        // The value makes it a change even where the shares are the same.
        let body = json!({"multivariate_feature_state_values": weights,
            "feature_state_value": format!("control {}", self.turn)});
        self.send(Method::PUT, &path, &body).await
    }

    /// Changes a segment's override of a feature.
    async fn segment_override(&mut self, project: &Project) -> anyhow::Result<()> {
        let path = format!(
            "/api/v1/features/featurestates/?environment={}&page_size=200",
            project.environment
        );
        let states = self.admin.get(&path).await?;
        let states = states["results"].as_array().context("no states")?;
        let overrides: Vec<&Value> = states
            .iter()
            .filter(|state| state["feature_segment"].is_i64())
            .collect();
        let state = overrides.choose(&mut self.random).context("no override")?;
        let body = json!({
            "feature": state["feature"], "environment": project.environment,
            "feature_segment": state["feature_segment"], "enabled": !self.turn.is_multiple_of(3),
            "feature_state_value": {"type": "unicode", "string_value": format!("override {}", self.turn)},
        });
        let path = format!("/api/v1/features/featurestates/{}/", id(state)?);
        self.send(Method::PUT, &path, &body).await
    }

    /// Makes, changes or deletes an override for one identity.
    async fn identity_override(&mut self, project: &Project, feature: i64) -> anyhow::Result<()> {
        let name = self
            .identities
            .choose(&mut self.random)
            .context("no identity")?
            .clone();
        let identity = self.identity(project, &name).await?;
        let states = format!(
            "/api/v1/environments/{}/identities/{identity}/featurestates/",
            project.key
        );
        let listed = self.admin.get(&states).await?;
        let found = listed["results"].as_array().context("no list")?;
        let of_feature =
            |state: &&Value| state["feature"] == feature || state["feature"]["id"] == feature;
        let found = found.iter().find(of_feature).cloned();
        let value = format!("for {name} {}", self.turn);
        match found {
            None => {
                let body = json!({"feature": feature, "enabled": !self.turn.is_multiple_of(4), "feature_state_value": value});
                self.send(Method::POST, &states, &body).await
            }
            Some(state) if self.turn.is_multiple_of(3) => {
                let path = format!("{states}{}/", id(&state)?);
                self.admin.call(Method::DELETE, &path, None).await.map(drop)
            }
            Some(state) => {
                let path = format!("{states}{}/", id(&state)?);
                self.send(Method::PUT, &path, &json!({"feature_state_value": value}))
                    .await
            }
        }
    }

    /// The id of an identity, which is made where nobody has seen it yet.
    async fn identity(&self, project: &Project, name: &str) -> anyhow::Result<i64> {
        let path = format!("/api/v1/environments/{}/identities/", project.key);
        let listed = self.admin.get(&format!("{path}?q=%22{name}%22")).await?;
        let listed = listed["results"].as_array().context("no list")?.iter();
        let mut found = listed.filter(|identity| identity["identifier"] == name);
        if let Some(found) = found.next() {
            return id(found);
        }
        let made = self.admin.post(&path, &json!({"identifier": name})).await;
        match made {
            Ok(made) => id(&made),
            // An edge has sent it home meanwhile.
            Err(error) if error.to_string().contains("400") => {
                let listed = self.admin.get(&format!("{path}?q=%22{name}%22")).await?;
                id(&listed["results"][0])
            }
            Err(error) => Err(error),
        }
    }
}
