//! `environments/{key}/featurestates/`: the states of one environment, with plain values.

use axum::extract::{Path, State as AppState};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::change::{FlatIn, Form};
use super::model::{FlatOut, ListedOut, PatchedOut, State};
use super::rows::{self, Filter, Listed};
use super::weights::WeightRow;
use super::{audit, write};
use crate::access::{
    EnvironmentRight as _, In, ManageSegmentOverrides, Standing, UpdateFeatureState,
    ViewEnvironment,
};
use crate::api::environments::Environment;
use crate::app::App;
use crate::http::{ApiError, Body, Created, Mode, NoContent, Page, PageRequest, Params, Reply};
use crate::sql::api::feature_states as sql;
use crate::store::{Db, Queries as _};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, partial_update, delete))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Only states of the feature with this id.
    feature: Option<i64>,
    /// Only states of the feature with this name.
    feature_name: Option<String>,
    /// Anything: overrides for identities instead of the environment's defaults.
    #[param(rename = "anyIdentity")]
    any_identity: Option<String>,
}

impl ListQuery {
    fn read(mut params: Params) -> Result<Self, ApiError> {
        let query = Self {
            feature: params.id("feature"),
            feature_name: params.text("feature_name"),
            any_identity: params.text("anyIdentity"),
        };
        params.finish()?;
        Ok(query)
    }
}

/// The environment's defaults, or with `anyIdentity` the overrides for identities.
#[utoipa::path(get, path = "/api/v1/environments/{environment_api_key}/featurestates/",
    operation_id = "environments_featurestates_list", tag = "Feature states",
    params(("environment_api_key" = String, Path), ListQuery, PageRequest),
    responses((status = 200, body = Page<ListedOut>)), security(("token" = [])))]
async fn list(
    AppState(app): AppState<App>,
    environment: In<Environment, ViewEnvironment>,
    params: Params,
    page: PageRequest,
) -> Result<Reply<Page<ListedOut>>, ApiError> {
    let query = ListQuery::read(params)?;
    let listed = if query.any_identity.is_some() {
        Listed::Identities
    } else {
        Listed::Defaults
    };
    let filter = Filter {
        feature_id: query.feature,
        feature_name: query.feature_name,
        listed,
        ..Filter::default()
    };
    let db = app.db().await?;
    let (count, states) = rows::list(&*db, environment.it.id, &filter, &page).await?;
    let results = states
        .iter()
        .map(|(state, weights)| ListedOut::new(state, weights))
        .collect();
    Ok(Reply(page.page(count, results)?))
}

/// A state where there is none: a default that was deleted, or an override.
#[utoipa::path(post, path = "/api/v1/environments/{environment_api_key}/featurestates/",
    operation_id = "environments_featurestates_create", tag = "Feature states",
    params(("environment_api_key" = String, Path)), request_body = FlatIn,
    responses((status = 201, body = FlatOut)), security(("token" = [])))]
async fn create(
    AppState(app): AppState<App>,
    environment: In<Environment, UpdateFeatureState>,
    body: Body,
) -> Result<Created<FlatOut>, ApiError> {
    if body.parent("feature").is_none() {
        return Err(ApiError::Forbidden);
    }
    let fields = body.fields(Mode::Full)?;
    if fields
        .raw("feature_segment")
        .is_some_and(|id| !id.is_null())
    {
        require_overrides(environment.standing)?;
    }
    let mut db = app.db().await?;
    let (state, weights) = write::create(
        &mut db,
        &environment.actor,
        &environment.it,
        fields,
        Form::Flat,
        None,
    )
    .await?;
    Ok(Created(FlatOut::new(&state, &weights)))
}

/// One state.
#[utoipa::path(get, path = "/api/v1/environments/{environment_api_key}/featurestates/{id}/",
    operation_id = "environments_featurestates_retrieve", tag = "Feature states",
    params(("environment_api_key" = String, Path), ("id" = i64, Path)),
    responses((status = 200, body = FlatOut)), security(("token" = [])))]
async fn get(
    AppState(app): AppState<App>,
    environment: In<Environment, ViewEnvironment>,
    Path(path): Path<(String, String)>,
) -> Result<Reply<FlatOut>, ApiError> {
    let (state, weights) = find(&app.db().await?, &environment.it, &path.1).await?;
    Ok(Reply(FlatOut::new(&state, &weights)))
}

