//! HTTP/1.1 on a TCP socket, one connection a task, handed to the component.

use std::net::SocketAddr;

use bytes::Bytes;
use http::uri::{Authority, Scheme};
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use wasmtime::error::Context as _;
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::handler::ProxyHandler;

use crate::instances::Instances;

/// Serves until the process ends. Prints the address first, for scripts that asked for port 0.
pub(crate) async fn serve(
    address: SocketAddr,
    service: ProxyHandler<Instances>,
) -> wasmtime::Result<()> {
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("listen on {address}"))?;
    let address = listener.local_addr()?;
    println!("yardarm-spin-host (wasmtime 48) on http://{address}");
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request| answer(&service, address, request));
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
            if let Err(error) = connection.await
                && !error.is_incomplete_message()
            {
                eprintln!("connection: {error}");
            }
        });
    }
}

async fn answer(
    service: &ProxyHandler<Instances>,
    address: SocketAddr,
    request: Request<Incoming>,
) -> wasmtime::Result<Response<WasiBody>> {
    let request =
        with_whole_uri(request, address)?.map(|body| body.map_err(Into::into).boxed_unsync());
    match service.handle((), request).await {
        Ok(response) => Ok(response),
        Err(error) => {
            // As Spin answers when a component fails.
            eprintln!("request: {error:?}");
            let body = Full::new(Bytes::new())
                .map_err(|never| match never {})
                .boxed_unsync();
            let mut response = Response::new(body);
            *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            Ok(response)
        }
    }
}

/// WASI HTTP wants scheme and authority, which HTTP/1.1 has elsewhere.
fn with_whole_uri<B>(mut request: Request<B>, address: SocketAddr) -> wasmtime::Result<Request<B>> {
    let authority = match request.headers().get(header::HOST) {
        Some(host) => Authority::try_from(host.as_bytes())?,
        None => Authority::try_from(address.to_string())?,
    };
    let mut parts = std::mem::take(request.uri_mut()).into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority.get_or_insert(authority);
    *request.uri_mut() = Uri::from_parts(parts)?;
    Ok(request)
}
