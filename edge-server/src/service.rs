//! One request: from the wire to core and back.
//!
//! What HTTP means is core's; here is only what a socket adds: how much may be sent, how slowly, and
//! a name for the request in the log.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use bytes::Bytes;
use http::{HeaderName, Request, Response};
use http_body::Body;
use tokio::task::JoinError;
use yardarm_core::edge::stream::{REFUSAL_DELAY, Streaming, refuse};
use yardarm_core::edge::{self, Host as _, Outcome};

use crate::bodies::{Bodies, PUBLICATION, Refused};
use crate::compression::{self, Accepted};
use crate::host::NativeHost;
use crate::identities::Identities;
use crate::reply_body::ReplyBody;
use crate::request_id::RequestIds;
use crate::streams::{StreamSettings, Streams};
use crate::usage::Usage;

/// From this size on a publication is handled on a thread of its own, in bytes.
const LARGE: usize = 64 << 10;

/// The routes to mount where admin routes stand beside them; `/health` and `/version/` are not among
/// them. Paths without their trailing slash are here because core redirects them.
const MOUNTED: [&str; 18] = [
    "/api/v1/flags",
    "/api/v1/flags/",
    "/api/v1/flags/{*rest}",
    "/api/v1/identities",
    "/api/v1/identities/",
    "/api/v1/identities/{*rest}",
    "/api/v1/traits",
    "/api/v1/traits/",
    "/api/v1/traits/{*rest}",
    "/api/v1/environment-document",
    "/api/v1/environment-document/",
    "/api/v1/analytics/flags",
    "/api/v1/analytics/flags/",
    "/api/v2/analytics/flags",
    "/api/v2/analytics/flags/",
    "/ofrep/v1/{*rest}",
    "/edge/v1/{*rest}",
    "/sse/{*rest}",
];

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An edge that answers requests. Cheap to clone; clones are the same edge.
pub struct Edge<I> {
    shared: Arc<Shared<I>>,
}

struct Shared<I> {
    host: NativeHost<I>,
    usage: Arc<dyn Usage>,
    request_ids: RequestIds,
    bodies: Bodies,
    streams: Streams,
}

/// The SDK API and the publication routes as an axum router, to be merged into another.
pub fn router<I: Identities>(edge: &Edge<I>) -> Router {
    let mut router = Router::new();
    for path in MOUNTED {
        let edge = edge.clone();
        let answer = move |request: Request<AxumBody>| {
            let edge = edge.clone();
            async move { edge.answer(request).await.map(AxumBody::new) }
        };
        router = router.route(path, any(answer));
    }
    router
}

impl<I: Identities> Edge<I> {
    /// An edge over a host, with the usual settings of streams.
    pub fn new(host: NativeHost<I>, usage: Arc<dyn Usage>) -> Self {
        Self::with_streams(host, usage, StreamSettings::default())
    }

    /// An edge over a host.
    pub fn with_streams(
        host: NativeHost<I>,
        usage: Arc<dyn Usage>,
        settings: StreamSettings,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                streams: Streams::new(host.snapshots().clone(), settings),
                host,
                usage,
                request_ids: RequestIds::new(),
                bodies: Bodies::new(),
            }),
        }
    }

    /// The host.
    pub fn host(&self) -> &NativeHost<I> {
        &self.shared.host
    }

    /// Its event streams.
    pub fn streams(&self) -> &Streams {
        &self.shared.streams
    }

    /// Answers any request: SDK API, event streams, health, version, publications, and 404 for the
    /// rest.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<ReplyBody>
    where
        B: Body<Data = Bytes> + Send,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let id = self
            .shared
            .request_ids
            .of(request.headers().get(&X_REQUEST_ID));
        let log = tracing::enabled!(tracing::Level::DEBUG).then(|| {
            let path = request.uri().path().to_owned();
            (request.method().clone(), path, Instant::now())
        });
        let accepted = Accepted::of(request.method(), request.headers());
        let mut reply = match self.shared.bodies.read(self.host(), request).await {
            Ok(request) => self.handle(request, accepted).await,
            Err(refused) => refused.reply().map(ReplyBody::from),
        };
        if let Some((method, path, begun)) = log {
            tracing::debug!(
                request_id = id.to_str().unwrap_or_default(), %method, path, status = reply.status().as_u16(),
                micros = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX), "request",
            );
        }
        if reply.status().is_server_error() {
            tracing::warn!(
                request_id = id.to_str().unwrap_or_default(),
                status = reply.status().as_u16(),
                "request failed"
            );
        }
        reply.headers_mut().insert(X_REQUEST_ID, id);
        reply
    }

    async fn handle(&self, request: Request<Bytes>, accepted: Accepted) -> Response<ReplyBody> {
        let is_large = request.body().len() >= LARGE;
        let outcome = if is_large && request.uri().path().starts_with(PUBLICATION) {
            match self.handle_aside(request).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    tracing::error!(%error, "a publication was not handled");
                    return Refused::Failed.reply().map(ReplyBody::from);
                }
            }
        } else {
            edge::handle(&self.shared.host, request).await
        };
        let usage = &self.shared.usage;
        if let Some(counted) = &outcome.counted {
            usage.count(counted, self.shared.host.now());
        }
        if !outcome.effects.is_empty() {
            usage.record(outcome.effects, self.shared.host.now());
        }
        let reply = outcome.reply;
        let refusal = match &outcome.stream {
            None => {
                return compression::pack(accepted, reply)
                    .await
                    .map(ReplyBody::from);
            }
            Some(Streaming::Refused) => reply,
            Some(Streaming::Open(subscription)) => match self.streams().open(subscription) {
                Some(events) => return reply.map(|_| ReplyBody::Events(events)),
                None => refuse(reply),
            },
        };
        tokio::time::sleep(REFUSAL_DELAY).await;
        refusal.map(ReplyBody::from)
    }

    /// Handles a publication on a thread of its own: checking the hashes of a package of
    /// 100 MB takes a tenth of a second, in which SDK requests shall not wait.
    async fn handle_aside(&self, request: Request<Bytes>) -> Result<Outcome, JoinError> {
        let edge = self.clone();
        let runtime = tokio::runtime::Handle::current();
        let handle = move || runtime.block_on(edge::handle(&edge.shared.host, request));
        tokio::task::spawn_blocking(handle).await
    }
}

impl<I> Clone for Edge<I> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl<I> fmt::Debug for Edge<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edge")
            .field("host", &self.shared.host)
            .finish_non_exhaustive()
    }
}
