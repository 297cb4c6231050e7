//! The operations on targets: for superusers.

use axum::extract::{Path, State};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::model::{Target, TargetIn, TargetOut, TargetState};
use crate::access::Superuser;
use crate::app::App;
use crate::http::{ApiError, Body, Created, Mode, NoContent, Page, PageRequest, Reply};
use crate::jobs::enqueue;
use crate::publish::Reconcile;
use crate::sql::api::edge_targets as sql;
use crate::store::{Entry, Object, Queries as _, Write};

const NOT_FOUND: ApiError = ApiError::NotFound("EdgeTarget");

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(get, update, partial_update, delete))
        .routes(routes!(reconcile))
}

/// The edges to publish to, with how far behind each is.
#[utoipa::path(get, path = "/api/v1/edge/targets/", operation_id = "edge_targets_list", tag = "Edge",
    params(PageRequest), responses((status = 200, body = Page<TargetOut>)), security(("token" = [])))]
async fn list(
    State(app): State<App>,
    _: Superuser,
    page: PageRequest,
) -> Result<Reply<Page<TargetOut>>, ApiError> {
    let (none, now) = (None::<i64>, app.clock().now());
    let states: Vec<TargetState> = app.db().await?.all(sql::STATES, [&none, &now]).await?;
    Ok(Reply(
        page.slice(states.into_iter().map(Into::into).collect())?,
    ))
}

/// A new target. It is given everything at once.
#[utoipa::path(post, path = "/api/v1/edge/targets/", operation_id = "edge_targets_create", tag = "Edge",
    request_body = TargetIn, responses((status = 201, body = TargetOut)), security(("token" = [])))]
async fn create(
    State(app): State<App>,
    Superuser(actor): Superuser,
    body: Body,
) -> Result<Created<TargetOut>, ApiError> {
    let mut fields = body.fields(Mode::Full)?;
    let asked = TargetIn::read(&mut fields, true);
    fields.finish()?;
    let mut target = Target {
        id: 0,
        name: String::new(),
        url: String::new(),
        secret: String::new(),
        enabled: true,
    };
    asked.apply(&mut target);

    let mut db = app.db().await?;
    let tx = db.write(Some(&actor)).await?;
    let Target {
        name,
        url,
        secret,
        enabled,
        ..
    } = &target;
    target.id = tx
        .one(sql::INSERT, [name, url, secret, enabled, &tx.now()])
        .await?;
    enqueue(
        &*tx,
        &Reconcile {
            target_id: target.id,
        },
    )
    .await?;
    let out = show(&tx, target.id).await?;
    tx.commit(entry(&target, "New edge target")).await?;
    Ok(Created(out))
}

/// One target, with how far behind it is.
#[utoipa::path(get, path = "/api/v1/edge/targets/{id}/", operation_id = "edge_targets_retrieve", tag = "Edge",
    params(("id" = i64, Path)), responses((status = 200, body = TargetOut)), security(("token" = [])))]
async fn get(
    State(app): State<App>,
    _: Superuser,
    Path(id): Path<String>,
) -> Result<Reply<TargetOut>, ApiError> {
    let (id, now) = (Some(number(&id)?), app.clock().now());
    let state: Option<TargetState> = app.db().await?.maybe(sql::STATES, [&id, &now]).await?;
    Ok(Reply(state.ok_or(NOT_FOUND)?.into()))
}

/// Changes a target. At another address it is given everything again.
#[utoipa::path(put, path = "/api/v1/edge/targets/{id}/", operation_id = "edge_targets_update", tag = "Edge",
    params(("id" = i64, Path)), request_body = TargetIn, responses((status = 200, body = TargetOut)),
    security(("token" = [])))]
async fn update(
    State(app): State<App>,
    superuser: Superuser,
    Path(id): Path<String>,
    body: Body,
) -> Result<Reply<TargetOut>, ApiError> {
    change(&app, superuser, &id, body, Mode::Full).await
}

