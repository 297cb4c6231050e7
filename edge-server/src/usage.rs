//! Where usage goes: what is told of every request, and the counter in memory that most hosts want.

use std::cell::Cell;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use ahash::RandomState;
use yardarm_core::edge::Effect;
use yardarm_core::edge::usage::{Counted, Counts, Tally};
use yardarm_core::time::Timestamp;

/// Takes what answering a request caused besides the reply.
pub trait Usage: Send + Sync + 'static {
    /// Called for every request that counts, before its reply is sent: it must be quick and must not block.
    fn count(&self, request: &Counted, now: Timestamp);

    /// Called for every request that caused something else, likewise.
    fn record(&self, effects: Vec<Effect>, now: Timestamp);
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoUsage;

impl Usage for NoUsage {
    fn count(&self, _: &Counted, _: Timestamp) {}
    fn record(&self, _: Vec<Effect>, _: Timestamp) {}
}

/// Counts in memory until somebody takes the counts.
///
/// Threads count into parts of their own, as far as the parts go round, so that they do not wait for each other.
pub struct CountedUsage {
    parts: Vec<Part>,
}

/// On a cache line of its own.
#[repr(align(128))]
struct Part(Mutex<Tally<RandomState>>);

/// Parts are for threads that count at the same time; more would only spread the same labels.
const MOST_PARTS: usize = 16;

impl CountedUsage {
    /// Holds about `most` bytes of counts; what is beyond is only numbered.
    pub fn new(most: usize) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let parts = threads.clamp(1, MOST_PARTS);
        let part = || Part(Mutex::new(Tally::new(most / parts)));
        Self {
            parts: std::iter::repeat_with(part).take(parts).collect(),
        }
    }

    /// Takes everything counted so far, rows that are alike added up.
    pub fn take(&self) -> Counts {
        let mut all = Tally::<RandomState>::new(usize::MAX);
        for part in &self.parts {
            let counts = part.0.lock().unwrap_or_else(PoisonError::into_inner).take();
            all.absorb(counts);
        }
        all.take()
    }

    /// Takes back counts that could not be passed on.
    pub fn put_back(&self, counts: Counts) {
        self.with(|tally| tally.absorb(counts));
    }

    fn with<T>(&self, count: impl FnOnce(&mut Tally<RandomState>) -> T) -> T {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static THREAD: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed));
        }
        let part = &self.parts[THREAD.get() % self.parts.len()];
        count(&mut part.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Usage for CountedUsage {
    fn count(&self, request: &Counted, now: Timestamp) {
        self.with(|tally| tally.count(request, now));
    }

    fn record(&self, effects: Vec<Effect>, now: Timestamp) {
        self.with(|tally| {
            for effect in effects {
                tally.record(effect, now);
            }
        });
    }
}

impl fmt::Debug for CountedUsage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CountedUsage")
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use yardarm_core::edge::Evaluation;
    use yardarm_core::edge::delivery::Labels;

    use super::*;

    #[test]
    fn threads_count_into_one_sum() {
        let usage = Arc::new(CountedUsage::new(1 << 20));
        let threads: Vec<_> = (0..8)
            .map(|_| {
                let usage = Arc::clone(&usage);
                std::thread::spawn(move || {
                    for _ in 0..1_000 {
                        let row = Evaluation {
                            feature_name: "f".to_owned(),
                            identity_identifier: None,
                            enabled_when_evaluated: None,
                            count: 2,
                        };
                        let effect = Effect::Evaluations {
                            environment_key: "env".to_owned(),
                            labels: Labels::default(),
                            rows: vec![row],
                        };
                        usage.record(vec![effect], Timestamp(0));
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let counts = usage.take();
        let rows: Vec<_> = counts.evaluations.iter().map(|row| row.count).collect();
        assert_eq!(rows, [16_000]);
        assert_eq!(usage.take(), Counts::default());
    }
}
