//! Open event streams: how many there may be, and what goes through one.
//!
//! Which bytes are sent when is core's ([`yardarm_core::edge::stream`]); here is what waits for the
//! moment.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use tokio::sync::watch;
use tokio::time::timeout;
use yardarm_core::edge::stream::{HEARTBEAT, HEARTBEAT_EVERY, REPEAT_AFTER, REPEATS, Subscription};

use crate::snapshots::SnapshotStore;

/// How streams are kept.
#[derive(Debug, Clone, Copy)]
pub struct StreamSettings {
    /// How many may be open at once; beyond that 503 is answered.
    pub most: usize,
    /// How long one is silent before a comment is sent, to notice who is gone and to keep proxies from
    /// hanging up.
    pub heartbeat: Duration,
}

impl Default for StreamSettings {
    /// 10,000, and 25 seconds.
    fn default() -> Self {
        Self {
            most: 10_000,
            heartbeat: HEARTBEAT_EVERY,
        }
    }
}

/// The streams of an edge. Cheap to clone; clones are the same.
#[derive(Debug, Clone)]
pub struct Streams {
    settings: StreamSettings,
    open: Arc<AtomicUsize>,
    store: SnapshotStore,
}

impl Streams {
    pub(crate) fn new(store: SnapshotStore, settings: StreamSettings) -> Self {
        Self {
            settings,
            open: Arc::default(),
            store,
        }
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends all of them and opens no more: for the end of a process, which would wait for them.
    pub fn close(&self) {
        self.store.close_news();
    }

    /// Opens one; `None` when there is no room, and when the environment has just been deleted.
    pub(crate) fn open(&self, subscription: &Subscription) -> Option<EventStream> {
        let environment_key = subscription.snapshot.environment_key();
        let place = self.take_place(environment_key)?;
        let mut news = self.store.listen(environment_key)?;
        let mut first = subscription.retry.to_vec();
        first.extend_from_slice(&news.borrow_and_update());
        let listener = Listener {
            news,
            repeats: REPEATS,
            heartbeat: self.settings.heartbeat,
            _place: place,
        };
        Some(EventStream {
            first: Some(first.into()),
            rest: Box::pin(stream::unfold(listener, Listener::next)),
        })
    }

    fn take_place(&self, environment_key: &str) -> Option<Place> {
        let most = self.settings.most;
        let one_more = |open| (open < most).then_some(open + 1);
        self.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(Place {
            streams: self.clone(),
            environment_key: environment_key.into(),
        })
    }
}

/// One of the streams there may be; given back when it goes.
struct Place {
    streams: Streams,
    environment_key: Box<str>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.streams.open.fetch_sub(1, Ordering::Relaxed);
        self.streams.store.tidy_news(&self.environment_key);
    }
}

/// Who waits at the other end of a stream.
struct Listener {
    // Dropped before the place, which looks whether anybody is left.
    news: watch::Receiver<Bytes>,
    /// How often the event in hand is still to be repeated.
    repeats: u32,
    heartbeat: Duration,
    _place: Place,
}

impl Listener {
    /// What is sent next, once its time has come; `None` at the end.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let wait = if self.repeats > 0 {
            REPEAT_AFTER
        } else {
            self.heartbeat
        };
        let chunk = match timeout(wait, self.news.changed()).await {
            Ok(Ok(())) => {
                self.repeats = REPEATS;
                self.news.borrow_and_update().clone()
            }
            Ok(Err(_)) => return None,
            Err(_) if self.repeats > 0 => {
                self.repeats -= 1;
                self.news.borrow().clone()
            }
            Err(_) => HEARTBEAT,
        };
        Some((chunk, self))
    }
}

/// The body of a reply that goes on: each chunk is one event.
pub struct EventStream {
    first: Option<Bytes>,
    rest: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
}

impl EventStream {
    pub(crate) fn poll_chunk(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => self.rest.as_mut().poll_next(context),
        }
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}
