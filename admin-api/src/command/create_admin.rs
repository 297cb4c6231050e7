//! `yardarm create-admin`: a superuser, for whoever has the database.

use std::io::Read as _;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::api::account::{NewUser, User, check_password, create_user, password};
use crate::app::App;
use crate::http::is_email;
use crate::sql::api::account as sql;
use crate::store::{Entry, Object, Queries as _};

/// Who is to be superuser.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CreateAdmin {
    /// E-mail address. Somebody who has an account with it becomes superuser and gets the password.
    #[arg(long)]
    pub email: String,
    /// The password. Without it, it is read from standard input, up to the end of the first line.
    #[arg(long, env = "YARDARM_ADMIN_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
    /// First name of a new account.
    #[arg(long, default_value = "")]
    pub first_name: String,
    /// Last name of a new account.
    #[arg(long, default_value = "")]
    pub last_name: String,
}

impl CreateAdmin {
    /// Makes the superuser, and tells so.
    ///
    /// # Errors
    /// When the address is none, the password is too weak, or the database cannot be reached.
    pub async fn run(self, app: &App) -> anyhow::Result<String> {
        let email = self.email.trim().to_lowercase();
        if !is_email(&email) {
            bail!("{email:?} is not an e-mail address");
        }
        let password = match self.password {
            Some(password) => password,
            None => read_password()?,
        };
        let new = NewUser {
            email,
            password,
            first_name: self.first_name,
            last_name: self.last_name,
            sign_up_type: None,
            marketing_consent: false,
            is_superuser: true,
        };
        let weak = check_password(&new.password, new.owner());
        if !weak.is_empty() {
            bail!("{}", weak.join(" "));
        }
        let done = save(app, new)
            .await
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        Ok(format!("{} is superuser (user {})\n", done.email, done.id))
    }
}

async fn save(app: &App, new: NewUser) -> Result<User, crate::http::ApiError> {
    let mut db = app.db().await?;
    let tx = db.write(None).await?;
    let known: Option<User> = tx.maybe(sql::BY_EMAIL, [&new.email]).await?;
    let Some(user) = known else {
        let (user, entry) = create_user(app, &tx, new).await?;
        tx.commit(entry).await?;
        return Ok(user);
    };
    let hash = password::hash(new.password, app.random().bytes()).await?;
    tx.run(sql::SET_PASSWORD, [&user.id, &hash]).await?;
    tx.run(sql::MAKE_SUPERUSER, [&user.id]).await?;
    let log = format!("User made superuser: {}", user.email);
    tx.commit(Entry::new(Object::User, user.id, log).uuid(user.uuid))
        .await?;
    Ok(user)
}

fn read_password() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .context("cannot read the password from standard input")?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
