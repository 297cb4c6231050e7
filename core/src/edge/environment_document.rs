//! `/environment-document/`: everything an SDK needs to evaluate on its own
//! (flagsmith-observed.md 3.6). Only a server-side key gets here.
//!
//! A document with very many identity overrides is answered in pages, each a whole document with
//! some of the overrides; `Link` leads from one to the next, as Flagsmith's Edge API does it
//! (clients.md 1.1, "document paging"). A page belongs to one version.

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};

use super::access::Access;
use super::conditional::{self, Verdict};
use super::error::Refusal;
use super::ports::Host;
use super::route::DOCUMENT;
use super::{query, reply};
use crate::snapshot::Snapshot;

const NO_PAGE: Refusal = Refusal::NotFound("Invalid page.");
const ANOTHER_VERSION: Refusal =
    Refusal::Gone("The environment has changed since the first page was read; start again.");

/// `GET /environment-document/`.
pub(super) async fn get<H: Host>(
    host: &H,
    access: &Access,
    head: &Parts,
) -> Result<Response<Bytes>, Refusal> {
    let snapshot = &access.snapshot;
    let number = match query::last(head.uri.query(), "page_id") {
        Some(page_id) => number_of(&page_id, snapshot.version())?,
        None => 0,
    };
    let page = snapshot.document_page(number).ok_or(match number {
        0 => Refusal::Unavailable,
        _ => NO_PAGE,
    })?;
    let modified = snapshot.updated_at();
    let verdict = conditional::judge(&head.headers, page.etag, modified, host.now());
    let body = match verdict {
        Verdict::Answer => {
            let base = host.part(snapshot, 0).await?.ok_or(Refusal::Unavailable)?;
            let chunks = host.parts(snapshot, page.chunks.clone()).await?;
            let chunks = chunks.ok_or(Refusal::Unavailable)?;
            let body = snapshot.join_document(&base, &chunks);
            body.ok_or(Refusal::Unavailable)?
        }
        Verdict::NotModified | Verdict::PreconditionFailed => Bytes::new(),
    };
    let mut reply = reply::json(&DOCUMENT, StatusCode::OK, body);
    reply::cache_document(&mut reply, snapshot, page.etag);
    // With a 304, too: who keeps the first page has to find the others.
    if number + 1 < snapshot.document_pages() {
        reply::link_next(&mut reply, &link(snapshot, number + 1));
    }
    Ok(match verdict {
        Verdict::Answer => {
            reply::updated_at(&mut reply, snapshot);
            reply
        }
        Verdict::NotModified => reply::empty(reply, StatusCode::NOT_MODIFIED),
        Verdict::PreconditionFailed => reply::empty(reply, StatusCode::PRECONDITION_FAILED),
    })
}

/// Where a page is.
fn link(snapshot: &Snapshot, number: u32) -> String {
    let version = snapshot.version();
    format!("/api/v1/environment-document/?page_id={version}-{number}")
}

/// The page that a `page_id` of [`link`] means.
fn number_of(page_id: &str, held: u64) -> Result<u32, Refusal> {
    let (version, number) = page_id.split_once('-').ok_or(NO_PAGE)?;
    let number = number.parse().map_err(|_| NO_PAGE)?;
    match version.parse::<u64>() {
        Ok(version) if version == held => Ok(number),
        Ok(_) => Err(ANOTHER_VERSION),
        Err(_) => Err(NO_PAGE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_belongs_to_its_version() {
        assert_eq!(number_of("7-3", 7), Ok(3));
        assert_eq!(number_of("6-3", 7), Err(ANOTHER_VERSION));
        assert_eq!(number_of("8-0", 7), Err(ANOTHER_VERSION));
        for odd in [
            "",
            "7",
            "-",
            "7-",
            "7-x",
            "-3",
            "x-3",
            "7--3",
            "7-99999999999",
        ] {
            assert_eq!(number_of(odd, 7), Err(NO_PAGE), "{odd:?}");
        }
    }
}
