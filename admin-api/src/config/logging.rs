//! What is logged, and how.

use std::io::{IsTerminal as _, stderr};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How to log.
#[derive(Args, Clone, Debug)]
pub struct Logging {
    /// Which events, as `tracing` filters: `info`, `yardarm=debug` …
    #[arg(long, env = "YARDARM_LOG", default_value = "info", global = true)]
    pub log: String,
    /// For people or for machines.
    #[arg(
        long,
        env = "YARDARM_LOG_FORMAT",
        value_enum,
        default_value = "text",
        global = true
    )]
    pub log_format: LogFormat,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// A line to read.
    Text,
    /// A JSON object.
    Json,
}

impl Logging {
    /// Starts logging to standard error.
    ///
    /// # Errors
    /// When the filter cannot be read.
    pub fn start(&self) -> anyhow::Result<()> {
        let filter =
            EnvFilter::try_new(&self.log).with_context(|| format!("log {:?}", self.log))?;
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(stderr)
            .with_ansi(stderr().is_terminal());
        match self.log_format {
            LogFormat::Text => subscriber.init(),
            LogFormat::Json => subscriber.json().flatten_event(true).init(),
        }
        Ok(())
    }
}
