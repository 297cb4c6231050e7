//! The server under test, as an HTTP/1.1 client sees it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use yardarm_core::edge::MissingParts;
use yardarm_core::edge::signature::{
    CONTENT_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, content_hash, sign,
};
use yardarm_core::snapshot::Package;

/// How long any one request may take; a cold workerd or Spin instance needs a moment.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a connection may lie idle before a new one is opened: workerd closes its own after five
/// seconds, and a request sent into that moment fails.
const IDLE: Duration = Duration::from_secs(2);

/// A host that serves, and the secret it takes publications with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Target {
    client: Client<HttpConnector, Full<Bytes>>,
    authority: Authority,
    secret: Vec<u8>,
}

/// What handing a package over took.
#[derive(Debug)]
pub struct Handed {
    /// The last answer.
    pub reply: Response<Bytes>,
    /// How many requests.
    pub requests: usize,
    /// Bytes of their bodies.
    pub bytes: usize,
    /// Bytes of the largest body.
    pub largest: usize,
}

impl Target {
    /// A server at `http://host:port`.
    pub fn new(url: &str, secret: &str) -> anyhow::Result<Self> {
        let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
        ensure!(
            uri.scheme() == Some(&Scheme::HTTP),
            "{url}: only http:// is spoken here"
        );
        ensure!(
            uri.path() == "/",
            "{url}: name the server only, without a path"
        );
        Ok(Self {
            client: Client::builder(TokioExecutor::new())
                .pool_idle_timeout(IDLE)
                .build_http(),
            authority: uri.authority().context("the URL names no host")?.clone(),
            secret: secret.as_bytes().to_vec(),
        })
    }

    /// Sends a request whose URI is a path and perhaps a query; follows nothing and repeats nothing.
    pub async fn send(&self, request: Request<Bytes>) -> anyhow::Result<Response<Bytes>> {
        let named = format!("{} {}", request.method(), request.uri());
        let answer = async {
            let (head, body) = self.open(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Response::from_parts(head, body))
        };
        tokio::time::timeout(PATIENCE, answer)
            .await
            .with_context(|| format!("{named}: no answer within {PATIENCE:?}"))?
            .with_context(|| named)
    }

    /// The same without waiting for the body, which may never end.
    pub async fn open(&self, request: Request<Bytes>) -> anyhow::Result<Response<Incoming>> {
        let (mut head, body) = request.into_parts();
        let mut uri = head.uri.into_parts();
        uri.scheme = Some(Scheme::HTTP);
        uri.authority = Some(self.authority.clone());
        head.uri = Uri::from_parts(uri)?;
        let request = Request::from_parts(head, Full::new(body));
        Ok(self.client.request(request).await?)
    }

    /// Its host as requests name it.
    pub fn host(&self) -> &str {
        self.authority.as_str()
    }

    /// The secret it takes publications with.
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Publishes a package, as a control plane does: with the parts that the server lacks.
    pub async fn publish(&self, package: &Package) -> anyhow::Result<Response<Bytes>> {
        Ok(self.hand_over(package).await?.reply)
    }

    /// The same, with what it took.
    pub async fn hand_over(&self, package: &Package) -> anyhow::Result<Handed> {
        let mut body = package.opening();
        let (mut requests, mut bytes, mut largest) = (0, 0, 0);
        loop {
            requests += 1;
            bytes += body.len();
            largest = largest.max(body.len());
            let reply = self.put(package, body).await?;
            if reply.status() != StatusCode::ACCEPTED {
                return Ok(Handed {
                    reply,
                    requests,
                    bytes,
                    largest,
                });
            }
            let lacks: MissingParts = serde_json::from_slice(reply.body())?;
            let batch = package.batches(&lacks.missing).into_iter().next();
            body = batch
                .context("lacks parts that the package has not")?
                .bytes();
        }
    }

    /// Sends a publication of a package, with this body.
    pub async fn put(&self, package: &Package, body: Bytes) -> anyhow::Result<Response<Bytes>> {
        let path = publication_path(&package.meta().environment_key);
        self.send(self.signed(Method::PUT, &path, body)).await
    }

    /// A request of the publication protocol, signed now.
    pub fn signed(&self, method: Method, path: &str, body: Bytes) -> Request<Bytes> {
        self.signed_at(unix_seconds(), method, path, body)
    }

    /// A request of the publication protocol as signed at another time.
    pub fn signed_at(
        &self,
        unix_seconds: i64,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Request<Bytes> {
        let signature = sign(&self.secret, method.as_str(), path, unix_seconds, &body);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(TIMESTAMP_HEADER, unix_seconds)
            .header(SIGNATURE_HEADER, signature)
            .header(CONTENT_HEADER, content_hash(&body));
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/octet-stream");
        }
        #[expect(
            clippy::expect_used,
            reason = "a path that is none is a mistake of the test"
        )]
        request.body(body).expect("a valid request")
    }
}

/// A request of an SDK that brings JSON.
pub(crate) fn post(
    environment_key: &str,
    path: &str,
    body: &Value,
) -> anyhow::Result<Request<Bytes>> {
    Ok(Request::post(path)
        .header("x-environment-key", environment_key)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.to_string().into())?)
}

/// Where an environment is published.
pub fn publication_path(environment_key: &str) -> String {
    format!("/edge/v1/environments/{environment_key}")
}

/// SHA-256 in lower-case hex: how a publication names a server-side key.
pub fn sha256_hex(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

/// Now.
pub fn unix_seconds() -> i64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since_epoch.as_secs()).unwrap_or(i64::MAX)
}
