//! `POST /edge/v1/environments/<key>/identities`: changes of identities that were made elsewhere, as the
//! control plane hands them down; signed like a publication.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde::Deserialize;

use super::delivery::IdentityChange;
use super::identity_record::TraitChange;
use super::json_text;
use super::own_json::read_json;
use super::ports::{Host, KeyRef, Unavailable};
use super::{publication, reply};

/// Most identities in one request: each costs a Worker one call of the 1,000 that a request may make.
const MOST: usize = 500;
/// How many are stored at once: a disk flushes, and objects answer, several in the time of one.
const AT_ONCE: usize = 16;

#[derive(Deserialize)]
struct Handed {
    identities: Vec<IdentityChange>,
}

/// 200 with how many were applied, 400 not understood or of another environment, 401 not signed as it
/// must be, 404 the environment is not held, 503 try again. Doing it again changes nothing.
pub(super) async fn post<H: Host>(
    host: &H,
    head: &Parts,
    body: &Bytes,
    environment_key: &str,
) -> Response<Bytes> {
    if let Err(closed) = publication::check(host, head, body, &Method::POST) {
        return closed.reply();
    }
    let bad = |text: &str| publication::refuse(StatusCode::BAD_REQUEST, text);
    let handed: Handed = match read_json(body) {
        Ok(handed) => handed,
        Err(error) => return bad(&error),
    };
    if handed.identities.len() > MOST {
        return bad("At most 500 identities at a time.");
    }
    let elsewhere = |change: &IdentityChange| change.environment_key != environment_key;
    if handed.identities.iter().any(elsewhere) {
        return bad("An identity is of another environment.");
    }
    let applied = handed.identities.len();
    match apply(host, environment_key, handed.identities).await {
        Ok(true) => {
            let mut out = br#"{"applied":"#.to_vec();
            json_text::integer(&mut out, i64::try_from(applied).unwrap_or(i64::MAX));
            out.push(b'}');
            reply::plain_json(StatusCode::OK, out.into())
        }
        Ok(false) => publication::refuse(StatusCode::NOT_FOUND, "The environment is not held."),
        Err(error) => publication::unavailable(&error),
    }
}

/// Whether the environment is held, and then everything is applied.
async fn apply<H: Host>(
    host: &H,
    environment_key: &str,
    identities: Vec<IdentityChange>,
) -> Result<bool, Unavailable> {
    let held = host.snapshot(KeyRef::Client(environment_key)).await?;
    let Some(snapshot) = held.filter(|snapshot| !snapshot.settings().gone) else {
        return Ok(false);
    };
    let changes = identities.into_iter().map(|change| {
        let IdentityChange {
            identifier, traits, ..
        } = change;
        (identifier, TraitChange::Adopt(traits))
    });
    let changes: Vec<_> = changes.collect();
    for some in changes.chunks(AT_ONCE) {
        let adopting = some
            .iter()
            .map(|(identifier, change)| host.change_identity(&snapshot, identifier, change));
        // Taking over is never refused.
        all(adopting).await?;
    }
    Ok(true)
}

/// Waits for all of them, also where one fails.
async fn all<T, F>(futures: impl Iterator<Item = F>) -> Result<(), Unavailable>
where
    F: Future<Output = Result<T, Unavailable>>,
{
    let mut waiting: Vec<_> = futures.map(Box::pin).collect();
    let mut outcome = Ok(());
    poll_fn(|context| {
        waiting.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(done) => {
                if let Err(error) = done {
                    outcome = Err(error);
                }
                false
            }
        });
        if waiting.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    outcome
}
