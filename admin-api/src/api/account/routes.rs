//! The operations on accounts.

use axum::extract::State;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::create::{NewUser, create_token, create_user, list};
use super::model::{
    DeleteMe, Me, MeIn, ResetPassword, SetEmail, SetPassword, SignUp, SignedUp, User, onboarding,
};
use super::rules::{Owner, check_password};
use super::{others, password};
use crate::app::App;
use crate::http::{
    Actor, ApiError, Body, Bool, Choice, Created, Email, Fields, Mode, NoContent, Reply, Text, set,
};
use crate::sql::api::account as sql;
use crate::store::{Db, Entry, Object, Queries as _};

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(others::routes())
        .routes(routes!(others::list, create))
        .routes(routes!(get, update, partial_update, delete))
        .routes(routes!(update_onboarding))
        .routes(routes!(set_password))
        .routes(routes!(set_email))
        .routes(routes!(reset_password))
}

/// Signs up. The first person may make themselves superuser.
#[utoipa::path(post, path = "/api/v1/auth/users/", operation_id = "auth_users_create",
    tag = "Authentication", request_body = SignUp, responses((status = 201, body = SignedUp)))]
async fn create(State(app): State<App>, body: Body) -> Result<Created<SignedUp>, ApiError> {
    let mut fields = body.fields(Mode::Full)?;
    let new = NewUser {
        first_name: fields.required("first_name", Text::max(150)),
        last_name: fields.required("last_name", Text::max(150)),
        sign_up_type: fields
            .nullable(
                "sign_up_type",
                Choice(&["NO_INVITE", "INVITE_EMAIL", "INVITE_LINK"]),
            )
            .into_option(),
        email: fields.required("email", Email),
        password: fields.required("password", Text::max(1000).verbatim()),
        marketing_consent: fields
            .optional("marketing_consent_given", Bool)
            .unwrap_or(true),
        is_superuser: fields.optional("superuser", Bool).unwrap_or(false),
    };
    fields.finish()?;
    refuse_weak("password", &new.password, new.owner())?;

    let mut db = app.db().await?;
    let tx = db.write(None).await?;
    if new.is_superuser {
        tx.run(sql::LOCK_USERS, []).await?;
        if tx.one(sql::ANY, []).await? {
            let message =
                "A superuser can only be created through this  endpoint if no other users exist.";
            return Err(ApiError::field("superuser", message));
        }
    }
    let (user, entry) = create_user(&app, &tx, new).await?;
    let token = create_token(&app, &tx, user.id).await?;
    tx.commit(entry).await?;
    Ok(Created(SignedUp::new(user, token)))
}

/// 400 about `field` when the password is too weak.
fn refuse_weak(field: &str, password: &str, owner: Owner<'_>) -> Result<(), ApiError> {
    let mut errors = crate::http::FieldErrors::default();
    for message in check_password(password, owner) {
        errors.push(field, message);
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(errors.into())
    }
}

/// One's own account.
#[utoipa::path(get, path = "/api/v1/auth/users/me/", operation_id = "auth_users_me_retrieve",
    tag = "Authentication", responses((status = 200, body = Me)), security(("token" = [])))]
async fn get(State(app): State<App>, actor: Actor) -> Result<Reply<Me>, ApiError> {
    Ok(Reply(myself(&app.db().await?, &actor).await?.into()))
}

async fn myself(db: &Db, actor: &Actor) -> Result<User, ApiError> {
    db.maybe(sql::BY_ID, [&actor.user_id])
        .await?
        .ok_or(ApiError::NotFound("FFAdminUser"))
}

/// Changes one's own account.
#[utoipa::path(put, path = "/api/v1/auth/users/me/", operation_id = "auth_users_me_update",
    tag = "Authentication", request_body = MeIn, responses((status = 200, body = Me)),
    security(("token" = [])))]
async fn update(State(app): State<App>, actor: Actor, body: Body) -> Result<Reply<Me>, ApiError> {
    change(&app, &actor, body.fields(Mode::Full)?).await
}

/// Changes some of one's own account.
#[utoipa::path(patch, path = "/api/v1/auth/users/me/",
    operation_id = "auth_users_me_partial_update", tag = "Authentication", request_body = MeIn,
    responses((status = 200, body = Me)), security(("token" = [])))]
async fn partial_update(
    State(app): State<App>,
    actor: Actor,
    body: Body,
) -> Result<Reply<Me>, ApiError> {
    change(&app, &actor, body.fields(Mode::Partial)?).await
}

async fn change(app: &App, actor: &Actor, mut fields: Fields) -> Result<Reply<Me>, ApiError> {
    let first_name = fields.update("first_name", Text::max(150));
    let last_name = fields.update("last_name", Text::max(150));
    let marketing_consent = fields.optional("marketing_consent_given", Bool);
    fields.finish()?;
    let user = save(app, actor, |user| {
        set(&mut user.first_name, first_name);
        set(&mut user.last_name, last_name);
        set(&mut user.marketing_consent, marketing_consent);
    })
    .await?;
    Ok(Reply(user.into()))
}

async fn save(app: &App, actor: &Actor, edit: impl FnOnce(&mut User)) -> Result<User, ApiError> {
    let mut db = app.db().await?;
    let tx = db.write(Some(actor)).await?;
    let mut user: User = tx
        .maybe(sql::LOCK, [&actor.user_id])
        .await?
        .ok_or(ApiError::NotFound("FFAdminUser"))?;
    edit(&mut user);
    tx.run(
        sql::UPDATE,
        [
            &user.id,
            &user.first_name,
            &user.last_name,
            &user.marketing_consent,
            &user.onboarding,
        ],
    )
    .await?;
    tx.commit(entry(&user, "User updated")).await?;
    Ok(user)
}

