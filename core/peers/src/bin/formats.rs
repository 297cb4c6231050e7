//! Prints the table of docs/adr/0002-snapshot-format.md: `formats`; the times in WebAssembly come from
//! `src/formats.mjs`.

use yardarm_peers::clock::{fastest, micros};
use yardarm_peers::formats::{Format, Formats};

fn main() {
    println!(
        "| features | overrides | format | snapshot | buckets | compile ms | first answer us |"
    );
    println!("|---|---|---|---|---|---|---|");
    for features in [10, 100, 1_000] {
        for overrides in [0, 1_000, 100_000] {
            let formats = Formats::new(features, overrides);
            for format in Format::ALL {
                let compile = fastest(|times| (0..times).map(|_| formats.compile(format)).sum());
                let answer = fastest(|times| formats.run(format, times));
                println!(
                    "| {features} | {overrides} | {format:?} | {} | {} | {:.2} | {:.2} |",
                    formats.main_len(format),
                    formats.buckets_len(format),
                    micros(compile) / 1e3,
                    micros(answer),
                );
            }
        }
    }
}
