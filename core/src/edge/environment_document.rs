//! `/environment-document/`: everything an SDK needs to evaluate on its own
//! (flagsmith-observed.md 3.6). Only a server-side key gets here.

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};

use super::access::Access;
use super::conditional::{self, Verdict};
use super::error::Refusal;
use super::ports::Host;
use super::reply;
use super::route::DOCUMENT;

/// `GET /environment-document/`.
pub(super) async fn get<H: Host>(
    host: &H,
    access: &Access,
    head: &Parts,
) -> Result<Response<Bytes>, Refusal> {
    let snapshot = &access.snapshot;
    let modified = snapshot.updated_at();
    let verdict = conditional::judge(
        &head.headers,
        snapshot.document_etag(),
        modified,
        host.now(),
    );
    let body = match verdict {
        Verdict::Answer => host.document(snapshot).await?.ok_or(Refusal::Unavailable)?,
        Verdict::NotModified | Verdict::PreconditionFailed => Bytes::new(),
    };
    let mut reply = reply::json(&DOCUMENT, StatusCode::OK, body);
    reply::cache_document(&mut reply, snapshot);
    Ok(match verdict {
        Verdict::Answer => {
            reply::updated_at(&mut reply, snapshot);
            reply
        }
        Verdict::NotModified => reply::empty(reply, StatusCode::NOT_MODIFIED),
        Verdict::PreconditionFailed => reply::empty(reply, StatusCode::PRECONDITION_FAILED),
    })
}
