//! Whatever happens between them, the edges end up at what the database says: random changes while
//! publishers die at any point, edges go away and come back emptied, and two publishers work at once.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use yardarm::app::Clock;
use yardarm::jobs::{Listener, Runner, Settings};
use yardarm::publish::{self, Publisher};
use yardarm::store::Pool;
use yardarm::telemetry::Metrics;

use crate::app::{connect, database};
use crate::edge::{RemoteEdge, SECRET};
use crate::world::World;

/// A publisher in this process, that can be killed.
pub(crate) struct Mortal {
    url: String,
    task: Option<JoinHandle<()>>,
}

impl Mortal {
    pub(crate) fn new(url: &str) -> Self {
        let mut mortal = Self {
            url: url.to_owned(),
            task: None,
        };
        mortal.revive();
        mortal
    }

    pub(crate) fn revive(&mut self) {
        let pool = Pool::new(&self.url, 4, Clock::system()).unwrap();
        let listener = Listener::new(pool.address().clone());
        let settings = publish::Settings {
            reconcile_every: Duration::from_secs(1),
            identities_every: Some(Duration::from_millis(100)),
            ..publish::Settings::default()
        };
        let publisher = Publisher::new(pool.clone(), settings, Metrics::new()).unwrap();
        let work = Settings {
            lease: Duration::from_secs(1),
            ..Settings::default()
        };
        let runner = publisher.register(Runner::new(pool, work));
        let heard = listener.subscribe();
        self.task = Some(tokio::spawn(async move {
            publisher.reconcile_all().await.unwrap();
            let stop = CancellationToken::new();
            tokio::join!(listener.run(stop.clone()), runner.run(heard, stop.clone()));
        }));
    }

