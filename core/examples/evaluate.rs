//! Evaluates contexts: one (JSON) a line on standard input, one result a line on standard output, in
//! order. A line that is no context gives a line `{"error": …}`, and the next one is read.
//!
//! `cargo run -p yardarm-core --example evaluate < contexts.jsonl`

#![expect(
    clippy::disallowed_methods,
    reason = "a program of its own, not the core"
)]

use std::io::{self, BufRead as _, Write as _};

use yardarm_core::engine::{self, Context};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut input = io::stdin().lock();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? > 0 {
        if !line.trim_ascii().is_empty() {
            writeln!(out, "{}", answer(&line))?;
            out.flush()?;
        }
        line.clear();
    }
    Ok(())
}

fn answer(line: &[u8]) -> serde_json::Value {
    let result = serde_json::from_slice::<Context>(line)
        .and_then(|context| serde_json::to_value(engine::evaluate(&context)));
    result.unwrap_or_else(|error| serde_json::json!({ "error": error.to_string() }))
}
