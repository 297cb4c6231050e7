//! Making an account, for everybody who does: sign-up, the first administrator, the command line.

use serde_json::Value;

use super::rules::Owner;
use super::{User, password};
use crate::app::App;
use crate::http::{ApiError, token_sha256};
use crate::sql::api::account as sql;
use crate::store::{Entry, Object, Queries as _, Write};

/// Somebody new, whose fields have been checked.
#[derive(Debug)]
pub(crate) struct NewUser {
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) first_name: String,
    pub(crate) last_name: String,
    pub(crate) sign_up_type: Option<&'static str>,
    pub(crate) marketing_consent: bool,
    pub(crate) is_superuser: bool,
}

impl NewUser {
    /// What their password must not resemble.
    pub(crate) fn owner(&self) -> Owner<'_> {
        Owner {
            email: &self.email,
            first_name: &self.first_name,
            last_name: &self.last_name,
        }
    }
}

/// Writes the account; committing it is for the caller, with the entry that comes back.
pub(crate) async fn create_user(
    app: &App,
    tx: &Write<'_>,
    new: NewUser,
) -> Result<(User, Entry), ApiError> {
    let NewUser {
        email,
        password,
        first_name,
        last_name,
        sign_up_type,
        marketing_consent,
        is_superuser,
    } = new;
    let hash = password::hash(password, app.random().bytes()).await?;
    let user: User = tx
        .one(
            sql::INSERT,
            [
                &email.to_lowercase(),
                &hash,
                &first_name,
                &last_name,
                &sign_up_type,
                &marketing_consent,
                &is_superuser,
                &tx.now(),
            ],
        )
        .await?;
    let entry = Entry::new(
        Object::User,
        user.id,
        format!("New User created: {}", user.email),
    )
    .uuid(user.uuid);
    Ok((user, entry))
}

/// A new session: the token to show, once.
pub(crate) async fn create_token(
    app: &App,
    tx: &Write<'_>,
    user_id: i64,
) -> Result<String, ApiError> {
    let token = hex::encode(app.random().bytes::<20>());
    tx.run(
        sql::INSERT_TOKEN,
        [&token_sha256(&token), &user_id, &tx.now()],
    )
    .await?;
    Ok(token)
}

/// Reads a list that is kept as it came.
pub(super) fn list(value: Option<&Value>) -> Value {
    match value {
        Some(Value::Array(items)) => Value::Array(items.clone()),
        _ => Value::Array(Vec::new()),
    }
}
