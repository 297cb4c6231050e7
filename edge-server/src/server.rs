//! The socket loop: accepts connections, speaks HTTP/1.1 and HTTP/2 on the same port, with TLS or without,
//! drops clients that dawdle, and lets running requests finish at the end.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
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

use crate::head_timer::HeadTimer;
use crate::socket::Socket;
use crate::tls::Tls;

/// How long to wait when the process has no file descriptor left for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a server waits for its clients.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long a connection may be silent, or take over a request's headers.
    pub head: Duration,
    /// How long a client may read nothing of an answer that waits for it.
    pub write: Duration,
    /// How long running requests may take once the server is asked to stop.
    pub drain: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            // Longer than the idle time of common load balancers (60 s), so that it is they who hang up.
            head: Duration::from_secs(75),
            write: Duration::from_secs(30),
            drain: Duration::from_secs(10),
        }
    }
}

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
    let answer = move |_, request| answer(request);
    serve_patiently(listener, tls, Patience::default(), answer, stop).await;
}

/// The same for who wants to know the address of the client, or has another patience.
pub async fn serve_patiently<F, B>(
    listener: TcpListener,
    tls: Option<Tls>,
    patience: Patience,
    answer: impl Fn(SocketAddr, Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    stop: impl Future<Output = ()>,
) where
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let mut protocol = auto::Builder::new(TokioExecutor::new());
    protocol
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(patience.head);
    let connections = GracefulShutdown::new();
    let mut stop = pin!(stop);
    loop {
        let (socket, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
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
            let answering = Box::pin(answer(peer, request));
            async move { Ok::<_, Infallible>(answering.await) }
        });
        let (mut protocol, watcher) = (protocol.clone(), connections.watcher());
        protocol
            .http1()
            .timer(HeadTimer::default())
            .header_read_timeout(patience.head);
        let Some(tls) = tls.clone() else {
            let connection = protocol.serve_connection(
                TokioIo::new(Socket::new(socket, patience.head, patience.write)),
                service,
            );
            tokio::spawn(finish(watcher.watch(connection.into_owned())));
            continue;
        };
        tokio::spawn(async move {
            if let Some(stream) = tls.accept(socket).await {
                let connection = protocol.serve_connection(
                    TokioIo::new(Socket::new(stream, patience.head, patience.write)),
                    service,
                );
                finish(watcher.watch(connection.into_owned())).await;
            }
        });
    }
    drop(listener);
    let open = connections.count();
    if tokio::time::timeout(patience.drain, connections.shutdown())
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
