//! A client's socket, TLS or not, that does not wait for ever: neither for the first bytes, before which the
//! protocol is not known and no timer of it runs, nor for a client that does not read its answer.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// From so many bytes on it is known which protocol is spoken: the length of HTTP/2's preface.
const PREFACE: usize = 24;

/// The socket.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    stream: S,
    /// How long a write may make no progress.
    write: Duration,
    /// Until the protocol is known.
    beginning: Option<Beginning>,
    /// While a write waits.
    blocked: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
struct Beginning {
    read: usize,
    end: Pin<Box<Sleep>>,
}

impl<S> Socket<S> {
    /// A socket whose client has `head` for its first bytes and `write` to take any of an answer.
    pub(crate) fn new(stream: S, head: Duration, write: Duration) -> Self {
        let end = Box::pin(sleep(head));
        Self {
            stream,
            write,
            beginning: Some(Beginning { read: 0, end }),
            blocked: None,
        }
    }

    /// Lets a write through, and counts the time in which none went on.
    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let patience = self.write;
        let blocked = self
            .blocked
            .get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(blocked.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let Some(beginning) = &mut self.beginning else {
            return read;
        };
        if read.is_ready() {
            beginning.read += buffer.filled().len() - before;
            if beginning.read >= PREFACE {
                self.beginning = None;
            }
            return read;
        }
        ready!(beginning.end.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        // Who is answered has asked, however short it was.
        self.beginning = None;
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.beginning = None;
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
