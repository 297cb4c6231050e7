//! The socket loop: accepts connections, speaks HTTP/1.1 and HTTP/2 on the same port, with TLS or without,
//! drops clients that dawdle, and lets running requests finish at the end.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;

use crate::tls::Tls;

/// How long a connection may be silent, or take over a request's headers. Longer than the idle time
/// of common load balancers (60 s), so that it is they who hang up.
const HEADER_TIME: Duration = Duration::from_secs(75);
/// How long running requests may take once the server is asked to stop.
const DRAIN_TIME: Duration = Duration::from_secs(10);
/// How long to wait when the process has no file descriptor left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `answer` without TLS until `stop` completes, then drains.
pub async fn serve<F, B>(
    listener: TcpListener,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    stop: impl Future<Output = ()>,
) where
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    serve_with(listener, None, answer, stop).await;
}

/// The same, with TLS where a certificate is given.
pub async fn serve_with<F, B>(
    listener: TcpListener,
    tls: Option<Tls>,
    answer: impl Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    stop: impl Future<Output = ()>,
) where
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut protocol = auto::Builder::new(TokioExecutor::new());
    protocol
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME);
    protocol
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEADER_TIME);
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    pause_after(&error).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let _ = socket.set_nodelay(true);
        let answer = answer.clone();
        let service = service_fn(move |request| {
            // Boxed, as a connection keeps its room for as long as it is open: 4 KB for an idle one or a stream.
            let answering = Box::pin(answer(request));
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let (protocol, watcher) = (protocol.clone(), connections.watcher());
        let Some(tls) = tls.clone() else {
            let connection = protocol.serve_connection(TokioIo::new(socket), service);
            tokio::spawn(finish(watcher.watch(connection.into_owned())));
            continue;
        };
        tokio::spawn(async move {
            if let Some(stream) = tls.accept(socket).await {
                let connection = protocol.serve_connection(TokioIo::new(stream), service);
                finish(watcher.watch(connection.into_owned())).await;
            }
        });
    }
    drop(listener);
    let open = connections.count();
    if tokio::time::timeout(DRAIN_TIME, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!(open, "requests still running were cut off");
    }
}

async fn finish(connection: impl Future<Output = Result<(), Box<dyn Error + Send + Sync>>>) {
    if let Err(error) = connection.await {
        tracing::debug!(error, "connection ended");
    }
}

/// An error of one connection concerns nobody else; one of the process (no descriptors, no memory)
/// passes when others hang up.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        tracing::error!(%error, "connections cannot be accepted");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}
