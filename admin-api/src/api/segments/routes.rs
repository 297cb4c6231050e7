//! The operations on segments (flagsmith-api.md C.5).

use axum::extract::{Path, State};
use postgres_types::Json;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::model::{Associated, AssociatedOut, CloneIn, Segment, SegmentIn, SegmentOut};
use super::rows::{self, MISSING};
use super::rules;
use crate::access::{self, In, ManageSegments, ViewProject};
use crate::api::feature_states::missing;
use crate::api::projects::Project;
use crate::app::App;
use crate::http::{
    Actor, ApiError, Body, Bool, Created, Mode, NoContent, Page, PageRequest, Params, Reply,
};
use crate::sql::api::segments as sql;
use crate::store::{Db, Entry, Object, Queries as _};

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, partial_update, delete))
        .routes(routes!(get_by_uuid))
        .routes(routes!(clone))
        .routes(routes!(associated_features))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Part of the name.
    q: Option<String>,
    /// Also segments that are for one feature only; true if it is left out.
    include_feature_specific: Option<bool>,
}

impl ListQuery {
    fn read(mut params: Params) -> Result<Self, ApiError> {
        let query = Self {
            q: params.text("q"),
            include_feature_specific: params.read("include_feature_specific", Bool),
        };
        params.finish()?;
        Ok(query)
    }
}

/// The project's segments.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/segments/",
    operation_id = "projects_segments_list", tag = "Segments",
    params(("project_pk" = i64, Path), ListQuery, PageRequest),
    responses((status = 200, body = Page<SegmentOut>)), security(("token" = [])))]
async fn list(
    State(app): State<App>,
    project: In<Project, ViewProject>,
    params: Params,
    page: PageRequest,
) -> Result<Reply<Page<SegmentOut>>, ApiError> {
    let query = ListQuery::read(params)?;
    let specific = query.include_feature_specific.unwrap_or(true);
    let db = app.db().await?;
    let (count, segments) =
        rows::list(&db, project.it.id, query.q.as_deref(), specific, &page).await?;
    Ok(Reply(page.page(
        count,
        segments.into_iter().map(Into::into).collect(),
    )?))
}

/// A new segment.
#[utoipa::path(post, path = "/api/v1/projects/{project_pk}/segments/",
    operation_id = "projects_segments_create", tag = "Segments",
    params(("project_pk" = i64, Path)), request_body = SegmentIn,
    responses((status = 201, body = SegmentOut)), security(("token" = [])))]
async fn create(
    State(app): State<App>,
    project: In<Project, ManageSegments>,
    body: Body,
) -> Result<Created<SegmentOut>, ApiError> {
    let said = SegmentIn::read(body.fields(Mode::Full)?)?;
    let mut db = app.db().await?;
    check_feature(&db, project.it.id, &said).await?;
    let tx = db.write(Some(&project.actor)).await?;
    let mut segment = Segment {
        id: 0,
        uuid: Uuid::nil(),
        project_id: project.it.id,
        feature_id: None,
        name: String::new(),
        description: None,
        rules: Json(Vec::new()),
        created_at: tx.now(),
        updated_at: tx.now(),
    };
    let rules = said.apply(&mut segment).unwrap_or_default();
    let Segment {
        feature_id,
        name,
        description,
        ..
    } = &segment;
    let segment = rows::insert(
        &tx,
        project.it.id,
        *feature_id,
        name,
        description.as_deref(),
        rules,
    )
    .await?;
    tx.commit(entry(&project.it, &segment, "New Segment created"))
        .await?;
    Ok(Created(segment.into()))
}

/// One segment.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/segments/{id}/",
    operation_id = "projects_segments_retrieve", tag = "Segments",
    params(("project_pk" = i64, Path), ("id" = i64, Path)),
    responses((status = 200, body = SegmentOut)), security(("token" = [])))]
