//! Taking request bodies in: how large they may be, how slow, and how many at once.
//!
//! Packages are large, and lie in memory before their signature can be checked. So theirs is judged by the
//! headers first, where the sender says what the body's hash is: only who knows the secret gets to send
//! much, and nobody else can keep a publisher waiting.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::sync::Semaphore;
use yardarm_core::edge::Host;
use yardarm_core::edge::signature::{
    CONTENT_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, verify_head,
};

/// The largest body of whoever has not shown that he knows the secret, in bytes.
const BODY: usize = 8 << 20;
/// How long such a body may take.
const BODY_TIME: Duration = Duration::from_secs(30);
/// The largest package; 100,000 identity overrides take some 100 MB.
const PACKAGE: usize = 512 << 20;
/// How long a package may take.
const PACKAGE_TIME: Duration = Duration::from_mins(5);
/// How many packages are taken in at once.
const PACKAGES_AT_ONCE: usize = 2;

/// Below this path are the publication routes.
pub(crate) const PUBLICATION: &str = "/edge/v1/";

/// Reads bodies.
#[derive(Debug)]
pub(crate) struct Bodies {
    packages: Semaphore,
}

/// What a request's head says of how its body is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    /// Anybody.
    Somebody,
    /// Has signed a body with the hash he names.
    Publisher,
    /// Asks for what he will not get, whatever his body is.
    Refused,
}

impl Bodies {
    pub(crate) fn new() -> Self {
        Self {
            packages: Semaphore::new(PACKAGES_AT_ONCE),
        }
    }

    /// Reads a request whole. One that is refused by its headers alone comes without its body.
    pub(crate) async fn read<B>(
        &self,
        host: &impl Host,
        request: Request<B>,
    ) -> Result<Request<Bytes>, Refused>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (head, body) = request.into_parts();
        if body.is_end_stream() {
            return Ok(Request::from_parts(head, Bytes::new()));
        }
        let (most, longest, turns) = match sender(host, &head) {
            Sender::Refused => return Ok(Request::from_parts(head, Bytes::new())),
            Sender::Somebody => (BODY, BODY_TIME, None),
            Sender::Publisher => (PACKAGE, PACKAGE_TIME, Some(&self.packages)),
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
            let _turn = match turns {
                Some(turns) => Some(turns.acquire().await),
                None => None,
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

/// Who sends, as far as the headers tell.
fn sender(host: &impl Host, head: &Parts) -> Sender {
    if !head.uri.path().starts_with(PUBLICATION) {
        return Sender::Somebody;
    }
    let Some(secret) = host.publishing_secret() else {
        return Sender::Refused;
    };
    let text = |name| head.headers.get(name)?.to_str().ok();
    let Some(content) = text(CONTENT_HEADER) else {
        return Sender::Somebody;
    };
    let (timestamp, signature) = (text(TIMESTAMP_HEADER), text(SIGNATURE_HEADER));
    let (method, path) = (head.method.as_str(), head.uri.path());
    let verified = verify_head(
        &secret,
        method,
        path,
        timestamp,
        signature,
        Some(content),
        host.now(),
    );
    if verified.is_ok() {
        Sender::Publisher
    } else {
        Sender::Refused
    }
}

/// Why a request got no answer from core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    TooLarge,
    TooSlow,
    Broken,
    Failed,
}

impl Refused {
    pub(crate) fn reply(self) -> Response<Bytes> {
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
