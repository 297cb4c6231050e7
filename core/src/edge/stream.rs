//! `GET /sse/environments/<client-side key>/stream`: says that an environment has changed, and when
//! (flagsmith-api.md A.8). Not what: who hears it asks for the flags or the document again.
//!
//! The core checks that the environment is held and writes every byte that goes out; the host keeps
//! the stream open. What a host sends, each as one chunk, because SDKs wait for the end of a chunk
//! (clients.md 1.2):
//!
//! 1. on connecting [`Subscription::retry`] with the [`event`] of the newest version it holds, whatever
//!    `Last-Event-ID` says: an event tells the state, so there is nothing to catch up with;
//! 2. at each newer version its [`event`];
//! 3. each event [`REPEATS`] more times, [`REPEAT_AFTER`] apart. Who asked again at once may have been
//!    answered by a cache in between with what was before, or was busy loading: SDKs ignore an
//!    event that is no newer than what they hold, so that only these ask once more;
//! 4. after [`HEARTBEAT_EVERY`] without anything else a [`HEARTBEAT`].
//!
//! A stream ends when its environment is deleted.

use std::time::Duration;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, VARY,
};
use http::request::Parts;
use http::{Method, Response, StatusCode};

use super::error::Refusal;
use super::ports::{Host, KeyRef, Unavailable};
use super::{Outcome, reply};
use crate::snapshot::Snapshot;

/// How often an event is sent besides the first time.
pub const REPEATS: u32 = 2;

/// How long after an event it is repeated: longer than the two seconds that a CDN or an isolate
/// may answer from what it has.
pub const REPEAT_AFTER: Duration = Duration::from_secs(3);

/// How long a stream is silent at most, unless the host is told otherwise: below the idle time of
/// common proxies (50 to 100 s).
pub const HEARTBEAT_EVERY: Duration = Duration::from_secs(25);

/// A comment: clients ignore it, and whoever is gone is noticed.
pub const HEARTBEAT: Bytes = Bytes::from_static(b":\n\n");

/// How long a host holds back [`Streaming::Refused`].
pub const REFUSAL_DELAY: Duration = Duration::from_secs(1);

static X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What became of a request for a stream.
#[derive(Debug)]
pub enum Streaming {
    /// The reply is the head of a stream; the host opens it, or answers with [`refuse`].
    Open(Subscription),
    /// There is none. The host holds the reply back for [`REFUSAL_DELAY`], because the Python SDK
    /// asks again at once whatever it was answered.
    Refused,
}

/// A stream to be opened.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// What this edge served of the environment when it was asked; a newer version may have come
    /// since.
    pub snapshot: Snapshot,
    /// What the first chunk begins with: how long the client waits before it connects again, between
    /// one and five seconds, so that a thousand that were cut off do not come back at once.
    pub retry: Bytes,
}

/// The event that announces a snapshot. Its `id` is the version, its time the very text of
/// `X-Flagsmith-Document-Updated-At`, with which SDKs compare it.
pub fn event(snapshot: &Snapshot) -> Bytes {
    let (version, updated_at) = (snapshot.version(), snapshot.updated_at_header());
    format!("id: {version}\nevent: environment_updated\ndata: {{\"updated_at\": {updated_at}}}\n\n")
        .into()
}

/// Turns the head of a stream that the host cannot open, because it has too many or its store does not
/// answer, into 503. The host holds it back like [`Streaming::Refused`].
pub fn refuse(mut head: Response<Bytes>) -> Response<Bytes> {
    *head.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    *head.body_mut() = reply::detail("No more streams can be opened here now, try again later.");
    let headers = head.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    headers.remove(&X_ACCEL_BUFFERING);
    head
}

/// Answers a request for the stream of an environment. No key is asked for besides the one in the path.
pub(super) async fn get<H: Host>(host: &H, head: &Parts, environment_key: &str) -> Outcome {
    let reply = match open(host, head, environment_key).await {
        Ok(subscription) => {
            return Outcome {
                reply: stream_head(&subscription.snapshot),
                effects: Vec::new(),
                counted: None,
                stream: Some(Streaming::Open(subscription)),
            };
        }
        Err(refusal) => refused(&refusal),
    };
    Outcome {
        stream: Some(Streaming::Refused),
        ..reply.into()
    }
}

async fn open<H: Host>(
    host: &H,
    head: &Parts,
    environment_key: &str,
) -> Result<Subscription, Refusal> {
    if head.method != Method::GET && head.method != Method::HEAD {
        return Err(Refusal::MethodNotAllowed(head.method.clone()));
    }
    if !host.has_streams() {
        return Err(Refusal::NotFound(
            "This edge has no event streams: take them from another edge, or poll.",
        ));
    }
    let found = host.snapshot(KeyRef::Client(environment_key)).await;
    let snapshot = found
        .map_err(|Unavailable(_)| Refusal::Unavailable)?
        .filter(|snapshot| !snapshot.settings().gone)
        .ok_or(Refusal::NotFound("Not found."))?;
    let [low, high, ..] = host.random();
    let wait = 1_000 + u16::from_le_bytes([low, high]) % 4_000;
    Ok(Subscription {
        snapshot,
        retry: format!("retry: {wait}\n").into(),
    })
}

fn stream_head(snapshot: &Snapshot) -> Response<Bytes> {
    let mut reply = Response::new(Bytes::new());
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    // nginx would hold events back until its buffer is full.
    headers.insert(X_ACCEL_BUFFERING.clone(), HeaderValue::from_static("no"));
    reply::updated_at(&mut reply, snapshot);
    reply
}

fn refused(refusal: &Refusal) -> Response<Bytes> {
    let mut reply = reply::plain_json(refusal.status(), refusal.body());
    match refusal {
        Refusal::MethodNotAllowed(_) => {
            let allow = HeaderValue::from_static("GET, HEAD");
            reply.headers_mut().insert(ALLOW, allow);
        }
        Refusal::Unavailable => reply::ask_to_retry(&mut reply),
        _ => {}
    }
    reply
}
