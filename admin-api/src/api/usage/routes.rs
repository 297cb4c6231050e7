//! The operations on usage.

use axum::extract::{Path, State};
use serde::Deserialize;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use yardarm_core::edge::delivery::Labels;

use super::model::{
    EvaluationOut, EvaluationsQuery, EventsOut, EventsQuery, TotalOut, UsageOut, UsageQuery,
    evaluation_span, events_span, labels, last_days, span,
};
use crate::access::{Admin, In, ViewProject};
use crate::api::organisations::Organisation;
use crate::api::projects::Project;
use crate::app::App;
use crate::http::{ApiError, Params, Reply};
use crate::sql::api::usage as sql;
use crate::store::Queries as _;
use crate::usage::{EvaluationDay, EvaluationQuery, RequestDay, RequestQuery, Span};

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(usage_data))
        .routes(routes!(total_count))
        .routes(routes!(organisation_influx_data))
        .routes(routes!(evaluation_data))
        .routes(routes!(feature_influx_data))
}

/// The rest of the path, behind the project.
#[derive(Debug, Deserialize)]
struct Named {
    id: String,
}

/// An organisation's requests, by day and labels.
#[utoipa::path(get, path = "/api/v1/organisations/{organisation_pk}/usage-data/",
    operation_id = "organisations_usage_data_list", tag = "Organisations",
    params(("organisation_pk" = i64, Path), UsageQuery),
    responses((status = 200, body = [UsageOut])), security(("token" = [])))]
async fn usage_data(
    State(app): State<App>,
    organisation: In<Organisation, Admin>,
    mut params: Params,
) -> Result<Reply<Vec<UsageOut>>, ApiError> {
    let (project, environment) = (params.id("project_id"), params.id("environment_id"));
    let labels = labels(&params);
    let span = span(&mut params, app.clock().now());
    params.finish()?;
    let asked = Asked {
        project,
        environment,
        labels,
        span: span?,
    };
    let days = requests(&app, &organisation.it, asked).await?;
    Ok(Reply(days.into_iter().map(Into::into).collect()))
}

/// How many requests the organisation had in 30 days.
#[utoipa::path(get, path = "/api/v1/organisations/{organisation_pk}/usage-data/total-count/",
    operation_id = "organisations_usage_data_total_count_retrieve", tag = "Organisations",
    params(("organisation_pk" = i64, Path)), responses((status = 200, body = TotalOut)),
    security(("token" = [])))]
async fn total_count(
    State(app): State<App>,
    organisation: In<Organisation, Admin>,
) -> Result<Reply<TotalOut>, ApiError> {
    let count = total(&app, &organisation.it).await?;
    Ok(Reply(TotalOut { count }))
}

/// An organisation's requests, by day; as older dashboards read them.
#[utoipa::path(get, path = "/api/v1/organisations/{organisation_pk}/influx-data/",
    operation_id = "organisations_influx_data_retrieve", tag = "Organisations",
    params(("organisation_pk" = i64, Path), ("project_id" = Option<i64>, Query),
        ("environment_id" = Option<i64>, Query)),
    responses((status = 200, body = EventsOut)), security(("token" = [])))]
async fn organisation_influx_data(
    State(app): State<App>,
    organisation: In<Organisation, Admin>,
    mut params: Params,
) -> Result<Reply<EventsOut>, ApiError> {
    let (project, environment) = (params.id("project_id"), params.id("environment_id"));
    params.finish()?;
    let asked = Asked {
        project,
        environment,
        labels: Labels::default(),
        span: last_days(30, app.clock().now()),
    };
    let days = requests(&app, &organisation.it, asked).await?;
    Ok(Reply(EventsOut::requests(&days)))
}

/// A feature's evaluations in an environment, by day and labels.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/features/{id}/evaluation-data/",
    operation_id = "projects_features_evaluation_data_list", tag = "Features",
    params(("project_pk" = i64, Path), ("id" = i64, Path), EvaluationsQuery),
    responses((status = 200, body = [EvaluationOut])), security(("token" = [])))]
