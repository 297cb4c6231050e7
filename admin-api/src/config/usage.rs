//! Where usage is kept, for how long, and how often it is stored; by Flagsmith's variables where it has them.

use std::time::Duration;

use anyhow::Context as _;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args, ValueEnum};

use crate::app::Clock;
use crate::store::{Pool, migrate_usage};
use crate::usage::{Influx, InfluxSettings, Retention, Settings, UsageStore};

/// Connections to a database of usage's own.
const CONNECTIONS: usize = 8;

/// Where usage is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sink {
    /// In Postgres.
    Postgres,
    /// In `InfluxDB`.
    Influxdb,
    /// Nowhere.
    None,
}

/// Usage: requests and evaluations.
#[derive(Args, Clone, Debug)]
pub struct Usage {
    /// Where usage is kept. By default in InfluxDB when `INFLUXDB_TOKEN` is set, else in Postgres.
    #[arg(
        id = "usage_sink",
        long = "usage",
        env = "YARDARM_USAGE",
        value_enum,
        global = true
    )]
    pub sink: Option<Sink>,
    /// Flagsmith's way of saying `--usage postgres`.
    #[arg(long, env = "USE_POSTGRES_FOR_ANALYTICS", value_parser = BoolishValueParser::new(),
        action = ArgAction::Set, default_value_t = false, global = true)]
    pub use_postgres_for_analytics: bool,
    /// A Postgres of usage's own; by default it is in the same as everything else.
    #[arg(
        long,
        env = "ANALYTICS_DATABASE_URL",
        hide_env_values = true,
        global = true
    )]
    pub analytics_database_url: Option<String>,
    /// Where InfluxDB's API is.
    #[arg(
        long,
        env = "INFLUXDB_URL",
        default_value = "http://influxdb:8086",
        global = true
    )]
    pub influxdb_url: String,
    /// What lets us into InfluxDB.
    #[arg(long, env = "INFLUXDB_TOKEN", hide_env_values = true, global = true)]
    pub influxdb_token: Option<String>,
    /// The organisation in InfluxDB, by name or id.
    #[arg(long, env = "INFLUXDB_ORG", default_value = "", global = true)]
    pub influxdb_org: String,
    /// The bucket in InfluxDB; `<bucket>_downsampled_15m` is read from.
    #[arg(
        long,
        env = "INFLUXDB_BUCKET",
        default_value = "default",
        global = true
    )]
    pub influxdb_bucket: String,
    /// Whether this process's own edge counts requests.
    #[arg(long, env = "ENABLE_API_USAGE_TRACKING", value_parser = BoolishValueParser::new(),
        action = ArgAction::Set, default_value_t = true, global = true)]
    pub enable_api_usage_tracking: bool,
    /// How often this process stores the requests it has counted, in seconds.
    #[arg(long, env = "API_USAGE_CACHE_SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=3600), global = true)]
    pub api_usage_cache_seconds: u64,
    /// The same for evaluations. Both are stored at once, at the shorter interval.
    #[arg(long, env = "FEATURE_EVALUATION_CACHE_SECONDS", default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=3600), global = true)]
    pub feature_evaluation_cache_seconds: u64,
    /// For how many days counts are kept as they came.
    #[arg(long, env = "RAW_ANALYTICS_DATA_RETENTION_DAYS", default_value_t = 30,
        value_parser = clap::value_parser!(u16).range(2..), global = true)]
    pub raw_analytics_data_retention_days: u16,
    /// For how many days sums by quarter of an hour and by hour are kept.
    #[arg(long, env = "BUCKETED_ANALYTICS_DATA_RETENTION_DAYS", default_value_t = 90,
        value_parser = clap::value_parser!(u16).range(2..), global = true)]
    pub bucketed_analytics_data_retention_days: u16,
}

impl Usage {
    /// Where usage is kept.
    pub fn sink(&self) -> Sink {
        match self.sink {
            Some(sink) => sink,
            None if self.use_postgres_for_analytics || self.influxdb_token.is_none() => {
                Sink::Postgres
            }
            None => Sink::Influxdb,
        }
    }

    /// Connects, and migrates where there is something to migrate. `main` is where everything else is.
    ///
    /// # Errors
    /// When there is no such database, or settings are missing.
    pub async fn open(&self, main: &Pool, clock: Clock) -> anyhow::Result<Settings> {
        let retention = Retention {
            raw_days: self.raw_analytics_data_retention_days,
            bucket_days: self.bucketed_analytics_data_retention_days,
        };
        let store = match self.sink() {
            Sink::Postgres => UsageStore::postgres(self.postgres(main, clock).await?, retention),
            Sink::Influxdb => UsageStore::influx(self.influx()?),
            Sink::None => UsageStore::nothing(),
        };
        let seconds = self
            .api_usage_cache_seconds
            .min(self.feature_evaluation_cache_seconds);
        Ok(Settings {
            store,
            requests: self.enable_api_usage_tracking,
            flush_every: Duration::from_secs(seconds),
        })
    }

    async fn postgres(&self, main: &Pool, clock: Clock) -> anyhow::Result<Pool> {
        let pool = match &self.analytics_database_url {
            None => main.clone(),
            Some(url) => Pool::new(url, CONNECTIONS, clock).context("ANALYTICS_DATABASE_URL")?,
        };
        let mut db = pool.first().await.context("the database of usage")?;
        migrate_usage(db.raw()).await?;
        drop(db);
        Ok(pool)
    }

    /// The InfluxDB that the variables name.
    ///
    /// # Errors
    /// When they do not.
    pub fn influx(&self) -> anyhow::Result<Influx> {
        let token = self
            .influxdb_token
            .clone()
            .context("INFLUXDB_TOKEN is missing")?;
        anyhow::ensure!(!self.influxdb_org.is_empty(), "INFLUXDB_ORG is missing");
        Influx::new(InfluxSettings {
            url: self.influxdb_url.clone(),
            token,
            org: self.influxdb_org.clone(),
            bucket: self.influxdb_bucket.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        usage: Usage,
    }

    fn usage(arguments: &[&str]) -> Usage {
        Arguments::parse_from([&["yardarm"], arguments].concat()).usage
    }

    #[test]
    fn postgres_unless_influxdb_is_named() {
        assert_eq!(usage(&[]).sink(), Sink::Postgres);
        let token = "--influxdb-token=t";
        assert_eq!(usage(&[token]).sink(), Sink::Influxdb);
        let both = usage(&[token, "--use-postgres-for-analytics=True"]);
        assert_eq!(both.sink(), Sink::Postgres);
        assert_eq!(usage(&[token, "--usage=none"]).sink(), Sink::None);
        assert!(!usage(&["--enable-api-usage-tracking=0"]).enable_api_usage_tracking);
    }

    #[test]
    fn influxdb_needs_to_know_who_asks() {
        assert!(usage(&["--usage=influxdb"]).influx().is_err());
        assert!(usage(&["--influxdb-token=t"]).influx().is_err());
        let whole = usage(&["--influxdb-token=t", "--influxdb-org=o"]);
        assert!(whole.influx().is_ok());
        let wrong = usage(&[
            "--influxdb-token=t",
            "--influxdb-org=o",
            "--influxdb-url=nope",
        ]);
        assert!(wrong.influx().is_err());
    }
}
