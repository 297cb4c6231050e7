//! Futures that are mostly done when they are first polled, so that nothing needs to be set up for the others' sake.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Wakes who polls the rest, once there is one.
#[derive(Default)]
struct Relay(AtomicWaker);

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.0.wake();
    }
}

/// Polls a future once, now.
///
/// # Errors
///
/// What is left to wait for, if it is not done.
pub(crate) fn poll<F: Future>(future: F) -> Result<F::Output, impl Future<Output = F::Output>> {
    // One waker for all its life: some futures wake the first one that they saw (`worker::Delay`).
    let relay = Arc::new(Relay::default());
    let waker = Waker::from(Arc::clone(&relay));
    let mut future: Pin<Box<F>> = Box::pin(future);
    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
        return Ok(output);
    }
    Err(poll_fn(move |context| {
        relay.0.register(context.waker());
        future.as_mut().poll(&mut Context::from_waker(&waker))
    }))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::pin::pin;
    use std::rc::Rc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_is_done_is_there_at_once() {
        assert_eq!(poll(async { 7 }).ok(), Some(7));
    }

    #[test]
    fn the_first_waker_of_a_future_wakes_who_polls_it_last() {
        let first = Rc::new(RefCell::new(None));
        let (seen, mut polls) = (Rc::clone(&first), 0);
        let future = poll_fn(move |context| {
            seen.borrow_mut()
                .get_or_insert_with(|| context.waker().clone());
            polls += 1;
            if polls < 3 {
                Poll::Pending
            } else {
                Poll::Ready(polls)
            }
        });
        let mut rest = pin!(poll(future).unwrap_err());
        let count = Arc::new(Count::default());
        let outer = Waker::from(Arc::clone(&count));
        let mut context = Context::from_waker(&outer);
        assert_eq!(rest.as_mut().poll(&mut context), Poll::Pending);
        let kept: Waker = first.take().unwrap();
        kept.wake();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        assert_eq!(rest.as_mut().poll(&mut context), Poll::Ready(3));
    }
}
