//! Settings of `yardarm-edge`, from flags and the environment.

use std::io::{IsTerminal as _, stderr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, Parser, ValueEnum};
use tracing_subscriber::EnvFilter;
use yardarm_edge::{CountedUsage, DeliverySettings, StreamSettings, Tls, streams_within};

use self::edge_proxy::{EdgeProxy, Level};
use self::upstream::UpstreamFlags;

mod edge_proxy;
mod upstream;

pub(crate) use self::upstream::UpstreamConfig;

/// Where to serve unless something says otherwise.
const LISTEN: &str = "127.0.0.1:8001";

/// Serves Flagsmith's SDK API from published snapshots.
///
/// A Yardarm control plane publishes to it with signed requests; everything it was sent is kept in
/// the data directory, so it answers at once after a restart, whether the control plane is up or not. Without a
/// control plane it can serve for an existing Flagsmith, in the place of its edge-proxy.
#[derive(Debug, Parser)]
#[command(name = "yardarm-edge", version, after_help = SECRET_HELP)]
pub(crate) struct Config {
    /// Address and port to serve on (HTTP/1.1 and HTTP/2 on one port); port 0 takes a free one [default:
    /// 127.0.0.1:8001, or with edge-proxy's settings what they say, usually 0.0.0.0:8000].
    #[arg(long, env = "YARDARM_EDGE_LISTEN")]
    listen: Option<String>,

    /// PEM file of the certificate to serve HTTPS with, and the chain up to its root. Followed: a renewed one is
    /// used within 30 seconds.
    #[arg(long, env = "YARDARM_EDGE_TLS_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// PEM file of the certificate's private key.
    #[arg(long, env = "YARDARM_EDGE_TLS_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Directory for snapshots and identities; made where missing, used by one process at a time.
    #[arg(
        long,
        env = "YARDARM_EDGE_DATA_DIR",
        default_value = "yardarm-edge-data"
    )]
    pub(crate) data_dir: PathBuf,

    /// File that holds the publishing secret, instead of the environment variable.
    #[arg(long, env = "YARDARM_PUBLISHING_SECRET_FILE")]
    publishing_secret_file: Option<PathBuf>,

    /// Mebibytes of recently used identities kept in memory.
    #[arg(long, env = "YARDARM_EDGE_IDENTITY_MEMORY", default_value_t = 64)]
    identity_memory: u32,

    /// Event streams that may be open at once; further ones are answered 503. Each takes an open file.
    #[arg(long, env = "YARDARM_EDGE_STREAMS", default_value_t = 10_000)]
    streams: usize,

    /// Seconds without an event after which a comment is sent through a stream.
    #[arg(long, env = "YARDARM_EDGE_HEARTBEAT_SECONDS", default_value_t = 25,
          value_parser = clap::value_parser!(u16).range(1..=300))]
    heartbeat_seconds: u16,

    /// URL of the Yardarm that publishes here, to send it identities that change here and usage, and to ask it for
    /// environments that are not held, signed with the publishing secret. Without it both stay here.
    #[arg(long, env = "YARDARM_CONTROL_PLANE_URL")]
    control_plane_url: Option<String>,

    /// Seconds for which identities and usage are gathered before they are sent.
    #[arg(long, env = "YARDARM_DELIVERY_SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u16).range(1..=3600))]
    delivery_seconds: u16,

    /// Whether requests and evaluations are counted.
    #[arg(long, env = "YARDARM_USAGE", value_enum, default_value_t = Switch::On)]
    usage: Switch,

    #[command(flatten)]
    upstream: UpstreamFlags,

    #[command(flatten)]
    log: Log,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// Bytes of counts kept in memory; with usual labels some 40,000 rows.
const USAGE_MEMORY: usize = 16 << 20;

const SECRET_HELP: &str = "\
The secret that signs publications is read from the environment variable YARDARM_PUBLISHING_SECRET, so \
that it shows in no process list. Without one the edge takes no publications and serves what it holds.";

/// Where the secret is looked for.
const SECRET: &str = "YARDARM_PUBLISHING_SECRET";

