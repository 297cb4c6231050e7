//! A person's account: signing up, and what people may do with their own (flagsmith-api.md C.2).

mod common_passwords;
mod create;
mod model;
mod others;
pub(crate) mod password;
mod routes;
mod rules;

pub(crate) use create::{NewUser, create_token, create_user};
pub(crate) use model::{SignedUp, User};
pub(crate) use routes::routes;
pub(crate) use rules::check_password;
