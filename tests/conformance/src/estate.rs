//! A server with very many environments: each is published at the price of one, all of them are listed, any
//! of them answers. docs/performance.md has the figures.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{Method, Request, StatusCode};
use serde_json::Value;

use crate::environment::Environment;
use crate::target::Target;

const HELD: &str = "/edge/v1/environments";
/// As many as a control plane publishes at once.
const AT_ONCE: usize = 8;
/// How often one is sent.
const ATTEMPTS: u32 = 3;
/// So many are asked for their flags.
const SAMPLES: usize = 200;

/// Publishes so many environments, lists them, asks some, and changes one.
pub async fn holds_very_many_environments(target: &Target, count: usize) -> anyhow::Result<()> {
    let first = Environment::fresh("estate").key;
    let all: Vec<Environment> = (0..count)
        .map(|n| Environment {
            key: format!("{first}-{n}"),
        })
        .collect();
    let from = Instant::now();
    stream::iter(&all)
        .map(|environment| publish(target, environment, 1))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<()>>()
        .await?;
    let took = from.elapsed();
    println!("published {count} environments: {} ms", took.as_millis());
    let samples = || (0..SAMPLES.min(count)).map(|n| &all[n * 7_919 % count]);
    let from = Instant::now();
    for environment in samples() {
        ensure!(value(target, environment).await? == Environment::value(1));
    }
    let each = from.elapsed() / u32::try_from(SAMPLES.min(count).max(1))?;
    println!("asked some of them: {} µs each", each.as_micros());

    let changed = &all[count / 2];
    let from = Instant::now();
    publish(target, changed, 2).await?;
    println!("changed one: {} ms", from.elapsed().as_millis());
    let held = held(target).await?;
    for environment in &all {
        let version = if environment.key == changed.key { 2 } else { 1 };
        let listed = held.get(&environment.key);
        ensure!(
            listed == Some(&version),
            "{}: listed {listed:?}, not {version}",
            environment.key
        );
    }
    ensure!(value(target, changed).await? == Environment::value(2));
    Ok(())
}

/// Publishes as a control plane does: again where the connection went, until it is confirmed.
async fn publish(target: &Target, environment: &Environment, version: u64) -> anyhow::Result<()> {
    let package = environment.package(version);
    let mut attempt = 1;
    let reply = loop {
        match target.publish(&package).await {
            Ok(reply) => break reply,
            Err(error) if attempt == ATTEMPTS => return Err(error),
            Err(_) => attempt += 1,
        }
    };
    let expected = match attempt {
        1 => &[StatusCode::CREATED][..],
        _ => &[StatusCode::CREATED, StatusCode::OK],
    };
    ensure!(
        expected.contains(&reply.status()),
        "{}: {reply:?}",
        environment.key
    );
    Ok(())
}

/// What is listed: versions by environment.
async fn held(target: &Target) -> anyhow::Result<HashMap<String, u64>> {
    let from = Instant::now();
    let reply = target
        .send(target.signed(Method::GET, HELD, Bytes::new()))
        .await?;
    ensure!(reply.status() == StatusCode::OK, "{reply:?}");
    let list: Value = serde_json::from_slice(reply.body())?;
    let list = list["environments"].as_array().context("a list")?;
    println!(
        "listed {} environments: {} bytes, {} ms",
        list.len(),
        reply.body().len(),
        from.elapsed().as_millis()
    );
    list.iter()
        .map(|held| {
            let key = held["environment_key"].as_str().context("a key")?;
            let version = held["version"].as_u64().context("a version")?;
            Ok((key.to_owned(), version))
        })
        .collect()
}

/// The value of an environment's flag.
async fn value(target: &Target, environment: &Environment) -> anyhow::Result<String> {
    let request =
        Request::get("/api/v1/flags/").header("x-environment-key", environment.key.as_str());
    let reply = target.send(request.body(Bytes::new())?).await?;
    ensure!(
        reply.status() == StatusCode::OK,
        "{}: {reply:?}",
        environment.key
    );
    let flags: Value = serde_json::from_slice(reply.body())?;
    let value = flags[0]["feature_state_value"].as_str();
    Ok(value.context("a text")?.to_owned())
}
