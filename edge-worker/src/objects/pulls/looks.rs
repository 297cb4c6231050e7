//! Looks at an existing Flagsmith: what the feature `upstream` adds. Reading and compiling documents takes a third of a module
//! that has it, so that who publishes does without.

use std::cell::RefCell;
use std::collections::HashMap;

use worker::{State, console_warn};
use yardarm_core::edge::pull_through::Key;
use yardarm_core::edge::upstream::{End, KeyPair, PullError, Step, Verdict, Watch};
use yardarm_core::edge::{KeyRef, Unavailable};
use yardarm_core::time::Timestamp;

use super::{Pulls, ROOM, now};
use crate::config::UpstreamConfig;
use crate::host::random;
use crate::outbound::ask;
use crate::pulls::Told;
use crate::snapshots::{file, read};
use crate::upstream::Look;

/// How often it is written down that nothing has changed, in microseconds.
const REMEMBER: i64 = 60_000_000;

/// How the looks stand; in storage is the watch of each environment, as JSON under its client-side key.
pub(super) struct Looks {
    state: State,
    watched: RefCell<HashMap<String, Watched>>,
}

#[derive(Debug, Clone, Default)]
struct Watched {
    watch: Watch,
    next_at: i64,
    written_at: i64,
}

impl Looks {
    pub(super) fn new(state: State) -> Self {
        Self {
            state,
            watched: RefCell::default(),
        }
    }

    /// Sees to it that there will be a next look.
    pub(super) async fn go_on(&self, upstream: &UpstreamConfig) -> worker::Result<()> {
        match self.state.storage().get_alarm().await? {
            Some(_) => Ok(()),
            None => self.set_alarm(upstream).await,
        }
    }

    pub(super) async fn set_alarm(&self, upstream: &UpstreamConfig) -> worker::Result<()> {
        self.state.storage().set_alarm(upstream.interval).await
    }

    /// The environments that are to be looked at now.
    pub(super) async fn due(&self, upstream: &UpstreamConfig) -> Vec<Key> {
        let mut due = Vec::new();
        for pair in &upstream.pairs {
            if self.watched(pair).await.next_at <= now().micros() {
                due.push(Key::Client(pair.client().to_owned()));
            }
        }
        due
    }

    /// How the looks stand, as it is told.
    pub(super) async fn stand(&self, upstream: &UpstreamConfig) -> Vec<Look> {
        let mut looks = Vec::new();
        for pair in &upstream.pairs {
            let status = self.watched(pair).await.watch.status(pair);
            looks.push(Look {
                environment_key: status.environment_key,
                confirmed_at: status.confirmed_at.map(Timestamp::micros),
                problem: status.problem,
            });
        }
        looks
    }

    async fn watched(&self, pair: &KeyPair) -> Watched {
        if let Some(watched) = self.watched.borrow().get(pair.client()) {
            return watched.clone();
        }
        let stored = self.state.storage().get::<String>(pair.client()).await;
        let stored = stored.ok().flatten().unwrap_or_default();
        Watched {
            watch: serde_json::from_str(&stored).unwrap_or_default(),
            ..Watched::default()
        }
    }

    async fn write(&self, pair: &KeyPair, watch: &Watch) -> Result<(), Unavailable> {
        let json = serde_json::to_string(watch).unwrap_or_default();
        let put = self.state.storage().put(pair.client(), json).await;
        put.map_err(|error| Unavailable(format!("a look was not written down: {error}")))
    }
}

/// Looks at what a key is of, and says what there is now.
pub(super) async fn look_at(
    pulls: &Pulls,
    upstream: &UpstreamConfig,
    key: &KeyRef<'_>,
) -> Result<Told, Unavailable> {
    let Some(pair) = upstream.named(key) else {
        return Ok(Told::new());
    };
    look(pulls, upstream, pair).await?;
    let held = pulls.held(pair.client()).await?;
    if held.is_empty() {
        return Err(Unavailable("upstream was not heard yet".to_owned()));
    }
    Ok(held)
}

/// One look at one environment of upstream.
async fn look(pulls: &Pulls, upstream: &UpstreamConfig, pair: &KeyPair) -> Result<(), Unavailable> {
    let Watched {
        mut watch,
        written_at,
        ..
    } = pulls.looks.watched(pair).await;
    let held = match pulls.held(pair.client()).await?.first() {
        Some((environment, version)) => read(&pulls.env, environment, *version).await?,
        None => None,
    };
    let mut pull = watch.pull(&upstream.root, pair, held.as_ref(), ROOM, now());
    let end = loop {
        let answer = match ask(&pull.request(), pull.room(), upstream.timeout).await {
            Ok(answer) => answer,
            Err(error) => break End::Failed(PullError::Exchange(error)),
        };
        match pull.answer(answer.status, &answer.headers, &answer.body, now()) {
            Step::Ask(next) => pull = *next,
            Step::Done(end) => break end,
        }
    };
    let environment = pair.client();
    let verdict = watch.settle(end, pair, held.as_ref(), now());
    let is_news = !matches!(verdict, Verdict::Current);
    match verdict {
        Verdict::Current => {}
        Verdict::Keep(problem) => console_warn!("{environment}: {problem}"),
        Verdict::Install { package, warnings } => {
            for warning in warnings {
                console_warn!("{environment}: {warning}");
            }
            match file(&pulls.env, &package).await {
                Ok(()) => watch.installed(now()),
                Err(error) => watch.fail(error.to_string()),
            }
        }
    }
    let wait = watch.wait(upstream.interval, u64::from(random()[0]));
    let next_at = now().micros() + i64::try_from(wait.as_micros()).unwrap_or(i64::MAX);
    let is_due = now().micros() - written_at >= REMEMBER;
    let mut watched = Watched {
        watch,
        next_at,
        written_at,
    };
    if is_news || is_due {
        pulls.looks.write(pair, &watched.watch).await?;
        watched.written_at = now().micros();
    }
    let mut all = pulls.looks.watched.borrow_mut();
    all.insert(environment.to_owned(), watched);
    Ok(())
}
