//! `yardarm-conformance`: checks a running host, or publishes a file to it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, Subcommand};
use yardarm_conformance::home::Home;
use yardarm_conformance::{Options, Target, unix_seconds};
use yardarm_core::snapshot::document::Document;
use yardarm_core::snapshot::{Publication, ServerKey, compile};

/// Checks a running host over HTTP: the request-to-reply table, publication, parallel writes.
///
/// Ends with `N passed, N failed` and exit code 1 where something failed. It publishes environments of
/// its own and leaves them there, so point it at servers that are made for tests.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true
)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    check: Option<Check>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compiles a file and publishes it.
    Publish(Publish),
}

#[derive(Debug, Args)]
struct Check {
    // Not `Server`: clap takes an optional group for given by what it holds itself.
    /// The address, `http://host:port`.
    #[arg(long)]
    url: String,
    /// The secret it takes publications with.
    #[arg(long, env = "YARDARM_PUBLISHING_SECRET", hide_env_values = true)]
    secret: String,
    /// Also change one identity from 200 requests at once and see that nothing is lost.
    #[arg(long)]
    parallel_traits: bool,
    /// Stand in for the control plane on this port of 127.0.0.1, and see that the server's deliveries arrive there.
    #[arg(long)]
    home_port: Option<u16>,
    /// Also publish an environment with so many identity overrides, change one of them, and read it all.
    #[arg(long, default_value_t = 0)]
    overrides: usize,
    /// Also publish so many environments, list them all and ask some.
    #[arg(long, default_value_t = 0)]
    environments: usize,
}

#[derive(Debug, Args)]
struct Publish {
    #[command(flatten)]
    server: Server,
    #[command(flatten)]
    source: Source,
    /// A server-side key (`ser.…`) that opens the environment, besides those of the file.
    #[arg(long)]
    server_key: Vec<String>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Source {
    /// JSON of a publication.
    #[arg(long)]
    file: Option<PathBuf>,
    /// JSON of an environment document, as Flagsmith serves it; published as the version of this second.
    #[arg(long)]
    document: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Server {
    /// The address, `http://host:port`.
    #[arg(long)]
    url: String,
    /// The secret it takes publications with.
    #[arg(long, env = "YARDARM_PUBLISHING_SECRET", hide_env_values = true)]
    secret: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    match (arguments.command, arguments.check) {
        (Some(Command::Publish(publish)), _) => publish.run().await,
        (None, Some(check)) => check.run().await,
        (None, None) => bail!("nothing to do; see --help"),
    }
}

impl Check {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let home = match self.home_port {
            Some(port) => Some(Home::listen(port, &self.secret).await?),
            None => None,
        };
        let options = Options {
            parallel_traits: self.parallel_traits,
            home,
            overrides: self.overrides,
            environments: self.environments,
        };
        let report =
            yardarm_conformance::run(&Target::new(&self.url, &self.secret)?, options).await?;
        for failure in report.failures() {
            println!("FAILED {failure}");
        }
        println!("{}", report.summary());
        Ok(ExitCode::from(u8::from(!report.failures().is_empty())))
    }
}

impl Publish {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let mut publication = self.source.read()?;
        publication
            .server_keys
            .extend(self.server_key.iter().map(|key| ServerKey {
                sha256: yardarm_conformance::sha256_hex(key),
                active: true,
                expires_at_micros: None,
            }));
        let (package, warnings) = compile(&publication);
        for warning in warnings {
            eprintln!("warning: {warning}");
        }
        let meta = package.meta();
        let answer = self.server.target()?.publish(&package).await?;
        if !answer.status().is_success() {
            bail!(
                "{}: {}",
                answer.status(),
                String::from_utf8_lossy(answer.body())
            );
        }
        println!(
            "{} version {} published",
            meta.environment_key, meta.version
        );
        Ok(ExitCode::SUCCESS)
    }
}

impl Source {
    fn read(&self) -> anyhow::Result<Publication> {
        let Some(path) = self.file.as_ref().or(self.document.as_ref()) else {
            bail!("no file named");
        };
        let named = || path.display().to_string();
        let json = std::fs::read(path).with_context(named)?;
        if self.file.is_some() {
            return serde_json::from_slice(&json).with_context(named);
        }
        let document: Document = serde_json::from_slice(&json).with_context(named)?;
        let now = unix_seconds();
        Ok(Publication {
            version: now.unsigned_abs(),
            updated_at_micros: now * 1_000_000,
            document,
            details: None,
            server_keys: Vec::new(),
        })
    }
}

impl Server {
    fn target(&self) -> anyhow::Result<Target> {
        Target::new(&self.url, &self.secret)
    }
}
