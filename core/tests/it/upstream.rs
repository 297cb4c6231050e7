//! An edge for an existing Flagsmith, without one: what a look comes to.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};
use yardarm_core::edge::upstream::{End, KeyPair, Root, Step, UpstreamStatus, Verdict, Watch};
use yardarm_core::snapshot::{Package, PackageMeta, Side, Snapshot};
use yardarm_core::time::Timestamp;

const NOW: i64 = 1_795_357_662;

struct Edge {
    watch: Watch,
    held: Option<Package>,
    pair: KeyPair,
    now: Timestamp,
}

impl Edge {
    fn new() -> Self {
        Self {
            watch: Watch::default(),
            held: None,
            pair: KeyPair::new("ser.one", "client").unwrap(),
            now: Timestamp::from_secs(NOW),
        }
    }

    fn meta(&self) -> Option<PackageMeta> {
        self.held.as_ref().map(Package::meta)
    }

    fn snapshot(&self) -> Option<Snapshot> {
        let section = self.held.as_ref()?.snapshot();
        Some(Snapshot::open(section).unwrap())
    }

    /// One look at an upstream that answers so; `None`: not modified. Tells whether it was asked on condition.
    fn look(&mut self, answer: Option<&Value>) -> (bool, Verdict) {
        self.look_with(&HeaderMap::new(), answer)
    }

    fn look_with(&mut self, headers: &HeaderMap, answer: Option<&Value>) -> (bool, Verdict) {
        let held = self.snapshot();
        let root = Root::parse("https://flags.example/api/v1").unwrap();
        let pull = self
            .watch
            .pull(&root, &self.pair, held.as_ref(), 1 << 20, self.now);
        let conditional = ["if-none-match", "if-modified-since"]
            .iter()
            .any(|name| pull.request().headers().contains_key(*name));
        let (status, body) = match answer {
            None => (StatusCode::NOT_MODIFIED, String::new()),
            Some(document) => (StatusCode::OK, document.to_string()),
        };
        let Step::Done(end) = pull.answer(status, headers, body.as_bytes(), self.now) else {
            panic!("asks for more");
        };
        (conditional, self.settle(end))
    }

    fn settle(&mut self, end: End) -> Verdict {
        let held = self.snapshot();
        let verdict = self.watch.settle(end, &self.pair, held.as_ref(), self.now);
        if let Verdict::Install { package, .. } = &verdict {
            self.held = Some(Package::clone(package));
            self.watch.installed(self.now);
        }
        verdict
    }

    fn value(&self) -> String {
        let snapshot = self.snapshot().unwrap();
        let flags: Value = serde_json::from_slice(&snapshot.flags(Side::Client).0).unwrap();
        flags[0]["feature_state_value"].as_str().unwrap().to_owned()
    }

    fn later(&mut self, seconds: i64) {
        self.now = Timestamp::from_secs(self.now.secs() + seconds);
    }
}

fn document(value: &str, updated_at: Option<&str>) -> Value {
    json!({
        "id": 1, "api_key": "client", "updated_at": updated_at,
        "project": {"id": 1, "organisation": {"id": 1}},
        "feature_states": [{
            "feature": {"id": 1, "name": "f", "type": "STANDARD"}, "enabled": true, "featurestate_uuid": "u",
            "feature_state_value": value, "multivariate_feature_state_values": []
        }]
    })
}

const EARLY: Option<&str> = Some("2026-11-22T10:00:00.25+00:00");
const LATE: Option<&str> = Some("2026-11-22T11:00:00+00:00");

#[test]
fn a_change_is_installed_under_its_own_time() {
    let mut edge = Edge::new();
    let (conditional, verdict) = edge.look(Some(&document("a", EARLY)));
    assert!(!conditional && matches!(verdict, Verdict::Install { .. }));
    let meta = edge.meta().unwrap();
    let early = Timestamp::from_iso8601(EARLY.unwrap()).unwrap().micros();
    assert_eq!(meta.version, u64::try_from(early).unwrap());
    assert_eq!(meta.updated_at_micros, early);
    assert_eq!(meta.server_keys, [edge.pair.server_hash()]);

    let (conditional, verdict) = edge.look(None);
    assert!(conditional && matches!(verdict, Verdict::Current));
    let (_, verdict) = edge.look(Some(&document("a", EARLY)));
    assert!(matches!(verdict, Verdict::Current));

    edge.look(Some(&document("b", LATE)));
    assert_eq!(edge.value(), "b");
    let late = Timestamp::from_iso8601(LATE.unwrap()).unwrap().micros();
    assert_eq!(edge.meta().unwrap().version, u64::try_from(late).unwrap());
}

#[test]
fn content_that_differs_at_the_same_time_gets_the_next_version() {
    let mut edge = Edge::new();
    edge.look(Some(&document("a", EARLY)));
    let first = edge.meta().unwrap();
    edge.look(Some(&document("b", EARLY)));
    let second = edge.meta().unwrap();
    assert_eq!(edge.value(), "b");
    assert_eq!(second.version, first.version + 1);
    assert_eq!(second.updated_at_micros, first.updated_at_micros);

    // Another server-side key is another content.
    edge.pair = KeyPair::new("ser.two", "client").unwrap();
    let (conditional, _) = edge.look(Some(&document("b", EARLY)));
    assert!(!conditional, "the key held is another");
    let third = edge.meta().unwrap();
    assert_eq!(third.version, second.version + 1);
    assert_eq!(third.server_keys, [edge.pair.server_hash()]);
}

