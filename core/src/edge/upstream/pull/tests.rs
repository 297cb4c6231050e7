//! Looks answered by hand.

use http::header::HeaderName;
use serde_json::{Value, json};

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_795_357_662);

fn pull(held: Option<Validators>) -> Pull {
    let root = Root::parse("https://flags.example/api/v1").unwrap();
    let pair = KeyPair::new("ser.secret", "client").unwrap();
    Pull::new(&root, &pair, held, 1 << 20)
}

fn document(overrides: &[(&str, &str)]) -> Value {
    let states = |feature: &str| {
        json!([{
            "feature": {"id": 1, "name": feature, "type": "STANDARD"}, "enabled": true,
            "feature_state_value": "x", "featurestate_uuid": feature, "django_id": 1,
            "multivariate_feature_state_values": []
        }])
    };
    let overrides: Vec<Value> = overrides
        .iter()
        .map(|(who, feature)| json!({"identifier": who, "identity_features": states(feature)}))
        .collect();
    json!({
        "id": 1, "api_key": "client", "name": "Test", "updated_at": "2026-11-22T14:00:00.5+00:00",
        "project": {"id": 1, "name": "p", "organisation": {"id": 1, "name": "o"}, "segments": []},
        "feature_states": states("f"), "identity_overrides": overrides
    })
}

fn answer(pull: Pull, status: u16, headers: &[(&str, &str)], body: &str) -> Step {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    let status = StatusCode::from_u16(status).unwrap();
    pull.answer(status, &map, body.as_bytes(), NOW)
}

fn done(step: Step) -> End {
    match step {
        Step::Done(end) => end,
        Step::Ask(pull) => panic!("asks for {}", pull.address),
    }
}

fn asks(step: Step) -> Pull {
    match step {
        Step::Ask(pull) => *pull,
        Step::Done(end) => panic!("ended with {end:?}"),
    }
}

fn fetched(step: Step) -> Fetched {
    match done(step) {
        End::Document(fetched) => *fetched,
        end => panic!("ended with {end:?}"),
    }
}

fn failed(step: Step) -> PullError {
    match done(step) {
        End::Failed(error) => error,
        end => panic!("ended with {end:?}"),
    }
}

fn page(body: &Value) -> String {
    body.to_string()
}

#[test]
fn a_document_on_one_page() {
    let pull = pull(None);
    let request = pull.request();
    assert_eq!(
        request.uri(),
        "https://flags.example/api/v1/environment-document/"
    );
    assert_eq!(request.headers()["x-environment-key"], "ser.secret");
    assert!(!format!("{pull:?} {request:?}").contains("ser.secret"));
    assert!(!request.headers().contains_key(IF_MODIFIED_SINCE));

    let found = fetched(answer(
        pull,
        200,
        &[("etag", "\"e\"")],
        &page(&document(&[])),
    ));
    assert_eq!(found.document.api_key, "client");
    assert_eq!(found.updated_at, Some(Timestamp(1_795_356_000_500_000)));

    let again = Pull::new(
        &Root::parse("https://flags.example/api/v1").unwrap(),
        &KeyPair::new("ser.secret", "client").unwrap(),
        found.validators,
        1 << 20,
    );
    let request = again.request();
    assert_eq!(request.headers()[IF_NONE_MATCH], "\"e\"");
    assert_eq!(
        request.headers()[IF_MODIFIED_SINCE],
        "Sun, 22 Nov 2026 14:00:00 GMT"
    );
    assert_eq!(done(answer(again, 304, &[], "")), End::NotModified);
}

#[test]
fn a_date_within_the_second_of_the_answer_is_no_validator() {
    let validators = |date: &str| {
        let step = answer(pull(None), 200, &[("date", date)], &page(&document(&[])));
        fetched(step).validators
    };
    assert_eq!(validators("Sun, 22 Nov 2026 14:00:00 GMT"), None);
    assert!(validators("Sun, 22 Nov 2026 14:00:01 GMT").is_some());
}