/// Changes a state; what is left out keeps its value.
#[utoipa::path(put, path = "/api/v1/environments/{environment_api_key}/featurestates/{id}/",
    operation_id = "environments_featurestates_update", tag = "Feature states",
    params(("environment_api_key" = String, Path), ("id" = i64, Path)), request_body = FlatIn,
    responses((status = 200, body = FlatOut)), security(("token" = [])))]
async fn update(
    AppState(app): AppState<App>,
    environment: In<Environment, UpdateFeatureState>,
    Path(path): Path<(String, String)>,
    body: Body,
) -> Result<Reply<FlatOut>, ApiError> {
    let (state, weights) = change(&app, environment, &path.1, body).await?;
    Ok(Reply(FlatOut::new(&state, &weights)))
}

/// Changes some of a state; as in Flagsmith, little of it comes back.
#[utoipa::path(patch, path = "/api/v1/environments/{environment_api_key}/featurestates/{id}/",
    operation_id = "environments_featurestates_partial_update", tag = "Feature states",
    params(("environment_api_key" = String, Path), ("id" = i64, Path)), request_body = FlatIn,
    responses((status = 200, body = PatchedOut)), security(("token" = [])))]
async fn partial_update(
    AppState(app): AppState<App>,
    environment: In<Environment, UpdateFeatureState>,
    Path(path): Path<(String, String)>,
    body: Body,
) -> Result<Reply<PatchedOut>, ApiError> {
    let (state, _) = change(&app, environment, &path.1, body).await?;
    Ok(Reply(PatchedOut::new(&state)))
}

/// Deletes a state. Without its default, a feature has no value in the environment.
#[utoipa::path(delete, path = "/api/v1/environments/{environment_api_key}/featurestates/{id}/",
    operation_id = "environments_featurestates_destroy", tag = "Feature states",
    params(("environment_api_key" = String, Path), ("id" = i64, Path)), responses((status = 204)),
    security(("token" = [])))]
async fn delete(
    AppState(app): AppState<App>,
    environment: In<Environment, UpdateFeatureState>,
    Path(path): Path<(String, String)>,
) -> Result<NoContent, ApiError> {
    let mut db = app.db().await?;
    let (state, _) = find(&db, &environment.it, &path.1).await?;
    require_for(environment.standing, &state)?;
    let tx = db.write(Some(&environment.actor)).await?;
    if tx.run(sql::DELETE, [&state.id]).await? == 0 {
        return Err(ApiError::NotFound("FeatureState"));
    }
    tx.commit(audit::removed(&environment.it, &state)).await?;
    Ok(NoContent)
}

async fn change(
    app: &App,
    environment: In<Environment, UpdateFeatureState>,
    id: &str,
    body: Body,
) -> Result<(State, Vec<WeightRow>), ApiError> {
    let fields = body.fields(Mode::Partial)?;
    let mut db = app.db().await?;
    let (state, _) = find(&db, &environment.it, id).await?;
    require_for(environment.standing, &state)?;
    write::update(
        &mut db,
        &environment.actor,
        &environment.it,
        &state,
        fields,
        Form::Flat,
    )
    .await
}

async fn find(
    db: &Db,
    environment: &Environment,
    id: &str,
) -> Result<(State, Vec<WeightRow>), ApiError> {
    let missing = ApiError::NotFound("FeatureState");
    let Ok(id) = id.parse() else {
        return Err(missing);
    };
    let found = rows::get(&**db, id).await?;
    found
        .filter(|(state, _)| state.environment_id == environment.id)
        .ok_or(missing)
}

/// Overrides for segments ask for a right of their own.
fn require_for(standing: Standing, state: &State) -> Result<(), ApiError> {
    if state.feature_segment_id.is_some() {
        require_overrides(standing)
    } else {
        Ok(())
    }
}

fn require_overrides(standing: Standing) -> Result<(), ApiError> {
    if standing.may(&ManageSegmentOverrides::NEED) {
        Ok(())
    } else {
        Err(ApiError::Forbidden)
    }
}
