//! The soak: SDK requests of every kind against the real hosts while a person changes flags underneath. Every
//! answer is checked against the engine at the version that the answer names. `scripts/soak` starts the hosts
//! and this.
//!
//! ```text
//! changes ── admin API ──► versions (each document, as the control plane serves it)
//! traffic ── hosts ──► answers ──► run: the engine at that version; not too old; never backwards
//! ```

mod admin;
mod changes;
mod disturbances;
mod homecoming;
mod host;
mod memory;
mod oracle;
mod project;
mod report;
mod run;
mod storing;
mod traffic;
mod traits;
mod versions;
mod wire;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Parser;
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinSet;
use tokio::time::sleep;
use yardarm_conformance::Target;

use crate::admin::Admin;
use crate::changes::Changer;
use crate::disturbances::Disturbances;
use crate::host::Host;
use crate::memory::Use;
use crate::project::Project;
use crate::report::Report;
use crate::run::Run;
use crate::traffic::{Driver, names};
use crate::versions::Versions;

/// How many connections each host gets.
const DRIVERS: usize = 3;
/// How long the hosts may take to serve the last change once all is quiet.
const SETTLED_WITHIN: Duration = Duration::from_mins(1);

#[derive(Debug, Parser)]
struct Arguments {
    /// The control plane, empty.
    #[arg(long)]
    admin: String,
    /// A host as `name=url`, by `native`, `mounted`, `worker` or `spin`.
    #[arg(long = "host", required = true)]
    hosts: Vec<String>,
    /// The secret that the hosts take publications with.
    #[arg(long, env = "YARDARM_SECRET")]
    secret: String,
    /// For how long.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Requests a second, all hosts together.
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// Milliseconds between changes.
    #[arg(long, default_value_t = 400)]
    change_every: u64,
    /// How many seconds an answer may be behind what is committed.
    #[arg(long, default_value_t = 10)]
    lag: u64,
    /// A host that sends identities home to the control plane, as the mounted one need not.
    #[arg(long = "home")]
    homes: Vec<String>,
    /// Where the script writes what it kills.
    #[arg(long)]
    disturbances: Option<PathBuf>,
    /// A folder with a file for each process, which holds its pid.
    #[arg(long)]
    pids: Option<PathBuf>,
    /// Makes the same requests and changes again.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match soak(&arguments).await {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs it; tells how many mistakes there were.
async fn soak(arguments: &Arguments) -> anyhow::Result<u64> {
    let seed = arguments.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let hosts = hosts(arguments)?;
    let admin = Admin::sign_up(&arguments.admin).await?;
    let project = Project::make(&admin).await.context("the project")?;
    for host in hosts.iter().filter(|host| host.name != "mounted") {
        let target = json!({"name": host.name, "url": host.url, "secret": arguments.secret});
        admin.post("/api/v1/edge/targets/", &target).await?;
    }
    let run = Arc::new(Run {
        project,
        versions: Versions::default(),
        report: Report::default(),
        disturbances: Disturbances::new(arguments.disturbances.clone()),
        lag_bound: Duration::from_secs(arguments.lag),
    });
    let overridden = hosts.iter().flat_map(|host| {
        let of_drivers = (0..DRIVERS).flat_map(|driver| names(&host.name, driver));
        of_drivers.step_by(5)
    });
    let mounted = Target::new(&arguments.admin, "")?;
    let mut changer = Changer::new(Arc::clone(&run), admin, mounted, seed, overridden.collect());
    changer.note(Instant::now()).await?;
    settle(&run, &hosts).await?;

    let used: Arc<Mutex<BTreeMap<String, Use>>> = Arc::default();
    let memory = arguments.pids.clone().map(|folder| {
        let used = Arc::clone(&used);
        tokio::spawn(async move { memory::watch(folder, &used).await })
    });
    let (answers, to_check) = unbounded_channel();
    let checking = tokio::spawn({
        let run = Arc::clone(&run);
        async move { run.check_all(to_check).await }
    });
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let clients = u32::try_from(hosts.len() * DRIVERS)?;
    let pause = Duration::from_secs(1) * clients / arguments.rate.max(1);
    let mut driving = JoinSet::new();
    for (host, number) in hosts
        .iter()
        .flat_map(|host| (0..DRIVERS).map(move |n| (host, n)))
    {
        let seed = seed.wrapping_add(driving.len() as u64 + 1);
        let run = Arc::clone(&run);
        let mut driver = Driver::new(run, Arc::clone(host), number, seed, answers.clone())?;
        driving.spawn(async move {
            while Instant::now() < end {
                let next = Instant::now() + pause;
                driver.step().await;
                sleep(next.saturating_duration_since(Instant::now())).await;
            }
            driver
        });
    }
    drop(answers);
    let mut changes = 0;
    while Instant::now() < end {
        changes += u64::from(changer.step().await);
        sleep(Duration::from_millis(arguments.change_every)).await;
    }
    let mut drivers = driving.join_all().await;
    if let Err(error) = settle(&run, &hosts).await {
        run.report.wrong(format!("{error:#}"));
    }
    let mut traits = 0;
    for driver in &mut drivers {
        traits += driver.look_all_up().await;
        let comes_home = |home: &String| *home == driver.host().name;
        if driver.host().name == "mounted" || arguments.homes.iter().any(comes_home) {
            homecoming::check(&run, changer.admin(), driver).await;
        }
    }
    drop(drivers);
    checking.await?;
    if let Some(memory) = memory {
        memory.abort();
    }
    tell(&run, &hosts, changes, traits, &used);
    Ok(run.report.mismatches())
}

fn hosts(arguments: &Arguments) -> anyhow::Result<Vec<Arc<Host>>> {
    let named = |host: &String| {
        let (name, url) = host.split_once('=').context("--host takes name=url")?;
        let known = ["native", "mounted", "worker", "spin"];
        ensure!(known.contains(&name), "no host is called {name}");
        Ok(Arc::new(Host::new(name, url)))
    };
    arguments.hosts.iter().map(named).collect()
}

/// Waits until every host serves the newest version.
async fn settle(run: &Run, hosts: &[Arc<Host>]) -> anyhow::Result<()> {
    let begun = Instant::now();
    let newest = run.versions.newest();
    for host in hosts {
        let target = host.target()?;
        loop {
            let request = http::Request::get("/api/v1/flags/")
                .header("x-environment-key", &run.project.key)
                .body(bytes::Bytes::new())?;
            let answer = target.send(request).await;
            let stamp = answer
                .ok()
                .and_then(|answer| versions::stamp_of(answer.headers()));
            if stamp == Some(newest) {
                break;
            }
            ensure!(
                begun.elapsed() < SETTLED_WITHIN,
                "{} serves {stamp:?} and not {newest} after {SETTLED_WITHIN:?} of quiet",
                host.name
            );
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

fn tell(
    run: &Run,
    hosts: &[Arc<Host>],
    changes: u64,
    traits: usize,
    used: &Mutex<BTreeMap<String, Use>>,
) {
    use std::sync::atomic::Ordering::Relaxed;
    let report = &run.report;
    println!(
        "requests   {} ({})",
        report.requests.load(Relaxed),
        report.kinds()
    );
    println!("changes    {changes}, in {} versions", run.versions.count());
    println!("checked    {}", report.checked.load(Relaxed));
    println!(
        "excused    {} by {} kills",
        report.excused.load(Relaxed),
        run.disturbances.kills()
    );
    println!("traits     {traits} stored and there at the end");
    for host in hosts {
        let lag = host.worst_lag(&run.versions);
        println!(
            "lag        {:<8} {:>7.0} ms at most, commit to answer",
            host.name,
            lag.as_secs_f64() * 1e3
        );
    }
    for (name, used) in used.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        println!("memory     {}", memory::describe(name, used));
    }
    println!("mismatches {}", report.mismatches());
}
