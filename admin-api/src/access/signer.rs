//! Edges as callers: nobody logs in, a request is signed with the secret of the target that the edge is.

use chrono::{DateTime, Utc};
use http::HeaderMap;
use yardarm_core::edge::signature::{self, SignatureError};
use yardarm_core::time::Timestamp;

use crate::app::App;
use crate::http::ApiError;
use crate::sql::access as sql;
use crate::store::{Queries as _, row};

row! {
    /// An enabled target, and the secret it shares with its edge.
    pub(crate) struct Signer {
        id: i64,
        secret: String,
    }
}

/// The enabled target whose secret has signed this; `path` as the request has it, without its query.
pub(crate) async fn signer(
    app: &App,
    method: &str,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Signer, ApiError> {
    let now = app.clock().now();
    let check = |secret: &[u8]| check(secret, (method, path), headers, body, now);
    // Before anything is looked up: most of what is wrong shows without a secret.
    if let Err(error @ (SignatureError::Missing | SignatureError::Skew)) = check(&[]) {
        return Err(refuse(error));
    }
    let signers: Vec<Signer> = app.db().await?.all(sql::SIGNERS, []).await?;
    signers
        .into_iter()
        .find(|signer| check(signer.secret.as_bytes()).is_ok())
        .ok_or_else(|| refuse(SignatureError::Wrong))
}

fn check(
    secret: &[u8],
    (method, path): (&str, &str),
    headers: &HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), SignatureError> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let now = Timestamp(now.timestamp_micros());
    let timestamp = text(signature::TIMESTAMP_HEADER);
    let signature = text(signature::SIGNATURE_HEADER);
    signature::verify(secret, method, path, timestamp, signature, body, now)
}

fn refuse(error: SignatureError) -> ApiError {
    ApiError::Unauthenticated(match error {
        SignatureError::Missing => "Missing or malformed signature.",
        SignatureError::Skew => "Timestamp is out of bounds.",
        SignatureError::Wrong => "Invalid signature.",
    })
}
