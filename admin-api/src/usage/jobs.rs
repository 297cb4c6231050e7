//! The jobs that keep usage in order: buckets every minute, what is too old once an hour. Each looks at what there
//! is to do, so one that was missed for a day is made up for by the next.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::store::UsageStore;
use crate::intake::{forget_batches, forget_deleted};
use crate::jobs::{Job, Next, Runner, enqueue};
use crate::store::Pool;

/// How often buckets are filled.
const FILL: Duration = Duration::from_mins(1);
/// How often what is too old is deleted.
const FORGET: Duration = Duration::from_hours(1);

/// What the jobs work with.
#[derive(Debug, Clone)]
pub(crate) struct Keeper {
    /// The main database.
    pub(crate) pool: Pool,
    /// Where usage is.
    pub(crate) store: UsageStore,
}

/// Sums counts up.
#[derive(Debug, Serialize, Deserialize)]
struct FillBuckets {}

impl Job for FillBuckets {
    const KIND: &'static str = "usage_buckets";
    const AT_ONCE: usize = 1;
    type Context = Keeper;

    fn key(&self) -> String {
        String::new()
    }

    async fn run(self, keeper: &Keeper) -> anyhow::Result<Next> {
        keeper.store.fill().await?;
        Ok(Next::Again(FILL))
    }
}

/// Deletes what is too old.
#[derive(Debug, Serialize, Deserialize)]
struct Forget {}

impl Job for Forget {
    const KIND: &'static str = "usage_retention";
    const AT_ONCE: usize = 1;
    type Context = Keeper;

    fn key(&self) -> String {
        String::new()
    }

    async fn run(self, keeper: &Keeper) -> anyhow::Result<Next> {
        let now = keeper.pool.clock().now();
        keeper.store.forget(now).await?;
        forget_batches(&keeper.pool, now).await?;
        forget_deleted(&keeper.pool, now).await?;
        Ok(Next::Again(FORGET))
    }
}

/// Registers the jobs with a runner.
pub(crate) fn register(runner: Runner, keeper: &Keeper) -> Runner {
    runner
        .with::<FillBuckets>(keeper.clone())
        .with::<Forget>(keeper.clone())
}

/// Has the jobs run, from now on and again and again.
pub(crate) async fn start(pool: &Pool) -> anyhow::Result<()> {
    let db = pool.get().await?;
    enqueue(&*db, &FillBuckets {}).await?;
    enqueue(&*db, &Forget {}).await?;
    Ok(())
}
