//! Time as the fastest of many rounds: what others do on the machine only adds to it.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// The time of one; `run` does it so many times and gives a number that depends on all of it.
pub fn fastest(run: impl Fn(u32) -> usize) -> Duration {
    const ROUND: Duration = Duration::from_millis(5);
    const ALL: Duration = Duration::from_millis(1_500);
    let time = |times| {
        let start = Instant::now();
        black_box(run(times));
        start.elapsed()
    };
    let mut times = 1;
    while time(times) < ROUND {
        times *= 2;
    }
    let start = Instant::now();
    let mut best = time(times);
    while start.elapsed() < ALL {
        best = best.min(time(times));
    }
    best / times
}

/// In microseconds.
pub fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// How many times as long.
pub fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}
