//! The operations before anybody has an account.

use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use http::{HeaderMap, header};
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::account::{NewUser, SignedUp, check_password, create_token, create_user};
use crate::app::App;
use crate::http::{ApiError, Body, Created, Email, FieldErrors, Mode, Text};
use crate::sql::api::account as accounts;
use crate::store::Queries as _;

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(init))
        .routes(routes!(page, create))
}

fn exists() -> ApiError {
    ApiError::Peculiar(json!({
        "adminUserCreated": false,
        "message": "FAILED TO INIT ADMIN USER. USER(S) ALREADY EXIST IN SYSTEM.",
    }))
}

async fn anybody(app: &App) -> Result<bool, ApiError> {
    Ok(app.db().await?.one(accounts::ANY, []).await?)
}

/// Kept for scripts that wait for the first administrator: makes none by itself, since there would be nobody
/// to tell its password.
#[utoipa::path(get, path = "/api/v1/users/init/", operation_id = "users_init_retrieve",
    tag = "Authentication", responses((status = 200)))]
async fn init(State(app): State<App>) -> Result<Response, ApiError> {
    if anybody(&app).await? {
        return Err(exists());
    }
    let told = json!({"adminUserCreated": false, "message": "POST to /api/v1/users/config/init/."});
    Ok(axum::Json(told).into_response())
}

/// The page that asks for the first administrator.
#[utoipa::path(get, path = "/api/v1/users/config/init/", operation_id = "users_config_init_retrieve",
    tag = "Authentication", responses((status = 200, content_type = "text/html", body = String)))]
async fn page(State(app): State<App>) -> Result<Html<&'static str>, ApiError> {
    if anybody(&app).await? {
        Err(exists())
    } else {
        Ok(Html(include_str!("page.html")))
    }
}

/// Who the first administrator is.
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "describes the body for the document; the route reads it field by field"
)]
struct FirstAdministrator {
    email: String,
    password: String,
    first_name: Option<String>,
    last_name: Option<String>,
}

/// Makes the first administrator, from a form or JSON.
#[utoipa::path(post, path = "/api/v1/users/config/init/", operation_id = "users_config_init_create",
    tag = "Authentication", request_body = FirstAdministrator,
    responses((status = 201, body = SignedUp)))]
async fn create(
    State(app): State<App>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let mut fields = body.fields(Mode::Full)?;
    let name = Text::max(150).or_blank();
    let new = NewUser {
        first_name: fields.optional("first_name", name).unwrap_or_default(),
        last_name: fields.optional("last_name", name).unwrap_or_default(),
        email: fields.required("email", Email),
        password: fields.required("password", Text::max(1000).verbatim()),
        sign_up_type: None,
        marketing_consent: false,
        is_superuser: true,
    };
    fields.finish()?;
    let mut weak = FieldErrors::default();
    for message in check_password(&new.password, new.owner()) {
        weak.push("password", message);
    }
    if !weak.is_empty() {
        return Err(weak.into());
    }

    let mut db = app.db().await?;
    let tx = db.write(None).await?;
    tx.run(accounts::LOCK_USERS, []).await?;
    if tx.one(accounts::ANY, []).await? {
        return Err(exists());
    }
    let (user, entry) = create_user(&app, &tx, new).await?;
    let token = create_token(&app, &tx, user.id).await?;
    tx.commit(entry).await?;
    let browser = headers.get(header::ACCEPT).is_some_and(|accept| {
        accept
            .to_str()
            .is_ok_and(|accept| accept.contains("text/html"))
    });
    if browser {
        return Ok(Html(
            "<!doctype html><title>Done</title><p>Your account is ready: <a href=\"/\">log in</a>.",
        )
        .into_response());
    }
    Ok(Created(SignedUp::new(user, token)).into_response())
}
