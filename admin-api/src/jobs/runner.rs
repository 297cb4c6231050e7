//! Takes jobs and runs them, several at once, until told to stop.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::broadcast;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::listener::Heard;
use super::queue::{self, TakenJob};
use super::{Job, Next};
use crate::store::Pool;

/// How a [`Runner`] goes about it.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// For how long a job is ours without a sign of life; prolonged at a third of it. After a crash its
    /// jobs wait this long.
    pub lease: Duration,
    /// How often to look for due jobs when nothing is announced.
    pub poll: Duration,
    /// How long jobs may go on after the call to stop.
    pub grace: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            poll: Duration::from_secs(1),
            grace: Duration::from_secs(10),
        }
    }
}

type Run = Arc<dyn Fn(Value) -> BoxFuture<'static, anyhow::Result<Next>> + Send + Sync>;

#[derive(Clone)]
struct Kind {
    name: &'static str,
    at_once: usize,
    backoff: fn(u32) -> Duration,
    run: Run,
}

struct Running {
    kind: &'static str,
    lease: i64,
    abort: AbortHandle,
}

/// Runs the jobs of the kinds registered with it.
pub struct Runner {
    pool: Pool,
    settings: Settings,
    kinds: Vec<Kind>,
    running: HashMap<Id, Running>,
    tasks: JoinSet<()>,
}

impl std::fmt::Debug for Runner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.name).collect();
        f.debug_struct("Runner")
            .field("kinds", &kinds)
            .finish_non_exhaustive()
    }
}

impl Runner {
    /// A runner without any kinds yet.
    pub fn new(pool: Pool, settings: Settings) -> Self {
        Self {
            pool,
            settings,
            kinds: Vec::new(),
            running: HashMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Takes on a kind of job.
    #[must_use]
    pub fn with<J: Job>(mut self, context: J::Context) -> Self {
        let run = move |payload: Value| {
            let context = context.clone();
            async move {
                let job: J = serde_json::from_value(payload).context("unreadable payload")?;
                job.run(&context).await
            }
            .boxed()
        };
        let (name, at_once, backoff) = (J::KIND, J::AT_ONCE, J::backoff);
        self.kinds.push(Kind {
            name,
            at_once,
            backoff,
            run: Arc::new(run),
        });
        self
    }

    /// Works until `stop`: at once on what `wake` announces, at the poll interval on the rest. Then
    /// finishes what it began, or gives it back.
    pub async fn run(mut self, mut wake: broadcast::Receiver<Heard>, stop: CancellationToken) {
        let mut renewal = interval(self.settings.lease / 3);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut deaf = false;
        while !stop.is_cancelled() {
            let full = match self.take().await {
                Ok(full) => full,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "cannot take jobs");
                    false
                }
            };
            if full {
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Some(joined) = self.tasks.join_next_with_id() => {
                    let id = match joined {
                        Ok((id, ())) => id,
                        Err(error) => error.id(),
                    };
                    self.running.remove(&id);
                }
                _ = renewal.tick() => self.renew().await,
                heard = wake.recv(), if !deaf => {
                    deaf = matches!(heard, Err(broadcast::error::RecvError::Closed));
                }
                () = sleep(self.settings.poll) => {}
            }
        }
        self.finish().await;
    }

    /// Takes and starts due jobs; true when there may be more than there was room to ask for.
    async fn take(&mut self) -> anyhow::Result<bool> {
        let mut free = Vec::new();
        for kind in &self.kinds {
            let busy = self
                .running
                .values()
                .filter(|running| running.kind == kind.name)
                .count();
            if busy < kind.at_once {
                free.push((kind.name, kind.at_once - busy));
            }
        }
        if free.is_empty() {
            return Ok(false);
        }
        let db = self.pool.get().await?;
        let taken = queue::take(&*db, &free, self.settings.lease).await?;
        let any = !taken.is_empty();
        for job in taken {
            if let Some(kind) = self
                .kinds
                .iter()
                .find(|kind| kind.name == job.kind)
                .cloned()
            {
                self.start(kind, job);
            }
        }
        Ok(any)
    }

    fn start(&mut self, kind: Kind, job: TakenJob) {
        let (name, lease) = (kind.name, job.lease);
        let abort = self.tasks.spawn(work(self.pool.clone(), kind, job));
        self.running.insert(
            abort.id(),
            Running {
                kind: name,
                lease,
                abort,
            },
        );
    }

    /// Shows that we live; stops what another process has taken over after a lease ran out.
    async fn renew(&mut self) {
        let leases: Vec<i64> = self.running.values().map(|running| running.lease).collect();
        if leases.is_empty() {
            return;
        }
        let renewed = async {
            let db = self.pool.get().await?;
            anyhow::Ok(queue::renew(&*db, &leases, self.settings.lease).await?)
        };
        match renewed.await {
            Ok(held) => {
                for running in self.running.values() {
                    if !held.contains(&running.lease) {
                        running.abort.abort();
                    }
                }
            }
            Err(error) => tracing::warn!(error = format!("{error:#}"), "cannot renew leases"),
        }
    }

    async fn finish(mut self) {
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(self.settings.grace, ended).await.is_ok() {
            return;
        }
        let leases: Vec<i64> = self.running.values().map(|running| running.lease).collect();
        self.tasks.shutdown().await;
        if let Ok(db) = self.pool.get().await
            && let Err(error) = queue::give_back(&*db, &leases).await
        {
            tracing::warn!(%error, "cannot give jobs back: they wait until their leases run out");
        }
    }
}

/// Runs one job and records what became of it. When that cannot be recorded, the lease runs out and
/// the job is done again.
async fn work(pool: Pool, kind: Kind, job: TakenJob) {
    let started = tokio::time::Instant::now();
    tracing::debug!(
        kind = kind.name,
        key = job.key,
        attempt = job.attempts,
        waited_seconds = job.waited_seconds,
        "job started"
    );
    let outcome = AssertUnwindSafe((kind.run)(job.payload.clone()))
        .catch_unwind()
        .await;
    let outcome = outcome.unwrap_or_else(|_| Err(anyhow::anyhow!("the job panicked")));
    let recorded = async {
        let db = pool.get().await?;
        match outcome {
            Ok(next) => {
                let seconds = started.elapsed().as_secs_f64();
                tracing::debug!(kind = kind.name, key = job.key, seconds, "job done");
                queue::succeed(&*db, &job, next).await?;
            }
            Err(error) => {
                let attempts = u32::try_from(job.attempts).unwrap_or(1);
                let pause = (kind.backoff)(attempts);
                let error = format!("{error:#}");
                tracing::warn!(
                    kind = kind.name,
                    key = job.key,
                    attempts,
                    ?pause,
                    error,
                    "job failed"
                );
                queue::fail(&*db, &job, &error, pause).await?;
            }
        }
        anyhow::Ok(())
    };
    if let Err(error) = recorded.await {
        let error = format!("{error:#}");
        tracing::warn!(
            kind = kind.name,
            key = job.key,
            error,
            "cannot record a job's outcome"
        );
    }
}
