//! The operations on an identity's overrides: states that are its alone (flagsmith-api.md C.5, the third
//! surface).

use axum::extract::{Path, State as AppState};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::identity;
use super::model::{Identity, IdentityTrait};
use super::resolved::{ResolvedOut, resolve};
use crate::access::{In, UpdateFeatureState, ViewIdentities};
use crate::api::environments::Environment;
use crate::api::feature_states::{
    self as states, Filter, FlatIn, FlatOut, Form, ListedOut, PatchedOut, State, WeightRow,
};
use crate::app::App;
use crate::http::{ApiError, Body, Created, Id, Mode, NoContent, Page, PageRequest, Reply};
use crate::publish::{Assembled, assemble};
use crate::sql::api::identities as sql;
use crate::store::{Db, Entry, Object, Queries as _};

/// The table of these operations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(all))
        .routes(routes!(clone_from_given_identity))
        .routes(routes!(get, update, partial_update, delete))
}

/// The rest of the path, behind the environment.
#[derive(Debug, Deserialize)]
struct Parent {
    identity_pk: String,
}

#[derive(Debug, Deserialize)]
struct Named {
    identity_pk: String,
    id: String,
}

/// The overrides of an identity.
#[utoipa::path(get, path = "/api/v1/environments/{environment_api_key}/identities/{identity_pk}/featurestates/",
    operation_id = "environments_identities_featurestates_list", tag = "Identities",
    params(("environment_api_key" = String, Path), ("identity_pk" = i64, Path), PageRequest),
    responses((status = 200, body = Page<ListedOut>)), security(("token" = [])))]
async fn list(
    AppState(app): AppState<App>,
    environment: In<Environment, ViewIdentities>,
    Path(path): Path<Parent>,
    page: PageRequest,
) -> Result<Reply<Page<ListedOut>>, ApiError> {
    let db = app.db().await?;
    let identity = identity(&*db, environment.it.id, &path.identity_pk).await?;
    let filter = Filter {
        identity_id: Some(identity.id),
        ..Filter::default()
    };
    let (count, found) = states::list(&*db, environment.it.id, &filter, &page).await?;
    let results = found
        .iter()
        .map(|(state, weights)| ListedOut::new(state, weights))
        .collect();
    Ok(Reply(page.page(count, results)?))
}

/// A new override.
#[utoipa::path(post, path = "/api/v1/environments/{environment_api_key}/identities/{identity_pk}/featurestates/",
    operation_id = "environments_identities_featurestates_create", tag = "Identities",
    params(("environment_api_key" = String, Path), ("identity_pk" = i64, Path)), request_body = FlatIn,
    responses((status = 201, body = FlatOut)), security(("token" = [])))]
async fn create(
    AppState(app): AppState<App>,
    environment: In<Environment, UpdateFeatureState>,
    Path(path): Path<Parent>,
    body: Body,
) -> Result<Created<FlatOut>, ApiError> {
    let mut db = app.db().await?;
    let identity = identity(&*db, environment.it.id, &path.identity_pk).await?;
    // A feature that is not of this project is as good as forbidden (flagsmith-observed.md 4.2).
    let feature = body.parent("feature").ok_or(ApiError::Forbidden)?;
    states::initial_value(&db, &environment.it, feature)
        .await?
        .ok_or(ApiError::Forbidden)?;
    let fields = body.fields(Mode::Full)?;
    let (state, weights) = states::create(
        &mut db,
        &environment.actor,
        &environment.it,
        fields,
        Form::Flat,
        Some(identity.id),
    )
    .await?;
    Ok(Created(FlatOut::new(&state, &weights)))
}

/// One override.
#[utoipa::path(get, path = "/api/v1/environments/{environment_api_key}/identities/{identity_pk}/featurestates/{id}/",
    operation_id = "environments_identities_featurestates_retrieve", tag = "Identities",
    params(("environment_api_key" = String, Path), ("identity_pk" = i64, Path), ("id" = i64, Path)),
    responses((status = 200, body = FlatOut)), security(("token" = [])))]
