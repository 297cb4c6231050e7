//! What a control plane hands an edge of identities: the later change of a trait stays, a deletion like any other.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::environment::Environment;
use crate::target::{Target, post, unix_seconds};

/// How long an edge whose memory of identities may be behind takes to show what is stored.
const BEHIND: Duration = Duration::from_secs(20);
/// More than an edge stores at once. Hundreds of new objects stall a local workerd on a slow disk for so long that it closes
/// connections.
const MANY: usize = 20;

/// What was deleted, here or elsewhere, stays so whatever older change arrives later; and a request's worth of identities is there.
pub async fn keeps_the_later_change(target: &Target) -> anyhow::Result<()> {
    let environment = Environment::fresh("handed");
    let key = environment.key.as_str();
    let published = target.publish(&environment.package(1)).await?;
    ensure!(published.status() == StatusCode::CREATED, "not published");
    let now = unix_seconds() * 1_000_000;
    let (earlier, later) = (now - 60_000_000, now + 60_000_000);

    let all = json!([
        { "trait_key": "here", "trait_value": 1 },
        { "trait_key": "elsewhere", "trait_value": 1 },
        { "trait_key": "stays", "trait_value": 1 },
    ]);
    say(target, key, "ann", &all).await?;
    let gone = json!([{ "trait_key": "here", "trait_value": null }]);
    say(target, key, "ann", &gone).await?;
    let version = |key: &str, value: Value, at: i64| json!({ "key": key, "value": value, "changed_at_micros": at });
    let first = [
        version("elsewhere", Value::Null, later),
        version("not yet", Value::Null, later),
    ];
    hand(target, key, &[("ann", &first)]).await?;
    let second = [
        version("here", json!("old"), earlier),
        version("elsewhere", json!("old"), later - 1),
        version("not yet", json!("old"), later),
        version("stays", json!("old"), earlier),
        version("came", json!(2), earlier),
    ];
    hand(target, key, &[("ann", &second)]).await?;
    shows(target, key, "ann", &[("came", 2), ("stays", 1)]).await?;
    let third = [version("not yet", json!(3), later + 1)];
    hand(target, key, &[("ann", &third)]).await?;
    let expected = [("came", 2), ("not yet", 3), ("stays", 1)];
    shows(target, key, "ann", &expected).await?;
    // Set again here, it is later than its deletion, which was a minute ahead of this edge's clock.
    let again = json!([{ "trait_key": "elsewhere", "trait_value": 4 }]);
    say(target, key, "ann", &again).await?;
    let fourth = [version("elsewhere", json!("old"), later)];
    hand(target, key, &[("ann", &fourth)]).await?;
    let expected = [("came", 2), ("elsewhere", 4), ("not yet", 3), ("stays", 1)];
    shows(target, key, "ann", &expected).await?;

    let names: Vec<String> = (0..MANY).map(|n| format!("identity {n}")).collect();
    let one = [version("n", json!(7), now)];
    let many: Vec<(&str, &[Value])> = names.iter().map(|name| (&**name, &one[..])).collect();
    hand(target, key, &many).await?;
    for name in [&names[0], &names[17], &names[MANY - 1]] {
        shows(target, key, name, &[("n", 7)]).await?;
    }
    Ok(())
}

/// Hands versions of traits over, as a control plane does.
async fn hand(target: &Target, key: &str, identities: &[(&str, &[Value])]) -> anyhow::Result<()> {
    let identities = identities.iter().map(|(identifier, traits)| {
        json!({
            "environment_key": key, "identifier": identifier, "created_at_micros": 1, "traits": traits,
        })
    });
    let body = json!({ "identities": identities.collect::<Vec<_>>() }).to_string();
    let path = format!("/edge/v1/environments/{key}/identities");
    let handed = target.signed(Method::POST, &path, body.into());
    let status = target.send(handed).await?.status();
    ensure!(status == StatusCode::OK, "handed over: {status}");
    Ok(())
}

/// What an SDK says of an identity; gives the traits it has then.
async fn say(
    target: &Target,
    key: &str,
    identifier: &str,
    traits: &Value,
) -> anyhow::Result<BTreeMap<String, Value>> {
    let body = json!({ "identifier": identifier, "traits": traits });
    let answer = target
        .send(post(key, "/api/v1/identities/", &body)?)
        .await?;
    let status = answer.status();
    ensure!(status == StatusCode::OK, "{identifier}: {status}");
    let body: Value = serde_json::from_slice(answer.body())?;
    let traits = body["traits"].as_array().context("no traits")?;
    let pair = |found: &Value| {
        let key = found["trait_key"].as_str().unwrap_or_default();
        (key.to_owned(), found["trait_value"].clone())
    };
    Ok(traits.iter().map(pair).collect())
}

async fn shows(
    target: &Target,
    key: &str,
    identifier: &str,
    expected: &[(&str, i64)],
) -> anyhow::Result<()> {
    let expected: BTreeMap<String, Value> = expected
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    let begun = Instant::now();
    loop {
        let found = say(target, key, identifier, &json!([])).await?;
        if found == expected {
            return Ok(());
        }
        ensure!(begun.elapsed() < BEHIND, "{identifier} has {found:?}");
        sleep(Duration::from_millis(200)).await;
    }
}
