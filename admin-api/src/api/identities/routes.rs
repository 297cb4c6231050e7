//! The operations on identities (flagsmith-api.md C.6, "Core").

use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::json;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::model::{Identity, IdentityIn, IdentityOut};
use super::{overrides, traits};
use crate::access::{In, ManageIdentities, ViewIdentities};
use crate::api::environments::Environment;
use crate::app::App;
use crate::http::{ApiError, Body, Created, Mode, NoContent, Page, PageRequest, Reply};
use crate::publish::{bury_traits, mark_identity, mark_renamed};
use crate::sql::api::identities as sql;
use crate::store::{Entry, Object, Queries};

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, partial_update, delete))
        .merge(traits::routes())
        .merge(overrides::routes())
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// Part of the identifier, without regard to case; in double quotes, all of it.
    q: Option<String>,
}

/// The rest of the path, behind the environment.
#[derive(Debug, Deserialize)]
struct Named {
    id: String,
}

/// The identities of an environment, oldest first.
#[utoipa::path(get, path = "/api/v1/environments/{environment_api_key}/identities/",
    operation_id = "environments_identities_list", tag = "Identities",
    params(("environment_api_key" = String, Path), ListQuery, PageRequest),
    responses((status = 200, body = Page<IdentityOut>)), security(("token" = [])))]
async fn list(
    State(app): State<App>,
    environment: In<Environment, ViewIdentities>,
    Query(query): Query<ListQuery>,
    page: PageRequest,
) -> Result<Reply<Page<IdentityOut>>, ApiError> {
    let (exact, part) = search(query.q.as_deref());
    let id = environment.it.id;
    let db = app.db().await?;
    let count: i64 = db.one(sql::COUNT, [&id, &exact, &part]).await?;
    let found: Vec<Identity> = db
        .all(
            sql::LIST,
            [&id, &exact, &part, &page.limit(), &page.offset()],
        )
        .await?;
    let results = found.into_iter().map(Into::into).collect();
    Ok(Reply(page.page(count, results)?))
}

/// What `?q=` asks for: the whole identifier, or a part of it.
fn search(q: Option<&str>) -> (Option<&str>, Option<&str>) {
    match q.filter(|q| !q.is_empty()) {
        None => (None, None),
        Some(q) => match q.strip_prefix('"').and_then(|q| q.strip_suffix('"')) {
            Some(exact) => (Some(exact), None),
            None => (None, Some(q)),
        },
    }
}

/// A new identity.
#[utoipa::path(post, path = "/api/v1/environments/{environment_api_key}/identities/",
    operation_id = "environments_identities_create", tag = "Identities",
    params(("environment_api_key" = String, Path)), request_body = IdentityIn,
    responses((status = 201, body = IdentityOut)), security(("token" = [])))]
async fn create(
    State(app): State<App>,
    environment: In<Environment, ManageIdentities>,
    body: Body,
) -> Result<Created<IdentityOut>, ApiError> {
    let mut fields = body.fields(Mode::Full)?;
    let asked = IdentityIn::read(&mut fields);
    fields.finish()?;
    let identifier = asked.identifier().unwrap_or_default();

    let mut db = app.db().await?;
    let tx = db.write(Some(&environment.actor)).await?;
    let made: Option<Identity> = tx
        .maybe(sql::INSERT, [&environment.it.id, &identifier, &tx.now()])
        .await?;
    let identity = made.ok_or_else(|| {
        ApiError::Peculiar(json!({ "identifier": format!(
            "Identity with identifier '{identifier}' already exists in this environment"
        )}))
    })?;
    mark_identity(&tx, identity.id).await?;
    let entry = entry(&environment.it, &identity, "New Identity created");
    tx.commit(entry).await?;
    Ok(Created(identity.into()))
}

/// One identity.
#[utoipa::path(get, path = "/api/v1/environments/{environment_api_key}/identities/{id}/",
    operation_id = "environments_identities_retrieve", tag = "Identities",
    params(("environment_api_key" = String, Path), ("id" = i64, Path)),
    responses((status = 200, body = IdentityOut)), security(("token" = [])))]
async fn get(
    State(app): State<App>,
    environment: In<Environment, ViewIdentities>,
    Path(path): Path<Named>,
) -> Result<Reply<IdentityOut>, ApiError> {
    let db = app.db().await?;
    Ok(Reply(
        identity(&*db, environment.it.id, &path.id).await?.into(),
    ))
}

/// Gives an identity another identifier.
#[utoipa::path(put, path = "/api/v1/environments/{environment_api_key}/identities/{id}/",
    operation_id = "environments_identities_update", tag = "Identities",
    params(("environment_api_key" = String, Path), ("id" = i64, Path)), request_body = IdentityIn,
    responses((status = 200, body = IdentityOut)), security(("token" = [])))]