#[test]
fn a_document_without_a_time_is_installed_once_and_at_once() {
    let mut edge = Edge::new();
    edge.look(Some(&document("a", None)));
    let first = edge.meta().unwrap();
    assert_eq!(first.updated_at_micros, NOW * 1_000_000);
    edge.later(10);
    let (_, verdict) = edge.look(Some(&document("a", None)));
    assert!(matches!(verdict, Verdict::Current));
    assert_eq!(edge.meta().unwrap(), first);
    edge.look(Some(&document("b", Some("not a time"))));
    assert_eq!(edge.value(), "b");
    assert!(edge.meta().unwrap().version > first.version);
}

#[test]
fn an_older_document_is_believed_once_upstream_insists() {
    let mut edge = Edge::new();
    edge.look(Some(&document("new", LATE)));
    let version = edge.meta().unwrap().version;
    let (_, verdict) = edge.look(Some(&document("old", EARLY)));
    assert!(matches!(verdict, Verdict::Keep(_)));
    assert!(!edge.watch.is_well());
    edge.later(30);
    // Another replica: it was only a lag.
    edge.look(Some(&document("new", LATE)));
    assert!(edge.watch.is_well());
    edge.later(30);
    edge.look(Some(&document("old", EARLY)));
    edge.later(59);
    let (conditional, _) = edge.look(Some(&document("old", EARLY)));
    assert!(!conditional, "it would be told that nothing has changed");
    assert_eq!(edge.value(), "new");
    edge.later(1);
    edge.look(Some(&document("old", EARLY)));
    assert_eq!(edge.value(), "old");
    assert_eq!(edge.meta().unwrap().version, version + 1);
    assert!(edge.watch.is_well());
}

#[test]
fn a_whole_document_is_read_every_five_minutes() {
    let mut edge = Edge::new();
    edge.look(Some(&document("a", EARLY)));
    for (seconds, conditional) in [(299, true), (1, false), (1, true)] {
        edge.later(seconds);
        let answer = document("a", EARLY);
        let found = edge.look(if conditional { None } else { Some(&answer) });
        assert_eq!(found.0, conditional);
    }
    // What is not held cannot be unchanged.
    edge.held = None;
    assert!(!edge.look(Some(&document("a", EARLY))).0);
    // A clock that was set back.
    edge.later(-10_000);
    assert!(!edge.look(Some(&document("a", EARLY))).0);
}

#[test]
fn failures_are_told_and_make_the_edge_patient() {
    let mut edge = Edge::new();
    let ten = Duration::from_secs(10);
    let around = |wait: Duration, seconds: u64| {
        let middle = Duration::from_secs(seconds);
        assert!(
            wait >= middle * 9 / 10 && wait <= middle * 11 / 10,
            "{wait:?} {seconds}"
        );
    };
    // Nothing to serve yet.
    for seconds in [1, 2, 4, 8, 10, 10] {
        edge.look(Some(&json!([])));
        around(edge.watch.wait(Duration::from_secs(1), 7), seconds);
        around(edge.watch.wait(Duration::from_secs(30), 7), 30);
    }
    edge.look(Some(&document("a", EARLY)));
    for random in [0, 100, u64::MAX] {
        around(edge.watch.wait(ten, random), 10);
    }
    for seconds in [10, 20, 40, 60, 60] {
        edge.look(Some(&json!([])));
        around(edge.watch.wait(ten, 7), seconds);
        around(edge.watch.wait(Duration::from_mins(10), 7), 600);
    }
    assert_eq!(edge.value(), "a");
    let mut headers = HeaderMap::new();
    for (asked, waits) in [("90", 90), ("9000", 300)] {
        headers.insert("retry-after", HeaderValue::from_static(asked));
        let root = Root::parse("https://flags.example").unwrap();
        let held = edge.snapshot();
        let pull = edge
            .watch
            .pull(&root, &edge.pair, held.as_ref(), 1, edge.now);
        let Step::Done(end) = pull.answer(StatusCode::TOO_MANY_REQUESTS, &headers, b"", edge.now)
        else {
            panic!("asks for more");
        };
        edge.settle(end);
        around(edge.watch.wait(ten, 7), waits);
    }
    let problem = edge.watch.status(&edge.pair).problem.unwrap();
    assert_eq!(problem, "upstream answered with status 429");
    edge.look(None);
    around(edge.watch.wait(ten, 7), 10);
    assert_eq!(edge.watch.status(&edge.pair).problem, None);

    // A package that could not be stored is read again in full.
    edge.watch.fail("disk full".to_owned());
    assert!(!edge.look(Some(&document("a", EARLY))).0);
}

#[test]
fn what_a_watch_knows_can_be_stored() {
    let mut edge = Edge::new();
    edge.look(Some(&document("a", EARLY)));
    let stored = serde_json::to_string(&edge.watch).unwrap();
    assert!(!stored.contains("ser."));
    let read: Watch = serde_json::from_str(&stored).unwrap();
    assert_eq!(read, edge.watch);
    let resumed = Watch::resume(edge.watch.confirmed_at());
    assert_eq!(resumed.confirmed_at(), Some(edge.now));
    let status = UpstreamStatus {
        environments: vec![resumed.status(&edge.pair)],
        stale_after: None,
    };
    assert_eq!(status.environments[0].environment_key, "client");
}
