//! The HTTP client for everything that leaves this process.
//!
//! Targets of publication are the operator's own and may have private addresses; what users name
//! (webhooks) will need a client of its own that refuses those.

use std::time::Duration;

use anyhow::Context as _;
use reqwest::redirect::Policy;
use rustls::crypto::ring;

/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a whole exchange may take, and how much longer for each byte of the body at 1 MB/s: a
/// package with a hundred thousand identity overrides has a hundred megabytes.
const EXCHANGE: Duration = Duration::from_secs(15);
const EACH_BYTE: Duration = Duration::from_micros(1);
/// How much of an answer is read; a list of a hundred thousand environments fits.
const ANSWER: usize = 32 << 20;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: http::StatusCode,
    /// The body, at most 32 MiB of it.
    pub(crate) body: Vec<u8>,
}

/// A client for the operator's own machines. Follows no redirects, keeps connections.
#[derive(Debug, Clone)]
pub(crate) struct OperatorClient(reqwest::Client);

impl OperatorClient {
    /// Builds the client.
    pub(crate) fn new() -> anyhow::Result<Self> {
        // An error only says that a provider was installed before: by another client.
        let _installed = ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("yardarm/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .build()
            .context("cannot build the HTTP client")?;
        Ok(Self(client))
    }

    /// Sends a request and reads the answer.
    pub(crate) async fn send(
        &self,
        request: http::Request<bytes::Bytes>,
    ) -> anyhow::Result<Answer> {
        let length = u32::try_from(request.body().len()).unwrap_or(u32::MAX);
        let mut request = reqwest::Request::try_from(request)?;
        *request.timeout_mut() = Some(EXCHANGE + EACH_BYTE * length);
        // The text of the error names the URL, which the log has beside it anyway.
        let mut answer = self
            .0
            .execute(request)
            .await
            .map_err(reqwest::Error::without_url)?;
        let status = answer.status();
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
            anyhow::ensure!(body.len() + chunk.len() <= ANSWER, "the answer is too long");
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { status, body })
    }
}
