//! What a component may call: the hosts it was given, as Spin has it of `allowed_outbound_hosts`. No TLS.

use std::str::FromStr;
use std::sync::Arc;

use http::uri::{PathAndQuery, Scheme};
use http::{Request, Response, Uri};
use http_body_util::BodyExt as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// A scheme, a host and a port; another scheme than HTTP never leads anywhere here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AllowedHost {
    scheme: String,
    host: String,
    port: u16,
}

impl AllowedHost {
    fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?;
        let default = if *scheme == Scheme::HTTPS { 443 } else { 80 };
        Some(Self {
            scheme: scheme.to_string(),
            host: uri.host()?.to_owned(),
            port: uri.port_u16().unwrap_or(default),
        })
    }
}

impl FromStr for AllowedHost {
    type Err = String;

    /// Like Spin: `http://host[:port]`, without a path. Wildcards are left out.
    fn from_str(text: &str) -> Result<Self, String> {
        let uri: Uri = text.parse().map_err(|error| format!("{error}"))?;
        if !matches!(uri.path(), "" | "/") {
            return Err("a host has no path".to_owned());
        }
        Self::of(&uri).ok_or_else(|| "expected scheme://host[:port]".to_owned())
    }
}

/// An instance's way out.
#[derive(Debug, Clone)]
pub(crate) struct Network(pub(crate) Arc<[AllowedHost]>);

type Sent = Result<
    (
        Response<WasiBody>,
        Box<dyn Future<Output = Result<(), Error>> + Send>,
    ),
    Error,
>;

impl WasiHttpHooks for Network {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let to = AllowedHost::of(request.uri()).filter(|to| self.0.contains(to));
        Box::new(async move {
            match to {
                Some(to) => send(&to, request).await,
                None => Err(Error::HttpRequestDenied),
            }
        })
    }
}

async fn send(to: &AllowedHost, mut request: Request<WasiBody>) -> Sent {
    if to.scheme != "http" {
        return Err(Error::TlsProtocolError);
    }
    let target = request.uri().path_and_query().cloned();
    *request.uri_mut() = target.map_or_else(Uri::default, |target: PathAndQuery| target.into());
    let host = to.host.trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, to.port))
        .await
        .map_err(Error::Connect)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends when the sender is dropped and the body is read or dropped.
    let connection = tokio::spawn(connection);
    let response = sender.send_request(request).await?;
    let response = response.map(|body| body.map_err(Error::from).boxed_unsync());
    let io = async move {
        match connection.await {
            Ok(Err(error)) => Err(error.into()),
            _ => Ok(()),
        }
    };
    Ok((response, Box::new(io)))
}
