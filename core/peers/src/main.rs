//! Prints how the engine compares: `yardarm-peers PROFILES [FILE]`. The native times go to FILE as JSON,
//! for `run.mjs` to compare with.

use std::hint::black_box;

use yardarm_peers::clock::{fastest, micros, ratio};
use yardarm_peers::profile::Profile;
use yardarm_peers::tasks::{Task, Tasks};
use yardarm_peers::theirs::Theirs;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .unwrap_or_else(|| "../shared/bench".to_owned());
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
        let [answer, first, flags] = Task::ALL.map(|task| fastest(|times| tasks.run(task, times)));
        let peer = Theirs::new(&profile);
        let theirs = fastest(|times| {
            (0..times)
                .map(|_| black_box(peer.evaluate()).flags.len())
                .sum()
        });
        let theirs_to_json = fastest(|times| {
            (0..times)
                .map(|_| black_box(peer.evaluate_to_json()).len())
                .sum()
        });
        println!(
            "{name}: identity answer {:.2} us; flagsmith-flag-engine 0.7.0 {:.1} us, with JSON {:.1} us: \
             {:.1} and {:.1} times ours (at least 12)",
            micros(answer),
            micros(theirs),
            micros(theirs_to_json),
            ratio(theirs, answer),
            ratio(theirs_to_json, answer),
        );
        println!(
            "{name}: first answer from cold bytes {:.2} us: {:.2} warm ones (at most 5); GET /flags/ {:.0} ns",
            micros(first),
            ratio(first, answer),
            micros(flags) * 1e3,
        );
        println!(
            "{name}: document {} bytes, snapshot {} bytes, package {} bytes",
            document.len(),
            tasks.package().snapshot().len(),
            tasks.package().bytes().len(),
        );
        if name == "A" {
            let [none, many] = [0, 100_000].map(|count| {
                let profile = profile.with_overrides(count);
                let tasks = Tasks::new(&profile);
                fastest(|times| tasks.run(Task::Answer, times))
            });
            println!(
                "{name}: with 100,000 identity overrides {:.2} us, with none {:.2} us: {:.2} (at most 1.2)",
                micros(many),
                micros(none),
                ratio(many, none),
            );
        }
        times.insert(name.to_owned(), (micros(answer) * 1e3).into());
    }
    if let Some(file) = times_to {
        std::fs::write(file, serde_json::Value::Object(times).to_string()).expect("writable");
    }
}
