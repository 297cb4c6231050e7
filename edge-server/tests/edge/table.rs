//! Everything that every host has to do, over HTTP.

use tempfile::TempDir;
use yardarm_conformance::{Options, run};

use crate::running::Running;

#[tokio::test(flavor = "multi_thread")]
async fn answers_the_table_and_passes_the_checks() {
    let directory = TempDir::new().unwrap();
    let edge = Running::start(directory.path()).await;
    let options = Options {
        overrides: 3_000,
        environments: 1_000,
        parallel_traits: true,
        home: None,
    };
    let report = run(&edge.target, options).await.unwrap();
    assert!(
        report.failures().is_empty(),
        "{}",
        report.failures().join("\n")
    );
    assert!(report.passed() > 5);
    edge.stop().await;
}
