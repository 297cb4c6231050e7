//! One host under test, and what it has shown so far.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use yardarm_conformance::Target;

use crate::versions::{Stamp, Versions};

/// A host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) url: String,
    /// How long answers may still be of an older version than one already seen: nothing for a host of one
    /// memory, some seconds for a Worker (docs/adr/0003).
    pub(crate) tolerance: Duration,
    /// The parts on which its answers depend.
    pub(crate) parts: Vec<&'static str>,
    /// When each version was first seen.
    seen: Mutex<BTreeMap<Stamp, Instant>>,
}

impl Host {
    /// A host by its name: `native`, `mounted`, `worker` or `spin`.
    pub(crate) fn new(name: &str, url: &str) -> Self {
        let (tolerance, parts) = match name {
            "native" => (Duration::ZERO, vec!["native"]),
            "mounted" => (Duration::ZERO, vec!["admin"]),
            "worker" => (Duration::from_secs(3), vec!["worker"]),
            _ => (Duration::ZERO, vec!["spin"]),
        };
        Self {
            name: name.to_owned(),
            url: url.to_owned(),
            tolerance,
            parts,
            seen: Mutex::default(),
        }
    }

    /// A client with connections of its own.
    pub(crate) fn target(&self) -> anyhow::Result<Target> {
        Target::new(&self.url, "")
    }

    /// Notes an answer.
    pub(crate) fn saw(&self, stamp: Stamp, at: Instant) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.entry(stamp).or_insert(at);
    }

    /// The version that a request sent now must be answered from, or from a newer one.
    pub(crate) fn floor(&self) -> Stamp {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest_first = seen.iter().rev();
        newest_first
            .find(|(_, at)| at.elapsed() >= self.tolerance)
            .map_or(0, |(stamp, _)| *stamp)
    }

    /// The longest from a change's confirmation to the first answer with it or a newer one.
    pub(crate) fn worst_lag(&self, versions: &Versions) -> Duration {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let lags = versions.since(0).into_iter().filter_map(|version| {
            let first = seen.range(version.stamp..).map(|(_, at)| *at).min()?;
            Some(first.saturating_duration_since(version.committed))
        });
        lags.max().unwrap_or_default()
    }
}
