//! The `yardarm` program.

use std::net::SocketAddr;
use std::process::ExitCode;

use anyhow::Context as _;
use axum::body::Body;
use axum::extract::ConnectInfo;
use clap::{Parser, Subcommand};
use tower::ServiceExt as _;
use yardarm::app::{App, Clock, Random};
use yardarm::background::Background;
use yardarm::command::{CreateAdmin, Influxdb, OverruleEdges, Snapshot};
use yardarm::config::{Database, Logging, Opened, Operation, Server, Usage};
use yardarm::store::Pool;
use yardarm::telemetry::Metrics;
use yardarm::{jobs, publish, router, usage};
use yardarm_edge::{Patience, Streams, raise_open_files};

/// Feature flags and remote config that speak Flagsmith's protocol.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    database: Database,
    #[command(flatten)]
    logging: Logging,
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    operation: Operation,
    #[command(flatten)]
    usage: Usage,
    #[command(subcommand)]
    command: Option<Command>,
}

/// Without one, it both serves and works.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
enum Command {
    /// Answers HTTP requests only; some other process has to work.
    Serve,
    /// Works only: publishes to the edges.
    Work,
    /// Brings the database to this program's version and ends.
    Migrate,
    /// Prints the `OpenAPI` document.
    Openapi,
    /// Makes somebody superuser.
    CreateAdmin(CreateAdmin),
    /// Makes every edge serve what this database says, after it was restored from a backup.
    OverruleEdges(OverruleEdges),
    /// Looks into what is published.
    #[command(subcommand)]
    Snapshot(Snapshot),
    /// Prepares InfluxDB for usage.
    #[command(subcommand)]
    Influxdb(Influxdb),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("yardarm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    match &arguments.command {
        Some(Command::Openapi) => {
            println!("{}", router::openapi().to_pretty_json()?);
            return Ok(());
        }
        Some(Command::Snapshot(snapshot)) => {
            print!("{}", snapshot.run()?);
            return Ok(());
        }
        Some(Command::Influxdb(influxdb)) => {
            print!("{}", influxdb.run(&arguments.usage).await?);
            return Ok(());
        }
        _ => {}
    }
    arguments.logging.start()?;
    let clock = Clock::system();
    let Opened { pool, private } = arguments.database.open(clock.clone()).await?;
    let outcome = use_database(&arguments, &pool, clock).await;
    if let Some(private) = private {
        pool.close();
        private.stop().await;
    }
    outcome
}

/// Whatever needs the database.
async fn use_database(arguments: &Arguments, pool: &Pool, clock: Clock) -> anyhow::Result<()> {
    let usage = arguments.usage.open(pool, clock.clone()).await?;
    match &arguments.command {
        Some(Command::Migrate) => Ok(()),
        Some(Command::CreateAdmin(admin)) => {
            let app = App::new(pool.clone(), clock, Random::system());
            print!("{}", admin.clone().run(&app).await?);
            Ok(())
        }
        Some(Command::OverruleEdges(overrule)) => {
            print!("{}", overrule.run(pool).await?);
            Ok(())
        }
        _ => operate(arguments, pool, usage).await,
    }
}

/// Serves, works, or both, until told to stop.
async fn operate(arguments: &Arguments, pool: &Pool, usage: usage::Settings) -> anyhow::Result<()> {
    let Arguments {
        database,
        server,
        operation,
        command,
        ..
    } = arguments;
    let metrics = Metrics::new();
    let settings = publish::Settings {
        reconcile_every: operation.reconcile_every(),
        identities_every: operation.identities_every(),
        export: operation.export(),
        cloudflare: operation.cloudflare()?,
    };
    let background = Background::new(pool, settings, metrics.clone())?.with_usage(usage.clone());
    if *command != Some(Command::Serve) {
        background.work(jobs::Settings::default()).await?;
    }
    if *command == Some(Command::Work) {
        let background = background.listen();
        tracing::info!("working");
        stopped().await;
        background.stop().await;
        return Ok(());
    }
    let streams = operation.streams(raise_open_files());
    let edge = background
        .mount(&operation.edge_folder(&database.data_dir), streams)
        .await?;
    let background = background.listen();
    let (clock, random) = (Clock::system(), Random::system());
    let app = App::with_usage(pool.clone(), usage.store, clock, random);
    let router = router::whole(app, &edge, metrics, operation.metrics_token.as_deref());
    let outcome = serve(server, router, edge.streams().clone()).await;
    background.stop().await;
    outcome
}

/// With the edge's own loop, which does not wait for ever for clients that dawdle.
async fn serve(server: &Server, router: axum::Router, streams: Streams) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(server.listen)
        .await
        .with_context(|| format!("cannot listen on {}", server.listen))?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let answer = move |peer: SocketAddr, request: http::Request<_>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(peer));
        let answering = router.clone().oneshot(request);
        async move { answering.await.unwrap_or_else(|never| match never {}) }
    };
    let stop = async move {
        stopped().await;
        // They would never end by themselves.
        streams.close();
    };
    yardarm_edge::serve_patiently(listener, None, Patience::default(), answer, stop).await;
    Ok(())
}

/// Ends with Ctrl-C or SIGTERM.
async fn stopped() {
    let interrupted = tokio::signal::ctrl_c();
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! { _ = interrupted => {}, _ = terminated.recv() => {} }
        }
        Err(_) => drop(interrupted.await),
    }
    tracing::info!("stopping");
}
