//! Reading and writing segment overrides.

use deadpool_postgres::GenericClient;
use tokio_postgres::Error;

use super::model::FeatureSegment;
use super::rules::{self, Place};
use crate::api::environments::Environment;
use crate::api::feature_states::missing;
use crate::http::{ApiError, Fields};
use crate::sql::api::feature_segments as sql;
use crate::store::{Queries as _, Write};

pub(super) const MISSING: ApiError = ApiError::NotFound("FeatureSegment");

/// The overrides of a feature in an environment, the winner first.
pub(super) async fn list(
    db: &impl GenericClient,
    environment_id: i64,
    feature_id: i64,
) -> Result<Vec<FeatureSegment>, Error> {
    db.all(sql::LIST, [&environment_id, &feature_id]).await
}

/// These overrides, in the order of their ids.
pub(super) async fn by_ids(
    db: &impl GenericClient,
    ids: &[i64],
) -> Result<Vec<FeatureSegment>, Error> {
    db.all(sql::BY_IDS, [&ids]).await
}

/// Checks that a segment can be used for a feature; says in `fields` why it cannot.
pub(super) async fn check_segment(
    db: &impl GenericClient,
    environment: &Environment,
    feature_id: i64,
    segment_id: i64,
    fields: &mut Fields,
) -> Result<(), Error> {
    let segment: Option<Option<i64>> = db
        .maybe(sql::SEGMENT, [&environment.project_id, &segment_id])
        .await?;
    match segment {
        None => fields.error("segment", missing(segment_id)),
        Some(Some(only)) if only != feature_id => fields.error(
            "feature",
            format!("Can only create segment override(using this segment) for feature {only}"),
        ),
        Some(_) => {}
    }
    Ok(())
}

/// Keeps others from touching the feature's overrides until `tx` ends; gives their order.
pub(super) async fn lock(
    tx: &Write<'_>,
    environment_id: i64,
    feature_id: i64,
) -> Result<Vec<Place>, ApiError> {
    let locked: Option<i64> = tx.maybe(sql::LOCK_FEATURE, [&feature_id]).await?;
    locked.ok_or(ApiError::NotFound("Feature"))?;
    let current = list(&**tx, environment_id, feature_id).await?;
    Ok(current.iter().map(|row| (row.id, row.priority)).collect())
}

/// A new override, at the priority it asks for or after all others.
pub(super) async fn insert(
    tx: &Write<'_>,
    environment_id: i64,
    feature_id: i64,
    segment_id: i64,
    priority: Option<i32>,
) -> Result<FeatureSegment, ApiError> {
    let current = lock(tx, environment_id, feature_id).await?;
    let priority = match priority {
        None => rules::next(&current),
        Some(priority) => {
            set_priorities(tx, &rules::make_room(&current, priority)).await?;
            priority
        }
    };
    let id: i64 = tx
        .one(
            sql::INSERT,
            [&feature_id, &segment_id, &environment_id, &priority],
        )
        .await?;
    by_ids(&**tx, &[id]).await?.pop().ok_or(MISSING)
}

/// Gives overrides new priorities; tells whether that changed any.
pub(super) async fn set_priorities(tx: &Write<'_>, places: &[Place]) -> Result<bool, Error> {
    let ids: Vec<i64> = places.iter().map(|(id, _)| *id).collect();
    let priorities: Vec<i32> = places.iter().map(|(_, priority)| *priority).collect();
    Ok(tx.run(sql::SET_PRIORITIES, [&ids, &priorities]).await? > 0)
}
