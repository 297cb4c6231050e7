//! The operations on sessions (flagsmith-api.md C.2, flagsmith-observed.md 4.1).

use std::net::SocketAddr;

use axum::Extension;
use axum::extract::{ConnectInfo, State};
use chrono::TimeDelta;
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::account::{User, create_token, password};
use crate::app::App;
use crate::http::throttle;
use crate::http::{Actor, ApiError, Body, NoContent, Reply};
use crate::sql::api::account as accounts;
use crate::sql::api::sessions as sql;
use crate::store::Queries as _;

/// So many wrong passwords for one address…
const FAILURES: i64 = 10;
/// …lock it for so long.
const LOCKED_FOR: TimeDelta = TimeDelta::minutes(15);

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(logout))
        .routes(routes!(delete_token))
}

/// To log in.
#[derive(Debug, ToSchema)]
#[schema(as = LoginRequest)]
#[expect(
    dead_code,
    reason = "describes the body for the document; the route reads it field by field"
)]
struct Login {
    email: String,
    password: String,
}

/// A session.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Token)]
struct Token {
    /// For `Authorization: Token <key>`; shown only here.
    key: String,
}

/// Logs in. Whatever is wrong, the answer is the same.
#[utoipa::path(post, path = "/api/v1/auth/login/", operation_id = "auth_login_create",
    tag = "Authentication", request_body = Login, responses((status = 200, body = Token)))]
async fn login(
    State(app): State<App>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Reply<Token>, ApiError> {
    let peer = peer.map(|Extension(ConnectInfo(address))| address);
    app.logins()
        .count(&throttle::client(&headers, peer), app.clock().now())?;
    let refused = || {
        ApiError::field(
            "non_field_errors",
            "Unable to log in with provided credentials.",
        )
    };
    let (Some(email), Some(password)) = (body.text("email"), body.text("password")) else {
        return Err(refused());
    };
    let (email, password) = (email.trim().to_lowercase(), password.to_owned());

    let mut db = app.db().await?;
    let since = app.clock().now() - LOCKED_FOR;
    let failures: i64 = db.one(sql::FAILURES, [&email, &since]).await?;
    if failures >= FAILURES {
        return Err(refused());
    }
    let user: Option<User> = db.maybe(accounts::BY_EMAIL, [&email]).await?;
    let hash = user.as_ref().map(|user| user.password_hash.clone());
    let fits = password::verify(password, hash).await?;
    let tx = db.write(None).await?;
    match user {
        Some(user) if fits && user.is_active => {
            tx.run(sql::DELETE_FAILURES, [&email, &since]).await?;
            tx.run(sql::SET_LAST_LOGIN, [&user.id, &tx.now()]).await?;
            let key = create_token(&app, &tx, user.id).await?;
            tx.commit_silently("a session is no change of anything")
                .await?;
            Ok(Reply(Token { key }))
        }
        _ => {
            tx.run(sql::INSERT_FAILURE, [&email, &tx.now()]).await?;
            tx.commit_silently("a wrong password changes nothing")
                .await?;
            Err(refused())
        }
    }
}

/// Ends the session whose token is sent.
#[utoipa::path(post, path = "/api/v1/auth/logout/", operation_id = "auth_logout_create",
    tag = "Authentication", responses((status = 204)), security(("token" = [])))]
async fn logout(State(app): State<App>, actor: Actor) -> Result<NoContent, ApiError> {
    end(&app, &actor).await
}

/// Ends the session whose token is sent.
#[utoipa::path(delete, path = "/api/v1/auth/token/", operation_id = "auth_token_destroy",
    tag = "Authentication", responses((status = 204)), security(("token" = [])))]
async fn delete_token(State(app): State<App>, actor: Actor) -> Result<NoContent, ApiError> {
    end(&app, &actor).await
}

async fn end(app: &App, actor: &Actor) -> Result<NoContent, ApiError> {
    let mut db = app.db().await?;
    let tx = db.write(Some(actor)).await?;
    tx.run(sql::DELETE_TOKEN, [&actor.token_sha256]).await?;
    tx.commit_silently("a session is no change of anything")
        .await?;
    Ok(NoContent)
}
