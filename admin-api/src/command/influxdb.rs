//! `yardarm influxdb`: what InfluxDB needs besides a bucket.

use std::fmt::Write as _;

use clap::Subcommand;

use crate::config::Usage;
use crate::usage::tasks;

/// What to do about InfluxDB.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Influxdb {
    /// Prints the tasks that sum usage up within InfluxDB, in Flux, for whoever wants to make them by hand.
    Tasks,
    /// Makes the buckets and tasks that are missing.
    Setup,
}

impl Influxdb {
    /// What is to be printed.
    ///
    /// # Errors
    /// When InfluxDB is not named, does not answer, or does not let us.
    pub async fn run(&self, usage: &Usage) -> anyhow::Result<String> {
        let mut text = String::new();
        match self {
            Self::Tasks => {
                for task in tasks(&usage.influxdb_bucket) {
                    // Writing to a String cannot fail.
                    let _infallible = writeln!(text, "// {}\n{}", task.name, task.flux);
                }
            }
            Self::Setup => {
                for line in usage.influx()?.set_up().await? {
                    let _infallible = writeln!(text, "{line}");
                }
            }
        }
        Ok(text)
    }
}
