//! The operations on tags (flagsmith-api.md C.5).

use axum::extract::{Path, State};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::model::{Counted, DEFAULT_COLOR, Tag, TagIn, TagOut};
use crate::access::{In, ManageTags, ViewProject};
use crate::api::projects::Project;
use crate::app::App;
use crate::http::{ApiError, Body, Created, Mode, NoContent, Page, PageRequest, Reply};
use crate::sql::api::tags as sql;
use crate::store::{Entry, Object, Queries as _};

const MISSING: ApiError = ApiError::NotFound("Tag");

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, partial_update, delete))
        .routes(routes!(get_by_uuid))
}

/// The project's tags.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/tags/",
    operation_id = "projects_tags_list", tag = "Tags",
    params(("project_pk" = i64, Path), PageRequest),
    responses((status = 200, body = Page<TagOut>)), security(("token" = [])))]
async fn list(
    State(app): State<App>,
    project: In<Project, ViewProject>,
    page: PageRequest,
) -> Result<Reply<Page<TagOut>>, ApiError> {
    let db = app.db().await?;
    let rows: Vec<Counted> = db
        .all(sql::LIST, [&project.it.id, &page.limit(), &page.offset()])
        .await?;
    let total = rows.first().map_or(0, |row| row.total);
    let tags = rows.into_iter().map(|row| row.tag.into()).collect();
    Ok(Reply(page.page(total, tags)?))
}

/// A new tag.
#[utoipa::path(post, path = "/api/v1/projects/{project_pk}/tags/",
    operation_id = "projects_tags_create", tag = "Tags",
    params(("project_pk" = i64, Path)), request_body = TagIn,
    responses((status = 201, body = TagOut)), security(("token" = [])))]
async fn create(
    State(app): State<App>,
    project: In<Project, ManageTags>,
    body: Body,
) -> Result<Created<TagOut>, ApiError> {
    let mut fields = body.fields(Mode::Full)?;
    let said = TagIn::read(&mut fields);
    fields.finish()?;
    let mut tag = Tag {
        id: 0,
        uuid: Uuid::nil(),
        project_id: project.it.id,
        label: String::new(),
        color: DEFAULT_COLOR.to_owned(),
        description: None,
        is_permanent: false,
        is_system: false,
        kind: String::new(),
    };
    said.apply(&mut tag);
    let mut db = app.db().await?;
    let tx = db.write(Some(&project.actor)).await?;
    let Tag {
        project_id,
        label,
        color,
        description,
        is_permanent,
        ..
    } = &tag;
    let tag: Tag = tx
        .one(
            sql::INSERT,
            [project_id, label, color, description, is_permanent],
        )
        .await?;
    tx.commit(entry(&project.it, &tag, "New Tag created"))
        .await?;
    Ok(Created(tag.into()))
}

/// One tag.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/tags/{id}/",
    operation_id = "projects_tags_retrieve", tag = "Tags",
    params(("project_pk" = i64, Path), ("id" = i64, Path)),
    responses((status = 200, body = TagOut)), security(("token" = [])))]
async fn get(
    State(app): State<App>,
    project: In<Project, ViewProject>,
    Path(path): Path<(String, String)>,
) -> Result<Reply<TagOut>, ApiError> {
    let id = number(&path.1)?;
    let tag: Option<Tag> = app
        .db()
        .await?
        .maybe(sql::GET, [&project.it.id, &id])
        .await?;
    Ok(Reply(tag.ok_or(MISSING)?.into()))
}

/// A tag by its uuid.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/tags/get-by-uuid/{uuid}/",
    operation_id = "projects_tags_get_by_uuid_retrieve", tag = "Tags",
    params(("project_pk" = i64, Path), ("uuid" = Uuid, Path)),
    responses((status = 200, body = TagOut)), security(("token" = [])))]
async fn get_by_uuid(
    State(app): State<App>,
    project: In<Project, ViewProject>,
    Path(path): Path<(String, String)>,
) -> Result<Reply<TagOut>, ApiError> {
    let uuid: Uuid = path.1.parse().map_err(|_| MISSING)?;
    let db = app.db().await?;
    let tag: Option<Tag> = db.maybe(sql::GET_BY_UUID, [&project.it.id, &uuid]).await?;
    Ok(Reply(tag.ok_or(MISSING)?.into()))
}

