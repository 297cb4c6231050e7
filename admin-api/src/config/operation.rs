//! Publication and metrics.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

/// How the edges are kept up to date, and who may see how.
#[derive(Args, Clone, Debug)]
pub struct Operation {
    /// How often each edge is asked what it holds, in seconds. On a Cloudflare Worker every question
    /// lists a KV namespace, which the free plan allows 1,000 times a day.
    #[arg(long, env = "YARDARM_RECONCILE_SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..), global = true)]
    pub reconcile_seconds: u64,
    /// Where this process's own edge keeps what it serves; by default in the data directory. Not to be
    /// shared between processes.
    #[arg(long, env = "YARDARM_EDGE_DIR", global = true)]
    pub edge_dir: Option<PathBuf>,
    /// Shows `/metrics` only to who sends this as a bearer token.
    #[arg(
        long,
        env = "YARDARM_METRICS_TOKEN",
        hide_env_values = true,
        global = true
    )]
    pub metrics_token: Option<String>,
}

impl Operation {
    /// How often to reconcile.
    pub fn reconcile_every(&self) -> Duration {
        Duration::from_secs(self.reconcile_seconds)
    }

    /// The mounted edge's folder.
    pub fn edge_folder(&self, data_dir: &Path) -> PathBuf {
        self.edge_dir
            .clone()
            .unwrap_or_else(|| data_dir.join("edge"))
    }
}