async fn update(
    State(app): State<App>,
    environment: In<Environment, ManageIdentities>,
    Path(path): Path<Named>,
    body: Body,
) -> Result<Reply<IdentityOut>, ApiError> {
    change(&app, &environment, &path.id, body, Mode::Full).await
}

/// Gives an identity another identifier.
#[utoipa::path(patch, path = "/api/v1/environments/{environment_api_key}/identities/{id}/",
    operation_id = "environments_identities_partial_update", tag = "Identities",
    params(("environment_api_key" = String, Path), ("id" = i64, Path)), request_body = IdentityIn,
    responses((status = 200, body = IdentityOut)), security(("token" = [])))]
async fn partial_update(
    State(app): State<App>,
    environment: In<Environment, ManageIdentities>,
    Path(path): Path<Named>,
    body: Body,
) -> Result<Reply<IdentityOut>, ApiError> {
    change(&app, &environment, &path.id, body, Mode::Partial).await
}

async fn change(
    app: &App,
    environment: &In<Environment, ManageIdentities>,
    id: &str,
    body: Body,
    mode: Mode,
) -> Result<Reply<IdentityOut>, ApiError> {
    let mut fields = body.fields(mode)?;
    let asked = IdentityIn::read(&mut fields);
    fields.finish()?;

    let mut db = app.db().await?;
    let tx = db.write(Some(&environment.actor)).await?;
    let mut identity: Identity = tx
        .maybe(sql::LOCK, [&environment.it.id, &number(id)?])
        .await?
        .ok_or(ApiError::NotFound("Identity"))?;
    let another = asked.identifier().filter(|new| *new != identity.identifier);
    if let Some(identifier) = another {
        // Its traits go from one name to the other.
        bury_traits(&tx, identity.id, None).await?;
        identity.identifier = identifier;
        tx.run(sql::RENAME, [&identity.id, &identity.identifier])
            .await?;
        mark_renamed(&tx, identity.id).await?;
    }
    let overridden: bool = tx.one(sql::HAS_OVERRIDES, [&identity.id]).await?;
    let entry = entry(&environment.it, &identity, "Identity updated");
    tx.commit(publish_if(overridden, entry, &environment.it))
        .await?;
    Ok(Reply(identity.into()))
}

/// Deletes an identity with its traits and overrides.
#[utoipa::path(delete, path = "/api/v1/environments/{environment_api_key}/identities/{id}/",
    operation_id = "environments_identities_destroy", tag = "Identities",
    params(("environment_api_key" = String, Path), ("id" = i64, Path)),
    responses((status = 204)), security(("token" = [])))]
async fn delete(
    State(app): State<App>,
    environment: In<Environment, ManageIdentities>,
    Path(path): Path<Named>,
) -> Result<NoContent, ApiError> {
    let mut db = app.db().await?;
    let tx = db.write(Some(&environment.actor)).await?;
    let identity: Identity = tx
        .maybe(sql::LOCK, [&environment.it.id, &number(&path.id)?])
        .await?
        .ok_or(ApiError::NotFound("Identity"))?;
    let overridden: bool = tx.one(sql::HAS_OVERRIDES, [&identity.id]).await?;
    bury_traits(&tx, identity.id, None).await?;
    tx.run(sql::DELETE, [&identity.id]).await?;
    let entry = entry(&environment.it, &identity, "Identity deleted");
    tx.commit(publish_if(overridden, entry, &environment.it))
        .await?;
    Ok(NoContent)
}

/// The identity that a path names within an environment.
pub(super) async fn identity(
    db: &impl Queries,
    environment_id: i64,
    id: &str,
) -> Result<Identity, ApiError> {
    db.maybe(sql::GET, [&environment_id, &number(id)?])
        .await?
        .ok_or(ApiError::NotFound("Identity"))
}

fn number(id: &str) -> Result<i64, ApiError> {
    id.parse().map_err(|_| ApiError::NotFound("Identity"))
}

/// Edges hold the identifiers of overridden identities only.
fn publish_if(overridden: bool, entry: Entry, environment: &Environment) -> Entry {
    if overridden {
        entry.publish_environments([environment.id])
    } else {
        entry
    }
}

fn entry(environment: &Environment, identity: &Identity, what: &str) -> Entry {
    Entry::new(
        Object::Identity,
        identity.id,
        format!("{what}: {}", identity.identifier),
    )
    .in_project(environment.organisation_id, environment.project_id)
    .in_environment(environment.id)
}

#[cfg(test)]
mod tests {
    use super::search;

    #[test]
    fn quotes_ask_for_the_whole_identifier() {
        assert_eq!(search(None), (None, None));
        assert_eq!(search(Some("")), (None, None));
        assert_eq!(search(Some("ali")), (None, Some("ali")));
        assert_eq!(search(Some("\"ali\"")), (Some("ali"), None));
        assert_eq!(search(Some("\"")), (None, Some("\"")));
    }
}