    /// At whatever await it stands.
    pub(crate) fn die(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl Drop for Mortal {
    fn drop(&mut self) {
        self.die();
    }
}

pub(crate) async fn target(sql: &Client, name: &str, edge: &RemoteEdge) {
    sql.execute(
        "insert into edge_target (name, url, secret, created_at) values ($1, $2, $3, now())",
        &[&name, &edge.url(), &SECRET],
    )
    .await
    .unwrap();
}

/// Has every target asked what it holds, as the API does when one is made.
pub(crate) async fn look_at_targets(sql: &Client) {
    let job = "select count(enqueue_job('reconcile', id::text, jsonb_build_object('target_id', id), now())) from edge_target";
    sql.execute(job, &[]).await.unwrap();
}

/// Waits until every edge answers what the database says; tells how long that took.
pub(crate) async fn converge(
    world: &World,
    edges: &[RemoteEdge],
    within: Duration,
    seed: u64,
) -> Duration {
    let begun = Instant::now();
    loop {
        let Err(difference) = compare(world, edges).await else {
            return begun.elapsed();
        };
        if begun.elapsed() > within {
            let jobs = world
                .sql
                .query("select row_to_json(job)::text from job order by id", &[])
                .await
                .unwrap();
            let jobs: Vec<String> = jobs.iter().map(|row| row.get(0)).collect();
            panic!("seed {seed}: after {within:?}: {difference}\njobs: {jobs:#?}");
        }
        sleep(Duration::from_millis(20)).await;
    }
}

async fn compare(world: &World, edges: &[RemoteEdge]) -> Result<(), String> {
    for (number, edge) in edges.iter().enumerate() {
        for key in world.keys().await {
            let everybody = (edge.flags(&key).await, world.looks(&key, false).await);
            let segment = (
                edge.flags_in_segment(&key).await,
                world.looks(&key, true).await,
            );
            for (got, wanted) in [everybody, segment] {
                if got.as_ref() != Ok(&wanted) {
                    return Err(format!("edge {number}, {key}: {got:?}, not {wanted:?}"));
                }
            }
        }
        for key in world.gone().await {
            match edge.flags(&key).await {
                Err(status) if status.as_u16() == 403 => {}
                got => return Err(format!("edge {number}, {key} is gone, but: {got:?}")),
            }
        }
    }
    Ok(())
}

/// Makes one random change.
async fn change(world: &World, features: &[i64], random: &mut StdRng, step: usize) {
    let keys = world.keys().await;
    let Some(key) = keys.choose(random) else {
        world.environment(&format!("env-{step}")).await;
        return;
    };
    let feature = *features.choose(random).unwrap();
    let (on, value) = (random.random(), format!("value {step}"));
    match random.random_range(0..20) {
        0 => world.environment(&format!("env-{step}")).await,
        1 if keys.len() > 1 => world.delete(key).await,
        2 => world.rename(key, &format!("env-{step}")).await,
        3 => {
            // A key that was given up is taken again.
            let gone = world.gone().await;
            match gone.choose(random) {
                Some(old) if random.random() => world.rename(key, old).await,
                Some(old) => world.environment(old).await,
                None => {}
            }
        }
        4..9 => world.override_segment(key, feature, on, &value).await,
        _ => world.set(key, feature, on, &value).await,
    }
}

/// Random changes, crashes and absences; then quiet; then everything is as the database says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edges_converge_to_what_the_database_says() {
    let seed =
        std::env::var("YARDARM_SEED").map_or_else(|_| rand::random(), |s| s.parse().unwrap());
    println!("YARDARM_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let url = database().await;
    let world = World::new(connect(&url).await).await;
    let mut edges = [
        RemoteEdge::start().await,
        RemoteEdge::start().await,
        RemoteEdge::start().await,
    ];
    for (number, edge) in edges.iter().enumerate() {
        target(&world.sql, &format!("edge {number}"), edge).await;
    }
    world.environment("env").await;
    let features = [
        world.feature("one").await,
        world.feature("two").await,
        world.feature("three").await,
    ];
    let mut publishers = [Mortal::new(&url), Mortal::new(&url)];

    for step in 0..250 {
        match random.random_range(0..16) {
            0 => publishers[random.random_range(0..2)].die(),
            1 | 2 => {
                let publisher = &mut publishers[random.random_range(0..2)];
                publisher.die();
                publisher.revive();
            }
            3 => edges[random.random_range(0..3)].go_down().await,
            4 | 5 => {
                let emptied = random.random_bool(0.3);
                edges[random.random_range(0..3)].come_up(emptied).await;
            }
            _ => change(&world, &features, &mut random, step).await,
        }
        sleep(Duration::from_millis(random.random_range(0..25))).await;
    }

    for edge in &mut edges {
        edge.come_up(false).await;
    }
    for publisher in &mut publishers {
        if publisher.task.is_none() {
            publisher.revive();
        }
    }
    let took = converge(&world, &edges, Duration::from_secs(40), seed).await;
    println!("converged {took:?} after the last change");
}

/// Nobody dies: a change is at every edge at once, and a dead edge delays none of the others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_switch_reaches_every_edge_at_once_whoever_is_dead() {
    let url = database().await;
    let world = World::new(connect(&url).await).await;
    let mut edges = vec![
        RemoteEdge::start().await,
        RemoteEdge::start().await,
        RemoteEdge::start().await,
    ];
    for (number, edge) in edges.iter().enumerate() {
        target(&world.sql, &format!("edge {number}"), edge).await;
    }
    world.environment("env").await;
    let feature = world.feature("switch").await;
    let _publisher = Mortal::new(&url);
    converge(&world, &edges, Duration::from_secs(20), 0).await;
    let mut dead = edges.pop().unwrap();
    dead.go_down().await;

    let mut worst = Duration::ZERO;
    for round in 0..20 {
        world.set("env", feature, round % 2 == 0, "x").await;
        worst = worst.max(converge(&world, &edges, Duration::from_secs(2), 0).await);
    }
    println!("worst of 20 switches at two edges beside a dead one: {worst:?}");

    let error: Option<String> = world
        .sql
        .query_one(
            "select last_error from edge_target where name = 'edge 2'",
            &[],
        )
        .await
        .unwrap()
        .get(0);
    assert!(
        error.is_some_and(|error| error.contains("onnect")),
        "the dead one is told"
    );
    dead.come_up(true).await;
    edges.push(dead);
    converge(&world, &edges, Duration::from_secs(40), 0).await;
}

/// Nothing changes, but an edge loses all that it held.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_that_lost_everything_is_filled_again() {
    let url = database().await;
    let world = World::new(connect(&url).await).await;
    let mut edges = [RemoteEdge::start().await];
    target(&world.sql, "edge", &edges[0]).await;
    world.feature("switch").await;
    for key in ["one", "two", "three", "gone"] {
        world.environment(key).await;
    }
    world.delete("gone").await;
    let _publisher = Mortal::new(&url);
    converge(&world, &edges, Duration::from_secs(20), 0).await;
    edges[0].go_down().await;
    edges[0].come_up(true).await;
    converge(&world, &edges, Duration::from_secs(20), 0).await;
}

fn work(url: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_yardarm"))
        .arg("work")
        .env("DATABASE_URL", url)
        .env("YARDARM_LOG", "warn")
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// The same with the real program and the real `kill -9`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_worker_is_no_loss() {
    let url = database().await;
    let world = World::new(connect(&url).await).await;
    let edges = [RemoteEdge::start().await];
    target(&world.sql, "edge", &edges[0]).await;
    world.environment("env").await;
    let feature = world.feature("switch").await;
    let mut worker = work(&url);
    converge(&world, &edges, Duration::from_secs(30), 0).await;
    for round in 0..6_u64 {
        world
            .set("env", feature, round % 2 == 0, &round.to_string())
            .await;
        sleep(Duration::from_millis(round * 3)).await;
        // SIGKILL.
        worker.kill().await.unwrap();
        world
            .override_segment("env", feature, round % 2 == 1, &round.to_string())
            .await;
        worker = work(&url);
    }
    converge(&world, &edges, Duration::from_secs(30), 0).await;
}
