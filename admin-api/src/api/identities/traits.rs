//! The operations on an identity's stored traits (flagsmith-api.md C.6).

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::identity;
use super::model::{Identity, IdentityTrait, TraitIn, TraitOut};
use crate::access::{In, ManageIdentities, ViewIdentities};
use crate::api::environments::Environment;
use crate::app::App;
use crate::http::{ApiError, Body, Created, Mode, NoContent, Page, PageRequest, Reply};
use crate::publish::{bury_trait_everywhere, bury_traits, mark_traits};
use crate::sql::api::identities as sql;
use crate::store::{Entry, Object, Queries};

/// The table of this resource's operations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
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

/// The stored traits of an identity.
#[utoipa::path(get, path = "/api/v1/environments/{environment_api_key}/identities/{identity_pk}/traits/",
    operation_id = "environments_identities_traits_list", tag = "Identities",
    params(("environment_api_key" = String, Path), ("identity_pk" = i64, Path), PageRequest),
    responses((status = 200, body = Page<TraitOut>)), security(("token" = [])))]
async fn list(
    State(app): State<App>,
    environment: In<Environment, ViewIdentities>,
    Path(path): Path<Parent>,
    page: PageRequest,
) -> Result<Reply<Page<TraitOut>>, ApiError> {
    let db = app.db().await?;
    let identity = identity(&*db, environment.it.id, &path.identity_pk).await?;
    let count: i64 = db.one(sql::COUNT_TRAITS, [&identity.id]).await?;
    let found: Vec<IdentityTrait> = db
        .all(
            sql::LIST_TRAITS,
            [&identity.id, &page.limit(), &page.offset()],
        )
        .await?;
    let results = found.into_iter().map(Into::into).collect();
    Ok(Reply(page.page(count, results)?))
}

/// A new trait.
#[utoipa::path(post, path = "/api/v1/environments/{environment_api_key}/identities/{identity_pk}/traits/",
    operation_id = "environments_identities_traits_create", tag = "Identities",
    params(("environment_api_key" = String, Path), ("identity_pk" = i64, Path)),
    request_body = TraitIn, responses((status = 201, body = TraitOut)), security(("token" = [])))]
async fn create(
    State(app): State<App>,
    environment: In<Environment, ManageIdentities>,
    Path(path): Path<Parent>,
    body: Body,
) -> Result<Created<TraitOut>, ApiError> {
    let mut db = app.db().await?;
    let tx = db.write(Some(&environment.actor)).await?;
    let identity = identity(&*tx, environment.it.id, &path.identity_pk).await?;
    let mut fields = body.fields(Mode::Full)?;
    let asked = TraitIn::read(&mut fields);
    fields.finish()?;

    let mut new = IdentityTrait::blank(tx.now());
    asked.apply(&mut new);
    let made: IdentityTrait = tx
        .one(
            sql::INSERT_TRAIT,
            [
                &identity.id,
                &new.trait_key,
                &new.value_type,
                &new.string_value,
                &new.integer_value,
                &new.boolean_value,
                &new.float_value,
                &new.created_at,
                &tx.now().timestamp_micros(),
            ],
        )
        .await?;
    mark_traits(&tx, identity.id, Some(&made.trait_key)).await?;
    tx.commit(entry(&environment.it, &identity, "created", &made))
        .await?;
    Ok(Created(made.into()))
}

/// One trait.
#[utoipa::path(get, path = "/api/v1/environments/{environment_api_key}/identities/{identity_pk}/traits/{id}/",
    operation_id = "environments_identities_traits_retrieve", tag = "Identities",
    params(("environment_api_key" = String, Path), ("identity_pk" = i64, Path), ("id" = i64, Path)),
    responses((status = 200, body = TraitOut)), security(("token" = [])))]
async fn get(
    State(app): State<App>,
    environment: In<Environment, ViewIdentities>,
    Path(path): Path<Named>,
) -> Result<Reply<TraitOut>, ApiError> {
    let db = app.db().await?;
    let identity = identity(&*db, environment.it.id, &path.identity_pk).await?;
    Ok(Reply(find(&*db, identity.id, &path.id).await?.into()))
}

/// Changes a trait; what is left out keeps its value.
#[utoipa::path(put, path = "/api/v1/environments/{environment_api_key}/identities/{identity_pk}/traits/{id}/",
    operation_id = "environments_identities_traits_update", tag = "Identities",
    params(("environment_api_key" = String, Path), ("identity_pk" = i64, Path), ("id" = i64, Path)),
    request_body = TraitIn, responses((status = 200, body = TraitOut)), security(("token" = [])))]
async fn update(
    State(app): State<App>,
    environment: In<Environment, ManageIdentities>,
    Path(path): Path<Named>,
    body: Body,
) -> Result<Reply<TraitOut>, ApiError> {
    change(&app, &environment, &path, body, Mode::Full).await
}

