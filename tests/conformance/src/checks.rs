//! What a host must do besides answering the table: refuse what it should of publications, keep
//! serving, and lose no change of traits.

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::environment::{Environment, FLAG};
use crate::target::{Target, post, publication_path, unix_seconds};

/// How many requests change one identity at the same time.
const PARALLEL: usize = 200;
/// Beyond the skew that a signature may have, in seconds.
const TOO_OLD: i64 = 301;
const HELD: &str = "/edge/v1/environments";

/// A published version is served, repeated without harm, replaced by a newer one, and listed.
pub async fn publishes(target: &Target) -> anyhow::Result<()> {
    let environment = Environment::fresh("publishes");
    expect(
        &target.publish(&environment.package(1)).await?,
        StatusCode::CREATED,
    )?;
    serves(target, &environment, 1).await?;
    expect(
        &target.publish(&environment.package(1)).await?,
        StatusCode::OK,
    )?;
    let newer = environment.package(3);
    expect(&target.publish(&newer).await?, StatusCode::CREATED)?;
    serves(target, &environment, 3).await?;

    let request = target.signed(Method::GET, HELD, Bytes::new());
    let listed = json_of(&target.send(request).await?)?;
    let expected = json!({
        "environment_key": environment.key,
        "version": 3,
        "content_hash": newer.meta().content_hash,
        "gone": false,
    });
    let held = listed["environments"]
        .as_array()
        .context("no list of environments")?;
    ensure!(held.contains(&expected), "{expected} is not among {listed}");
    Ok(())
}

/// An older version is refused and the one in hand keeps serving.
pub async fn never_goes_backwards(target: &Target) -> anyhow::Result<()> {
    let environment = Environment::fresh("backwards");
    expect(
        &target.publish(&environment.package(5)).await?,
        StatusCode::CREATED,
    )?;
    for older in [4, 1] {
        expect(
            &target.publish(&environment.package(older)).await?,
            StatusCode::CONFLICT,
        )?;
        serves(target, &environment, 5).await?;
    }
    Ok(())
}

/// Versions that arrive at once in any order leave the newest.
pub async fn newest_of_a_race_wins(target: &Target) -> anyhow::Result<()> {
    let environment = Environment::fresh("race");
    let mut race = JoinSet::new();
    for version in [3_u64, 12, 1, 7, 10, 2, 11, 4, 9, 6, 8, 5] {
        let (target, package) = (target.clone(), environment.package(version));
        race.spawn(async move { target.publish(&package).await });
    }
    for answer in race.join_all().await {
        let status = answer?.status();
        let expected = [StatusCode::CREATED, StatusCode::CONFLICT];
        ensure!(
            expected.contains(&status),
            "status {status} in a race of versions"
        );
    }
    serves(target, &environment, 12).await
}

/// A publication that is unsigned, signed wrongly or too long ago is refused and changes nothing.
pub async fn refuses_wrong_signatures(target: &Target) -> anyhow::Result<()> {
    let environment = Environment::fresh("signature");
    expect(
        &target.publish(&environment.package(1)).await?,
        StatusCode::CREATED,
    )?;
    let path = publication_path(&environment.key);
    let body = environment.package(2).bytes();
    let put = |at: i64| target.signed_at(at, Method::PUT, &path, body.clone());

    let unsigned = Request::put(&path).body(body.clone())?;
    let mut other_body = put(unix_seconds());
    *other_body.body_mut() = environment.package(9).bytes();
    let mut other_method = put(unix_seconds());
    *other_method.method_mut() = Method::GET;
    *other_method.uri_mut() = HELD.parse()?;
    *other_method.body_mut() = Bytes::new();
    let other_path = {
        let elsewhere = publication_path("elsewhere");
        let mut request = target.signed(Method::PUT, &elsewhere, body.clone());
        *request.uri_mut() = path.parse()?;
        request
    };
    let stale = put(unix_seconds() - TOO_OLD - 5);
    let early = put(unix_seconds() + TOO_OLD + 5);
    for (what, request) in [
        ("no signature", unsigned),
        ("another body", other_body),
        ("another method", other_method),
        ("another path", other_path),
        ("signed too long ago", stale),
        ("signed in the future", early),
    ] {
        expect(&target.send(request).await?, StatusCode::UNAUTHORIZED).context(what)?;
        serves(target, &environment, 1).await.context(what)?;
    }
    Ok(())
}

