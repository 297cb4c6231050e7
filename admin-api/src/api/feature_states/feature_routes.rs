//! `features/featurestates/`: states of any environment, with typed values.

use axum::extract::{Path, State as AppState};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::change::{Form, NestedIn};
use super::model::{NestedOut, State};
use super::rows::{self, Filter};
use super::weights::WeightRow;
use super::write;
use crate::access::{self, ManageSegmentOverrides, UpdateFeatureState, ViewEnvironment};
use crate::api::environments::Environment;
use crate::app::App;
use crate::http::{
    Actor, ApiError, Body, Created, Fields, Id, Mode, Page, PageRequest, Params, Patch, Reply,
};
use crate::sql::api::feature_states as sql;
use crate::store::{Db, Queries as _};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get_by_uuid))
        .routes(routes!(update, partial_update))
}

#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// The environment's id; has to be there.
    environment: Option<i64>,
    /// Only states of this feature.
    feature: Option<i64>,
    /// Only the state of this segment override.
    feature_segment: Option<i64>,
    /// Only overrides for this identity.
    identity: Option<i64>,
}

impl ListQuery {
    fn read(mut params: Params) -> Result<Self, ApiError> {
        let query = Self {
            environment: params.id("environment"),
            feature: params.id("feature"),
            feature_segment: params.id("feature_segment"),
            identity: params.id("identity"),
        };
        params.finish()?;
        Ok(query)
    }
}

/// The states of an environment, of every kind.
#[utoipa::path(get, path = "/api/v1/features/featurestates/",
    operation_id = "features_featurestates_list", tag = "Feature states",
    params(ListQuery, PageRequest), responses((status = 200, body = Page<NestedOut>)),
    security(("token" = [])))]
async fn list(
    AppState(app): AppState<App>,
    actor: Actor,
    params: Params,
    page: PageRequest,
) -> Result<Reply<Page<NestedOut>>, ApiError> {
    let query = ListQuery::read(params)?;
    let db = app.db().await?;
    let environment = query.environment;
    let (environment, _) =
        access::parent_environment::<ViewEnvironment>(&db, &actor, environment).await?;
    let filter = Filter {
        feature_id: query.feature,
        feature_segment_id: query.feature_segment,
        identity_id: query.identity,
        ..Filter::default()
    };
    let (count, states) = rows::list(&*db, environment.id, &filter, &page).await?;
    let results = states
        .iter()
        .map(|(state, weights)| NestedOut::new(state, weights))
        .collect();
    Ok(Reply(page.page(count, results)?))
}

/// A state where there is none: an override for a segment or an identity.
#[utoipa::path(post, path = "/api/v1/features/featurestates/",
    operation_id = "features_featurestates_create", tag = "Feature states", request_body = NestedIn,
    responses((status = 201, body = NestedOut)), security(("token" = [])))]
async fn create(
    AppState(app): AppState<App>,
    actor: Actor,
    body: Body,
) -> Result<Created<NestedOut>, ApiError> {
    let mut db = app.db().await?;
    let environment = body.parent("environment");
    let fields = body.fields(Mode::Full)?;
    let segment = fields
        .raw("feature_segment")
        .is_some_and(|id| !id.is_null());
    let environment = changeable(&db, &actor, environment, segment).await?;
    let (state, weights) =
        write::create(&mut db, &actor, &environment, fields, Form::Nested, None).await?;
    Ok(Created(NestedOut::new(&state, &weights)))
}

/// A state by its uuid.
#[utoipa::path(get, path = "/api/v1/features/featurestates/get-by-uuid/{uuid}/",
    operation_id = "features_featurestates_get_by_uuid_retrieve", tag = "Feature states",
    params(("uuid" = Uuid, Path)), responses((status = 200, body = NestedOut)),
    security(("token" = [])))]
