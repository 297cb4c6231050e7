//! Where usage is kept.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::counts::Counts;
use super::day::{EvaluationDay, EvaluationQuery, RequestDay, RequestQuery};
use super::influx::Influx;
use super::postgres;
use crate::store::Pool;

/// For how long usage is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Rows as they were counted.
    pub raw_days: u16,
    /// Sums by quarter of an hour and by hour.
    pub bucket_days: u16,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            raw_days: 30,
            bucket_days: 90,
        }
    }
}

impl Retention {
    /// How late a count may come: as long as the rows that it is summed up with are there.
    pub(crate) fn accepted(self) -> TimeDelta {
        TimeDelta::days(i64::from(self.raw_days.saturating_sub(1).max(1)))
    }
}

/// How usage is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where.
    pub store: UsageStore,
    /// Whether this process's own edge counts requests, besides the evaluations that SDKs report.
    pub requests: bool,
    /// How often it stores what it has counted.
    pub flush_every: Duration,
}

impl Settings {
    /// In the database behind `pool`, as Flagsmith does it.
    pub fn in_database(pool: Pool) -> Self {
        Self {
            store: UsageStore::postgres(pool, Retention::default()),
            requests: true,
            flush_every: Duration::from_mins(1),
        }
    }
}

/// Where usage is kept. Cheap to clone.
#[derive(Debug, Clone)]
pub struct UsageStore(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    Postgres(Box<Pool>, Retention),
    Influx(Box<Influx>),
    Nothing,
}

impl UsageStore {
    /// In Postgres: in the main database, or in one of its own.
    pub fn postgres(pool: Pool, retention: Retention) -> Self {
        Self(Arc::new(Kind::Postgres(Box::new(pool), retention)))
    }

    /// In InfluxDB.
    pub fn influx(influx: Influx) -> Self {
        Self(Arc::new(Kind::Influx(Box::new(influx))))
    }

    /// Nowhere.
    pub fn nothing() -> Self {
        Self(Arc::new(Kind::Nothing))
    }

    /// For how long.
    pub(crate) fn retention(&self) -> Retention {
        match &*self.0 {
            Kind::Postgres(_, retention) => *retention,
            Kind::Influx(_) | Kind::Nothing => Retention::default(),
        }
    }

    /// Stores a batch, unless it is there.
    pub(super) async fn write(
        &self,
        batch: &str,
        counts: &Counts,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        if counts.is_empty() {
            return Ok(());
        }
        match &*self.0 {
            Kind::Postgres(pool, _) => postgres::write(pool, batch, counts, now).await,
            Kind::Influx(influx) => influx.write(batch, counts).await,
            Kind::Nothing => Ok(()),
        }
    }

    /// Requests, by day.
    pub(crate) async fn requests(&self, query: &RequestQuery) -> anyhow::Result<Vec<RequestDay>> {
        match &*self.0 {
            Kind::Postgres(pool, _) => postgres::requests(pool, query).await,
            Kind::Influx(influx) => influx.requests(query).await,
            Kind::Nothing => Ok(Vec::new()),
        }
    }

    /// Evaluations of a feature, by day.
    pub(crate) async fn evaluations(
        &self,
        query: &EvaluationQuery,
    ) -> anyhow::Result<Vec<EvaluationDay>> {
        match &*self.0 {
            Kind::Postgres(pool, _) => postgres::evaluations(pool, query).await,
            Kind::Influx(influx) => influx.evaluations(query).await,
            Kind::Nothing => Ok(Vec::new()),
        }
    }

    /// Sums up what was counted since.
    pub(super) async fn fill(&self) -> anyhow::Result<()> {
        if let Kind::Postgres(pool, _) = &*self.0 {
            postgres::fill(pool).await?;
        }
        Ok(())
    }

    /// Deletes what is too old.
    pub(super) async fn forget(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        if let Kind::Postgres(pool, retention) = &*self.0 {
            postgres::forget(pool, *retention, now).await?;
        }
        Ok(())
    }
}