/// A publication that is damaged, cut short, or of another environment is refused and changes nothing.
pub async fn refuses_damaged_packages(target: &Target) -> anyhow::Result<()> {
    let environment = Environment::fresh("damaged");
    expect(
        &target.publish(&environment.package(1)).await?,
        StatusCode::CREATED,
    )?;
    let path = publication_path(&environment.key);
    let whole = environment.package(2).bytes();
    let mut flipped = whole.to_vec();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    for (what, body) in [
        ("empty", Bytes::new()),
        ("text", Bytes::from_static(b"{}")),
        ("cut short", whole.slice(..whole.len() - 1)),
        ("one bit flipped", flipped.into()),
        (
            "of another environment",
            Environment::fresh("other").package(2).bytes(),
        ),
    ] {
        let request = target.signed(Method::PUT, &path, body);
        expect(&target.send(request).await?, StatusCode::BAD_REQUEST).context(what)?;
        serves(target, &environment, 1).await.context(what)?;
    }
    Ok(())
}

/// Traits that are set in parallel are all there afterwards, and parallel increments all count.
pub async fn loses_no_trait(target: &Target) -> anyhow::Result<()> {
    let environment = Environment::fresh("traits");
    expect(
        &target.publish(&environment.package(1)).await?,
        StatusCode::CREATED,
    )?;
    let mut changes = JoinSet::new();
    for n in 0..PARALLEL {
        let (target, key) = (target.clone(), environment.key.clone());
        changes.spawn(async move {
            let set = json!({
                "identifier": "busy",
                "traits": [{ "trait_key": format!("trait_{n}"), "trait_value": n }],
            });
            let set = post(&key, "/api/v1/identities/", &set)?;
            expect(&target.send(set).await?, StatusCode::OK)?;
            let add = json!({ "identifier": "busy", "trait_key": "count", "increment_by": 1 });
            let add = post(&key, "/api/v1/traits/increment-value/", &add)?;
            expect(&target.send(add).await?, StatusCode::OK)
        });
    }
    for change in changes.join_all().await {
        change?;
    }

    let look = post(
        &environment.key,
        "/api/v1/identities/",
        &json!({ "identifier": "busy" }),
    )?;
    let answer = json_of(&target.send(look).await?)?;
    let traits = answer["traits"]
        .as_array()
        .context("no traits in the answer")?;
    let value = |key: &str| {
        traits
            .iter()
            .find(|stored| stored["trait_key"] == key)
            .map(|stored| &stored["trait_value"])
    };
    let lost: Vec<usize> = (0..PARALLEL)
        .filter(|n| value(&format!("trait_{n}")) != Some(&json!(n)))
        .collect();
    ensure!(
        lost.is_empty(),
        "of {PARALLEL} traits set in parallel these are lost: {lost:?}"
    );
    ensure!(
        value("count") == Some(&json!(PARALLEL)),
        "{PARALLEL} parallel increments came to {:?}",
        value("count"),
    );
    Ok(())
}

async fn serves(target: &Target, environment: &Environment, version: u64) -> anyhow::Result<()> {
    let request = Request::get("/api/v1/flags/")
        .header("x-environment-key", &environment.key)
        .body(Bytes::new())?;
    let flags = json_of(&target.send(request).await?)?;
    let flag = &flags[0];
    ensure!(
        flag["feature"]["name"] == FLAG
            && flag["feature_state_value"] == Environment::value(version),
        "version {version} should be serving, not {flags}",
    );
    Ok(())
}

fn expect(answer: &Response<Bytes>, status: StatusCode) -> anyhow::Result<()> {
    if answer.status() != status {
        let body = String::from_utf8_lossy(answer.body());
        bail!("{status} expected, got {}: {body}", answer.status());
    }
    Ok(())
}

fn json_of(answer: &Response<Bytes>) -> anyhow::Result<Value> {
    expect(answer, StatusCode::OK)?;
    serde_json::from_slice(answer.body())
        .with_context(|| format!("no JSON in {:?}", String::from_utf8_lossy(answer.body())))
}
