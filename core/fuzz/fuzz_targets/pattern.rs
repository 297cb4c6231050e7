//! A pattern from anywhere, on text from anywhere.
#![no_main]

use libfuzzer_sys::fuzz_target;
use yardarm_core::engine::matches_start;

fuzz_target!(|data: (&str, &str)| {
    let (pattern, text) = data;
    if text.len() <= 2000 && pattern.len() <= 1000 {
        matches_start(pattern, text);
    }
});
