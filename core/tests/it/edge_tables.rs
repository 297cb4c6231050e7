//! The request-to-reply tables against a host in memory. The hosts' own tests play the same over HTTP.

use std::collections::BTreeSet;

use yardarm_core::edge::handle;
use yardarm_core::testing::{MemoryHost, TABLES, Table, Target, run, run_ready};
use yardarm_core::time::Timestamp;

const SECRET: &[u8] = b"the publishing secret of tests";
const NOW: Timestamp = Timestamp::from_secs(1_795_357_999);

fn play(host: &MemoryHost, name: &str, text: &str) -> Vec<String> {
    let table = Table::parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let target = Target {
        secret: SECRET,
        now: NOW,
    };
    let send = async |request| handle(host, request).await.reply;
    let failures = run_ready(run(&table, target, send));
    failures
        .iter()
        .map(|failure| format!("{name}: {failure}"))
        .collect()
}

/// One host plays all of them, one after the other, as a deployed one would.
#[test]
fn the_host_in_memory_answers_every_table() {
    let host = MemoryHost::new(Some(SECRET), NOW);
    let failures: Vec<_> = TABLES
        .iter()
        .flat_map(|(name, text)| play(&host, name, text))
        .collect();
    assert!(
        failures.is_empty(),
        "{} differ:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn tables_share_no_environment() {
    let mut seen = BTreeSet::new();
    for (name, text) in TABLES {
        let table = Table::parse(text).unwrap();
        let keys: BTreeSet<_> = table.environment_keys().map(str::to_owned).collect();
        for key in keys {
            assert!(seen.insert(key.clone()), "{name}: {key}");
        }
    }
}

/// The runner does find what is wrong.
#[test]
fn a_wrong_table_fails() {
    let table = r#"{ "about": "", "exchanges": [
        { "name": "status", "request": { "method": "GET", "path": "/health/liveness" },
          "reply": { "status": 204 } },
        { "name": "header", "request": { "method": "GET", "path": "/health/liveness" },
          "reply": { "status": 200, "headers": { "content-type": "text/plain" } } },
        { "name": "absent", "request": { "method": "GET", "path": "/health/liveness" },
          "reply": { "status": 200, "headers": { "etag": "*" } } },
        { "name": "body", "request": { "method": "GET", "path": "/health/liveness" },
          "reply": { "status": 200, "json": { "status": "bad" } } },
        { "name": "fine", "request": { "method": "GET", "path": "/health/liveness" },
          "reply": { "status": 200, "body": "{\"status\":\"ok\"}" } },
        { "name": "no such", "publish": "nothing", "status": 201 }
    ] }"#;
    let host = MemoryHost::new(Some(SECRET), NOW);
    let failures = play(&host, "wrong", table);
    let names: Vec<_> = failures
        .iter()
        .filter_map(|failure| failure.split(": ").nth(1))
        .collect();
    assert_eq!(names, ["status", "header", "absent", "body", "no such"]);
}
