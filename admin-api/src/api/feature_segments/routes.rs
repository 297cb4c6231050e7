//! `features/feature-segments/`: overrides apart from their states (flagsmith-api.md C.5).

use axum::extract::{Path, State};
use serde_json::Value;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::model::{CreatedOut, FeatureSegment, FeatureSegmentIn, FeatureSegmentOut, PriorityIn};
use super::rows::{self, MISSING};
use super::rules::{self, Place};
use crate::access::{self, EnvironmentRight, ManageSegmentOverrides, ViewEnvironment};
use crate::api::environments::Environment;
use crate::api::feature_states::{missing, not_a_list};
use crate::api::features::{self, Feature};
use crate::app::App;
use crate::http::{
    Actor, ApiError, Body, Created, FieldErrors, Fields, Id, Int, Mode, NoContent, Page,
    PageRequest, Params, Reply,
};
use crate::sql::api::feature_segments as sql;
use crate::store::{Db, Entry, Object, Queries as _};

/// The table of these operations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(update_priorities))
        .routes(routes!(get_by_uuid))
        .routes(routes!(get, delete))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The environment's id.
    environment: i64,
    /// The feature's id.
    feature: i64,
}

impl ListQuery {
    fn read(mut params: Params) -> Result<Self, ApiError> {
        let query = Self {
            environment: params.required_id("environment"),
            feature: params.required_id("feature"),
        };
        params.finish()?;
        Ok(query)
    }
}

/// The overrides of a feature in an environment, the winner first.
#[utoipa::path(get, path = "/api/v1/features/feature-segments/",
    operation_id = "features_feature_segments_list", tag = "Feature segments",
    params(ListQuery, PageRequest), responses((status = 200, body = Page<FeatureSegmentOut>)),
    security(("token" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    params: Params,
    page: PageRequest,
) -> Result<Reply<Page<FeatureSegmentOut>>, ApiError> {
    let query = ListQuery::read(params)?;
    let db = app.db().await?;
    let id = Some(query.environment);
    let (environment, _) = access::parent_environment::<ViewEnvironment>(&db, &actor, id).await?;
    let rows = rows::list(&*db, environment.id, query.feature).await?;
    Ok(Reply(
        page.slice(rows.into_iter().map(Into::into).collect())?,
    ))
}

/// A new override, after all others. It does nothing until it has a state.
#[utoipa::path(post, path = "/api/v1/features/feature-segments/",
    operation_id = "features_feature_segments_create", tag = "Feature segments",
    request_body = FeatureSegmentIn, responses((status = 201, body = CreatedOut)),
    security(("token" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    body: Body,
) -> Result<Created<CreatedOut>, ApiError> {
    let environment = body.parent("environment");
    let mut db = app.db().await?;
    let (environment, _) =
        access::parent_environment::<ManageSegmentOverrides>(&db, &actor, environment).await?;
    let mut fields = body.fields(Mode::Full)?;
    let feature_id = fields.required("feature", Id);
    let segment_id = fields.required("segment", Id);
    let feature = features::get(&*db, feature_id).await?;
    let Some(feature) = feature.filter(|feature| feature.project_id == environment.project_id)
    else {
        if !fields.has_error("feature") {
            fields.error("feature", missing(feature_id));
        }
        return Err(fields
            .finish()
            .err()
            .unwrap_or(ApiError::NotFound("Feature")));
    };
    if !fields.has_error("segment") {
        rows::check_segment(&*db, &environment, feature.id, segment_id, &mut fields).await?;
    }
    fields.finish()?;

    let tx = db.write(Some(&actor)).await?;
    let row = rows::insert(&tx, environment.id, feature.id, segment_id, None).await?;
    let log = format!(
        "Segment '{}' added to feature '{}'.",
        row.segment_name, feature.name
    );
    tx.commit(entry(&environment, &feature, log)).await?;
    Ok(Created(row.into()))
}

/// One override.
#[utoipa::path(get, path = "/api/v1/features/feature-segments/{id}/",
    operation_id = "features_feature_segments_retrieve", tag = "Feature segments",
    params(("id" = i64, Path)), responses((status = 200, body = FeatureSegmentOut)),
    security(("token" = [])))]
async fn get(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<Reply<FeatureSegmentOut>, ApiError> {
    let id = id.parse().map_err(|_| MISSING)?;
    let (_, row) = find::<ViewEnvironment>(&app.db().await?, &actor, id).await?;
    Ok(Reply(row.into()))
}

/// An override by its uuid.
#[utoipa::path(get, path = "/api/v1/features/feature-segments/get-by-uuid/{uuid}/",
    operation_id = "features_feature_segments_get_by_uuid_retrieve", tag = "Feature segments",
    params(("uuid" = Uuid, Path)), responses((status = 200, body = FeatureSegmentOut)),
    security(("token" = [])))]
async fn get_by_uuid(
    State(app): State<App>,
    actor: Actor,
    Path(uuid): Path<String>,
) -> Result<Reply<FeatureSegmentOut>, ApiError> {
    let uuid: Uuid = uuid.parse().map_err(|_| MISSING)?;
    let db = app.db().await?;
    let id: i64 = db.maybe(sql::ID_BY_UUID, [&uuid]).await?.ok_or(MISSING)?;
    let (_, row) = find::<ViewEnvironment>(&db, &actor, id).await?;
    Ok(Reply(row.into()))
}

