//! Every case of Flagsmith's public engine test data gives the result it must.

use std::path::PathBuf;

use serde_json::Value;
use yardarm_core::engine::{self, Context};

use crate::shared;

#[test]
fn gives_the_published_results() {
    let Some(folder) = folder() else {
        return;
    };
    let mut cases = 0;
    let mut wrong = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        let text = std::fs::read_to_string(&path).expect("readable");
        let case: Value = serde_json::from_str(&without_comments(&text)).expect("JSON");
        let context: Context = serde_json::from_value(case["context"].clone()).expect("a context");
        let result = serde_json::to_value(engine::evaluate(&context)).expect("JSON");
        cases += 1;
        if result != case["result"] {
            wrong.push(format!(
                "{}\n  is   {result}\n  must {}",
                path.display(),
                case["result"]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {cases}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(cases >= 150, "only {cases} cases");
}

/// The folder of the cases: the one `YARDARM_CONFORMANCE` names, or that beside the repository.
fn folder() -> Option<PathBuf> {
    match std::env::var_os("YARDARM_CONFORMANCE").map(PathBuf::from) {
        Some(folder) if folder.join("engine").is_dir() => Some(folder.join("engine")),
        Some(folder) => Some(folder),
        None => shared::path("conformance/engine"),
    }
}

/// Drops `//` comments, which in these files stand on lines of their own.
fn without_comments(text: &str) -> String {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}