async fn get(
    State(app): State<App>,
    project: In<Project, ViewProject>,
    Path(path): Path<(String, String)>,
) -> Result<Reply<SegmentOut>, ApiError> {
    Ok(Reply(
        rows::find(&app.db().await?, project.it.id, &path.1)
            .await?
            .into(),
    ))
}

/// A segment by its uuid.
#[utoipa::path(get, path = "/api/v1/segments/get-by-uuid/{uuid}/",
    operation_id = "segments_get_by_uuid_retrieve", tag = "Segments", params(("uuid" = Uuid, Path)),
    responses((status = 200, body = SegmentOut)), security(("token" = [])))]
async fn get_by_uuid(
    State(app): State<App>,
    actor: Actor,
    Path(uuid): Path<String>,
) -> Result<Reply<SegmentOut>, ApiError> {
    let uuid: Uuid = uuid.parse().map_err(|_| MISSING)?;
    let db = app.db().await?;
    let id: i64 = db.maybe(sql::ID_BY_UUID, [&uuid]).await?.ok_or(MISSING)?;
    let segment: Segment = db.maybe(sql::GET, [&id]).await?.ok_or(MISSING)?;
    access::project::<ViewProject>(&db, &actor, segment.project_id).await?;
    Ok(Reply(segment.into()))
}

/// Changes a segment. Rules and conditions that are sent with their ids keep them.
#[utoipa::path(put, path = "/api/v1/projects/{project_pk}/segments/{id}/",
    operation_id = "projects_segments_update", tag = "Segments",
    params(("project_pk" = i64, Path), ("id" = i64, Path)), request_body = SegmentIn,
    responses((status = 200, body = SegmentOut)), security(("token" = [])))]
async fn update(
    State(app): State<App>,
    project: In<Project, ManageSegments>,
    Path(path): Path<(String, String)>,
    body: Body,
) -> Result<Reply<SegmentOut>, ApiError> {
    change(&app, &project, &path.1, body, Mode::Full).await
}

/// Changes some of a segment.
#[utoipa::path(patch, path = "/api/v1/projects/{project_pk}/segments/{id}/",
    operation_id = "projects_segments_partial_update", tag = "Segments",
    params(("project_pk" = i64, Path), ("id" = i64, Path)), request_body = SegmentIn,
    responses((status = 200, body = SegmentOut)), security(("token" = [])))]
async fn partial_update(
    State(app): State<App>,
    project: In<Project, ManageSegments>,
    Path(path): Path<(String, String)>,
    body: Body,
) -> Result<Reply<SegmentOut>, ApiError> {
    change(&app, &project, &path.1, body, Mode::Partial).await
}

/// Deletes a segment with its overrides.
#[utoipa::path(delete, path = "/api/v1/projects/{project_pk}/segments/{id}/",
    operation_id = "projects_segments_destroy", tag = "Segments",
    params(("project_pk" = i64, Path), ("id" = i64, Path)), responses((status = 204)),
    security(("token" = [])))]
async fn delete(
    State(app): State<App>,
    project: In<Project, ManageSegments>,
    Path(path): Path<(String, String)>,
) -> Result<NoContent, ApiError> {
    let mut db = app.db().await?;
    let segment = rows::find(&db, project.it.id, &path.1).await?;
    let tx = db.write(Some(&project.actor)).await?;
    if tx.run(sql::DELETE, [&segment.id]).await? == 0 {
        return Err(MISSING);
    }
    tx.commit(entry(&project.it, &segment, "Segment deleted"))
        .await?;
    Ok(NoContent)
}

/// A copy of a segment, without its overrides.
#[utoipa::path(post, path = "/api/v1/projects/{project_pk}/segments/{id}/clone/",
    operation_id = "projects_segments_clone_create", tag = "Segments",
    params(("project_pk" = i64, Path), ("id" = i64, Path)), request_body = CloneIn,
    responses((status = 201, body = SegmentOut)), security(("token" = [])))]