async fn get(
    AppState(app): AppState<App>,
    environment: In<Environment, ViewIdentities>,
    Path(path): Path<Named>,
) -> Result<Reply<FlatOut>, ApiError> {
    let db = app.db().await?;
    let identity = identity(&*db, environment.it.id, &path.identity_pk).await?;
    let state = find(&db, &identity, &path.id).await?;
    let (state, weights) = states::get(&*db, state.id)
        .await?
        .ok_or(ApiError::NotFound("FeatureState"))?;
    Ok(Reply(FlatOut::new(&state, &weights)))
}

/// Changes an override; what is left out keeps its value.
#[utoipa::path(put, path = "/api/v1/environments/{environment_api_key}/identities/{identity_pk}/featurestates/{id}/",
    operation_id = "environments_identities_featurestates_update", tag = "Identities",
    params(("environment_api_key" = String, Path), ("identity_pk" = i64, Path), ("id" = i64, Path)),
    request_body = FlatIn, responses((status = 200, body = FlatOut)), security(("token" = [])))]
async fn update(
    AppState(app): AppState<App>,
    environment: In<Environment, UpdateFeatureState>,
    Path(path): Path<Named>,
    body: Body,
) -> Result<Reply<FlatOut>, ApiError> {
    let (state, weights) = change(&app, &environment, &path, body).await?;
    Ok(Reply(FlatOut::new(&state, &weights)))
}

/// Changes some of an override; as in Flagsmith, little of it comes back.
#[utoipa::path(patch, path = "/api/v1/environments/{environment_api_key}/identities/{identity_pk}/featurestates/{id}/",
    operation_id = "environments_identities_featurestates_partial_update", tag = "Identities",
    params(("environment_api_key" = String, Path), ("identity_pk" = i64, Path), ("id" = i64, Path)),
    request_body = FlatIn, responses((status = 200, body = PatchedOut)), security(("token" = [])))]
async fn partial_update(
    AppState(app): AppState<App>,
    environment: In<Environment, UpdateFeatureState>,
    Path(path): Path<Named>,
    body: Body,
) -> Result<Reply<PatchedOut>, ApiError> {
    let (state, _) = change(&app, &environment, &path, body).await?;
    Ok(Reply(PatchedOut::new(&state)))
}

async fn change(
    app: &App,
    environment: &In<Environment, UpdateFeatureState>,
    path: &Named,
    body: Body,
) -> Result<(State, Vec<WeightRow>), ApiError> {
    let mut db = app.db().await?;
    let identity = identity(&*db, environment.it.id, &path.identity_pk).await?;
    let state = find(&db, &identity, &path.id).await?;
    let fields = body.fields(Mode::Partial)?;
    states::update(
        &mut db,
        &environment.actor,
        &environment.it,
        &state,
        fields,
        Form::Flat,
    )
    .await
}

/// Deletes an override: the identity gets what everybody gets.
#[utoipa::path(delete, path = "/api/v1/environments/{environment_api_key}/identities/{identity_pk}/featurestates/{id}/",
    operation_id = "environments_identities_featurestates_destroy", tag = "Identities",
    params(("environment_api_key" = String, Path), ("identity_pk" = i64, Path), ("id" = i64, Path)),
    responses((status = 204)), security(("token" = [])))]
async fn delete(
    AppState(app): AppState<App>,
    environment: In<Environment, UpdateFeatureState>,
    Path(path): Path<Named>,
) -> Result<NoContent, ApiError> {
    let mut db = app.db().await?;
    let identity = identity(&*db, environment.it.id, &path.identity_pk).await?;
    let state = find(&db, &identity, &path.id).await?;
    let tx = db.write(Some(&environment.actor)).await?;
    if tx.run(sql::DELETE_OVERRIDE, [&state.id]).await? == 0 {
        return Err(ApiError::NotFound("FeatureState"));
    }
    tx.commit(states::removed(&environment.it, &state)).await?;
    Ok(NoContent)
}

/// What the identity gets of every feature, and why.
#[utoipa::path(get, path = "/api/v1/environments/{environment_api_key}/identities/{identity_pk}/featurestates/all/",
    operation_id = "environments_identities_featurestates_all_retrieve", tag = "Identities",
    params(("environment_api_key" = String, Path), ("identity_pk" = i64, Path)),
    responses((status = 200, body = [ResolvedOut])), security(("token" = [])))]
