//! Every statement of every `queries.sql` prepares on the migrated schema.

use crate::app::TestApp;

#[tokio::test]
async fn every_statement_prepares() {
    let client = TestApp::start().await.sql().await;
    let mut wrong = Vec::new();
    for (name, text) in yardarm::sql::ALL {
        if let Err(error) = client.prepare(text).await {
            let told = error
                .as_db_error()
                .map_or_else(|| error.to_string(), ToString::to_string);
            wrong.push(format!("{name}: {told}\n{text}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(!yardarm::sql::ALL.is_empty());
}
