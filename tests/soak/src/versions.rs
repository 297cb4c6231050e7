//! Every version of the environment that was made during a run, as the control plane told it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context as _;
use http::{HeaderMap, HeaderValue};
use serde_json::Value;
use yardarm_core::snapshot::document::Document;

/// When a version was made, in microseconds since the epoch: what answers name it by.
pub(crate) type Stamp = i64;

/// One version.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) stamp: Stamp,
    /// The document as it was served.
    pub(crate) json: Value,
    pub(crate) document: Document,
    /// When the change that made it was answered.
    pub(crate) committed: Instant,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Versions(Mutex<BTreeMap<Stamp, Arc<Version>>>);

impl Versions {
    /// Takes in a document; one that is known already stays as it is.
    pub(crate) fn add(&self, stamp: Stamp, body: &[u8], committed: Instant) -> anyhow::Result<()> {
        let json: Value = serde_json::from_slice(body).context("the document is no JSON")?;
        let document = serde_json::from_slice(body).context("the document is none")?;
        self.lock().entry(stamp).or_insert_with(|| {
            Arc::new(Version {
                stamp,
                json,
                document,
                committed,
            })
        });
        Ok(())
    }

    pub(crate) fn get(&self, stamp: Stamp) -> Option<Arc<Version>> {
        self.lock().get(&stamp).cloned()
    }

    /// The newest; 0 while there is none.
    pub(crate) fn newest(&self) -> Stamp {
        self.lock().keys().next_back().copied().unwrap_or_default()
    }

    /// From one version on, oldest first.
    pub(crate) fn since(&self, stamp: Stamp) -> Vec<Arc<Version>> {
        self.lock()
            .range(stamp..)
            .map(|(_, version)| Arc::clone(version))
            .collect()
    }

    /// The newest of those committed by then.
    pub(crate) fn committed_by(&self, time: Instant) -> Stamp {
        let versions = self.lock();
        let mut newest_first = versions.values().rev();
        newest_first
            .find(|version| version.committed <= time)
            .map_or(0, |version| version.stamp)
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Stamp, Arc<Version>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which version an answer says it was made from.
pub(crate) fn stamp_of(headers: &HeaderMap) -> Option<Stamp> {
    let text = headers
        .get("x-flagsmith-document-updated-at")
        .map(HeaderValue::to_str)?;
    parse(text.ok()?)
}

/// Unix seconds with a fraction, exactly: `1763840000.123456`.
fn parse(text: &str) -> Option<Stamp> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let micros: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    seconds
        .parse::<i64>()
        .ok()?
        .checked_mul(1_000_000)?
        .checked_add(micros)
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_stamp_is_read_to_the_microsecond() {
        assert_eq!(parse("1763840000.123456"), Some(1_763_840_000_123_456));
        assert_eq!(parse("1763840000.5"), Some(1_763_840_000_500_000));
        assert_eq!(parse("1763840000"), Some(1_763_840_000_000_000));
        assert_eq!(parse("soon"), None);
    }
}
