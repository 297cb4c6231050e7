//! Prints how the engine compares: `yardarm-peers ../../../shared/bench [FILE]`. The native times go to
//! FILE as JSON, for `run.mjs` to compare with.

use std::time::{Duration, Instant};

use yardarm_peers::profile::Profile;
use yardarm_peers::tasks::{Task, Tasks};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().unwrap_or_else(|| "../shared/bench".to_owned());
    let times_to = arguments.next();
    let mut times = serde_json::Map::new();
    for name in ["A", "B", "S"] {
        let read = |file: &str| std::fs::read(format!("{folder}/{file}-{name}.json")).ok();
        let Some((document, post)) = read("env").zip(read("post")) else {
            println!("skipped: no profile {name} in {folder}");
            continue;
        };
        let profile = Profile::parse(&document, &post).expect("a profile");
        let tasks = Tasks::new(&profile);
        let [answer, first, flags, theirs, theirs_to_json] = Task::ALL.map(|task| fastest(&tasks, task));
        println!(
            "{name}: identity answer {:.2} us; flagsmith-flag-engine 0.7.0 {:.1} us, with JSON {:.1} us: {:.1} and {:.1} times ours",
            micros(answer), micros(theirs), micros(theirs_to_json),
            ratio(theirs, answer), ratio(theirs_to_json, answer),
        );
        println!(
            "{name}: first answer from cold bytes {:.2} us: {:.2} warm ones (at most 5); GET /flags/ {:.0} ns",
            micros(first), ratio(first, answer), flags.as_secs_f64() * 1e9,
        );
        println!(
            "{name}: document {} bytes, snapshot {} bytes, package {} bytes",
            document.len(), tasks.package().snapshot().len(), tasks.package().bytes().len(),
        );
        if name == "A" {
            let [none, many] = [0, 100_000].map(|count| {
                let profile = profile.with_overrides(count);
                let tasks = Tasks::without_peer(&profile);
                fastest(&tasks, Task::Answer)
            });
            println!(
                "{name}: with 100,000 identity overrides {:.2} us, with none {:.2} us: {:.2} (at most 1.2)",
                micros(many), micros(none), ratio(many, none),
            );
        }
        times.insert(name.to_owned(), (answer.as_secs_f64() * 1e9).into());
    }
    if let Some(file) = times_to {
        std::fs::write(file, serde_json::Value::Object(times).to_string()).expect("writable");
    }
}

/// The time of one, in the fastest of many rounds: what others do on the machine only adds to it.
fn fastest(tasks: &Tasks<'_>, task: Task) -> Duration {
    const ROUND: Duration = Duration::from_millis(5);
    let mut times = 1;
    while time(tasks, task, times) < ROUND {
        times *= 2;
    }
    let rounds = (0..100).map(|_| time(tasks, task, times));
    rounds.min().unwrap_or_default() / times
}

fn time(tasks: &Tasks<'_>, task: Task, times: u32) -> Duration {
    let start = Instant::now();
    std::hint::black_box(tasks.run(task, times));
    start.elapsed()
}

fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}
