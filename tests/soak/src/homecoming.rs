//! What the admin API shows of identities that only the hosts have seen: the very traits that were stored there.

use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde_json::{Map, Value};
use tokio::time::sleep;

use crate::admin::{Admin, id};
use crate::run::Run;
use crate::traffic::Driver;

/// How long deliveries may take once all is quiet: the longest pause of an edge whose control plane was away.
const HOME_WITHIN: Duration = Duration::from_secs(75);

/// Checks every identity of a driver.
pub(crate) async fn check(run: &Run, admin: &Admin, driver: &mut Driver) {
    let host = driver.host().name.clone();
    for (name, stored) in driver.identities() {
        let begun = Instant::now();
        loop {
            let shown = traits(run, admin, name).await;
            let told = shown.map_err(|error| format!("{error:#}"));
            let Err(error) = told.and_then(|shown| stored.compare(&shown, &[])) else {
                run.report.right();
                break;
            };
            if begun.elapsed() > HOME_WITHIN {
                let what = format!("{host}: {name} did not come home: {error}");
                run.report.wrong(what);
                break;
            }
            sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn traits(run: &Run, admin: &Admin, name: &str) -> anyhow::Result<Map<String, Value>> {
    let path = format!("/api/v1/environments/{}/identities/", run.project.key);
    let listed = admin.get(&format!("{path}?q=%22{name}%22")).await?;
    let found = listed["results"].as_array().context("no list")?.iter();
    let mut found = found.filter(|identity| identity["identifier"] == name);
    let identity = found
        .next()
        .ok_or_else(|| anyhow!("there is no such identity"))?;
    let listed = admin
        .get(&format!("{path}{}/traits/", id(identity)?))
        .await?;
    let traits = listed["results"].as_array().context("no traits")?.iter();
    let one = |shown: &Value| {
        let column = match shown["value_type"].as_str()? {
            "int" => "integer_value",
            "bool" => "boolean_value",
            "float" => "float_value",
            _ => "string_value",
        };
        Some((
            shown["trait_key"].as_str()?.to_owned(),
            shown[column].clone(),
        ))
    };
    traits
        .map(|shown| one(shown).with_context(|| format!("no trait: {shown}")))
        .collect()
}
