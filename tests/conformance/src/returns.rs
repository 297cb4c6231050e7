//! What an edge brings home to its control plane: identities and usage, whatever happens on the way.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use yardarm_core::edge::TraitScalar;
use yardarm_core::edge::delivery::Resource;

use crate::environment::{Environment, FLAG};
use crate::home::{Home, Mood};
use crate::target::Target;

/// How many identities are made.
const IDENTITIES: usize = 12;
/// How many requests for flags.
const REQUESTS: u64 = 40;
/// How long anything may take to come home; pauses between attempts grow while home is away.
const PATIENCE: Duration = Duration::from_mins(1);

/// Everything comes home once, also when the control plane is away at first and then loses replies.
pub async fn brings_all_home(target: &Target, home: &Home) -> anyhow::Result<()> {
    let environment = Environment::fresh("home");
    let key = environment.key.as_str();
    let published = target.publish(&environment.package(1)).await?;
    ensure!(published.status() == StatusCode::CREATED, "not published");

    home.set(Mood::Away);
    for number in 0..IDENTITIES {
        let traits = json!([
            { "trait_key": "number", "trait_value": number },
            { "trait_key": "going", "trait_value": true },
        ]);
        post(target, key, &name(number), &traits).await?;
    }
    for _ in 0..REQUESTS {
        let request = Request::get("/api/v1/flags/").header("x-environment-key", key);
        answered(target, labelled(request).body(Bytes::new())?).await?;
    }
    let counts = Request::post("/api/v1/analytics/flags/")
        .header("x-environment-key", key)
        .header("content-type", "application/json");
    let body = json!({ FLAG: 7 }).to_string();
    answered(target, labelled(counts).body(body.into())?).await?;
    let before = home.attempts();
    until(target, "an attempt while home is away", || {
        home.attempts() > before
    })
    .await?;
    ensure!(home.identity(key, &name(0)).is_none(), "taken while away");

    home.set(Mood::LosesReplies);
    for number in 0..IDENTITIES {
        let traits = json!([
            { "trait_key": "number", "trait_value": number + 1_000 },
            { "trait_key": "going", "trait_value": null },
        ]);
        post(target, key, &name(number), &traits).await?;
    }
    let before = home.attempts();
    until(target, "an attempt whose reply is lost", || {
        home.attempts() > before
    })
    .await?;
    home.set(Mood::Takes);

    until(target, "every identity as it was left", || {
        (0..IDENTITIES).all(|number| {
            let number_of = |record: yardarm_core::edge::IdentityRecord| {
                let going = record.get("going").is_some();
                (record.get("number").cloned(), going)
            };
            let value = i64::try_from(number + 1_000).unwrap_or(0);
            let expected = (Some(TraitScalar::Int(value)), false);
            home.identity(key, &name(number)).map(number_of) == Some(expected)
        })
    })
    .await?;
    until(target, "every request counted", || {
        home.requests(key, Resource::Flags) >= REQUESTS
            && home.requests(key, Resource::Identities) >= 2 * IDENTITIES as u64
            && home.evaluations(key, FLAG) >= 7
    })
    .await?;
    // What is repeated by mistake would follow.
    sleep(Duration::from_secs(3)).await;
    let flags = home.requests(key, Resource::Flags);
    ensure!(flags == REQUESTS, "{flags} requests of {REQUESTS}");
    let identities = home.requests(key, Resource::Identities);
    ensure!(
        identities == 2 * IDENTITIES as u64,
        "{identities} of identities"
    );
    ensure!(home.evaluations(key, FLAG) == 7, "evaluations were not 7");
    let labels = home
        .taken()
        .into_iter()
        .flat_map(|delivery| delivery.requests)
        .find(|row| row.environment_key == key && row.resource == Resource::Flags)
        .context("rows of flags")?;
    ensure!(
        labels.labels.client_application_name.as_deref() == Some("shop")
            && labels.labels.user_agent.as_deref() == Some("flagsmith-test-sdk/1.0")
            && labels.host == target.host(),
        "{labels:?}"
    );
    home.check()
}

/// Changes that people make at the control plane are not sent back to it.
pub async fn sends_no_echo(target: &Target, home: &Home) -> anyhow::Result<()> {
    let environment = Environment::fresh("echo");
    let key = environment.key.as_str();
    target.publish(&environment.package(1)).await?;
    home.set(Mood::Takes);
    let change = |identifier: &str| {
        json!({
            "environment_key": key, "identifier": identifier, "created_at_micros": 1,
            "traits": [{ "key": "plan", "value": "pro", "changed_at_micros": 4_000_000_000_000_000_i64 }],
        })
    };
    let path = format!("/edge/v1/environments/{key}/identities");
    let body = json!({ "identities": [change("told")] }).to_string();
    let handed = target.signed(Method::POST, &path, body.into());
    answered(target, handed).await?;
    // One that is the edge's own shows that the other would have come by now.
    post(target, key, "own", &json!([])).await?;
    until(target, "the edge's own identity", || {
        home.identity(key, "own").is_some()
    })
    .await?;
    ensure!(home.identity(key, "told").is_none(), "an echo came back");
    home.check()
}

fn name(number: usize) -> String {
    format!("identity {number}")
}

fn labelled(request: http::request::Builder) -> http::request::Builder {
    request
        .header("flagsmith-application-name", "shop")
        .header("user-agent", "flagsmith-test-sdk/1.0")
}

async fn post(target: &Target, key: &str, identifier: &str, traits: &Value) -> anyhow::Result<()> {
    let body = json!({ "identifier": identifier, "traits": traits }).to_string();
    let request = Request::post("/api/v1/identities/")
        .header("x-environment-key", key)
        .header("content-type", "application/json");
    answered(target, labelled(request).body(body.into())?).await
}

async fn answered(target: &Target, request: Request<Bytes>) -> anyhow::Result<()> {
    let status = target.send(request).await?.status();
    ensure!(status.is_success(), "answered {status}");
    Ok(())
}

/// Waits. Meanwhile it asks what the edge holds, as a control plane does: a Spin component runs only when it is asked
/// something.
async fn until(target: &Target, what: &str, mut there: impl FnMut() -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !there() {
        ensure!(
            begun.elapsed() < PATIENCE,
            "{what}: not within {PATIENCE:?}"
        );
        let question = target.signed(Method::GET, "/edge/v1/environments", Bytes::new());
        answered(target, question).await?;
        sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}