#[test]
fn later_pages_add_overrides_and_an_identity_is_there_once() {
    let link = "</api/v1/environment-document/?page_id=identity_override%3A1>; rel=\"next\"";
    let first = document(&[("alice", "f"), ("bob", "f")]);
    let second = asks(answer(pull(None), 200, &[("link", link)], &page(&first)));
    let request = second.request();
    assert_eq!(
        request.uri(),
        "https://flags.example/api/v1/environment-document/?page_id=identity_override:1"
    );
    assert_eq!(request.headers()["x-environment-key"], "ser.secret");
    let mut body = document(&[("carol", "f"), ("alice", "g")]);
    body["feature_states"] = json!([]);
    body["name"] = json!("other");
    let prev = "</x>; rel=prev, </y>; rel=\"first\"";
    let found = fetched(answer(second, 200, &[("link", prev)], &page(&body)));
    assert_eq!(found.document.name, "Test");
    assert_eq!(found.document.feature_states.len(), 1);
    let overrides = &found.document.identity_overrides;
    let names: Vec<&str> = overrides.iter().map(|of| of.identifier.as_str()).collect();
    assert_eq!(names, ["alice", "bob", "carol"]);
    let of_alice = overrides[0].identity_features.iter();
    let features: Vec<&str> = of_alice.map(|state| state.feature.name.as_str()).collect();
    assert_eq!(features, ["f", "g"]);
    assert!(found.validators.is_some());
}

#[test]
fn a_document_that_changed_between_its_pages_has_no_validators() {
    let link = [("link", "</api/v1/x>; rel=next"), ("etag", "\"e\"")];
    let second = asks(answer(pull(None), 200, &link, &page(&document(&[]))));
    let body = json!({"identity_overrides": [], "updated_at": "2026-11-22T14:00:09Z"});
    assert_eq!(
        fetched(answer(second, 200, &[], &page(&body))).validators,
        None
    );
}

#[test]
fn a_page_that_fails_fails_the_look() {
    let link = [("link", "</api/v1/x>; rel=next")];
    let second = || asks(answer(pull(None), 200, &link, &page(&document(&[]))));
    for (status, body) in [(500, ""), (304, ""), (200, "[]"), (200, "{\"identity_ov")] {
        failed(answer(second(), status, &[], body));
    }
}

#[test]
fn redirects_are_followed_on_the_same_host_only() {
    let there = asks(answer(
        pull(None),
        307,
        &[("location", "/api/v2/environment-document/")],
        "",
    ));
    assert_eq!(
        there.request().uri(),
        "https://flags.example/api/v2/environment-document/"
    );
    fetched(answer(there, 200, &[], &page(&document(&[]))));

    for location in [
        "https://evil.example/",
        "http://flags.example/",
        "//evil.example/x",
    ] {
        let error = failed(answer(pull(None), 301, &[("location", location)], ""));
        assert!(matches!(error, PullError::Elsewhere(_)), "{location}");
    }
    let link = [("link", "<https://evil.example/x>; rel=\"next\"")];
    let error = failed(answer(pull(None), 200, &link, &page(&document(&[]))));
    assert!(matches!(error, PullError::Elsewhere(_)));

    let mut step = answer(pull(None), 302, &[("location", "/a")], "");
    for number in 0..REDIRECTS {
        let location = format!("/{number}");
        step = answer(asks(step), 302, &[("location", &location)], "");
    }
    assert_eq!(failed(step), PullError::Circles);
    let same = [("link", "</api/v1/environment-document/>; rel=next")];
    let error = failed(answer(pull(None), 200, &same, &page(&document(&[]))));
    assert_eq!(error, PullError::Circles);
}

#[test]
fn what_is_no_document_says_why() {
    assert_eq!(
        failed(answer(pull(None), 403, &[], "{}")),
        PullError::Denied(403)
    );
    let busy = failed(answer(pull(None), 429, &[("retry-after", "17")], ""));
    assert_eq!(busy.retry_after(), Some(17));
    // A 304 that nobody asked for tells nothing.
    assert!(matches!(
        failed(answer(pull(None), 304, &[], "")),
        PullError::Status { status: 304, .. }
    ));
    for body in ["", "<html>", "[]", "{\"api_key\": \"client\"}"] {
        let error = failed(answer(pull(None), 200, &[], body));
        assert!(matches!(error, PullError::Body(_)), "{body}");
    }
    let mut other = document(&[]);
    other["api_key"] = json!("production");
    assert_eq!(
        failed(answer(pull(None), 200, &[], &page(&other))),
        PullError::OtherEnvironment("production".to_owned())
    );
    let large = format!("{}{}", page(&document(&[])), " ".repeat(1 << 20));
    assert_eq!(
        failed(answer(pull(None), 200, &[], &large)),
        PullError::TooLarge
    );
}