fn entry(user: &User, what: &str) -> Entry {
    Entry::new(Object::User, user.id, format!("{what}: {}", user.email)).uuid(user.uuid)
}

/// Keeps how far one has come with a dashboard's introduction.
#[utoipa::path(patch, path = "/api/v1/auth/users/me/onboarding/",
    operation_id = "auth_users_me_onboarding_partial_update", tag = "Authentication",
    request_body = serde_json::Value, responses((status = 204)), security(("token" = [])))]
async fn update_onboarding(
    State(app): State<App>,
    actor: Actor,
    body: Body,
) -> Result<NoContent, ApiError> {
    let fields = body.fields(Mode::Partial)?;
    let integrations = fields
        .raw("tools")
        .and_then(|tools| tools.get("integrations"));
    let kept = onboarding(
        &list(fields.raw("tasks")),
        &list(integrations),
        &list(fields.raw("hosting_preferences")),
    );
    save(&app, &actor, |user| user.onboarding = Some(kept)).await?;
    Ok(NoContent)
}

/// 400 unless `current_password` is one's own.
async fn confirm(user: &User, current_password: String) -> Result<(), ApiError> {
    if password::verify(current_password, Some(user.password_hash.clone())).await? {
        Ok(())
    } else {
        Err(ApiError::field("current_password", "Invalid password."))
    }
}

/// Changes one's password. Every other session of the account ends.
#[utoipa::path(post, path = "/api/v1/auth/users/set_password/",
    operation_id = "auth_users_set_password_create", tag = "Authentication",
    request_body = SetPassword, responses((status = 204)), security(("token" = [])))]
async fn set_password(
    State(app): State<App>,
    actor: Actor,
    body: Body,
) -> Result<NoContent, ApiError> {
    let any = Text::max(1000).verbatim();
    let mut fields = body.fields(Mode::Full)?;
    let new = fields.required("new_password", any);
    let again = fields.required("re_new_password", any);
    let current = fields.required("current_password", any);
    fields.finish()?;
    let mut db = app.db().await?;
    let user = myself(&db, &actor).await?;
    confirm(&user, current).await?;
    refuse_weak("new_password", &new, user.owner())?;
    if new != again {
        let message = "The two password fields didn't match.";
        return Err(ApiError::field("non_field_errors", message));
    }
    let hash = password::hash(new, app.random().bytes()).await?;

    let tx = db.write(Some(&actor)).await?;
    tx.run(sql::SET_PASSWORD, [&user.id, &hash]).await?;
    tx.run(sql::DELETE_OTHER_TOKENS, [&user.id, &actor.token_sha256])
        .await?;
    tx.commit(entry(&user, "User changed password")).await?;
    Ok(NoContent)
}

/// Changes one's e-mail address.
#[utoipa::path(post, path = "/api/v1/auth/users/set_email/",
    operation_id = "auth_users_set_email_create", tag = "Authentication", request_body = SetEmail,
    responses((status = 204)), security(("token" = [])))]
async fn set_email(
    State(app): State<App>,
    actor: Actor,
    body: Body,
) -> Result<NoContent, ApiError> {
    let mut fields = body.fields(Mode::Full)?;
    let email = fields.required("new_email", Email).to_lowercase();
    let current = fields.required("current_password", Text::max(1000).verbatim());
    fields.finish()?;
    let mut db = app.db().await?;
    let user = myself(&db, &actor).await?;
    confirm(&user, current).await?;
    let taken: Option<User> = db.maybe(sql::BY_EMAIL, [&email]).await?;
    if taken.is_some_and(|other| other.id != user.id) {
        let message = "Feature flag admin user with this email already exists.";
        return Err(ApiError::field("new_email", message));
    }

    let tx = db.write(Some(&actor)).await?;
    tx.run(sql::SET_EMAIL, [&user.id, &email]).await?;
    tx.commit(entry(&user, "User changed e-mail address"))
        .await?;
    Ok(NoContent)
}

/// Asks for a new password. Always answers the same, whoever has an account; as long as Yardarm sends no mail,
/// administrators set passwords with `yardarm create-admin`.
#[utoipa::path(post, path = "/api/v1/auth/users/reset_password/",
    operation_id = "auth_users_reset_password_create", tag = "Authentication",
    request_body = ResetPassword, responses((status = 204)))]
async fn reset_password(body: Body) -> Result<NoContent, ApiError> {
    let mut fields = body.fields(Mode::Full)?;
    fields.required("email", Email);
    fields.finish()?;
    Ok(NoContent)
}

/// Deletes one's own account.
#[utoipa::path(delete, path = "/api/v1/auth/users/me/", operation_id = "auth_users_me_destroy",
    tag = "Authentication", request_body = DeleteMe, responses((status = 204)),
    security(("token" = [])))]
async fn delete(State(app): State<App>, actor: Actor, body: Body) -> Result<NoContent, ApiError> {
    let mut fields = body.fields(Mode::Full)?;
    let current = fields.required("current_password", Text::max(1000).verbatim());
    let orphans_too = fields
        .optional("delete_orphan_organisations", Bool)
        .unwrap_or(false);
    fields.finish()?;
    let mut db = app.db().await?;
    let user = myself(&db, &actor).await?;
    confirm(&user, current).await?;

    let tx = db.write(Some(&actor)).await?;
    if orphans_too {
        let orphans: Vec<i64> = tx.all(sql::ORPHAN_ORGANISATIONS, [&user.id]).await?;
        tx.run(sql::DELETE_ORGANISATIONS, [&orphans]).await?;
    }
    tx.run(sql::DELETE, [&user.id]).await?;
    tx.commit(entry(&user, "User deleted")).await?;
    Ok(NoContent)
}