/// Deletes an override with its state.
#[utoipa::path(delete, path = "/api/v1/features/feature-segments/{id}/",
    operation_id = "features_feature_segments_destroy", tag = "Feature segments",
    params(("id" = i64, Path)), responses((status = 204)), security(("token" = [])))]
async fn delete(
    State(app): State<App>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<NoContent, ApiError> {
    let id = id.parse().map_err(|_| MISSING)?;
    let mut db = app.db().await?;
    let (environment, row) = find::<ManageSegmentOverrides>(&db, &actor, id).await?;
    let feature = features::get(&*db, row.feature_id).await?.ok_or(MISSING)?;
    let tx = db.write(Some(&actor)).await?;
    rows::lock(&tx, environment.id, feature.id).await?;
    if tx.run(sql::DELETE, [&row.id]).await? == 0 {
        return Err(MISSING);
    }
    let log = format!(
        "Flag state / Remote config value deleted for feature '{}' and segment '{}'",
        feature.name, row.segment_name
    );
    tx.commit(entry(&environment, &feature, log).publish_environments([environment.id]))
        .await?;
    Ok(NoContent)
}

/// Moves overrides of one feature in one environment. They come back in the order of their ids.
#[utoipa::path(post, path = "/api/v1/features/feature-segments/update-priorities/",
    operation_id = "features_feature_segments_update_priorities_create", tag = "Feature segments",
    request_body = [PriorityIn], responses((status = 200, body = [FeatureSegmentOut])),
    security(("token" = [])))]
async fn update_priorities(
    State(app): State<App>,
    actor: Actor,
    body: Body,
) -> Result<Reply<Vec<FeatureSegmentOut>>, ApiError> {
    let wanted = read_priorities(&body.into_value())?;
    let ids: Vec<i64> = wanted.iter().map(|(id, _)| *id).collect();
    let mut db = app.db().await?;
    let rows = rows::by_ids(&*db, &ids).await?;
    if !ids.iter().all(|id| rows.iter().any(|row| row.id == *id)) {
        let message = "Some of the provided ids were not found.";
        return Err(ApiError::field("non_field_errors", message));
    }
    let Some(first) = rows.first() else {
        return Ok(Reply(Vec::new()));
    };
    let id = Some(first.environment_id);
    let (environment, _) =
        access::parent_environment::<ManageSegmentOverrides>(&db, &actor, id).await?;
    let together = |row: &FeatureSegment| {
        (row.feature_id, row.environment_id) == (first.feature_id, first.environment_id)
    };
    if !rows.iter().all(together) {
        let message = "All of them must belong to one feature in one environment.";
        return Err(ApiError::field("non_field_errors", message));
    }
    let feature = features::get(&*db, first.feature_id)
        .await?
        .ok_or(MISSING)?;

    let tx = db.write(Some(&actor)).await?;
    let current = rows::lock(&tx, environment.id, feature.id).await?;
    let changed = rows::set_priorities(&tx, &rules::rearrange(&current, &wanted)).await?;
    let rows = rows::by_ids(&*tx, &ids).await?;
    if changed {
        let log = format!(
            "Segment overrides re-ordered for feature '{}'.",
            feature.name
        );
        let entry = entry(&environment, &feature, log);
        tx.commit(entry.publish_environments([environment.id]))
            .await?;
    }
    Ok(Reply(rows.into_iter().map(Into::into).collect()))
}

fn read_priorities(body: &Value) -> Result<Vec<Place>, ApiError> {
    let Some(items) = body.as_array() else {
        return Err(ApiError::Peculiar(not_a_list(body)));
    };
    let read: Vec<Result<Place, FieldErrors>> = items
        .iter()
        .map(|item| {
            let mut fields = Fields::of(item.clone(), Mode::Full)?;
            let id = fields.required("id", Id);
            let priority = fields.required("priority", Int::between(0, i32::MAX));
            fields.into_result()?;
            Ok((id, priority))
        })
        .collect();
    if read.iter().any(Result::is_err) {
        let errors = read
            .into_iter()
            .map(|one| one.err().unwrap_or_default().into_value());
        return Err(ApiError::Peculiar(errors.collect()));
    }
    let mut places: Vec<Place> = Vec::with_capacity(read.len());
    for (id, priority) in read.into_iter().flatten() {
        // The last word counts.
        places.retain(|(other, _)| *other != id);
        places.push((id, priority));
    }
    Ok(places)
}

async fn find<R: EnvironmentRight>(
    db: &Db,
    actor: &Actor,
    id: i64,
) -> Result<(Environment, FeatureSegment), ApiError> {
    let row = rows::by_ids(&**db, &[id]).await?.pop().ok_or(MISSING)?;
    let id = Some(row.environment_id);
    let (environment, _) = access::parent_environment::<R>(db, actor, id).await?;
    Ok((environment, row))
}

/// An entry about a feature in an environment.
fn entry(environment: &Environment, feature: &Feature, log: String) -> Entry {
    Entry::new(Object::Feature, feature.id, log)
        .uuid(feature.uuid)
        .in_project(environment.organisation_id, environment.project_id)
        .in_environment(environment.id)
}
