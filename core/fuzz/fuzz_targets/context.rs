//! An evaluation context from anywhere is evaluated, and the result is JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use yardarm_core::engine::{self, Context};

fuzz_target!(|data: &[u8]| {
    if let Ok(context) = serde_json::from_slice::<Context>(data) {
        let result = engine::evaluate(&context);
        serde_json::to_vec(&result).expect("JSON");
    }
});
