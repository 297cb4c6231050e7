//! The `OpenAPI` document is committed, and says what the program does.

use std::path::Path;

use crate::app::TestApp;

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

#[tokio::test]
async fn it_is_served() {
    let t = TestApp::start().await;
    let served = t.nobody().get("/api/v1/openapi.json").await.expect(200);
    assert_eq!(served["openapi"], "3.1.0");
    assert!(served["paths"]["/api/v1/projects/"]["get"].is_object());
}

#[test]
fn operation_ids_are_unique() {
    let document = serde_json::to_value(yardarm::router::openapi()).unwrap();
    let mut ids: Vec<&str> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|item| item.as_object().unwrap().values())
        .map(|operation| operation["operationId"].as_str().unwrap())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
}
