//! The operations on projects (flagsmith-api.md C.4).

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::model::{Project, ProjectDetail, ProjectIn, ProjectOut, Totals};
use crate::access::{
    self, Admin, CreateProject, Described, In, Member, MyPermissions, Permission as _,
    ProjectPermission, ViewProject,
};
use crate::api::environments::{Environment, EnvironmentOut};
use crate::app::App;
use crate::http::{Actor, ApiError, Body, Created, FieldErrors, Id, Mode, NoContent, Reply};
use crate::sql::api::projects as sql;
use crate::store::{Entry, Object, Queries as _, Write};

/// The table of this file's operations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(permissions))
        .routes(routes!(get_by_uuid))
        .routes(routes!(get, update, partial_update, delete))
        .routes(routes!(my_permissions))
        .routes(routes!(environments))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only projects of this organisation.
    #[param(value_type = Option<i64>)]
    organisation: Option<String>,
    /// Only the project with this uuid.
    uuid: Option<Uuid>,
}

/// The projects that the caller may see.
#[utoipa::path(get, path = "/api/v1/projects/", operation_id = "projects_list", tag = "Projects",
    params(ListQuery), responses((status = 200, body = [ProjectOut])), security(("token" = [])))]
async fn list(
    State(app): State<App>,
    actor: Actor,
    Query(query): Query<ListQuery>,
) -> Result<Reply<Vec<ProjectOut>>, ApiError> {
    let organisation: Option<i64> = match query.organisation.map(|id| id.parse()) {
        None => None,
        Some(Ok(id)) => Some(id),
        Some(Err(_)) => {
            let mut errors = FieldErrors::default();
            errors.set("organisation", "Must be a valid integer.".into());
            return Err(errors.into());
        }
    };
    let projects: Vec<Project> = app
        .db()
        .await?
        .all(sql::LIST, [&actor.user_id, &organisation, &query.uuid])
        .await?;
    Ok(Reply(projects.into_iter().map(Into::into).collect()))
}

/// A new project.
#[utoipa::path(post, path = "/api/v1/projects/", operation_id = "projects_create", tag = "Projects",
    request_body = ProjectIn, responses((status = 201, body = ProjectOut)), security(("token" = [])))]
async fn create(
    State(app): State<App>,
    actor: Actor,
    body: Body,
) -> Result<Created<ProjectOut>, ApiError> {
    let mut db = app.db().await?;
    if let Some(organisation) = body.parent("organisation") {
        access::organisation::<CreateProject>(&db, &actor, organisation).await?;
    }
    let mut fields = body.fields(Mode::Full)?;
    let asked = ProjectIn::read(&mut fields);
    let organisation = fields.required("organisation", Id);
    fields.finish()?;

    let tx = db.write(Some(&actor)).await?;
    let name = asked.name().unwrap_or_default();
    let mut project: Project = tx
        .one(sql::INSERT, [&organisation, &name, &tx.now()])
        .await?;
    asked.apply(&mut project);
    save(&tx, &project).await?;
    let entry = entry(&project, format!("New Project created: {}", project.name));
    tx.commit(entry).await?;
    Ok(Created(project.into()))
}

/// One project, with its limits.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/", operation_id = "projects_retrieve",
    tag = "Projects", params(("project_pk" = i64, Path)),
    responses((status = 200, body = ProjectDetail)), security(("token" = [])))]
async fn get(
    State(app): State<App>,
    project: In<Project, ViewProject>,
) -> Result<Reply<ProjectDetail>, ApiError> {
    let totals: Totals = app.db().await?.one(sql::TOTALS, [&project.it.id]).await?;
    Ok(Reply(ProjectDetail::new(project.it, totals)))
}

/// One project, by its uuid.
#[utoipa::path(get, path = "/api/v1/projects/get-by-uuid/{uuid}/",
    operation_id = "projects_get_by_uuid_retrieve", tag = "Projects", params(("uuid" = Uuid, Path)),
    responses((status = 200, body = ProjectOut)), security(("token" = [])))]
async fn get_by_uuid(
    State(app): State<App>,
    actor: Actor,
    Path(uuid): Path<String>,
) -> Result<Reply<ProjectOut>, ApiError> {
    let uuid: Uuid = uuid.parse().map_err(|_| ApiError::NotFound("Project"))?;
    let db = app.db().await?;
    let id: i64 = db
        .maybe(sql::ID_BY_UUID, [&uuid])
        .await?
        .ok_or(ApiError::NotFound("Project"))?;
    let (project, _) = access::project::<ViewProject>(&db, &actor, id).await?;
    Ok(Reply(project.into()))
}

/// Changes a project; what is left out keeps its value.
#[utoipa::path(put, path = "/api/v1/projects/{project_pk}/", operation_id = "projects_update",
    tag = "Projects", params(("project_pk" = i64, Path)), request_body = ProjectIn,
    responses((status = 200, body = ProjectOut)), security(("token" = [])))]
