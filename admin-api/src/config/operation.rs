//! Publication and metrics.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use yardarm_edge::{StreamSettings, streams_within};

use crate::publish::{Cloudflare, ExportSettings};

/// How the edges are kept up to date, and who may see how.
#[derive(Args, Clone, Debug)]
pub struct Operation {
    /// How often each edge is asked what it holds, in seconds. On a Cloudflare Worker every question
    /// lists a KV namespace, which the free plan allows 1,000 times a day.
    #[arg(long, env = "YARDARM_RECONCILE_SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..), global = true)]
    pub reconcile_seconds: u64,
    /// How often each edge is told of identities whose traits changed elsewhere, in seconds; 0: never, but of what people
    /// change. Every edge then stores the traits of all identities.
    #[arg(
        long,
        env = "YARDARM_IDENTITIES_SECONDS",
        default_value_t = 10,
        global = true
    )]
    pub identities_seconds: u32,
    /// Where this process's own edge keeps what it serves; by default in the data directory. Not to be
    /// shared between processes.
    #[arg(long, env = "YARDARM_EDGE_DIR", global = true)]
    pub edge_dir: Option<PathBuf>,
    /// Event streams that may be open at once at this process's own edge; further ones are answered 503.
    /// Each takes an open file.
    #[arg(
        long,
        env = "YARDARM_EDGE_STREAMS",
        default_value_t = 10_000,
        global = true
    )]
    pub streams: usize,
    /// Seconds without an event after which a comment is sent through a stream.
    #[arg(long, env = "YARDARM_EDGE_HEARTBEAT_SECONDS", default_value_t = 25,
        value_parser = clap::value_parser!(u16).range(1..=300), global = true)]
    pub heartbeat_seconds: u16,
    /// The folder below which targets with a `file:` URL may write static files; without it they may not.
    #[arg(long, env = "YARDARM_EXPORT_DIR", global = true)]
    pub export_dir: Option<PathBuf>,
    /// Days for which replaced files of a static export stay.
    #[arg(
        long,
        env = "YARDARM_EXPORT_RETENTION_DAYS",
        default_value_t = 7,
        global = true
    )]
    pub export_retention_days: u16,
    /// The Cloudflare zone in front of the edges, whose cache is purged by tag when an edge has confirmed a change.
    #[arg(long, env = "YARDARM_CLOUDFLARE_ZONE_ID", global = true)]
    pub cloudflare_zone_id: Option<String>,
    /// A token that may purge the cache of that zone.
    #[arg(
        long,
        env = "YARDARM_CLOUDFLARE_API_TOKEN",
        hide_env_values = true,
        global = true
    )]
    pub cloudflare_api_token: Option<String>,
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

    /// How often to tell of identities, if at all.
    pub fn identities_every(&self) -> Option<Duration> {
        (self.identities_seconds > 0).then(|| Duration::from_secs(self.identities_seconds.into()))
    }

    /// Where static files may go.
    pub fn export(&self) -> ExportSettings {
        ExportSettings {
            folder: self.export_dir.clone(),
            retention: Duration::from_hours(24 * u64::from(self.export_retention_days)),
        }
    }

    /// The CDN to purge.
    ///
    /// # Errors
    /// When only one of zone and token is given.
    pub fn cloudflare(&self) -> anyhow::Result<Option<Cloudflare>> {
        match (&self.cloudflare_zone_id, &self.cloudflare_api_token) {
            (None, None) => Ok(None),
            (Some(zone), Some(token)) => Ok(Some(Cloudflare {
                api: "https://api.cloudflare.com/client/v4".to_owned(),
                zone: zone.clone(),
                token: token.clone(),
            })),
            _ => anyhow::bail!(
                "YARDARM_CLOUDFLARE_ZONE_ID and YARDARM_CLOUDFLARE_API_TOKEN belong together"
            ),
        }
    }

    /// How streams are kept by a process that may have so many files open.
    pub fn streams(&self, open_files: Option<u64>) -> StreamSettings {
        StreamSettings {
            most: streams_within(self.streams, open_files),
            heartbeat: Duration::from_secs(self.heartbeat_seconds.into()),
        }
    }

    /// The mounted edge's folder.
    pub fn edge_folder(&self, data_dir: &Path) -> PathBuf {
        self.edge_dir
            .clone()
            .unwrap_or_else(|| data_dir.join("edge"))
    }
}
