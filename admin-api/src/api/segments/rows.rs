//! Reading and writing segments.

use postgres_types::Json;
use tokio_postgres::{Error, Row};

use super::model::Segment;
use super::rules::{self, Missing, Rule};
use crate::http::{ApiError, PageRequest};
use crate::sql::api::segments as sql;
use crate::store::{Db, FromRow, Queries as _, Write};

pub(super) const MISSING: ApiError = ApiError::NotFound("Segment");

/// A row with how many there are.
struct Counted {
    segment: Segment,
    total: i64,
}

impl FromRow for Counted {
    fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            segment: Segment::from_row(row)?,
            total: row.try_get("total")?,
        })
    }
}

/// A page of the project's segments, and how many there are in all.
pub(super) async fn list(
    db: &Db,
    project_id: i64,
    search: Option<&str>,
    include_feature_specific: bool,
    page: &PageRequest,
) -> Result<(i64, Vec<Segment>), Error> {
    let rows: Vec<Counted> = db
        .all(
            sql::LIST,
            [
                &project_id,
                &search,
                &include_feature_specific,
                &page.limit(),
                &page.offset(),
            ],
        )
        .await?;
    let total = rows.first().map_or(0, |row| row.total);
    Ok((total, rows.into_iter().map(|row| row.segment).collect()))
}

/// The segment of the project with this id.
pub(super) async fn find(db: &Db, project_id: i64, id: &str) -> Result<Segment, ApiError> {
    let Ok(id) = id.parse::<i64>() else {
        return Err(MISSING);
    };
    let found: Option<Segment> = db.maybe(sql::GET, [&id]).await?;
    found
        .filter(|segment| segment.project_id == project_id)
        .ok_or(MISSING)
}

/// Gives new ids to the rules and conditions that `missing` counts.
pub(super) async fn number(
    tx: &Write<'_>,
    rules: &mut [Rule],
    missing: Missing,
) -> Result<(), Error> {
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let rule_ids = tx.all(sql::RULE_IDS, [&count(missing.rules)]).await?;
    let condition_ids = tx
        .all(sql::CONDITION_IDS, [&count(missing.conditions)])
        .await?;
    rules::assign_ids(rules, rule_ids, condition_ids);
    Ok(())
}

/// A new segment; its rules get new ids, whatever they carry.
pub(super) async fn insert(
    tx: &Write<'_>,
    project_id: i64,
    feature_id: Option<i64>,
    name: &str,
    description: Option<&str>,
    mut rules: Vec<Rule>,
) -> Result<Segment, Error> {
    let missing = rules::forget_ids(&mut rules);
    number(tx, &mut rules, missing).await?;
    tx.one(
        sql::INSERT,
        [
            &project_id,
            &feature_id,
            &name,
            &description,
            &Json(rules),
            &tx.now(),
        ],
    )
    .await
}

/// Writes a changed segment.
pub(super) async fn save(tx: &Write<'_>, segment: &mut Segment) -> Result<(), Error> {
    segment.updated_at = tx.now();
    tx.run(
        sql::UPDATE,
        [
            &segment.id,
            &segment.feature_id,
            &segment.name,
            &segment.description,
            &segment.rules,
            &segment.updated_at,
        ],
    )
    .await?;
    Ok(())
}