/// What is logged, to standard error.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Least level, or directives such as `info,yardarm_edge=debug`; at debug every request is logged.
    /// [default: info]
    #[arg(long, env = "YARDARM_LOG")]
    log_level: Option<EnvFilter>,

    /// How log lines look [default: auto].
    #[arg(long, env = "YARDARM_LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Config {
    /// Reads the upstream's settings, if there is one, and starts logging, which they have a say in.
    pub(crate) fn start(&self) -> anyhow::Result<Option<UpstreamConfig>> {
        let upstream = self.upstream.read();
        let edge_proxy = upstream.as_ref().ok().and_then(Option::as_ref);
        let edge_proxy = edge_proxy
            .filter(|upstream| upstream.is_edge_proxy)
            .map(|upstream| &upstream.edge_proxy);
        self.log.start(edge_proxy);
        for warning in edge_proxy.map_or(&[][..], |edge_proxy| &edge_proxy.warnings) {
            tracing::warn!(warning, "edge-proxy's settings");
        }
        upstream
    }

    /// What to serve HTTPS with; nothing to serve HTTP.
    pub(crate) fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let files = self.tls_cert.as_ref().zip(self.tls_key.as_ref());
        Ok(files.map(|(cert, key)| Tls::open(cert, key)).transpose()?)
    }

    /// Where to serve.
    pub(crate) fn listen<'a>(&'a self, upstream: Option<&'a UpstreamConfig>) -> &'a str {
        let of_edge_proxy = upstream
            .filter(|upstream| upstream.is_edge_proxy)
            .map(|upstream| upstream.edge_proxy.listen.as_str());
        self.listen.as_deref().or(of_edge_proxy).unwrap_or(LISTEN)
    }

    /// The publishing secret; an empty one is an error rather than an open door.
    pub(crate) fn publishing_secret(&self) -> anyhow::Result<Option<Vec<u8>>> {
        let (secret, source) = if let Some(path) = &self.publishing_secret_file {
            let secret = std::fs::read_to_string(path)
                .with_context(|| format!("publishing secret file {}", path.display()))?;
            (secret.trim().to_owned(), path.display().to_string())
        } else {
            match std::env::var(SECRET) {
                Ok(secret) => (secret, SECRET.to_owned()),
                Err(std::env::VarError::NotPresent) => return Ok(None),
                Err(std::env::VarError::NotUnicode(_)) => bail!("{SECRET} is not valid text"),
            }
        };
        if secret.is_empty() {
            bail!("{source} is empty: give it a secret, or take it away to accept no publications");
        }
        Ok(Some(secret.into_bytes()))
    }

    /// How streams are kept by a process that may have so many files open.
    pub(crate) fn streams(&self, open_files: Option<u64>) -> StreamSettings {
        StreamSettings {
            most: streams_within(self.streams, open_files),
            heartbeat: Duration::from_secs(self.heartbeat_seconds.into()),
        }
    }

    /// Where deliveries go, with the secret that signs them; nothing without a control plane.
    pub(crate) fn deliveries(
        &self,
        secret: Option<&[u8]>,
    ) -> anyhow::Result<Option<DeliverySettings>> {
        let Some(url) = self.control_plane_url() else {
            return Ok(None);
        };
        let Some(secret) = secret else {
            bail!(
                "a control plane (YARDARM_CONTROL_PLANE_URL) takes nothing without the publishing secret ({SECRET})"
            );
        };
        Ok(Some(DeliverySettings {
            control_plane: url.to_owned(),
            secret: secret.to_vec(),
            every: Duration::from_secs(self.delivery_seconds.into()),
        }))
    }

    /// The control plane, if there is one.
    pub(crate) fn control_plane_url(&self) -> Option<&str> {
        self.control_plane_url
            .as_deref()
            .filter(|url| !url.is_empty())
    }

    /// The counter of requests and evaluations, where they are to be counted.
    pub(crate) fn usage(&self) -> Option<Arc<CountedUsage>> {
        (self.usage == Switch::On).then(|| Arc::new(CountedUsage::new(USAGE_MEMORY)))
    }

    pub(crate) fn identity_memory_bytes(&self) -> u64 {
        u64::from(self.identity_memory) << 20
    }
}

impl Log {
    /// Starts logging, once a process; where nothing is said, as edge-proxy's settings say.
    fn start(&self, edge_proxy: Option<&EdgeProxy>) {
        let filter = self.log_level.clone().unwrap_or_else(|| {
            let level = edge_proxy.map_or(Level::Info, |edge_proxy| edge_proxy.log_level);
            let level = match level {
                Level::Error => "error",
                Level::Warn => "warn",
                Level::Info => "info",
                // Not the libraries' own: a line for every connection helps nobody who runs this.
                Level::Debug => "info,yardarm_edge=debug,yardarm_core=debug",
            };
            let has_access_log = edge_proxy.is_some_and(|edge_proxy| edge_proxy.access_log);
            let access_log = if has_access_log {
                ",yardarm_edge::service=debug"
            } else {
                ""
            };
            EnvFilter::new(format!("{level}{access_log}"))
        });
        let format = self.log_format.unwrap_or(match edge_proxy {
            Some(edge_proxy) if edge_proxy.log_json => LogFormat::Json,
            Some(_) => LogFormat::Text,
            None => LogFormat::Auto,
        });
        let lines = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(stderr);
        if format == LogFormat::Text || format == LogFormat::Auto && stderr().is_terminal() {
            lines.init();
        } else {
            lines.json().flatten_event(true).init();
        }
    }
}
