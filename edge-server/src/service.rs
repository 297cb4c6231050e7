//! One request: from the wire to core and back.
//!
//! What HTTP means is core's; here is only what a socket adds: how much may be sent, how slowly, and
//! a name for the request in the log.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body as AxumBody;
use axum::routing::any;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::Semaphore;
use tokio::task::JoinError;
use yardarm_core::edge::stream::{REFUSAL_DELAY, Streaming, refuse};
use yardarm_core::edge::{self, Host as _, Outcome};

use crate::compression::{self, Accepted};
use crate::host::NativeHost;
use crate::identities::Identities;
use crate::reply_body::ReplyBody;
use crate::request_id::RequestIds;
use crate::streams::{StreamSettings, Streams};
use crate::usage::Usage;

/// The largest body of an SDK request, in bytes.
const SDK_BODY: usize = 8 << 20;
/// How long an SDK request's body may take.
const SDK_BODY_TIME: Duration = Duration::from_secs(30);
/// The largest package; 100,000 identity overrides take some 100 MB.
const PACKAGE_BODY: usize = 512 << 20;
/// How long a package may take.
const PACKAGE_BODY_TIME: Duration = Duration::from_mins(5);
/// How many packages are taken in at once. They lie in memory before their signature can be checked.
const PACKAGES_AT_ONCE: usize = 2;

/// Below this path are the publication routes.
const PUBLICATION: &str = "/edge/v1/";

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
    packages: Semaphore,
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
                packages: Semaphore::new(PACKAGES_AT_ONCE),
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
        let mut reply = match self.read(request).await {
            Ok(request) => self.handle(request, accepted).await,
            Err(refused) => refused.reply().map(ReplyBody::from),
        };
        if let Some((method, path, begun)) = log {
            tracing::debug!(
                request_id = ?id, %method, path, status = reply.status().as_u16(),
                micros = begun.elapsed().as_micros(), "request",
            );
        }
        if reply.status().is_server_error() {
            tracing::warn!(request_id = ?id, status = reply.status().as_u16(), "request failed");
        }
        reply.headers_mut().insert(X_REQUEST_ID, id);
        reply
    }

    async fn handle(&self, request: Request<Bytes>, accepted: Accepted) -> Response<ReplyBody> {
        let outcome = if request.uri().path().starts_with(PUBLICATION) {
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

    async fn read<B>(&self, request: Request<B>) -> Result<Request<Bytes>, Refused>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        if body.is_end_stream() {
            return Ok(Request::from_parts(head, Bytes::new()));
        }
        let publication = head.uri.path().starts_with(PUBLICATION);
        let (most, longest) = if publication {
            (PACKAGE_BODY, PACKAGE_BODY_TIME)
        } else {
            (SDK_BODY, SDK_BODY_TIME)
        };
        let announced = head
            .headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok());
        if announced
            .and_then(|length| length.parse().ok())
            .is_some_and(|length: usize| length > most)
        {
            return Err(Refused::TooLarge);
        }
        let collected = async {
            let _turn = if publication {
                Some(self.shared.packages.acquire().await)
            } else {
                None
            };
            Limited::new(body, most).collect().await
        };
        match tokio::time::timeout(longest, collected).await {
            Ok(Ok(body)) => Ok(Request::from_parts(head, body.to_bytes())),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Refused::TooLarge),
            Ok(Err(_)) => Err(Refused::Broken),
            Err(_) => Err(Refused::TooSlow),
        }
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

/// Why a request got no answer from core.
#[derive(Debug, Clone, Copy)]
enum Refused {
    TooLarge,
    TooSlow,
    Broken,
    Failed,
}

impl Refused {
    fn reply(self) -> Response<Bytes> {
        let (status, body) = match self {
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                r#"{"detail":"Request body is too large."}"#,
            ),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                r#"{"detail":"Request body took too long."}"#,
            ),
            Self::Broken => (
                StatusCode::BAD_REQUEST,
                r#"{"detail":"Request body could not be read."}"#,
            ),
            Self::Failed => (
                StatusCode::SERVICE_UNAVAILABLE,
                r#"{"detail":"Service temporarily unavailable, try again later."}"#,
            ),
        };
        let mut reply = Response::new(Bytes::from_static(body.as_bytes()));
        *reply.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        reply.headers_mut().insert(CONTENT_TYPE, json);
        reply
    }
}
