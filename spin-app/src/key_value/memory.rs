//! A key-value store for tests: a map that enforces Spin's limits, has the hole of its `SQLite` back
//! end, can let calls of several tasks interleave at random, and can die after a number of writes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use yardarm_core::edge::Unavailable;

use super::KeyValue;

/// The store.
#[derive(Default)]
pub(crate) struct Memory {
    values: RefCell<BTreeMap<String, Vec<u8>>>,
    /// State of the random interleaving; 0 is none.
    random: Cell<u64>,
    writes_left: Cell<Option<u32>>,
    reads: Cell<u32>,
    names: Cell<u64>,
}

impl Memory {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Every call lets other tasks run first, as often as chance wants.
    pub(crate) fn interleaved(seed: u64) -> Self {
        Self {
            random: Cell::new(seed.wrapping_mul(2).wrapping_add(1)),
            ..Self::default()
        }
    }

    /// Every write after so many fails.
    pub(crate) fn die_after(&self, writes: u32) {
        self.writes_left.set(Some(writes));
    }

    /// Writes work again; whether they had stopped.
    pub(crate) fn revive(&self) -> bool {
        self.writes_left.take() == Some(0)
    }

    pub(crate) fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.values.borrow().get(key).cloned()
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.values.borrow().keys().cloned().collect()
    }

    /// Bytes of all values.
    pub(crate) fn bytes(&self) -> usize {
        self.values.borrow().values().map(Vec::len).sum()
    }

    /// Bytes of the largest value.
    pub(crate) fn largest(&self) -> usize {
        let values = self.values.borrow();
        values.values().map(Vec::len).max().unwrap_or(0)
    }

    /// How many values were read since last asked.
    pub(crate) fn reads(&self) -> u32 {
        self.reads.take()
    }

    async fn interleave(&self) {
        if self.random.get() == 0 {
            return;
        }
        // xorshift64
        let mut state = self.random.get();
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        self.random.set(state);
        for _ in 0..state % 4 {
            YieldOnce(false).await;
        }
    }

    fn write(&self) -> Result<(), Unavailable> {
        match self.writes_left.get() {
            Some(0) => Err(Unavailable("dead".to_owned())),
            Some(left) => {
                self.writes_left.set(Some(left - 1));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<(), Unavailable> {
        assert!((1..=256).contains(&key.len()), "key of {} bytes", key.len());
        assert!(value.len() < 1_000_000, "value of {} bytes", value.len());
        self.write()?;
        self.values
            .borrow_mut()
            .insert(key.to_owned(), value.to_vec());
        Ok(())
    }
}

impl KeyValue for Memory {
    type Seen = (String, Option<Vec<u8>>);

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        self.interleave().await;
        self.reads.set(self.reads.get() + 1);
        Ok(self.value(key))
    }

    async fn set(&self, key: &str, value: &[u8]) -> Result<(), Unavailable> {
        self.interleave().await;
        self.put(key, value)
    }

    async fn delete(&self, key: &str) -> Result<(), Unavailable> {
        self.interleave().await;
        self.write()?;
        self.values.borrow_mut().remove(key);
        Ok(())
    }

    async fn look(&self, key: &str) -> Result<(Option<Vec<u8>>, Self::Seen), Unavailable> {
        let value = self.get(key).await?;
        Ok((value.clone(), (key.to_owned(), value)))
    }

    async fn swap(&self, (key, seen): Self::Seen, value: &[u8]) -> Result<bool, Unavailable> {
        self.interleave().await;
        if seen.is_some() && self.value(&key) != seen {
            return Ok(false);
        }
        self.put(&key, value)?;
        Ok(true)
    }

    async fn increment(&self, key: &str, by: i64) -> Result<i64, Unavailable> {
        self.interleave().await;
        let held = self.value(key).map_or(0, |bytes| {
            i64::from_le_bytes(bytes.try_into().expect("a counter"))
        });
        self.put(key, &(held + by).to_le_bytes())?;
        Ok(held + by)
    }

    async fn pause(&self, _: Duration) {
        YieldOnce(false).await;
    }

    fn random(&self) -> u128 {
        self.names.set(self.names.get() + 1);
        u128::from(self.names.get()) << 64
    }
}

struct YieldOnce(bool);

impl Future for YieldOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

/// Polls a future until it is done; whatever waits here is ready at the next poll.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}

/// Runs futures side by side.
pub(crate) async fn join<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    let mut futures: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut outputs: Vec<Option<F::Output>> = futures.iter().map(|_| None).collect();
    std::future::poll_fn(|cx| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(cx)
            {
                *output = Some(ready);
            }
        }
        if outputs.iter().all(Option::is_some) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