async fn evaluation_data(
    State(app): State<App>,
    project: In<Project, ViewProject>,
    Path(path): Path<Named>,
    mut params: Params,
) -> Result<Reply<Vec<EvaluationOut>>, ApiError> {
    let feature = feature_name(&app, &project.it, &path.id).await?;
    let environment = params.required_id("environment_id");
    let labels = labels(&params);
    let span = evaluation_span(&mut params, app.clock().now());
    params.finish()?;
    let days = evaluations(&app, &project.it, environment, &feature, labels, span).await?;
    Ok(Reply(days.into_iter().map(Into::into).collect()))
}

/// A feature's evaluations in an environment, by day; as older dashboards read them.
#[utoipa::path(get, path = "/api/v1/projects/{project_pk}/features/{id}/influx-data/",
    operation_id = "projects_features_influx_data_retrieve", tag = "Features",
    params(("project_pk" = i64, Path), ("id" = i64, Path), EventsQuery),
    responses((status = 200, body = EventsOut)), security(("token" = [])))]
async fn feature_influx_data(
    State(app): State<App>,
    project: In<Project, ViewProject>,
    Path(path): Path<Named>,
    mut params: Params,
) -> Result<Reply<EventsOut>, ApiError> {
    let feature = feature_name(&app, &project.it, &path.id).await?;
    let environment = params.required_id("environment_id");
    let span = events_span(&mut params, app.clock().now());
    params.finish()?;
    let labels = Labels::default();
    let days = evaluations(&app, &project.it, environment, &feature, labels, span).await?;
    Ok(Reply(EventsOut::evaluations(&feature, &days)))
}

/// How many requests the organisation had in 30 days.
pub(crate) async fn total(app: &App, organisation: &Organisation) -> Result<i64, ApiError> {
    let asked = Asked {
        project: None,
        environment: None,
        labels: Labels::default(),
        span: last_days(30, app.clock().now()),
    };
    let days = requests(app, organisation, asked).await?;
    Ok(days.iter().map(RequestDay::total).sum())
}

/// What is asked of an organisation's usage.
struct Asked {
    project: Option<i64>,
    environment: Option<i64>,
    labels: Labels,
    span: Span,
}

async fn requests(
    app: &App,
    organisation: &Organisation,
    asked: Asked,
) -> Result<Vec<RequestDay>, ApiError> {
    let Asked {
        project,
        environment,
        labels,
        span,
    } = asked;
    let environments: Vec<i64> = app
        .db()
        .await?
        .all(
            sql::ENVIRONMENTS,
            [&organisation.id, &project, &environment],
        )
        .await?;
    if environments.is_empty() {
        return Ok(Vec::new());
    }
    let query = RequestQuery {
        organisation_id: organisation.id,
        project_id: project,
        environment_id: environment,
        environments,
        span,
        labels,
    };
    Ok(app.usage().requests(&query).await?)
}

async fn evaluations(
    app: &App,
    project: &Project,
    environment: i64,
    feature: &str,
    labels: Labels,
    span: Span,
) -> Result<Vec<EvaluationDay>, ApiError> {
    let theirs: Option<i64> = app
        .db()
        .await?
        .maybe(
            sql::ENVIRONMENTS,
            [
                &project.organisation_id,
                &Some(project.id),
                &Some(environment),
            ],
        )
        .await?;
    let Some(environment_id) = theirs else {
        return Ok(Vec::new());
    };
    let query = EvaluationQuery {
        environment_id,
        feature_name: feature.to_owned(),
        span,
        labels,
    };
    Ok(app.usage().evaluations(&query).await?)
}

async fn feature_name(app: &App, project: &Project, id: &str) -> Result<String, ApiError> {
    let id: i64 = id.parse().map_err(|_| ApiError::NotFound("Feature"))?;
    app.db()
        .await?
        .maybe(sql::FEATURE_NAME, [&project.id, &id])
        .await?
        .ok_or(ApiError::NotFound("Feature"))
}
