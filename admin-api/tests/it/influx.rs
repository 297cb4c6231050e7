//! Usage in an InfluxDB that is played by the test.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use http::StatusCode;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use yardarm::usage::{Influx, InfluxSettings, UsageStore};

use crate::app::{TestApp, serve};
use crate::deliveries::{SECRET, deliver, id, target};
use crate::fixture::Fixture;
use crate::usage::{asked, evaluated, minute, organisation};

/// What came in: method and target, and the body.
type Heard = Vec<(String, String)>;

#[derive(Clone, Default)]
struct Player {
    heard: Arc<Mutex<Heard>>,
    /// What to answer, the last first; without any, 204.
    answers: Arc<Mutex<Vec<(StatusCode, String)>>>,
}

impl Player {
    async fn start() -> (Self, String) {
        let player = Self::default();
        let router = Router::new().fallback(play).with_state(player.clone());
        let (url, _serving) = serve(router).await;
        (player, format!("{url}/"))
    }

    fn will(&self, answers: &[(u16, &str)]) {
        *self.answers.lock().unwrap() = answers
            .iter()
            .rev()
            .map(|(status, body)| (StatusCode::from_u16(*status).unwrap(), (*body).to_owned()))
            .collect();
    }

    fn heard(&self) -> Heard {
        std::mem::take(&mut self.heard.lock().unwrap())
    }
}

async fn play(State(player): State<Player>, request: Request) -> (StatusCode, String) {
    let (head, body) = request.into_parts();
    assert_eq!(head.headers["authorization"], "Token t0ken");
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let line = format!("{} {}", head.method, head.uri);
    player.heard.lock().unwrap().push((line, body));
    let answer = player.answers.lock().unwrap().pop();
    answer.unwrap_or((StatusCode::NO_CONTENT, String::new()))
}

fn influx(url: &str) -> Influx {
    Influx::new(InfluxSettings {
        url: url.to_owned(),
        token: "t0ken".to_owned(),
        org: "Acme & Co".to_owned(),
        bucket: "flags".to_owned(),
    })
    .unwrap()
}

async fn start() -> (Fixture, Player) {
    let (player, url) = Player::start().await;
    let t = TestApp::start_with(async |_, _| UsageStore::influx(influx(&url))).await;
    let f = Fixture::at(t).await;
    target(&f.t, "one", SECRET, true).await;
    (f, player)
}

#[tokio::test]
async fn counts_are_written_once_as_flagsmith_writes_them() {
    let (f, player) = start().await;
    f.feature_id("banner").await;
    let at = minute(&f, 0);
    let agent = json!({"user_agent": "flagsmith-go-sdk/unknown"});
    let body = json!({
        "id": id(1), "edge": "worker",
        "requests": [asked("dev", "flags", at, 3, &agent)],
        "evaluations": [evaluated("dev", "banner", at, 4, &json!({}))],
    });
    // A database that is away for a moment loses nothing.
    player.will(&[(503, "later")]);
    deliver(&f.t, &body).await.expect(500);
    let taken = deliver(&f.t, &body).await.expect(200);
    let answer = json!({"id": id(1), "status": "applied", "skipped": 0});
    assert_eq!(taken, answer);
    let heard = player.heard();
    assert_eq!(heard.len(), 2);
    assert_eq!(heard[0], heard[1], "written over itself");
    let (line, points) = &heard[1];
    assert_eq!(
        line,
        "POST /api/v2/write?org=Acme+%26+Co&bucket=flags&precision=ns"
    );
    let points: Vec<&str> = points.lines().collect();
    let (organisation, project) = (organisation(&f).await, f.project);
    let expected = format!(
        "api_call,environment=dev,environment_id={},host=flags.example,\
         organisation={organisation}-Acme,organisation_id={organisation},project=Main,project_id={project},\
         resource=flags,user_agent=30000 request_count=3i ",
        f.dev
    );
    assert!(
        points[0].starts_with(&expected),
        "{}\n{expected}",
        points[0]
    );
    let expected = format!(
        "feature_evaluation,environment_id={},feature_id=banner request_count=4i ",
        f.dev
    );
    assert!(points[1].starts_with(&expected), "{}", points[1]);
    let nanos: i64 = points[0].rsplit_once(' ').unwrap().1.parse().unwrap();
    assert!((at * 1_000_000_000..(at + 60) * 1_000_000_000).contains(&nanos));

    assert_eq!(deliver(&f.t, &body).await.expect(200)["status"], "already");
    assert!(player.heard().is_empty());
}