async fn get_by_uuid(
    AppState(app): AppState<App>,
    actor: Actor,
    Path(uuid): Path<String>,
) -> Result<Reply<NestedOut>, ApiError> {
    let missing = ApiError::NotFound("FeatureState");
    let Ok(uuid) = uuid.parse::<Uuid>() else {
        return Err(missing);
    };
    let db = app.db().await?;
    let id: Option<i64> = db.maybe(sql::ID_BY_UUID, [&uuid]).await?;
    let Some(id) = id else { return Err(missing) };
    let (state, weights) = rows::get(&*db, id).await?.ok_or(missing)?;
    access::environment_by_id::<ViewEnvironment>(&db, &actor, state.environment_id).await?;
    Ok(Reply(NestedOut::new(&state, &weights)))
}

/// Changes a state; what is left out keeps its value.
#[utoipa::path(put, path = "/api/v1/features/featurestates/{id}/",
    operation_id = "features_featurestates_update", tag = "Feature states",
    params(("id" = i64, Path)), request_body = NestedIn,
    responses((status = 200, body = NestedOut)), security(("token" = [])))]
async fn update(
    AppState(app): AppState<App>,
    actor: Actor,
    Path(id): Path<String>,
    body: Body,
) -> Result<Reply<NestedOut>, ApiError> {
    let (state, weights) = change(&app, &actor, &id, body, Mode::Full).await?;
    Ok(Reply(NestedOut::new(&state, &weights)))
}

/// Changes some of a state.
#[utoipa::path(patch, path = "/api/v1/features/featurestates/{id}/",
    operation_id = "features_featurestates_partial_update", tag = "Feature states",
    params(("id" = i64, Path)), request_body = NestedIn,
    responses((status = 200, body = NestedOut)), security(("token" = [])))]
async fn partial_update(
    AppState(app): AppState<App>,
    actor: Actor,
    Path(id): Path<String>,
    body: Body,
) -> Result<Reply<NestedOut>, ApiError> {
    let (state, weights) = change(&app, &actor, &id, body, Mode::Partial).await?;
    Ok(Reply(NestedOut::new(&state, &weights)))
}

async fn change(
    app: &App,
    actor: &Actor,
    id: &str,
    body: Body,
    mode: Mode,
) -> Result<(State, Vec<WeightRow>), ApiError> {
    let missing = ApiError::NotFound("FeatureState");
    let Ok(id) = id.parse() else {
        return Err(missing);
    };
    let mut db = app.db().await?;
    let (state, _) = rows::get(&*db, id).await?.ok_or(missing)?;
    let environment = changeable(
        &db,
        actor,
        Some(state.environment_id),
        state.feature_segment_id.is_some(),
    )
    .await?;
    let mut fields = body.fields(mode)?;
    keep_place(&mut fields, &state);
    write::update(&mut db, actor, &environment, &state, fields, Form::Nested).await
}

/// A state stays what it is the state of. `feature` and `environment` have to be in a PUT.
fn keep_place(fields: &mut Fields, state: &State) {
    for (name, of, is) in [
        ("feature", "feature", state.feature_id),
        ("environment", "environment", state.environment_id),
    ] {
        if fields.update(name, Id).is_some_and(|given| given != is) {
            fields.error(name, format!("Cannot change the {of} of a feature state"));
        }
    }
    for (name, of, is) in [
        (
            "feature_segment",
            "feature segment",
            state.feature_segment_id,
        ),
        ("identity", "identity", state.identity_id),
    ] {
        if let Patch::Value(given) = fields.nullable(name, Id)
            && Some(given) != is
        {
            fields.error(name, format!("Cannot change the {of} of a feature state"));
        }
    }
}

/// The environment, for a caller who may change its states, or its overrides for segments.
async fn changeable(
    db: &Db,
    actor: &Actor,
    id: Option<i64>,
    segment: bool,
) -> Result<Environment, ApiError> {
    let (environment, _) = if segment {
        access::parent_environment::<ManageSegmentOverrides>(db, actor, id).await?
    } else {
        access::parent_environment::<UpdateFeatureState>(db, actor, id).await?
    };
    Ok(environment)
}
