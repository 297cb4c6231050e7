//! What an edge remembers of its looks at one environment, and what it makes of the next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::address::Root;
use super::keys::KeyPair;
use super::pull::{End, Pull, PullError, Validators};
use super::renewal::{Renewal, renew};
use super::status::LookStatus;
use crate::snapshot::{Package, Snapshot};
use crate::time::Timestamp;

/// How often a look is not conditional: identity overrides change without `updated_at` (flagsmith-api.md
/// A.8), which conditional looks go by.
const FULL_LOOK_SECONDS: i64 = 300;
/// How long upstream must have said that an older document is current before it is believed: until then it
/// is a replica that lags behind, afterwards a database that was restored.
const OLDER_SECONDS: i64 = 60;
/// The longest pause after failures, unless the interval or upstream itself says more.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// The same while nothing was ever read, and nothing can be served.
const LONGEST_PAUSE_AT_FIRST: Duration = Duration::from_secs(10);
/// The longest pause that upstream may ask for.
const LONGEST_REST: Duration = Duration::from_mins(5);

/// The state of one environment's looks. Hosts that keep nothing between requests store it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    validators: Option<Validators>,
    /// When upstream last said what is current, microseconds since the epoch.
    confirmed_at: Option<i64>,
    /// When a whole document was last read.
    read_at: Option<i64>,
    /// Since when upstream has been answering with an older document.
    older_since: Option<i64>,
    /// How many looks in a row told nothing.
    failures: u32,
    retry_after: Option<u32>,
    problem: Option<String>,
}

/// What to do after a look.
#[derive(Debug)]
pub enum Verdict {
    /// What is held is current.
    Current,
    /// A package to install, followed by [`Watch::installed`] or [`Watch::fail`].
    Install {
        /// The package.
        package: Box<Package>,
        /// What is odd about the document.
        warnings: Vec<String>,
    },
    /// The look told nothing: what is held keeps serving.
    Keep(String),
}

impl Watch {
    /// Goes on after a restart: what was held was last confirmed then.
    pub fn resume(confirmed_at: Option<Timestamp>) -> Self {
        Self {
            confirmed_at: confirmed_at.map(Timestamp::micros),
            ..Self::default()
        }
    }

    /// The next look; all pages together may have `room` bytes. `held` is what is held of the environment.
    pub fn pull(
        &self,
        root: &Root,
        pair: &KeyPair,
        held: Option<&Snapshot>,
        room: usize,
        now: Timestamp,
    ) -> Pull {
        let due = self.read_at.is_none_or(|at| {
            let age = now.secs() - Timestamp(at).secs();
            !(0..FULL_LOOK_SECONDS).contains(&age)
        });
        let opens = held.is_some_and(|held| {
            !held.settings().gone && held.accepts_server_key(&pair.server_digest(), now)
        });
        let validators = self.validators.clone().filter(|_| opens && !due);
        Pull::new(root, pair, validators, room)
    }

    /// Takes in how a look ended.
    pub fn settle(
        &mut self,
        end: End,
        pair: &KeyPair,
        held: Option<&Snapshot>,
        now: Timestamp,
    ) -> Verdict {
        let fetched = match end {
            End::NotModified => {
                self.confirm(now);
                return Verdict::Current;
            }
            End::Failed(error) => {
                self.retry_after = error.retry_after();
                return self.keep(error.to_string());
            }
            End::Document(fetched) => fetched,
        };
        let believe_older = self
            .older_since
            .is_some_and(|since| now.secs() - Timestamp(since).secs() >= OLDER_SECONDS);
        match renew(&fetched, pair, held, believe_older, now) {
            Renewal::Older => {
                self.older_since.get_or_insert(now.micros());
                // Asked on condition it would answer that what is held is current.
                self.validators = None;
                self.keep("upstream answers with an older document than before".to_owned())
            }
            Renewal::Same => {
                self.read(fetched.validators, now);
                self.confirm(now);
                Verdict::Current
            }
            Renewal::New { package, warnings } => {
                self.read(fetched.validators, now);
                Verdict::Install {
                    package: Box::new(package),
                    warnings,
                }
            }
        }
    }

    /// The package that was to be installed is.
    pub fn installed(&mut self, now: Timestamp) {
        self.confirm(now);
    }

    /// The look failed for a reason of the host's own; the next reads the whole document.
    pub fn fail(&mut self, problem: String) {
        self.validators = None;
        self.retry_after = None;
        self.keep(problem);
    }

    /// Whether the last look told something.
    pub fn is_well(&self) -> bool {
        self.problem.is_none()
    }

    /// When upstream last said what is current.
    pub fn confirmed_at(&self) -> Option<Timestamp> {
        self.confirmed_at.map(Timestamp)
    }

    /// How long to wait before the next look: the interval, or after failures more and more, up to a minute (ten
    /// seconds while nothing was ever read); a tenth more or less, by `random`, so that edges do not ask in step.
    pub fn wait(&self, interval: Duration, random: u64) -> Duration {
        let doubled = interval.saturating_mul(1 << self.failures.saturating_sub(1).min(16));
        let pause = match self.failures {
            0 => interval,
            _ if self.confirmed_at.is_none() => doubled.min(LONGEST_PAUSE_AT_FIRST.max(interval)),
            _ => doubled.min(LONGEST_PAUSE.max(interval)),
        };
        let rest = self.retry_after.map_or(Duration::ZERO, |seconds| {
            Duration::from_secs(u64::from(seconds)).min(LONGEST_REST)
        });
        let wait = pause.max(rest);
        let tenth = u32::try_from(random % 201).unwrap_or(100);
        wait * (900 + tenth) / 1_000
    }

    /// For `/health`.
    pub fn status(&self, pair: &KeyPair) -> LookStatus {
        LookStatus {
            environment_key: pair.client().to_owned(),
            confirmed_at: self.confirmed_at(),
            problem: self.problem.clone(),
        }
    }

    fn read(&mut self, validators: Option<Validators>, now: Timestamp) {
        self.validators = validators;
        self.read_at = Some(now.micros());
    }

    fn confirm(&mut self, now: Timestamp) {
        self.confirmed_at = Some(now.micros());
        self.older_since = None;
        self.failures = 0;
        self.retry_after = None;
        self.problem = None;
    }

    fn keep(&mut self, problem: String) -> Verdict {
        self.failures = self.failures.saturating_add(1);
        self.problem = Some(problem.clone());
        Verdict::Keep(problem)
    }
}

impl From<PullError> for End {
    fn from(error: PullError) -> Self {
        Self::Failed(error)
    }
}