async fn update(
    State(app): State<App>,
    project: In<Project, Admin>,
    body: Body,
) -> Result<Reply<ProjectOut>, ApiError> {
    change(&app, project, body, Mode::Full).await
}

/// Changes some of a project.
#[utoipa::path(patch, path = "/api/v1/projects/{project_pk}/",
    operation_id = "projects_partial_update", tag = "Projects", params(("project_pk" = i64, Path)),
    request_body = ProjectIn, responses((status = 200, body = ProjectOut)), security(("token" = [])))]
async fn partial_update(
    State(app): State<App>,
    project: In<Project, Admin>,
    body: Body,
) -> Result<Reply<ProjectOut>, ApiError> {
    change(&app, project, body, Mode::Partial).await
}

async fn change(
    app: &App,
    project: In<Project, Admin>,
    body: Body,
    mode: Mode,
) -> Result<Reply<ProjectOut>, ApiError> {
    let mut fields = body.fields(mode)?;
    let asked = ProjectIn::read(&mut fields);
    fields.finish()?;

    let mut db = app.db().await?;
    let tx = db.write(Some(&project.actor)).await?;
    let mut project: Project = tx
        .maybe(sql::LOCK, [&project.it.id])
        .await?
        .ok_or(ApiError::NotFound("Project"))?;
    asked.apply(&mut project);
    save(&tx, &project).await?;
    let entry = entry(&project, format!("Project updated: {}", project.name));
    tx.commit(entry.publish_project(project.id)).await?;
    Ok(Reply(project.into()))
}

/// Deletes a project with everything in it. Its environments' keys stop working at every edge.
#[utoipa::path(delete, path = "/api/v1/projects/{project_pk}/", operation_id = "projects_destroy",
    tag = "Projects", params(("project_pk" = i64, Path)), responses((status = 204)),
    security(("token" = [])))]
async fn delete(
    State(app): State<App>,
    project: In<Project, Admin>,
) -> Result<NoContent, ApiError> {
    let mut db = app.db().await?;
    let tx = db.write(Some(&project.actor)).await?;
    let project = project.it;
    tx.run(sql::DELETE, [&project.id]).await?;
    tx.commit(entry(
        &project,
        format!("Project deleted: {}", project.name),
    ))
    .await?;
    Ok(NoContent)
}

/// The permissions that can be granted in a project.
#[utoipa::path(get, path = "/api/v1/projects/permissions/", operation_id = "projects_permissions_list",
    tag = "Projects", responses((status = 200, body = [Described])), security(("token" = [])))]
async fn permissions(_actor: Actor) -> Reply<Vec<Described>> {
    Reply(ProjectPermission::catalogue())
}

/// What the caller may do in the project.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/my-permissions/",
    operation_id = "projects_my_permissions_retrieve", tag = "Projects",
    params(("project_pk" = i64, Path)), responses((status = 200, body = MyPermissions)),
    security(("token" = [])))]
async fn my_permissions(project: In<Project, Member>) -> Reply<MyPermissions> {
    Reply(project.standing.into())
}

/// The project's environments.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/environments/",
    operation_id = "projects_environments_retrieve", tag = "Projects",
    params(("project_pk" = i64, Path)), responses((status = 200, body = [EnvironmentOut])),
    security(("token" = [])))]
async fn environments(
    State(app): State<App>,
    project: In<Project, ViewProject>,
) -> Result<Reply<Vec<EnvironmentOut>>, ApiError> {
    let environments: Vec<Environment> = app
        .db()
        .await?
        .all(sql::ENVIRONMENTS, [&project.it.id])
        .await?;
    Ok(Reply(environments.into_iter().map(Into::into).collect()))
}

async fn save(tx: &Write<'_>, project: &Project) -> Result<(), ApiError> {
    let Project {
        id,
        uuid: _,
        organisation_id: _,
        name,
        hide_disabled_flags,
        prevent_flag_defaults,
        enable_realtime_updates,
        only_allow_lower_case_feature_names,
        feature_name_regex,
        stale_flags_limit_days,
        minimum_change_request_approvals,
        enforce_feature_owners,
    } = project;
    tx.run(
        sql::UPDATE,
        [
            id,
            name,
            hide_disabled_flags,
            prevent_flag_defaults,
            enable_realtime_updates,
            only_allow_lower_case_feature_names,
            feature_name_regex,
            stale_flags_limit_days,
            minimum_change_request_approvals,
            enforce_feature_owners,
        ],
    )
    .await?;
    Ok(())
}

fn entry(project: &Project, log: String) -> Entry {
    Entry::new(Object::Project, project.id, log)
        .uuid(project.uuid)
        .in_project(project.organisation_id, project.id)
}