async fn all(
    AppState(app): AppState<App>,
    environment: In<Environment, ViewIdentities>,
    Path(path): Path<Parent>,
) -> Result<Reply<Vec<ResolvedOut>>, ApiError> {
    let mut db = app.db().await?;
    let identity = identity(&*db, environment.it.id, &path.identity_pk).await?;
    Ok(Reply(resolved(&mut db, &environment.it, identity).await?))
}

/// Whose overrides to take over.
#[derive(Debug, ToSchema)]
#[schema(as = CloneIdentityFeatureStatesRequest)]
#[expect(
    dead_code,
    reason = "bodies are read field by field; this describes them"
)]
struct CloneIn {
    /// The id of another identity of the environment.
    source_identity_id: i64,
}

/// Gives the identity the overrides of another one, and no others.
#[utoipa::path(post,
    path = "/api/v1/environments/{environment_api_key}/identities/{identity_pk}/featurestates/clone-from-given-identity/",
    operation_id = "environments_identities_featurestates_clone_from_given_identity_create",
    tag = "Identities", params(("environment_api_key" = String, Path), ("identity_pk" = i64, Path)),
    request_body = CloneIn, responses((status = 200, body = [ResolvedOut])), security(("token" = [])))]
async fn clone_from_given_identity(
    AppState(app): AppState<App>,
    environment: In<Environment, UpdateFeatureState>,
    Path(path): Path<Parent>,
    body: Body,
) -> Result<Reply<Vec<ResolvedOut>>, ApiError> {
    let mut db = app.db().await?;
    let target = identity(&*db, environment.it.id, &path.identity_pk).await?;
    let mut fields = body.fields(Mode::Full)?;
    let source = fields.required("source_identity_id", Id);
    fields.finish()?;
    let source = identity(&*db, environment.it.id, &source.to_string()).await?;

    let tx = db.write(Some(&environment.actor)).await?;
    if source.id != target.id {
        tx.run(sql::DELETE_OTHER_OVERRIDES, [&source.id, &target.id])
            .await?;
        tx.run(sql::COPY_OVERRIDES, [&source.id, &target.id, &tx.now()])
            .await?;
        tx.run(sql::COPY_OVERRIDE_SHARES, [&source.id, &target.id])
            .await?;
    }
    let log = format!(
        "Overrides of Identity {} copied to Identity {}",
        source.identifier, target.identifier
    );
    let entry = Entry::new(Object::Identity, target.id, log)
        .in_project(environment.it.organisation_id, environment.it.project_id)
        .in_environment(environment.it.id)
        .publish_environments([environment.it.id]);
    tx.commit(entry).await?;
    Ok(Reply(resolved(&mut db, &environment.it, target).await?))
}

async fn find(db: &Db, identity: &Identity, id: &str) -> Result<State, ApiError> {
    let missing = ApiError::NotFound("FeatureState");
    let Ok(id) = id.parse() else {
        return Err(missing);
    };
    let found = states::get(&**db, id).await?;
    found
        .map(|(state, _)| state)
        .filter(|state| state.identity_id == Some(identity.id))
        .ok_or(missing)
}

/// Evaluates what would be published, by the rules that edges use.
async fn resolved(
    db: &mut Db,
    environment: &Environment,
    identity: Identity,
) -> Result<Vec<ResolvedOut>, ApiError> {
    let tx = db.read().await?;
    let traits: Vec<IdentityTrait> = tx.all(sql::TRAITS, [&identity.id]).await?;
    let assembled = assemble(&tx, &environment.api_key).await?;
    tx.commit().await?;
    let Some(Assembled::Environment(publication)) = assembled else {
        return Err(ApiError::NotFound("Environment"));
    };
    // Compiling a large environment takes a while: not on a thread that answers requests.
    let resolved = tokio::task::spawn_blocking(move || resolve(*publication, &identity, &traits));
    let resolved = resolved
        .await
        .map_err(|error| ApiError::Internal(error.into()))?;
    Ok(resolved?)
}
