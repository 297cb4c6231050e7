//! What has just changed, for whoever listens: a channel an environment, made for its first listener
//! and gone with its last.
//!
//! A channel holds one event, the newest. A listener that is slow misses those in between and needs
//! none of them, and nothing piles up for it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ahash::RandomState;
use bytes::Bytes;
use tokio::sync::watch;

/// The channels.
#[derive(Debug, Default)]
pub(crate) struct News {
    channels: Mutex<Channels>,
}

#[derive(Debug, Default)]
struct Channels {
    by_environment: HashMap<Box<str>, watch::Sender<Bytes>, RandomState>,
    closed: bool,
}

impl News {
    /// Listens to an environment. The newest event waits in the channel; it ends when the environment
    /// is deleted, and when there is to be no more news. `None` where that is so already.
    ///
    /// `current` tells the event of what is held. It is asked while nothing can be announced, so that
    /// no version falls between asking and listening.
    pub(crate) fn listen(
        &self,
        environment_key: &str,
        current: impl FnOnce() -> Option<Bytes>,
    ) -> Option<watch::Receiver<Bytes>> {
        let mut channels = self.channels();
        if channels.closed {
            return None;
        }
        if let Some(channel) = channels.by_environment.get(environment_key) {
            return Some(channel.subscribe());
        }
        let (channel, listener) = watch::channel(current()?);
        channels
            .by_environment
            .insert(environment_key.into(), channel);
        Some(listener)
    }

    /// Tells the listeners of an environment of a version that is held now; `None` of its end.
    pub(crate) fn announce(&self, environment_key: &str, event: Option<Bytes>) {
        let mut channels = self.channels();
        match event {
            Some(event) => {
                if let Some(channel) = channels.by_environment.get(environment_key) {
                    channel.send_replace(event);
                }
            }
            None => drop(channels.by_environment.remove(environment_key)),
        }
    }

    /// Drops the channel of an environment that nobody listens to any more.
    pub(crate) fn tidy(&self, environment_key: &str) {
        let mut channels = self.channels();
        let channel = channels.by_environment.get(environment_key);
        if channel.is_some_and(|channel| channel.receiver_count() == 0) {
            channels.by_environment.remove(environment_key);
        }
    }

    /// Ends every channel, for good.
    pub(crate) fn close(&self) {
        let mut channels = self.channels();
        channels.closed = true;
        channels.by_environment.clear();
    }

    fn channels(&self) -> MutexGuard<'_, Channels> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(text: &'static str) -> Option<Bytes> {
        (!text.is_empty()).then(|| Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn a_listener_finds_the_newest_event_and_no_other() {
        let news = News::default();
        news.announce("a", some("before anybody listened"));
        let first = news.listen("a", || some("1")).unwrap();
        let mut second = news.listen("a", || some("not asked")).unwrap();
        assert_eq!(*second.borrow_and_update(), "1");
        for newer in ["2", "3"] {
            news.announce("a", some(newer));
            news.announce("b", some("of another"));
        }
        assert!(second.has_changed().unwrap());
        assert_eq!(
            (&**first.borrow(), &**second.borrow()),
            (&b"3"[..], &b"3"[..])
        );
    }

    #[test]
    fn a_channel_ends_with_its_environment() {
        let news = News::default();
        let listener = news.listen("a", || some("1")).unwrap();
        news.announce("a", None);
        assert!(listener.has_changed().is_err());
        assert!(news.listen("a", || None).is_none());
    }

    #[test]
    fn channels_go_with_their_last_listener() {
        let news = News::default();
        let (first, second) = (
            news.listen("a", || some("1")),
            news.listen("a", || some("1")),
        );
        drop(first);
        news.tidy("a");
        assert_eq!(news.channels().by_environment.len(), 1);
        drop(second);
        news.tidy("a");
        assert!(news.channels().by_environment.is_empty());
    }

    #[test]
    fn there_is_no_news_after_the_end() {
        let news = News::default();
        let listener = news.listen("a", || some("1")).unwrap();
        news.close();
        assert!(listener.has_changed().is_err());
        assert!(news.listen("a", || some("2")).is_none());
    }
}
