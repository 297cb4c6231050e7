//! Loading a resource through the caller's rights. What is refused, and how (flagsmith-observed.md 4.2):
//! an organisation that is not yours and one that does not exist are both 403; a project that you may
//! not see is 404, one that you see but may not change 403; an environment is 404 when there is none
//! and 403 without the right.

use std::marker::PhantomData;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;

use super::ProjectPermission;
use super::policy::{Need, Standing};
use super::right::{EnvironmentRight, OrganisationRight, ProjectRight};
use crate::api::environments::Environment;
use crate::api::organisations::Organisation;
use crate::api::projects::Project;
use crate::app::App;
use crate::http::{Actor, ApiError};
use crate::sql::access as sql;
use crate::store::{Db, Queries as _};

/// The resource that the path names, loaded for a caller who has the right `R` in it.
///
/// The path's parameter is `organisation_pk`, `project_pk` or `environment_api_key`.
#[derive(Debug)]
pub(crate) struct In<T, R> {
    /// The resource.
    pub(crate) it: T,
    /// Who calls.
    pub(crate) actor: Actor,
    /// How the caller stands to it.
    pub(crate) standing: Standing,
    right: PhantomData<R>,
}

impl<T, R> In<T, R> {
    fn new((it, standing): (T, Standing), actor: Actor) -> Self {
        Self {
            it,
            actor,
            standing,
            right: PhantomData,
        }
    }
}

/// The organisation, for a caller who has the right `R` in it.
pub(crate) async fn organisation<R: OrganisationRight>(
    db: &Db,
    actor: &Actor,
    id: i64,
) -> Result<(Organisation, Standing), ApiError> {
    let found: Option<(Organisation, Standing)> =
        db.maybe(sql::ORGANISATION, [&actor.user_id, &id]).await?;
    found
        .filter(|(_, standing)| standing.may(&R::NEED))
        .ok_or(ApiError::Forbidden)
}

/// The project, for a caller who has the right `R` in it.
pub(crate) async fn project<R: ProjectRight>(
    db: &Db,
    actor: &Actor,
    id: i64,
) -> Result<(Project, Standing), ApiError> {
    let found: Option<(Project, Standing)> = db.maybe(sql::PROJECT, [&actor.user_id, &id]).await?;
    match found {
        Some(found) if found.1.may(&R::NEED) => Ok(found),
        Some(found)
            if found
                .1
                .may(&Need::Permission(ProjectPermission::ViewProject)) =>
        {
            Err(ApiError::Forbidden)
        }
        _ => Err(ApiError::NotFound("Project")),
    }
}

/// The project that a body names as the parent of something new: whatever is wrong with it is 403, before
/// the rest of the body is looked at.
pub(crate) async fn parent_project<R: ProjectRight>(
    db: &Db,
    actor: &Actor,
    id: Option<i64>,
) -> Result<(Project, Standing), ApiError> {
    match id {
        Some(id) => project::<R>(db, actor, id).await.map_err(hide),
        None => Err(ApiError::Forbidden),
    }
}

/// The same for an environment.
pub(crate) async fn parent_environment<R: EnvironmentRight>(
    db: &Db,
    actor: &Actor,
    id: Option<i64>,
) -> Result<(Environment, Standing), ApiError> {
    match id {
        Some(id) => environment_by_id::<R>(db, actor, id).await.map_err(hide),
        None => Err(ApiError::Forbidden),
    }
}

fn hide(error: ApiError) -> ApiError {
    match error {
        ApiError::NotFound(_) => ApiError::Forbidden,
        other => other,
    }
}

/// The environment with this client-side key, for a caller who has the right `R` in it.
pub(crate) async fn environment<R: EnvironmentRight>(
    db: &Db,
    actor: &Actor,
    api_key: &str,
) -> Result<(Environment, Standing), ApiError> {
    check_environment::<R>(
        db.maybe(sql::ENVIRONMENT, [&actor.user_id, &api_key])
            .await?,
    )
}

/// The environment with this id, for a caller who has the right `R` in it.
pub(crate) async fn environment_by_id<R: EnvironmentRight>(
    db: &Db,
    actor: &Actor,
    id: i64,
) -> Result<(Environment, Standing), ApiError> {
    check_environment::<R>(
        db.maybe(sql::ENVIRONMENT_BY_ID, [&actor.user_id, &id])
            .await?,
    )
}

fn check_environment<R: EnvironmentRight>(
    found: Option<(Environment, Standing)>,
) -> Result<(Environment, Standing), ApiError> {
    let found = found.ok_or(ApiError::NotFound("Environment"))?;
    if found.1.may(&R::NEED) {
        Ok(found)
    } else {
        Err(ApiError::Forbidden)
    }
}

/// The path's parameter `name`.
async fn parameter(parts: &mut Parts, app: &App, name: &str) -> Result<String, ApiError> {
    let params = RawPathParams::from_request_parts(parts, app)
        .await
        .map_err(|_| ApiError::NotFoundBecause("Not found."))?;
    params
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
        .ok_or_else(|| ApiError::Internal(anyhow::anyhow!("the route has no parameter {name}")))
}

impl<R: OrganisationRight> FromRequestParts<App> for In<Organisation, R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let actor = Actor::from_request_parts(parts, app).await?;
        let id = parameter(parts, app, "organisation_pk").await?;
        let id = id
            .parse()
            .map_err(|_| ApiError::Refused("Invalid organisation ID".to_owned()))?;
        Ok(Self::new(
            organisation::<R>(&app.db().await?, &actor, id).await?,
            actor,
        ))
    }
}

impl<R: ProjectRight> FromRequestParts<App> for In<Project, R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let actor = Actor::from_request_parts(parts, app).await?;
        let id = parameter(parts, app, "project_pk").await?;
        let id = id.parse().map_err(|_| ApiError::NotFound("Project"))?;
        Ok(Self::new(
            project::<R>(&app.db().await?, &actor, id).await?,
            actor,
        ))
    }
}

impl<R: EnvironmentRight> FromRequestParts<App> for In<Environment, R> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let actor = Actor::from_request_parts(parts, app).await?;
        let key = parameter(parts, app, "environment_api_key").await?;
        Ok(Self::new(
            environment::<R>(&app.db().await?, &actor, &key).await?,
            actor,
        ))
    }
}