async fn clone(
    State(app): State<App>,
    project: In<Project, ManageSegments>,
    Path(path): Path<(String, String)>,
    body: Body,
) -> Result<Created<SegmentOut>, ApiError> {
    let mut db = app.db().await?;
    let Segment {
        feature_id,
        description,
        rules,
        ..
    } = rows::find(&db, project.it.id, &path.1).await?;
    let said = CloneIn::read(body.fields(Mode::Full)?)?;
    let tx = db.write(Some(&project.actor)).await?;
    let description = description.as_deref();
    let segment = rows::insert(
        &tx,
        project.it.id,
        feature_id,
        &said.name,
        description,
        rules.0,
    )
    .await?;
    tx.commit(entry(&project.it, &segment, "New Segment created"))
        .await?;
    Ok(Created(segment.into()))
}

/// The states that a segment has, in all environments or in one.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/segments/{id}/associated-features/",
    operation_id = "projects_segments_associated_features_list", tag = "Segments",
    params(("project_pk" = i64, Path), ("id" = i64, Path), ("environment" = Option<i64>, Query), PageRequest),
    responses((status = 200, body = Page<AssociatedOut>)), security(("token" = [])))]
async fn associated_features(
    State(app): State<App>,
    project: In<Project, ViewProject>,
    Path(path): Path<(String, String)>,
    mut params: Params,
    page: PageRequest,
) -> Result<Reply<Page<AssociatedOut>>, ApiError> {
    let environment = params.id("environment");
    params.finish()?;
    let db = app.db().await?;
    let segment = rows::find(&db, project.it.id, &path.1).await?;
    let rows: Vec<Associated> = db
        .all(
            sql::ASSOCIATED_FEATURES,
            [&segment.id, &environment, &page.limit(), &page.offset()],
        )
        .await?;
    let count = rows.first().map_or(0, |row| row.total);
    Ok(Reply(
        page.page(count, rows.into_iter().map(Into::into).collect())?,
    ))
}

async fn change(
    app: &App,
    project: &In<Project, ManageSegments>,
    id: &str,
    body: Body,
    mode: Mode,
) -> Result<Reply<SegmentOut>, ApiError> {
    let mut db = app.db().await?;
    let segment = rows::find(&db, project.it.id, id).await?;
    let said = SegmentIn::read(body.fields(mode)?)?;
    check_feature(&db, project.it.id, &said).await?;

    let tx = db.write(Some(&project.actor)).await?;
    let before: Segment = tx.maybe(sql::LOCK, [&segment.id]).await?.ok_or(MISSING)?;
    let mut segment = before.clone();
    if let Some(mut rules) = said.apply(&mut segment) {
        let missing = rules::keep_ids(&mut rules, &mut segment.rules.0);
        rows::number(&tx, &mut rules, missing).await?;
        segment.rules = Json(rules);
    }
    if segment != before {
        rows::save(&tx, &mut segment).await?;
        tx.commit(entry(&project.it, &segment, "Segment updated"))
            .await?;
    }
    Ok(Reply(segment.into()))
}

/// A segment can be for a feature of its own project only.
async fn check_feature(db: &Db, project_id: i64, said: &SegmentIn) -> Result<(), ApiError> {
    let Some(id) = said.feature() else {
        return Ok(());
    };
    let known: bool = db.one(sql::FEATURE_EXISTS, [&project_id, &id]).await?;
    if known {
        Ok(())
    } else {
        Err(ApiError::field("feature", missing(id)))
    }
}

/// An entry about a segment. Documents hold all segments of the project, so every environment changes.
fn entry(project: &Project, segment: &Segment, what: &str) -> Entry {
    Entry::new(
        Object::Segment,
        segment.id,
        format!("{what}: {}", segment.name),
    )
    .uuid(segment.uuid)
    .in_project(project.organisation_id, project.id)
    .publish_project(project.id)
}
