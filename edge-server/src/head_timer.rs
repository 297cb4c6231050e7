//! How long a client may take over the headers of its next request, counted for hyper at little cost.
//!
//! hyper makes a sleep for every request and drops it once the headers are there. One of tokio's would go into the
//! runtime's timers and out again each time. Here a connection has one of those for as long as it lasts: when that
//! runs out, it is set to what is due by then.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};

/// The timer of one HTTP/1 connection: one of its sleeps is waited for at a time.
#[derive(Debug, Default)]
pub(crate) struct HeadTimer {
    alarm: Arc<Alarm>,
}

type Alarm = Mutex<Option<Pin<Box<tokio::time::Sleep>>>>;

struct HeadSleep {
    deadline: Instant,
    alarm: Arc<Alarm>,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HeadSleep {
            deadline,
            alarm: Arc::clone(&self.alarm),
        })
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.into();
        let mut alarm = self.alarm.lock().unwrap_or_else(PoisonError::into_inner);
        let alarm = alarm.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if alarm.deadline() > deadline {
            alarm.as_mut().reset(deadline);
        }
        loop {
            ready!(alarm.as_mut().poll(context));
            if alarm.deadline() >= deadline {
                return Poll::Ready(());
            }
            alarm.as_mut().reset(deadline);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long it takes until a sleep is over.
    async fn waited(sleep: Pin<Box<dyn Sleep>>) -> Duration {
        let begun = Instant::now();
        sleep.await;
        begun.elapsed()
    }

    #[tokio::test]
    async fn every_head_has_its_whole_time() {
        let head = Duration::from_millis(100);
        let timer = HeadTimer::default();
        for taken in [10, 60, 40, 90] {
            let sleep = timer.sleep(head);
            let in_time = tokio::time::timeout(Duration::from_millis(taken), sleep);
            // Waited for and dropped, as when the headers come.
            let _ = in_time.await;
        }
        for _ in 0..2 {
            let waited = waited(timer.sleep(head)).await;
            assert!(waited >= head, "{waited:?}");
        }
    }

    #[tokio::test]
    async fn an_earlier_one_is_not_kept_waiting() {
        let timer = HeadTimer::default();
        let long = timer.sleep(Duration::from_hours(1));
        let waited_for = tokio::time::timeout(Duration::from_millis(1), long).await;
        assert!(waited_for.is_err());
        waited(timer.sleep(Duration::from_millis(1))).await;
    }
}
