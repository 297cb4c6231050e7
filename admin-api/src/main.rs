//! The `yardarm` program.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use yardarm::app::{App, Clock, Random};
use yardarm::config::{Database, Logging, Opened, Server};
use yardarm::router;

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
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Answers HTTP requests.
    Serve,
    /// Brings the database to this program's version and ends.
    Migrate,
    /// Prints the OpenAPI document.
    Openapi,
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
    if let Some(Command::Openapi) = arguments.command {
        println!("{}", router::openapi().to_pretty_json()?);
        return Ok(());
    }
    arguments.logging.start()?;
    let clock = Clock::system();
    let Opened { pool, private } = arguments.database.open(clock.clone()).await?;
    let outcome = match arguments.command {
        Some(Command::Migrate) => Ok(()),
        _ => serve(&arguments.server, App::new(pool, clock, Random::system())).await,
    };
    if let Some(private) = private {
        private.stop().await;
    }
    outcome
}

async fn serve(server: &Server, app: App) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(server.listen).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let service = router::router(app).into_make_service_with_connect_info::<std::net::SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(stopped())
        .await?;
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