/// Changes a tag; what is left out, except the label, keeps its value.
#[utoipa::path(put, path = "/api/v1/projects/{project_pk}/tags/{id}/",
    operation_id = "projects_tags_update", tag = "Tags",
    params(("project_pk" = i64, Path), ("id" = i64, Path)), request_body = TagIn,
    responses((status = 200, body = TagOut)), security(("token" = [])))]
async fn update(
    State(app): State<App>,
    project: In<Project, ManageTags>,
    Path(path): Path<(String, String)>,
    body: Body,
) -> Result<Reply<TagOut>, ApiError> {
    change(&app, &project, &path.1, body, Mode::Full).await
}

/// Changes some of a tag.
#[utoipa::path(patch, path = "/api/v1/projects/{project_pk}/tags/{id}/",
    operation_id = "projects_tags_partial_update", tag = "Tags",
    params(("project_pk" = i64, Path), ("id" = i64, Path)), request_body = TagIn,
    responses((status = 200, body = TagOut)), security(("token" = [])))]
async fn partial_update(
    State(app): State<App>,
    project: In<Project, ManageTags>,
    Path(path): Path<(String, String)>,
    body: Body,
) -> Result<Reply<TagOut>, ApiError> {
    change(&app, &project, &path.1, body, Mode::Partial).await
}

/// Deletes a tag, which takes it off every feature.
#[utoipa::path(delete, path = "/api/v1/projects/{project_pk}/tags/{id}/",
    operation_id = "projects_tags_destroy", tag = "Tags",
    params(("project_pk" = i64, Path), ("id" = i64, Path)), responses((status = 204)),
    security(("token" = [])))]
async fn delete(
    State(app): State<App>,
    project: In<Project, ManageTags>,
    Path(path): Path<(String, String)>,
) -> Result<NoContent, ApiError> {
    let id = number(&path.1)?;
    let mut db = app.db().await?;
    let tx = db.write(Some(&project.actor)).await?;
    let tag: Option<Tag> = tx.maybe(sql::LOCK, [&project.it.id, &id]).await?;
    let tag = tag.ok_or(MISSING)?;
    if tag.is_system {
        let body = serde_json::json!({"message": "Cannot delete a system tag."});
        return Err(ApiError::Peculiar(body));
    }
    tx.run(sql::DELETE, [&tag.id]).await?;
    tx.commit(entry(&project.it, &tag, "Tag deleted")).await?;
    Ok(NoContent)
}

async fn change(
    app: &App,
    project: &In<Project, ManageTags>,
    id: &str,
    body: Body,
    mode: Mode,
) -> Result<Reply<TagOut>, ApiError> {
    let id = number(id)?;
    let mut db = app.db().await?;
    let tx = db.write(Some(&project.actor)).await?;
    let tag: Option<Tag> = tx.maybe(sql::LOCK, [&project.it.id, &id]).await?;
    let mut tag = tag.ok_or(MISSING)?;
    let mut fields = body.fields(mode)?;
    let said = TagIn::read(&mut fields);
    fields.finish()?;
    if tag.is_system {
        let message = "Cannot update a system tag.";
        return Err(ApiError::field("non_field_errors", message));
    }
    let before = tag.clone();
    said.apply(&mut tag);
    if tag != before {
        let Tag {
            id,
            label,
            color,
            description,
            is_permanent,
            ..
        } = &tag;
        tx.run(sql::UPDATE, [id, label, color, description, is_permanent])
            .await?;
        tx.commit(entry(&project.it, &tag, "Tag updated")).await?;
    }
    Ok(Reply(tag.into()))
}

fn number(id: &str) -> Result<i64, ApiError> {
    id.parse().map_err(|_| MISSING)
}

/// An entry about a tag. Nothing is published: the edges do not know tags.
fn entry(project: &Project, tag: &Tag, what: &str) -> Entry {
    Entry::new(Object::Tag, tag.id, format!("{what}: {}", tag.label))
        .uuid(tag.uuid)
        .in_project(project.organisation_id, project.id)
}
