//! The OpenAPI document is committed, and says what the program does.

use std::path::Path;

#[test]
fn the_committed_document_is_up_to_date() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
    let made = yardarm::router::openapi().to_pretty_json().unwrap() + "\n";
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == made,
        "admin-api/openapi.json is out of date: cargo run -p yardarm -- openapi > admin-api/openapi.json"
    );
}