#[tokio::test]
async fn days_are_asked_for_in_flux() {
    let (f, player) = start().await;
    let feature = f.feature_id("banner").await;
    let acme = format!(
        "/api/v1/organisations/{}/usage-data/",
        organisation(&f).await
    );
    player.will(&[(
        200,
        ",result,table,resource,user_agent,_time,_value\r\n\
         ,_result,0,flags,30000,2026-01-02T00:00:00Z,7\r\n\
         ,_result,1,environment-document,30000,2026-01-02T00:00:00Z,2\r\n\r\n",
    )]);
    let path = format!("{acme}?environment_id={}", f.dev);
    let shown = f.ann.get(&path).await.expect(200);
    let labels = json!({
        "client_application_name": null, "client_application_version": null,
        "user_agent": "flagsmith-go-sdk/unknown",
    });
    let day = json!({
        "flags": 7, "identities": 0, "traits": 0, "environment_document": 2,
        "day": "2026-01-02", "labels": labels,
    });
    assert_eq!(shown, json!([day]));
    let heard = player.heard();
    assert_eq!(heard[0].0, "POST /api/v2/query?org=Acme+%26+Co");
    let question: Value = serde_json::from_str(&heard[0].1).unwrap();
    let flux = question["query"].as_str().unwrap();
    for part in [
        r#"from(bucket: "flags_downsampled_15m")"#,
        "range(start: 2025-12-04T00:00:00Z, stop: 2026-01-03T00:00:00Z)",
        &format!(r#"r["organisation_id"] == "{}""#, organisation(&f).await),
        &format!(r#"r["environment_id"] == "{}""#, f.dev),
    ] {
        assert!(flux.contains(part), "{part} is not in\n{flux}");
    }

    let table = ",result,table,_time,_value\r\n,sum,0,2026-01-01T00:00:00Z,4\r\n";
    player.will(&[(200, table)]);
    let path = format!(
        "{feature}/evaluation-data/?environment_id={}&period=2",
        f.dev
    );
    let shown = f.ann.get(&f.features(&path)).await.expect(200);
    let row = (&shown[0]["day"], &shown[0]["count"]);
    assert_eq!(row, (&json!("2026-01-01"), &json!(4)));
    let question: Value = serde_json::from_str(&player.heard()[0].1).unwrap();
    let flux = question["query"].as_str().unwrap();
    assert!(flux.contains(r#"r["feature_id"] == "banner""#), "{flux}");

    // What is not theirs is not even asked for; what cannot be answered is no zero.
    let theirs = f.t.organisation("Other", &f.eve).await;
    let path = format!(
        "/api/v1/organisations/{theirs}/usage-data/?environment_id={}",
        f.dev
    );
    assert_eq!(f.eve.get(&path).await.expect(200), json!([]));
    assert!(player.heard().is_empty());
    player.will(&[(401, "{\"message\":\"unauthorized\"}")]);
    f.ann.get(&format!("{acme}total-count/")).await.expect(500);
}

#[tokio::test]
async fn buckets_and_tasks_that_are_missing_are_made() {
    let (player, url) = Player::start().await;
    let no_bucket = (200, r#"{"buckets": []}"#);
    let no_task = (200, r#"{"tasks": []}"#);
    let made = (201, "{}");
    player.will(&[
        (200, r#"{"orgs": [{"id": "0f", "name": "Acme & Co"}]}"#),
        (200, r#"{"buckets": [{"id": "1", "name": "flags"}]}"#),
        no_bucket,
        made,
        no_bucket,
        made,
        (
            200,
            r#"{"tasks": [{"id": "2", "name": "Downsample (API Requests)"}]}"#,
        ),
        no_task,
        made,
        no_task,
        made,
        no_task,
        made,
    ]);
    let told = influx(&url).set_up().await.unwrap();
    assert_eq!(
        told,
        [
            "bucket flags: was there",
            "bucket flags_downsampled_15m: made",
            "bucket flags_downsampled_1h: made",
            "task Downsample (API Requests): was there",
            "task Downsample (Flag Evaluations): made",
            "task Downsample API 1h: made",
            "task Downsample API 1h - Flag Analytics: made",
        ]
    );
    let posted: Vec<Value> = player
        .heard()
        .iter()
        .filter(|(line, _)| line.starts_with("POST"))
        .map(|(_, body)| serde_json::from_str(body).unwrap())
        .collect();
    assert_eq!(posted.len(), 5);
    let bucket = json!({"orgID": "0f", "name": "flags_downsampled_15m", "retentionRules": []});
    assert_eq!(posted[0], bucket);
    assert_eq!(posted[2]["orgID"], "0f");
    let flux = posted[2]["flux"].as_str().unwrap();
    assert!(flux.contains("feature_evaluation"), "{flux}");
    player.will(&[(404, "{}"), (404, "{}")]);
    assert!(influx(&url).set_up().await.is_err());
}
