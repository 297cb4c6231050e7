//! The operations on options (flagsmith-api.md C.5).

use axum::extract::{Path, State};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::model::{OptionIn, OptionOfFeature, OptionRow};
use super::rows;
use super::rules::DEFAULT_SHARE;
use crate::access::{self, Admin, In, ViewProject};
use crate::api::feature_states::{FlagValue, missing};
use crate::api::features::{self, Feature};
use crate::api::projects::Project;
use crate::app::App;
use crate::http::{
    Actor, ApiError, Body, Created, Fields, Id, Mode, NoContent, Page, PageRequest, Reply,
};
use crate::sql::api::multivariate as sql;
use crate::store::{Db, Entry, Object, Queries as _};

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, partial_update, delete))
        .routes(routes!(get_by_uuid))
}

/// The options of a feature.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/features/{feature_pk}/mv-options/",
    operation_id = "projects_features_mv_options_list", tag = "Multivariate options",
    params(("project_pk" = i64, Path), ("feature_pk" = i64, Path), PageRequest),
    responses((status = 200, body = Page<OptionOfFeature>)), security(("token" = [])))]
async fn list(
    State(app): State<App>,
    project: In<Project, ViewProject>,
    Path(path): Path<(String, String)>,
    page: PageRequest,
) -> Result<Reply<Page<OptionOfFeature>>, ApiError> {
    let db = app.db().await?;
    let feature = features::find(&db, project.it.id, &path.1).await?;
    let options = rows::of_feature(&*db, feature.id).await?;
    Ok(Reply(
        page.slice(options.into_iter().map(Into::into).collect())?,
    ))
}

/// A new option, which makes the feature multivariate.
#[utoipa::path(post, path = "/api/v1/projects/{project_pk}/features/{feature_pk}/mv-options/",
    operation_id = "projects_features_mv_options_create", tag = "Multivariate options",
    params(("project_pk" = i64, Path), ("feature_pk" = i64, Path)), request_body = OptionIn,
    responses((status = 201, body = OptionOfFeature)), security(("token" = [])))]
async fn create(
    State(app): State<App>,
    project: In<Project, Admin>,
    Path(path): Path<(String, String)>,
    body: Body,
) -> Result<Created<OptionOfFeature>, ApiError> {
    let mut db = app.db().await?;
    let feature = features::find(&db, project.it.id, &path.1).await?;
    let mut fields = body.fields(Mode::Full)?;
    of_feature(&mut fields, &feature);
    let said = OptionIn::read(&mut fields, FlagValue::default());
    fields.finish()?;

    let tx = db.write(Some(&project.actor)).await?;
    rows::lock(&tx, feature.id).await?;
    let others = rows::of_feature(&*tx, feature.id).await?;
    rows::check_share(&others, None, said.share(DEFAULT_SHARE))?;
    let option = rows::insert(&tx, feature.id, said).await?;
    rows::set_feature_type(&tx, feature.id).await?;
    tx.commit(entry(&project.it, &feature, "added to")).await?;
    Ok(Created(option.into()))
}

/// One option.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/features/{feature_pk}/mv-options/{id}/",
    operation_id = "projects_features_mv_options_retrieve", tag = "Multivariate options",
    params(("project_pk" = i64, Path), ("feature_pk" = i64, Path), ("id" = i64, Path)),
    responses((status = 200, body = OptionOfFeature)), security(("token" = [])))]
async fn get(
    State(app): State<App>,
    project: In<Project, ViewProject>,
    Path(path): Path<(String, String, String)>,
) -> Result<Reply<OptionOfFeature>, ApiError> {
    let (_, option) = find(&app.db().await?, &project.it, &path.1, &path.2).await?;
    Ok(Reply(option.into()))
}

/// Changes an option; what is left out keeps its value.
#[utoipa::path(put, path = "/api/v1/projects/{project_pk}/features/{feature_pk}/mv-options/{id}/",
    operation_id = "projects_features_mv_options_update", tag = "Multivariate options",
    params(("project_pk" = i64, Path), ("feature_pk" = i64, Path), ("id" = i64, Path)),
    request_body = OptionIn, responses((status = 200, body = OptionOfFeature)),
    security(("token" = [])))]
async fn update(
    State(app): State<App>,
    project: In<Project, Admin>,
    Path(path): Path<(String, String, String)>,
    body: Body,
) -> Result<Reply<OptionOfFeature>, ApiError> {
    change(&app, &project, &path.1, &path.2, body.fields(Mode::Full)?).await
}

/// Changes some of an option.
#[utoipa::path(patch, path = "/api/v1/projects/{project_pk}/features/{feature_pk}/mv-options/{id}/",
    operation_id = "projects_features_mv_options_partial_update", tag = "Multivariate options",
    params(("project_pk" = i64, Path), ("feature_pk" = i64, Path), ("id" = i64, Path)),
    request_body = OptionIn, responses((status = 200, body = OptionOfFeature)),
    security(("token" = [])))]
