//! The HTTP client for what an edge asks of others: an upstream, its control plane.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use reqwest::redirect::Policy;
use rustls::crypto::ring;
use tokio::time::timeout;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// A client that keeps connections and follows no redirects: secrets go along with its requests. Cheap to
/// clone.
#[derive(Debug, Clone)]
pub struct Client(reqwest::Client);

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, whole.
    pub body: Bytes,
}

/// Why nothing whole came back. Names no URL and no header.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The client cannot be made or the exchange failed.
    #[error("{}", told(.0))]
    Exchange(#[from] reqwest::Error),
    /// Nothing came for as long as the caller was ready to wait.
    #[error("no answer in time")]
    Silence,
    /// The body is longer than the caller takes.
    #[error("the answer is too long")]
    TooLong,
}

impl Client {
    /// Builds the client.
    pub fn new() -> Result<Self, ClientError> {
        // An error only says that a provider was installed before: by another client.
        let _installed = ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("yardarm-edge/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .build()?;
        Ok(Self(client))
    }

    /// Sends a request and reads at most `room` bytes of the answer's body. `silence` is how long nothing may
    /// come: the whole may take longer, as long as it goes on.
    pub async fn send(
        &self,
        request: Request<Bytes>,
        room: usize,
        silence: Duration,
    ) -> Result<Answer, ClientError> {
        let request = reqwest::Request::try_from(request)?;
        let wait = |_| ClientError::Silence;
        let sent = timeout(silence, self.0.execute(request));
        let mut answer = sent.await.map_err(wait)??;
        let announced = answer.content_length().unwrap_or(0);
        if announced > room as u64 {
            return Err(ClientError::TooLong);
        }
        let mut body = Vec::with_capacity(usize::try_from(announced).unwrap_or(0));
        while let Some(chunk) = timeout(silence, answer.chunk()).await.map_err(wait)?? {
            if body.len() + chunk.len() > room {
                return Err(ClientError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status: answer.status(),
            headers: std::mem::take(answer.headers_mut()),
            body: body.into(),
        })
    }
}

/// An error with its causes, which is where reqwest says what happened.
fn told(error: &reqwest::Error) -> String {
    let mut text = if error.is_connect() {
        "no connection".to_owned()
    } else {
        "exchange failed".to_owned()
    };
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
