//! What all parts of a run share, and the checks of answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;
use yardarm_core::snapshot::Side;

use crate::disturbances::Disturbances;
use crate::host::Host;
use crate::oracle::{self, Asker};
use crate::project::Project;
use crate::report::Report;
use crate::versions::{Stamp, Version, Versions};

/// How long an answer waits for the version it names to be written down: the control plane may be away.
const WRITTEN_WITHIN: Duration = Duration::from_secs(90);
/// How long an edge may be behind after its control plane, publisher or itself was away: the publisher's longest
/// pause, and a lease.
const RECOVERY: Duration = Duration::from_secs(45);

/// The run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) project: Project,
    pub(crate) versions: Versions,
    pub(crate) report: Report,
    pub(crate) disturbances: Disturbances,
    /// How far answers may be behind what is committed.
    pub(crate) lag_bound: Duration,
}

/// An answer, to be checked.
#[derive(Debug)]
pub(crate) struct Observation {
    pub(crate) host: Arc<Host>,
    pub(crate) what: What,
    pub(crate) sent: Instant,
    /// The version it had to be made from, or a newer one.
    pub(crate) floor: Stamp,
    /// The version it says it was made from.
    pub(crate) stamp: Option<Stamp>,
    pub(crate) body: Bytes,
}

/// What was asked.
#[derive(Debug)]
pub(crate) enum What {
    /// `GET /flags/`.
    Flags(Side),
    /// `GET /flags/?feature=`: the flag, or nothing where it was refused.
    Flag(Side, String),
    /// An identity's flags.
    Identity(Side, Asker),
    /// The environment document.
    Document,
    /// `/flags/` have not changed since a version.
    FlagsSince(Side, Stamp),
    /// The document has not.
    DocumentSince(Stamp),
}

impl Run {
    /// Checks answers until nobody sends any.
    pub(crate) async fn check_all(&self, mut answers: UnboundedReceiver<Observation>) {
        while let Some(answer) = answers.recv().await {
            match self.check(&answer).await {
                Ok(()) => self.report.right(),
                Err(error) => {
                    let what = match &answer.what {
                        What::Identity(_, asker) => {
                            format!("identity {} {:?}", asker.identifier, asker.traits)
                        }
                        what => format!("{what:?}"),
                    };
                    let host = &answer.host.name;
                    self.report.wrong(format!("{host}, {what}: {error}"));
                }
            }
        }
    }

    async fn check(&self, answer: &Observation) -> Result<(), String> {
        match &answer.what {
            What::Flags(side) => {
                let version = self.named_by(answer).await?;
                let flags = json(&answer.body)?;
                let expected = oracle::flags(&version.document, *side, None);
                compare(&flags, &expected, &version)
            }
            What::Identity(side, asker) => {
                let version = self.named_by(answer).await?;
                let body = json(&answer.body)?;
                let expected = oracle::flags(&version.document, *side, Some(asker));
                compare(&body["flags"], &expected, &version)
            }
            What::Document => {
                let version = self.named_by(answer).await?;
                if json(&answer.body)? == version.json {
                    Ok(())
                } else {
                    Err(format!(
                        "another document than that of version {}",
                        version.stamp
                    ))
                }
            }
            What::Flag(side, name) => {
                let answered = match answer.body.as_ref() {
                    b"" => None,
                    body => Some(oracle::read(&json(body)?).ok_or("no flag")?),
                };
                self.some_version(answer, |version| {
                    let flags = oracle::flags(&version.document, *side, None);
                    flags.into_iter().find(|flag| flag.name == *name) == answered
                })
                .await
            }
            What::FlagsSince(side, since) => {
                let old = self.written(*since).await?;
                let old = oracle::flags(&old.document, *side, None);
                self.some_version(answer, |version| {
                    oracle::flags(&version.document, *side, None) == old
                })
                .await
            }
            What::DocumentSince(since) => {
                if *since < answer.floor {
                    return Err(format!("not newer than {since}, but {} is", answer.floor));
                }
                Ok(())
            }
        }
    }

    /// The version an answer names, which must not be too old.
    async fn named_by(&self, answer: &Observation) -> Result<Arc<Version>, String> {
        let stamp = answer.stamp.ok_or("the answer names no version")?;
        if stamp < answer.floor {
            return Err(format!(
                "version {stamp} after {} had been seen: backwards",
                answer.floor
            ));
        }
        let version = self.written(stamp).await?;
        let due = answer.sent.checked_sub(self.lag_bound);
        let due = due.map_or(0, |due| self.versions.committed_by(due));
        if stamp < due {
            let mut parts = answer.host.parts.clone();
            parts.extend(["admin", "publisher"]);
            let since = answer.sent.elapsed() + self.lag_bound + RECOVERY;
            if !self.disturbances.touch(&parts, since) {
                return Err(format!(
                    "version {stamp} more than {:?} after {due} was committed",
                    self.lag_bound
                ));
            }
        }
        Ok(version)
    }

    /// A version, once it is written down.
    async fn written(&self, stamp: Stamp) -> Result<Arc<Version>, String> {
        let begun = Instant::now();
        loop {
            if let Some(version) = self.versions.get(stamp) {
                return Ok(version);
            }
            // Nobody writes an older one down any more.
            if self.versions.newest() > stamp || begun.elapsed() > WRITTEN_WITHIN {
                return Err(format!("there was no version {stamp}"));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Whether any version it may have been made from fits an answer that names none.
    async fn some_version(
        &self,
        answer: &Observation,
        fits: impl Fn(&Version) -> bool,
    ) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let candidates = self.versions.since(answer.floor);
            if candidates.iter().any(|version| fits(version)) {
                return Ok(());
            }
            // It may be of a version that is still being written down.
            if begun.elapsed() > WRITTEN_WITHIN || answer.sent.elapsed() > WRITTEN_WITHIN {
                return Err(format!(
                    "fits none of {} versions since {}: {}",
                    candidates.len(),
                    answer.floor,
                    String::from_utf8_lossy(&answer.body)
                ));
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

fn json(body: &[u8]) -> Result<Value, String> {
    serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))
}

fn compare(flags: &Value, expected: &[oracle::Shown], version: &Version) -> Result<(), String> {
    let answered = oracle::read_all(flags).ok_or_else(|| format!("no flags: {flags}"))?;
    match oracle::difference(&answered, expected) {
        None => Ok(()),
        Some(difference) => Err(format!("version {}: {difference}", version.stamp)),
    }
}
