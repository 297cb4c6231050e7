//! Who calls: `Authorization: Token …`, checked against the hashes of the tokens we gave out
//! (flagsmith-observed.md 4.1).

use axum::extract::FromRequestParts;
use http::header::AUTHORIZATION;
use http::request::Parts;
use sha2::{Digest as _, Sha256};

use super::ApiError;
use crate::app::App;
use crate::sql::http as sql;
use crate::store::{Queries as _, row};

row! {
    /// Somebody who is logged in.
    #[derive(Clone, Debug)]
    pub(crate) struct Actor {
        user_id: i64,
        email: String,
        is_superuser: bool,
        is_active: bool,
        /// The hash of the token that was sent.
        token_sha256: Vec<u8>,
    }
}

/// The SHA-256 under which a token is kept.
pub(crate) fn token_sha256(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

const NOT_PROVIDED: &str = "Authentication credentials were not provided.";

/// The token that an `Authorization` header holds.
fn token(header: Option<&str>) -> Result<&str, &'static str> {
    let mut words = header.unwrap_or_default().split_ascii_whitespace();
    match words.next() {
        Some(scheme) if scheme.eq_ignore_ascii_case("token") => {}
        Some(scheme) if scheme.eq_ignore_ascii_case("api-key") => {
            return Err("Valid Master API Key not found.");
        }
        _ => return Err(NOT_PROVIDED),
    }
    match (words.next(), words.next()) {
        (Some(token), None) => Ok(token),
        (None, _) => Err("Invalid token header. No credentials provided."),
        (Some(_), Some(_)) => Err("Invalid token header. Token string should not contain spaces."),
    }
}

impl FromRequestParts<App> for Actor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        // Guards and handlers may both ask: the database is asked once.
        if let Some(actor) = parts.extensions.get::<Self>() {
            return Ok(actor.clone());
        }
        let header = match parts.headers.get(AUTHORIZATION).map(|value| value.to_str()) {
            None => None,
            Some(Ok(text)) => Some(text),
            Some(Err(_)) => return Err(ApiError::Unauthenticated("Invalid token.")),
        };
        let token = token(header).map_err(ApiError::Unauthenticated)?;
        let actor: Option<Self> = app
            .db()
            .await?
            .maybe(sql::ACTOR_BY_TOKEN, [&token_sha256(token)])
            .await?;
        match actor {
            None => Err(ApiError::Unauthenticated("Invalid token.")),
            Some(actor) if !actor.is_active => {
                Err(ApiError::Unauthenticated("User inactive or deleted."))
            }
            Some(actor) => {
                parts.extensions.insert(actor.clone());
                Ok(actor)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::token;

    #[test]
    fn headers() {
        for (header, expected) in [
            (None, Err(super::NOT_PROVIDED)),
            (Some("Basic Zm9v"), Err(super::NOT_PROVIDED)),
            (Some("Bearer nope"), Err(super::NOT_PROVIDED)),
            (
                Some("Token"),
                Err("Invalid token header. No credentials provided."),
            ),
            (Some("Api-Key x.y"), Err("Valid Master API Key not found.")),
            (
                Some("Token a b"),
                Err("Invalid token header. Token string should not contain spaces."),
            ),
            (Some("token abc"), Ok("abc")),
        ] {
            assert_eq!(token(header), expected, "{header:?}");
        }
    }
}
