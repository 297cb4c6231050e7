//! The one operation: a batch is delivered.

use axum::extract::{FromRequest, Request, State};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::HeaderMap;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use yardarm_core::edge::delivery::{Delivery, PATH};
use yardarm_core::edge::signature::{self, SignatureError};
use yardarm_core::time::Timestamp;

use super::model::{DeliveryIn, DeliveryOut, Signer, objection};
use crate::app::App;
use crate::http::{ApiError, Reply};
use crate::intake::{self, Sender};
use crate::sql::api::edge_deliveries as sql;
use crate::store::{Db, Queries as _};

/// The largest batch, in bytes.
const LIMIT: usize = 8 << 20;

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create))
}

/// Takes a batch in. It may come several times and counts once.
#[utoipa::path(post, path = "/api/v1/edge/deliveries/", operation_id = "edge_deliveries_create", tag = "Edge",
    params(
        ("Yardarm-Timestamp" = i64, Header, description = "Unix seconds at which it was signed"),
        ("Yardarm-Signature" = String, Header, description = "HMAC-SHA-256 with the target's secret, lower-case hex"),
    ),
    request_body = DeliveryIn, responses((status = 200, body = DeliveryOut)))]
async fn create(State(app): State<App>, signed: Signed) -> Result<Reply<DeliveryOut>, ApiError> {
    let Signed { sender, body } = signed;
    let delivery: Delivery = serde_json::from_slice(&body)
        .map_err(|error| ApiError::BadRequest(format!("JSON parse error - {error}")))?;
    if let Some((field, message)) = objection(&delivery) {
        return Err(ApiError::field(field, message));
    }
    if delivery.dropped > 0 {
        tracing::warn!(
            target_id = sender.target_id,
            dropped = delivery.dropped,
            "an edge had to forget counts: it could not deliver for too long"
        );
    }
    let mut db = app.db().await?;
    let now = app.clock().now();
    let taken = intake::take(&mut db, app.usage(), sender, &delivery, now).await?;
    Ok(Reply(DeliveryOut::new(delivery.id, taken)))
}

/// A body that a target has signed.
struct Signed {
    sender: Sender,
    body: Bytes,
}

impl FromRequest<App> for Signed {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, LIMIT)
            .await
            .map_err(|_| ApiError::TooLarge)?;
        let now = app.clock().now();
        // Before anything is looked up: most of what is wrong shows without a secret.
        if let Err(error @ (SignatureError::Missing | SignatureError::Skew)) =
            check(&[], &head.headers, &[], now)
        {
            return Err(refuse(error));
        }
        let sender = sender(&app.db().await?, &head.headers, &body, now).await?;
        Ok(Self { sender, body })
    }
}

/// The target whose secret has signed.
async fn sender(
    db: &Db,
    headers: &HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<Sender, ApiError> {
    let signers: Vec<Signer> = db.all(sql::SIGNERS, []).await?;
    signers
        .into_iter()
        .find(|signer| check(signer.secret.as_bytes(), headers, body, now).is_ok())
        .map(|signer| Sender {
            target_id: signer.id,
        })
        .ok_or_else(|| refuse(SignatureError::Wrong))
}

fn check(
    secret: &[u8],
    headers: &HeaderMap,
    body: &[u8],
    now: DateTime<Utc>,
) -> Result<(), SignatureError> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let now = Timestamp(now.timestamp_micros());
    let timestamp = text(signature::TIMESTAMP_HEADER);
    let signature = text(signature::SIGNATURE_HEADER);
    signature::verify(secret, "POST", PATH, timestamp, signature, body, now)
}

fn refuse(error: SignatureError) -> ApiError {
    ApiError::Unauthenticated(match error {
        SignatureError::Missing => "Missing or malformed signature.",
        SignatureError::Skew => "Timestamp is out of bounds.",
        SignatureError::Wrong => "Invalid signature.",
    })
}
