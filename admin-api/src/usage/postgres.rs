//! Usage in Postgres: raw rows, and buckets made of them.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::Value;
use yardarm_core::edge::delivery::{Labels, Resource};

use super::counts::{Counts, RESOURCES, number};
use super::day::{EvaluationDay, EvaluationQuery, RequestDay, RequestQuery, days};
use super::store::Retention;
use crate::sql::usage as sql;
use crate::store::{Pool, Queries as _, Write, row};

/// How many quarters are filled in one transaction.
const AT_ONCE: i64 = 96;
/// How long the id of a batch is remembered.
const REMEMBERED: TimeDelta = TimeDelta::days(7);

row! {
    struct RequestSum {
        day: NaiveDate,
        labels: Value,
        resource: i16,
        count: i64,
    }
}

row! {
    struct EvaluationSum {
        day: NaiveDate,
        labels: Value,
        count: i64,
    }
}

row! {
    struct Quarter {
        quarter: DateTime<Utc>,
    }
}

/// Stores a batch, unless it is there.
pub(super) async fn write(
    pool: &Pool,
    batch: &str,
    counts: &Counts,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let mut db = pool.get().await?;
    let tx = db.write(None).await?;
    if tx.run(sql::INSERT_BATCH, [&batch, &now]).await? > 0 {
        insert_requests(&tx, counts).await?;
        insert_evaluations(&tx, counts).await?;
    }
    tx.commit_silently("usage is no change of anybody's configuration")
        .await?;
    Ok(())
}

async fn insert_requests(tx: &Write<'_>, counts: &Counts) -> anyhow::Result<()> {
    let rows = &counts.requests;
    if rows.is_empty() {
        return Ok(());
    }
    let environments: Vec<i64> = rows.iter().map(|row| row.place.environment_id).collect();
    let resources: Vec<i16> = rows.iter().map(|row| number(row.resource)).collect();
    let hosts: Vec<&str> = rows.iter().map(|row| row.host.as_str()).collect();
    let labels: Vec<Value> = rows.iter().map(|row| json(&row.labels)).collect();
    let minutes: Vec<DateTime<Utc>> = rows.iter().map(|row| row.minute).collect();
    let sums: Vec<i64> = rows.iter().map(|row| row.count).collect();
    tx.run(
        sql::INSERT_REQUESTS,
        [&environments, &resources, &hosts, &labels, &minutes, &sums],
    )
    .await?;
    tx.run(sql::TOUCH, [&minutes]).await?;
    Ok(())
}

async fn insert_evaluations(tx: &Write<'_>, counts: &Counts) -> anyhow::Result<()> {
    let rows = &counts.evaluations;
    if rows.is_empty() {
        return Ok(());
    }
    let environments: Vec<i64> = rows.iter().map(|row| row.place.environment_id).collect();
    let features: Vec<&str> = rows.iter().map(|row| row.feature_name.as_str()).collect();
    let identifiers: Vec<Option<&str>> = rows
        .iter()
        .map(|row| row.identity_identifier.as_deref())
        .collect();
    let enabled: Vec<Option<bool>> = rows.iter().map(|row| row.enabled_when_evaluated).collect();
    let labels: Vec<Value> = rows.iter().map(|row| json(&row.labels)).collect();
    let minutes: Vec<DateTime<Utc>> = rows.iter().map(|row| row.minute).collect();
    let sums: Vec<i64> = rows.iter().map(|row| row.count).collect();
    tx.run(
        sql::INSERT_EVALUATIONS,
        [
            &environments,
            &features,
            &identifiers,
            &enabled,
            &labels,
            &minutes,
            &sums,
        ],
    )
    .await?;
    tx.run(sql::TOUCH, [&minutes]).await?;
    Ok(())
}

/// Makes the buckets of every quarter in which something was counted since; tells how many.
pub(super) async fn fill(pool: &Pool) -> anyhow::Result<usize> {
    let mut filled = 0;
    loop {
        let mut db = pool.get().await?;
        let tx = db.write(None).await?;
        // Two that fill the same bucket would fill it twice.
        tx.run(sql::LOCK_BUCKETS, []).await?;
        let touched: Vec<Quarter> = tx.all(sql::TAKE_TOUCHED, [&AT_ONCE]).await?;
        let quarters: Vec<DateTime<Utc>> = touched.iter().map(|row| row.quarter).collect();
        if quarters.is_empty() {
            return Ok(filled);
        }
        tx.run(sql::FILL_REQUEST_QUARTERS, [&quarters]).await?;
        tx.run(sql::FILL_EVALUATION_QUARTERS, [&quarters]).await?;
        tx.run(sql::FILL_REQUEST_HOURS, [&quarters]).await?;
        tx.run(sql::FILL_EVALUATION_HOURS, [&quarters]).await?;
        tx.commit_silently("sums say nothing new").await?;
        filled += quarters.len();
    }
}

/// Deletes what is too old. Fills the buckets first: what is deleted can be summed up no more.
pub(super) async fn forget(
    pool: &Pool,
    retention: Retention,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    fill(pool).await?;
    let before = |days: u16| now - TimeDelta::days(i64::from(days));
    let (raw, buckets) = (before(retention.raw_days), before(retention.bucket_days));
    let db = pool.get().await?;
    let mut deleted = 0;
    for (statement, limit) in [
        (sql::FORGET_REQUESTS, raw),
        (sql::FORGET_EVALUATIONS, raw),
        (sql::FORGET_REQUEST_BUCKETS, buckets),
        (sql::FORGET_EVALUATION_BUCKETS, buckets),
        (sql::FORGET_BATCHES, now - REMEMBERED),
    ] {
        deleted += db.run(statement, [&limit]).await?;
    }
    Ok(deleted)
}

/// Requests, by day: from the hourly buckets.
pub(super) async fn requests(pool: &Pool, query: &RequestQuery) -> anyhow::Result<Vec<RequestDay>> {
    let db = pool.get().await?;
    let sums: Vec<RequestSum> = db
        .all(
            sql::REQUEST_DAYS,
            [
                &query.environments,
                &query.span.from,
                &query.span.until,
                &json(&query.labels),
            ],
        )
        .await?;
    Ok(days(sums.into_iter().filter_map(|row| {
        let resource = resource(row.resource)?;
        Some((row.day, labels(row.labels), resource, row.count))
    })))
}

/// Evaluations of a feature, by day: from the hourly buckets.
pub(super) async fn evaluations(
    pool: &Pool,
    query: &EvaluationQuery,
) -> anyhow::Result<Vec<EvaluationDay>> {
    let db = pool.get().await?;
    let sums: Vec<EvaluationSum> = db
        .all(
            sql::EVALUATION_DAYS,
            [
                &query.environment_id,
                &query.feature_name,
                &query.span.from,
                &query.span.until,
                &json(&query.labels),
            ],
        )
        .await?;
    let day = |row: EvaluationSum| EvaluationDay {
        day: row.day,
        labels: labels(row.labels),
        count: row.count,
    };
    Ok(sums.into_iter().map(day).collect())
}

/// Only the labels that are there: what filters by some finds all that have them.
fn json(labels: &Labels) -> Value {
    serde_json::to_value(labels).unwrap_or_default()
}

fn labels(json: Value) -> Labels {
    serde_json::from_value(json).unwrap_or_default()
}

fn resource(stored: i16) -> Option<Resource> {
    RESOURCES
        .into_iter()
        .find(|resource| number(*resource) == stored)
}