/// Changes some of a target.
#[utoipa::path(patch, path = "/api/v1/edge/targets/{id}/", operation_id = "edge_targets_partial_update",
    tag = "Edge", params(("id" = i64, Path)), request_body = TargetIn,
    responses((status = 200, body = TargetOut)), security(("token" = [])))]
async fn partial_update(
    State(app): State<App>,
    superuser: Superuser,
    Path(id): Path<String>,
    body: Body,
) -> Result<Reply<TargetOut>, ApiError> {
    change(&app, superuser, &id, body, Mode::Partial).await
}

async fn change(
    app: &App,
    Superuser(actor): Superuser,
    id: &str,
    body: Body,
    mode: Mode,
) -> Result<Reply<TargetOut>, ApiError> {
    let id = number(id)?;
    let mut fields = body.fields(mode)?;
    let asked = TargetIn::read(&mut fields, false);
    fields.finish()?;

    let mut db = app.db().await?;
    let tx = db.write(Some(&actor)).await?;
    let mut target: Target = tx.maybe(sql::LOCK, [&id]).await?.ok_or(NOT_FOUND)?;
    let url_before = target.url.clone();
    asked.apply(&mut target);
    if target.url != url_before {
        tx.run(sql::FORGET_DELIVERIES, [&id]).await?;
    }
    let Target {
        name,
        url,
        secret,
        enabled,
        ..
    } = &target;
    tx.run(sql::UPDATE, [&id, name, url, secret, enabled])
        .await?;
    enqueue(&*tx, &Reconcile { target_id: id }).await?;
    let out = show(&tx, id).await?;
    tx.commit(entry(&target, "Edge target updated")).await?;
    Ok(Reply(out))
}

/// Deletes a target. What it holds it keeps serving.
#[utoipa::path(delete, path = "/api/v1/edge/targets/{id}/", operation_id = "edge_targets_destroy",
    tag = "Edge", params(("id" = i64, Path)), responses((status = 204)), security(("token" = [])))]
async fn delete(
    State(app): State<App>,
    Superuser(actor): Superuser,
    Path(id): Path<String>,
) -> Result<NoContent, ApiError> {
    let id = number(&id)?;
    let mut db = app.db().await?;
    let tx = db.write(Some(&actor)).await?;
    let target: Target = tx.maybe(sql::LOCK, [&id]).await?.ok_or(NOT_FOUND)?;
    tx.run(sql::DELETE, [&id]).await?;
    tx.commit(entry(&target, "Edge target deleted")).await?;
    Ok(NoContent)
}

/// Asks the target what it holds, now, and gives it what it lacks.
#[utoipa::path(post, path = "/api/v1/edge/targets/{id}/reconcile/", operation_id = "edge_targets_reconcile",
    tag = "Edge", params(("id" = i64, Path)), responses((status = 200, body = TargetOut)),
    security(("token" = [])))]
async fn reconcile(
    State(app): State<App>,
    Superuser(actor): Superuser,
    Path(id): Path<String>,
) -> Result<Reply<TargetOut>, ApiError> {
    let id = number(&id)?;
    let mut db = app.db().await?;
    let tx = db.write(Some(&actor)).await?;
    let target: Target = tx.maybe(sql::LOCK, [&id]).await?.ok_or(NOT_FOUND)?;
    enqueue(
        &*tx,
        &Reconcile {
            target_id: target.id,
        },
    )
    .await?;
    let out = show(&tx, id).await?;
    tx.commit_silently("asking changes nothing").await?;
    Ok(Reply(out))
}

async fn show(tx: &Write<'_>, id: i64) -> Result<TargetOut, ApiError> {
    let state: TargetState = tx.one(sql::STATES, [&Some(id), &tx.now()]).await?;
    Ok(state.into())
}

fn number(id: &str) -> Result<i64, ApiError> {
    id.parse().map_err(|_| NOT_FOUND)
}

fn entry(target: &Target, what: &str) -> Entry {
    Entry::new(
        Object::EdgeTarget,
        target.id,
        format!("{what}: {}", target.name),
    )
}
