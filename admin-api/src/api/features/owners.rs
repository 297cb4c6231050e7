//! Who looks after a feature. Owning one gives no rights.

use axum::extract::{Path, State};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::model::{Feature, OwnedOut};
use super::queries;
use super::routes::entry;
use crate::access::{CreateFeature, In};
use crate::api::feature_states::not_a_list;
use crate::api::projects::Project;
use crate::app::App;
use crate::http::{ApiError, Body, Field as _, Fields, Id, Mode, Reply};
use crate::sql::api::features as sql;
use crate::store::{Db, Queries as _};

/// The table of these operations.
pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(add))
        .routes(routes!(remove))
}

/// Who is meant.
#[derive(Debug, ToSchema)]
#[schema(as = FeatureOwnerInput)]
#[expect(
    dead_code,
    reason = "bodies are read field by field; this describes them"
)]
struct OwnersIn {
    user_ids: Vec<i64>,
}

/// Makes people owners of a feature.
#[utoipa::path(post, path = "/api/v1/projects/{project_pk}/features/{id}/add-owners/",
    operation_id = "projects_features_add_owners_create", tag = "Features",
    params(("project_pk" = i64, Path), ("id" = i64, Path)), request_body = OwnersIn,
    responses((status = 200, body = OwnedOut)), security(("token" = [])))]
async fn add(
    State(app): State<App>,
    project: In<Project, CreateFeature>,
    Path(path): Path<(String, String)>,
    body: Body,
) -> Result<Reply<OwnedOut>, ApiError> {
    let mut db = app.db().await?;
    let feature = queries::find(&db, project.it.id, &path.1).await?;
    let mut fields = body.fields(Mode::Full)?;
    let people = read_ids(&mut fields, "user_ids");
    fields.finish()?;
    let people = people.unwrap_or_default();
    check_members(&db, &project.it, &people).await?;
    let tx = db.write(Some(&project.actor)).await?;
    if tx.run(sql::ADD_OWNERS, [&feature.id, &people]).await? > 0 {
        tx.commit(entry(&project.it, &feature, "updated")).await?;
    }
    owned(&app.db().await?, feature).await
}

/// Makes people owners of a feature no longer.
#[utoipa::path(post, path = "/api/v1/projects/{project_pk}/features/{id}/remove-owners/",
    operation_id = "projects_features_remove_owners_create", tag = "Features",
    params(("project_pk" = i64, Path), ("id" = i64, Path)), request_body = OwnersIn,
    responses((status = 200, body = OwnedOut)), security(("token" = [])))]
async fn remove(
    State(app): State<App>,
    project: In<Project, CreateFeature>,
    Path(path): Path<(String, String)>,
    body: Body,
) -> Result<Reply<OwnedOut>, ApiError> {
    let mut db = app.db().await?;
    let feature = queries::find(&db, project.it.id, &path.1).await?;
    let mut fields = body.fields(Mode::Full)?;
    let people = read_ids(&mut fields, "user_ids");
    fields.finish()?;
    let people = people.unwrap_or_default();
    let tx = db.write(Some(&project.actor)).await?;
    let removed = tx.run(sql::REMOVE_OWNERS, [&feature.id, &people]).await?;
    let left = queries::owners(&*tx, &[feature.id]).await?;
    if project.it.enforce_feature_owners && left.is_empty() && removed > 0 {
        return Err(ApiError::field("non_field_errors", NO_OWNER));
    }
    if removed > 0 {
        tx.commit(entry(&project.it, &feature, "updated")).await?;
    }
    owned(&app.db().await?, feature).await
}

/// What is said where the project wants owners and a feature would have none.
pub(super) const NO_OWNER: &str = "A feature of this project needs an owner.";

/// Refuses people who are not in the project's organisation.
pub(super) async fn check_members(
    db: &Db,
    project: &Project,
    people: &[i64],
) -> Result<(), ApiError> {
    let known: Vec<i64> = db
        .all(sql::MEMBERS, [&project.organisation_id, &people])
        .await?;
    if people.iter().all(|id| known.contains(id)) {
        Ok(())
    } else {
        Err(ApiError::field("non_field_errors", "Some users not found"))
    }
}

/// A list of ids.
pub(super) fn read_ids(fields: &mut Fields, name: &str) -> Option<Vec<i64>> {
    let items = match fields.raw(name) {
        None => {
            fields.error(name, "This field is required.");
            return None;
        }
        Some(serde_json::Value::Array(items)) => items,
        Some(other) => {
            let error = not_a_list(other);
            fields.set_error(name, error);
            return None;
        }
    };
    let ids: Result<Vec<i64>, Vec<String>> = items.iter().map(|item| Id.read(item)).collect();
    match ids {
        Ok(ids) => Some(ids),
        Err(messages) => {
            for message in messages {
                fields.error(name, message);
            }
            None
        }
    }
}

async fn owned(db: &Db, feature: Feature) -> Result<Reply<OwnedOut>, ApiError> {
    let owners = queries::owners(&**db, &[feature.id]).await?;
    Ok(Reply(OwnedOut::new(feature, owners)))
}
