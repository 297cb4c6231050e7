//! The one operation: a batch is delivered.

use axum::extract::{FromRequest, Request, State};
use bytes::Bytes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use yardarm_core::edge::delivery::{Delivery, PATH};

use super::model::{DeliveryIn, DeliveryOut, objection};
use crate::access::signer;
use crate::app::App;
use crate::http::{ApiError, Reply, unpacked};
use crate::intake::{self, Sender};

/// The largest batch, in bytes, as it is sent and as it is read.
const LIMIT: usize = 8 << 20;

/// The table of this resource's operations.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create))
}

/// Takes a batch in, packed with gzip or not. It may come several times and counts once.
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
        let signer = signer(app, "POST", PATH, &head.headers, &body).await?;
        let sender = Sender {
            target_id: signer.id,
        };
        // Whoever sent it is known by now; the signature is of what was sent.
        let body = unpacked(&head.headers, body, LIMIT)?;
        Ok(Self { sender, body })
    }
}
