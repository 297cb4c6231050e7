//! Replies of the admin API in the encoding that the client takes. The SDK API of the process's own edge packs
//! its own.

use axum::body::{Body, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use yardarm_edge::{Accepted, pack};

/// Packs what stands there whole; a stream is left alone.
pub(crate) async fn packed(request: Request, next: Next) -> Response {
    let accepted = Accepted::of(request.method(), request.headers());
    let reply = next.run(request).await;
    if reply.body().size_hint().exact().is_none() {
        return reply;
    }
    let (head, body) = reply.into_parts();
    // A body of known size is in memory already, and cannot fail.
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
    pack(accepted, Response::from_parts(head, body))
        .await
        .map(Body::from)
}
