//! What is large: ten thousand environments for a new edge, a hundred thousand identity overrides in one. Slow, and
//! so not run by default: `cargo test -p yardarm --test it -- --ignored slow --nocapture` prints what
//! docs/performance.md tells.

use std::time::Duration;

use http::StatusCode;
use tokio::time::{Instant, sleep};
use yardarm_core::edge::KeyRef;

use crate::app::{TestApp, connect, database};
use crate::convergence::{Mortal, target};
use crate::edge::{RemoteEdge, SECRET};
use crate::pulling_edge::PullingEdge;
use crate::world::World;

const ENVIRONMENTS: i64 = 10_000;
const OVERRIDES: i64 = 100_000;

/// Resident memory of this process (publisher and edges), in megabytes: now, and at most so far.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
        kilobytes.unwrap_or_default() / 1024
    };
    format!("{} MB, {} MB at most", of("VmRSS:"), of("VmHWM:"))
}

/// A hundred thousand identities of an environment, each with an override of one feature.
async fn override_everybody(world: &World, environment: &str, features: &[i64]) {
    world
        .sql
        .execute(
            "insert into identity (environment_id, identifier, created_at)
             select id, 'user-' || n, now() from environment, generate_series(1, $2::bigint) as n where api_key = $1",
            &[&environment, &OVERRIDES],
        )
        .await
        .unwrap();
    world
        .sql
        .execute(
            "insert into feature_state
                (environment_id, feature_id, identity_id, enabled, string_value, created_at, updated_at)
             select environment.id, ($2::bigint[])[1 + identity.id % $3], identity.id, true, 'of ' || identifier, now(), now()
             from identity join environment on environment.id = identity.environment_id where api_key = $1",
            &[
                &environment,
                &features,
                &i64::try_from(features.len()).unwrap(),
            ],
        )
        .await
        .unwrap();
}

/// How the first feature that this identity overrides looks to it.
async fn value_for(edge: &RemoteEdge, environment: &str, identifier: &str) -> Option<String> {
    let body = serde_json::json!({"identifier": identifier, "transient": true});
    let answer = reqwest::Client::new()
        .post(format!("{}/api/v1/identities/", edge.url()))
        .header("X-Environment-Key", environment)
        .header("Content-Type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .ok()?;
    let body: serde_json::Value = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
    let values = body["flags"].as_array()?.iter();
    let mut values = values.filter_map(|flag| flag["feature_state_value"].as_str());
    values
        .find(|value| value.ends_with(identifier))
        .map(str::to_owned)
}

/// Waits until `is_so`; tells how long that took.
async fn until(what: &str, most: Duration, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < most, "{what}: not after {most:?}");
        sleep(Duration::from_millis(50)).await;
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: takes a minute or two, and prints figures"]
async fn slow_ten_thousand_environments_reach_a_new_edge() {
    let url = database().await;
    let world = World::new(connect(&url).await).await;
    for feature in ["one", "two", "three"] {
        world.feature(feature).await;
    }
    world
        .sql
        .execute(
            "with made as (
                insert into environment (project_id, name, api_key, created_at, updated_at)
                select $1, 'environment ' || n, 'env-' || n, now(), now() from generate_series(1, $2::bigint) as n
                returning id
             )
             insert into feature_state (environment_id, feature_id, created_at, updated_at)
             select made.id, feature.id, now(), now() from made, feature where feature.project_id = $1",
            &[&world.project, &ENVIRONMENTS],
        )
        .await
        .unwrap();
    let mut edge = RemoteEdge::start().await;
    target(&world.sql, "edge", &edge).await;
    println!("before: {}", memory());
    let _publisher = Mortal::new(&url);
    let confirmed = async || -> i64 {
        let query = "select count(*) from edge_delivery";
        world.sql.query_one(query, &[]).await.unwrap().get(0)
    };
    let most = Duration::from_mins(8);
    let took = until("filling", most, async || confirmed().await == ENVIRONMENTS).await;
    println!(
        "{ENVIRONMENTS} environments at a new edge after {took:?}: {}",
        memory()
    );
    assert_eq!(edge.flags("env-9999").await.unwrap().len(), 3);

    // A switch does not wait for the others.
    let feature = world.feature("switch").await;
    let refilling = Instant::now();
    world.set("env-1", feature, true, "on").await;
    let wanted = Ok(world.looks("env-1", false).await);
    until("a switch", most, async || {
        edge.flags("env-1").await == wanted
    })
    .await;
    println!(
        "a switch amid {ENVIRONMENTS} changes: {:?} with making them",
        refilling.elapsed()
    );
    let lacking = async || -> i64 {
        let query = "select count(*) from publication left join edge_delivery using (api_key)
                     where edge_delivery.version is distinct from publication.version";
        world.sql.query_one(query, &[]).await.unwrap().get(0)
    };
    until("all changes", most, async || lacking().await == 0).await;
    println!("all changed after {:?}: {}", refilling.elapsed(), memory());

    // An edge that comes back with all of it is only asked what it has.
    edge.go_down().await;
    let begun = Instant::now();
    edge.come_up(false).await;
    println!("the edge starts in {:?}", begun.elapsed());
    world.set("env-2", feature, true, "on").await;
    let took = until("a switch after the start", most, async || {
        edge.flags("env-2").await == Ok(world.looks("env-2", false).await)
    })
    .await;
    println!("a switch after the start: {took:?}: {}", memory());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: takes a minute or two, and prints figures"]
async fn slow_a_hundred_thousand_overrides_are_published_and_pulled() {
    let t = TestApp::with_the_computers_clock().await;
    let world = World::new(t.sql().await).await;
    let mut features = Vec::new();
    for n in 0..10 {
        features.push(world.feature(&format!("feature {n}")).await);
    }
    world.environment("env").await;
    override_everybody(&world, "env", &features).await;
    world.set("env", features[0], true, "default").await;
    let edge = RemoteEdge::start().await;
    target(&world.sql, "edge", &edge).await;
    println!("before: {}", memory());
    let most = Duration::from_mins(4);
    let publisher = Mortal::new(&t.url);
    let took = until("publishing", most, async || {
        value_for(&edge, "env", "user-99999").await.is_some()
    })
    .await;
    println!(
        "{OVERRIDES} overrides published after {took:?}: {}",
        memory()
    );
    let on = |flags: &[crate::world::Look]| flags.iter().any(|(.., value)| value == "changed");
    world.set("env", features[1], true, "changed").await;
    let took = until("a change", most, async || {
        edge.flags("env").await.is_ok_and(|flags| on(&flags))
    })
    .await;
    println!("a change after {took:?}: {}", memory());
    drop(publisher);

    // Another edge of the same secret lacks it, and asks.
    let cold = PullingEdge::of(&t, SECRET).await;
    let begun = Instant::now();
    let mut first = None;
    until("pulling", most, async || {
        let (status, _) = cold.flags("env").await;
        first.get_or_insert(status);
        // Nobody is told that the key is wrong.
        assert!(
            [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE].contains(&status),
            "{status}"
        );
        status == StatusCode::OK
    })
    .await;
    println!(
        "pulled after {:?} (the first answer {first:?}): {}",
        begun.elapsed(),
        memory()
    );
    let snapshot = cold.snapshots.snapshot(&KeyRef::Client("env")).unwrap();
    assert!(cold.snapshots.package(&snapshot).unwrap().is_whole());
}