async fn partial_update(
    State(app): State<App>,
    project: In<Project, Admin>,
    Path(path): Path<(String, String, String)>,
    body: Body,
) -> Result<Reply<OptionOfFeature>, ApiError> {
    change(
        &app,
        &project,
        &path.1,
        &path.2,
        body.fields(Mode::Partial)?,
    )
    .await
}

/// Deletes an option with its share in every state; a feature without options is a standard one.
#[utoipa::path(delete, path = "/api/v1/projects/{project_pk}/features/{feature_pk}/mv-options/{id}/",
    operation_id = "projects_features_mv_options_destroy", tag = "Multivariate options",
    params(("project_pk" = i64, Path), ("feature_pk" = i64, Path), ("id" = i64, Path)),
    responses((status = 204)), security(("token" = [])))]
async fn delete(
    State(app): State<App>,
    project: In<Project, Admin>,
    Path(path): Path<(String, String, String)>,
) -> Result<NoContent, ApiError> {
    let mut db = app.db().await?;
    let (feature, option) = find(&db, &project.it, &path.1, &path.2).await?;
    let tx = db.write(Some(&project.actor)).await?;
    rows::lock(&tx, feature.id).await?;
    if rows::delete(&tx, &[option.id]).await? == 0 {
        return Err(MISSING);
    }
    rows::set_feature_type(&tx, feature.id).await?;
    tx.commit(entry(&project.it, &feature, "removed from"))
        .await?;
    Ok(NoContent)
}

/// An option by its uuid.
#[utoipa::path(get, path = "/api/v1/multivariate/options/get-by-uuid/{uuid}/",
    operation_id = "multivariate_options_get_by_uuid_retrieve", tag = "Multivariate options",
    params(("uuid" = Uuid, Path)), responses((status = 200, body = OptionOfFeature)),
    security(("token" = [])))]
async fn get_by_uuid(
    State(app): State<App>,
    actor: Actor,
    Path(uuid): Path<String>,
) -> Result<Reply<OptionOfFeature>, ApiError> {
    let uuid: Uuid = uuid.parse().map_err(|_| MISSING)?;
    let db = app.db().await?;
    let option: OptionRow = db.maybe(sql::BY_UUID, [&uuid]).await?.ok_or(MISSING)?;
    let feature = features::get(&*db, option.feature_id)
        .await?
        .ok_or(MISSING)?;
    access::project::<ViewProject>(&db, &actor, feature.project_id).await?;
    Ok(Reply(option.into()))
}

const MISSING: ApiError = ApiError::NotFound("MultivariateFeatureOption");

async fn change(
    app: &App,
    project: &In<Project, Admin>,
    feature: &str,
    id: &str,
    mut fields: Fields,
) -> Result<Reply<OptionOfFeature>, ApiError> {
    let mut db = app.db().await?;
    let (feature, option) = find(&db, &project.it, feature, id).await?;
    of_feature(&mut fields, &feature);

    let tx = db.write(Some(&project.actor)).await?;
    rows::lock(&tx, feature.id).await?;
    let options = rows::of_feature(&*tx, feature.id).await?;
    let old = options
        .iter()
        .find(|other| other.id == option.id)
        .ok_or(MISSING)?;
    let said = OptionIn::read(&mut fields, old.value());
    fields.finish()?;
    let share = said.share(old.default_percentage_allocation);
    rows::check_share(&options, Some(old.id), share)?;
    let mut new = old.clone();
    said.apply(&mut new);
    if new != *old {
        rows::update(&tx, &new).await?;
        tx.commit(entry(&project.it, &feature, "changed of"))
            .await?;
    }
    Ok(Reply(new.into()))
}

/// The option that the path names.
async fn find(
    db: &Db,
    project: &Project,
    feature: &str,
    id: &str,
) -> Result<(Feature, OptionRow), ApiError> {
    let feature = features::find(db, project.id, feature).await?;
    let Ok(id) = id.parse::<i64>() else {
        return Err(MISSING);
    };
    let options = rows::of_feature(&**db, feature.id).await?;
    let option = options
        .into_iter()
        .find(|option| option.id == id)
        .ok_or(MISSING)?;
    Ok((feature, option))
}

/// The body has to name the feature that the path names.
fn of_feature(fields: &mut Fields, feature: &Feature) {
    if let Some(given) = fields
        .update("feature", Id)
        .filter(|given| *given != feature.id)
    {
        fields.error("feature", missing(given));
    }
}

fn entry(project: &Project, feature: &Feature, what: &str) -> Entry {
    let log = format!("Multivariate option {what} feature '{}'.", feature.name);
    Entry::new(Object::Feature, feature.id, log)
        .uuid(feature.uuid)
        .in_project(project.organisation_id, project.id)
        .publish_project(project.id)
}