/// Changes some of a trait.
#[utoipa::path(patch, path = "/api/v1/environments/{environment_api_key}/identities/{identity_pk}/traits/{id}/",
    operation_id = "environments_identities_traits_partial_update", tag = "Identities",
    params(("environment_api_key" = String, Path), ("identity_pk" = i64, Path), ("id" = i64, Path)),
    request_body = TraitIn, responses((status = 200, body = TraitOut)), security(("token" = [])))]
async fn partial_update(
    State(app): State<App>,
    environment: In<Environment, ManageIdentities>,
    Path(path): Path<Named>,
    body: Body,
) -> Result<Reply<TraitOut>, ApiError> {
    change(&app, &environment, &path, body, Mode::Partial).await
}

async fn change(
    app: &App,
    environment: &In<Environment, ManageIdentities>,
    path: &Named,
    body: Body,
    mode: Mode,
) -> Result<Reply<TraitOut>, ApiError> {
    let mut db = app.db().await?;
    let tx = db.write(Some(&environment.actor)).await?;
    let identity = lock(&*tx, environment.it.id, &path.identity_pk).await?;
    let mut found = find(&*tx, identity.id, &path.id).await?;
    let mut fields = body.fields(mode)?;
    let asked = TraitIn::read(&mut fields);
    fields.finish()?;

    let key_before = found.trait_key.clone();
    asked.apply(&mut found);
    if found.trait_key != key_before {
        // Under another key, the trait of the old one is gone.
        bury_traits(&tx, identity.id, Some(&key_before)).await?;
    }
    tx.run(
        sql::UPDATE_TRAIT,
        [
            &found.id,
            &found.trait_key,
            &found.value_type,
            &found.string_value,
            &found.integer_value,
            &found.boolean_value,
            &found.float_value,
            &tx.now().timestamp_micros(),
        ],
    )
    .await?;
    mark_traits(&tx, identity.id, Some(&found.trait_key)).await?;
    tx.commit(entry(&environment.it, &identity, "updated", &found))
        .await?;
    Ok(Reply(found.into()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DeleteQuery {
    /// `true` deletes the trait of this key from every identity of the environment.
    #[serde(rename = "deleteAllMatchingTraits")]
    delete_all_matching_traits: Option<String>,
}

/// Deletes a trait, of this identity or of all that have it.
#[utoipa::path(delete, path = "/api/v1/environments/{environment_api_key}/identities/{identity_pk}/traits/{id}/",
    operation_id = "environments_identities_traits_destroy", tag = "Identities",
    params(("environment_api_key" = String, Path), ("identity_pk" = i64, Path), ("id" = i64, Path), DeleteQuery),
    responses((status = 204)), security(("token" = [])))]
async fn delete(
    State(app): State<App>,
    environment: In<Environment, ManageIdentities>,
    Path(path): Path<Named>,
    Query(query): Query<DeleteQuery>,
) -> Result<NoContent, ApiError> {
    let everywhere = query
        .delete_all_matching_traits
        .is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "1"));
    let mut db = app.db().await?;
    let tx = db.write(Some(&environment.actor)).await?;
    let identity = lock(&*tx, environment.it.id, &path.identity_pk).await?;
    let found = find(&*tx, identity.id, &path.id).await?;
    if everywhere {
        bury_trait_everywhere(&tx, environment.it.id, &found.trait_key).await?;
        tx.run(
            sql::DELETE_TRAIT_EVERYWHERE,
            [&environment.it.id, &found.trait_key],
        )
        .await?;
    } else {
        bury_traits(&tx, identity.id, Some(&found.trait_key)).await?;
        tx.run(sql::DELETE_TRAIT, [&found.id]).await?;
    }
    tx.commit(entry(&environment.it, &identity, "deleted", &found))
        .await?;
    Ok(NoContent)
}

/// The identity, locked: what SDKs write to it meanwhile waits, as this waits for them.
async fn lock(
    tx: &impl Queries,
    environment_id: i64,
    identity_pk: &str,
) -> Result<Identity, ApiError> {
    let id: i64 = identity_pk
        .parse()
        .map_err(|_| ApiError::NotFound("Identity"))?;
    tx.maybe(sql::LOCK, [&environment_id, &id])
        .await?
        .ok_or(ApiError::NotFound("Identity"))
}

async fn find(db: &impl Queries, identity_id: i64, id: &str) -> Result<IdentityTrait, ApiError> {
    let id: i64 = id.parse().map_err(|_| ApiError::NotFound("Trait"))?;
    db.maybe(sql::GET_TRAIT, [&identity_id, &id])
        .await?
        .ok_or(ApiError::NotFound("Trait"))
}

fn entry(
    environment: &Environment,
    identity: &Identity,
    what: &str,
    about: &IdentityTrait,
) -> Entry {
    Entry::new(
        Object::Identity,
        identity.id,
        format!(
            "Trait {what} for Identity {}: {}",
            identity.identifier, about.trait_key
        ),
    )
    .in_project(environment.organisation_id, environment.project_id)
    .in_environment(environment.id)
}
