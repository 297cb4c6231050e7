//! What belongs to the installation rather than to an organisation is for superusers.

use axum::extract::FromRequestParts;
use http::request::Parts;

use crate::app::App;
use crate::http::{Actor, ApiError};

/// A caller who is a superuser; anybody else is refused with 403.
#[derive(Debug)]
pub(crate) struct Superuser(pub(crate) Actor);

impl FromRequestParts<App> for Superuser {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let actor = Actor::from_request_parts(parts, app).await?;
        if actor.is_superuser {
            Ok(Self(actor))
        } else {
            Err(ApiError::Forbidden)
        }
    }
}
