//! A property path from anywhere is parsed and followed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use yardarm_core::engine::Query;

fuzz_target!(|data: &str| {
    if let Some(query) = Query::parse(data) {
        let root = json!({"identity": {"identifier": "i", "traits": {"a": 1, "b": [1, 2, {"a": "x"}]}},
            "environment": {"name": "n"}});
        let _ = query.first(&root);
    }
});
