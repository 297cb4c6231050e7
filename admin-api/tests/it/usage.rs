//! Usage: what edges counted, summed up, and who may see it.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use yardarm::background::Background;
use yardarm::store::Pool;
use yardarm::telemetry::Metrics;
use yardarm::usage::Settings;
use yardarm::{jobs, publish};

use crate::app::TestApp;
use crate::deliveries::{SECRET, deliver, id, target};
use crate::fixture::Fixture;
use crate::mounted::Served;
use crate::world::World;

/// Has the jobs do what there is to do.
async fn tidy(t: &TestApp) {
    let pool = Pool::new(&t.url, 4, t.clock.clone()).unwrap();
    tidy_with(t, Settings::in_database(pool)).await;
}

pub(crate) async fn tidy_with(t: &TestApp, usage: Settings) {
    let pool = Pool::new(&t.url, 4, t.clock.clone()).unwrap();
    let background = Background::new(&pool, publish::Settings::default(), Metrics::new())
        .unwrap()
        .with_usage(usage);
    background.work(jobs::Settings::default()).await.unwrap();
    let background = background.listen();
    let sql = t.sql().await;
    let end = Instant::now() + Duration::from_secs(20);
    loop {
        let waiting: i64 = sql
            .query_one(
                "select count(*) from job
                 where kind like 'usage_%' and (lease is not null or run_at <= now())",
                &[],
            )
            .await
            .unwrap()
            .get(0);
        if waiting == 0 {
            break;
        }
        assert!(Instant::now() < end, "the jobs are not done");
        sleep(Duration::from_millis(20)).await;
    }
    background.stop().await;
}

/// Requests of a minute.
pub(crate) fn asked(
    environment: &str,
    resource: &str,
    minute: i64,
    count: u64,
    labels: &Value,
) -> Value {
    json!({
        "environment_key": environment, "resource": resource, "host": "flags.example",
        "labels": labels, "minute": minute, "count": count,
    })
}

/// Evaluations of a minute.
pub(crate) fn evaluated(
    environment: &str,
    feature: &str,
    minute: i64,
    count: i64,
    labels: &Value,
) -> Value {
    json!({
        "environment_key": environment, "feature_name": feature, "labels": labels,
        "minute": minute, "count": count,
    })
}

fn no_labels() -> Value {
    json!({"client_application_name": null, "client_application_version": null, "user_agent": null})
}

/// Today at this time, and the start of the fixture's hour.
pub(crate) fn minute(f: &Fixture, minutes_ago: i64) -> i64 {
    let at = f.t.clock.now() - TimeDelta::minutes(minutes_ago);
    at.timestamp() / 60 * 60
}

#[tokio::test]
async fn requests_are_counted_by_day_resource_and_labels() {
    let f = Fixture::start().await;
    target(&f.t, "one", SECRET, true).await;
    let path = format!("/api/v1/organisations/{}/", organisation(&f).await);
    let usage = format!("{path}usage-data/");
    assert_eq!(f.ann.get(&usage).await.expect(200), json!([]));
    let total = f.ann.get(&format!("{usage}total-count/")).await.expect(200);
    assert_eq!(total, json!({"count": 0}), "Flagsmith answers 400");

    let web = json!({"client_application_name": "web"});
    let at = minute(&f, 0);
    let requests = [
        asked("dev", "flags", at, 3, &json!({})),
        asked("dev", "flags", at - 60, 2, &json!({})),
        asked("prod", "identities", at, 7, &json!({})),
        asked("dev", "traits", at, 1, &web),
        asked("dev", "environment-document", at, 4, &web),
        asked("dev", "flags", at - 86_400, 10, &json!({})),
        asked("nowhere", "flags", at, 100, &json!({})),
        asked("dev", "flags", at - 40 * 86_400, 100, &json!({})),
        asked("dev", "flags", at, 0, &json!({})),
    ];
    let body = json!({"id": id(1), "edge": "native", "requests": requests, "dropped": 5});
    let taken = deliver(&f.t, &body).await.expect(200);
    assert_eq!(taken["skipped"], 3);
    let again = deliver(&f.t, &body).await.expect(200);
    assert_eq!(
        (&again["status"], &again["skipped"]),
        (&json!("already"), &json!(3))
    );
    tidy(&f.t).await;

    let row = |flags, identities, traits, document, day, labels: Value| {
        json!({
            "flags": flags, "identities": identities, "traits": traits,
            "environment_document": document, "day": day, "labels": labels,
        })
    };
    let labelled = json!({"client_application_name": "web", "client_application_version": null, "user_agent": null});
    let yesterday = row(10, 0, 0, 0, "2026-01-01", no_labels());
    let expected = json!([
        yesterday,
        row(5, 7, 0, 0, "2026-01-02", no_labels()),
        row(0, 0, 1, 4, "2026-01-02", labelled.clone()),
    ]);
    assert_eq!(f.ann.get(&usage).await.expect(200), expected);

    let only_dev = f
        .ann
        .get(&format!("{usage}?environment_id={}", f.dev))
        .await;
    assert_eq!(only_dev.expect(200)[1]["identities"], 0);
    let project = f
        .ann
        .get(&format!("{usage}?project_id={}", f.project))
        .await;
    assert_eq!(project.expect(200), expected);
    let by_label = f
        .ann
        .get(&format!("{usage}?client_application_name=web"))
        .await;
    assert_eq!(
        by_label.expect(200),
        json!([row(0, 0, 1, 4, "2026-01-02", labelled)])
    );
    let none = f
        .ann
        .get(&format!("{usage}?user_agent=x"))
        .await
        .expect(200);
    assert_eq!(none, json!([]));
    let long = f.ann.get(&format!("{usage}?period=90_day_period")).await;
    assert_eq!(long.expect(200), expected);
    let wrong = f.ann.get(&format!("{usage}?period=nope")).await.expect(400);
    assert_eq!(
        wrong,
        json!({"period": ["\"nope\" is not a valid choice."]})
    );
    let bills = f
        .ann
        .get(&format!("{usage}?period=current_billing_period"))
        .await;
    let detail = json!({"detail": "No billing periods found for this organisation."});
    assert_eq!(bills.expect(404), detail);

    let total = f.ann.get(&format!("{usage}total-count/")).await.expect(200);
    assert_eq!(total, json!({"count": 27}));
    assert_eq!(
        f.ann.get(&format!("{path}usage/")).await.expect(200),
        json!({"events": 27})
    );
    let older = f.ann.get(&format!("{path}influx-data/")).await.expect(200);
    let events = json!({"events_list": [
        {"name": "2026-01-01", "Flags": 10, "Identities": 0, "Traits": 0, "Environment-document": 0},
        {"name": "2026-01-02", "Flags": 5, "Identities": 7, "Traits": 1, "Environment-document": 4},
    ]});
    assert_eq!(older, events);

    for path in [
        usage.clone(),
        format!("{usage}total-count/"),
        format!("{path}influx-data/"),
    ] {
        f.bob.get(&path).await.expect(403);
        f.eve.get(&path).await.expect(403);
    }
}

pub(crate) async fn organisation(f: &Fixture) -> i64 {
    let sql = f.t.sql().await;
    let statement = "select organisation_id from project where id = $1";
    sql.query_one(statement, &[&f.project])
        .await
        .unwrap()
        .get(0)
}

#[tokio::test]
async fn evaluations_are_counted_by_day_and_labels() {
    let f = Fixture::start().await;
    target(&f.t, "one", SECRET, true).await;
    let feature = f.feature_id("banner").await;
    let path = f.features(&format!("{feature}/evaluation-data/"));
    let missing = f.ann.get(&path).await.expect(400);
    assert_eq!(
        missing,
        json!({"environment_id": ["This field is required."]})
    );
    let dev = format!("{path}?environment_id={}", f.dev);
    assert_eq!(f.ann.get(&dev).await.expect(200), json!([]));

    let at = minute(&f, 0);
    let agent = json!({"user_agent": "flagsmith-python-sdk/unknown"});
    let mut evaluations = vec![
        evaluated("dev", "banner", at, 4, &json!({})),
        evaluated("dev", "banner", at - 3600, 2, &json!({})),
        evaluated("dev", "banner", at, -1, &json!({})),
        evaluated("dev", "banner", at, 6, &agent),
        evaluated("prod", "banner", at, 50, &json!({})),
        evaluated("dev", "Banner", at, 60, &json!({})),
        evaluated("dev", "no such", at, 60, &json!({})),
        evaluated("dev", "banner", at - 10 * 86_400, 9, &json!({})),
    ];
    evaluations[0]["identity_identifier"] = json!("alice");
    evaluations[0]["enabled_when_evaluated"] = json!(true);
    let body = json!({"id": id(1), "edge": "spin", "evaluations": evaluations});
    assert_eq!(deliver(&f.t, &body).await.expect(200)["skipped"], 2);
    tidy(&f.t).await;

    let agent_labels = json!({
        "client_application_name": null, "client_application_version": null,
        "user_agent": "flagsmith-python-sdk/unknown",
    });
    let today = [
        json!({"day": "2026-01-02", "count": 5, "labels": no_labels()}),
        json!({"day": "2026-01-02", "count": 6, "labels": agent_labels}),
    ];
    let before = json!({"day": "2025-12-23", "count": 9, "labels": no_labels()});
    let all = json!([before, today[0], today[1]]);
    assert_eq!(f.ann.get(&dev).await.expect(200), all);
    let week = f.ann.get(&format!("{dev}&period=7")).await.expect(200);
    assert_eq!(week, json!(today));
    let none = f.ann.get(&format!("{dev}&period=0")).await.expect(200);
    assert_eq!(none, json!([]));
    f.ann.get(&format!("{dev}&period=x")).await.expect(400);
    let agent = format!("{dev}&user_agent=flagsmith-python-sdk/unknown");
    assert_eq!(f.ann.get(&agent).await.expect(200), json!([today[1]]));

    let older = f.features(&format!("{feature}/influx-data/?environment_id={}", f.dev));
    let events = json!({"events_list": [{"banner": 11, "datetime": "2026-01-02"}]});
    assert_eq!(f.ann.get(&older).await.expect(200), events);
    f.ann.get(&format!("{older}&period=nope")).await.expect(400);

    f.ann
        .get(&f.features("999999/evaluation-data/?environment_id=1"))
        .await
        .expect(404);
    f.eve.get(&dev).await.expect(404);
    f.bob.get(&dev).await.expect(404);
}

#[tokio::test]
async fn somebody_elses_environment_shows_nothing() {
    let f = Fixture::start().await;
    target(&f.t, "one", SECRET, true).await;
    f.feature_id("banner").await;
    let evil = f.t.organisation("Other", &f.eve).await;
    let body = json!({"name": "Evil", "organisation": evil});
    let project = f.eve.post("/api/v1/projects/", body).await.expect(201)["id"].clone();
    let features = format!("/api/v1/projects/{project}/features/");
    let made = f
        .eve
        .post(&features, json!({"name": "banner"}))
        .await
        .expect(201);

    let at = minute(&f, 0);
    let body = json!({
        "id": id(1), "edge": "worker",
        "requests": [asked("dev", "flags", at, 3, &json!({}))],
        "evaluations": [evaluated("dev", "banner", at, 3, &json!({}))],
    });
    assert_eq!(deliver(&f.t, &body).await.expect(200)["skipped"], 0);
    tidy(&f.t).await;

    let evaluations = format!(
        "{features}{}/evaluation-data/?environment_id={}",
        made["id"], f.dev
    );
    assert_eq!(f.eve.get(&evaluations).await.expect(200), json!([]));
    let usage = format!("/api/v1/organisations/{evil}/usage-data/");
    for filter in [
        String::new(),
        format!("?environment_id={}", f.dev),
        format!("?project_id={}", f.project),
    ] {
        let seen = f.eve.get(&format!("{usage}{filter}")).await.expect(200);
        assert_eq!(seen, json!([]), "{filter}");
    }
    let total = f.eve.get(&format!("{usage}total-count/")).await.expect(200);
    assert_eq!(total, json!({"count": 0}));
}

#[tokio::test]
async fn late_counts_go_where_they_belong_and_buckets_never_count_twice() {
    let f = Fixture::start().await;
    target(&f.t, "one", SECRET, true).await;
    let labels = json!({});
    let buckets = async || {
        let sql = f.t.sql().await;
        let rows = sql
            .query(
                "select minutes, to_char(starts_at at time zone 'UTC', 'HH24:MI'), count from request_bucket
                 order by minutes, starts_at",
                &[],
            )
            .await
            .unwrap();
        rows.iter()
            .map(|row| {
                (
                    row.get::<_, i16>(0),
                    row.get::<_, String>(1),
                    row.get::<_, i64>(2),
                )
            })
            .collect::<Vec<_>>()
    };
    let send = async |number, minutes_ago: &[i64]| {
        let requests: Vec<Value> = minutes_ago
            .iter()
            .map(|ago| asked("dev", "flags", minute(&f, *ago), 1, &labels))
            .collect();
        let body = json!({"id": id(number), "edge": "worker", "requests": requests});
        deliver(&f.t, &body).await.expect(200);
        tidy(&f.t).await;
    };
    let expect = |rows: &[(i16, &str, i64)]| {
        rows.iter()
            .map(|(minutes, at, count)| (*minutes, (*at).to_owned(), *count))
            .collect::<Vec<_>>()
    };
    // It is 03:04.
    send(1, &[0, 3, 10, 25]).await;
    let first = [
        (15, "02:30", 1),
        (15, "02:45", 1),
        (15, "03:00", 2),
        (60, "02:00", 2),
        (60, "03:00", 2),
    ];
    assert_eq!(buckets().await, expect(&first));
    // An edge that could not deliver for over an hour.
    send(2, &[10, 70]).await;
    let second = [
        (15, "01:45", 1),
        (15, "02:30", 1),
        (15, "02:45", 2),
        (15, "03:00", 2),
        (60, "01:00", 1),
        (60, "02:00", 3),
        (60, "03:00", 2),
    ];
    assert_eq!(buckets().await, expect(&second));
    // Filling everything again changes nothing.
    let sql = f.t.sql().await;
    let again = "insert into usage_touched select quarter from request_raw";
    sql.batch_execute(again).await.unwrap();
    tidy(&f.t).await;
    assert_eq!(buckets().await, expect(&second));

    // After a month the raw rows are gone and the buckets stay; after three those go, too.
    let counts = async || {
        let statement =
            "select (select count(*) from request_raw), (select count(*) from request_bucket),
            (select count(*) from usage_batch), (select count(*) from edge_batch)";
        let row = f.t.sql().await.query_one(statement, &[]).await.unwrap();
        [0, 1, 2, 3].map(|column| row.get::<_, i64>(column))
    };
    assert_eq!(counts().await, [6, 7, 2, 2]);
    f.t.clock.advance(TimeDelta::days(31));
    tidy(&f.t).await;
    assert_eq!(counts().await, [0, 7, 0, 0]);
    f.t.clock.advance(TimeDelta::days(60));
    tidy(&f.t).await;
    assert_eq!(counts().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn what_the_mounted_edge_counts_is_stored_when_the_process_ends() {
    let t = TestApp::start().await;
    let ann = t.person("ann").await;
    let organisation = t.organisation("o", &ann).await;
    let world = World::in_organisation(t.sql().await, organisation).await;
    world.environment("env").await;
    let feature = world.feature("banner").await;
    let served = Served::new(&t.url).await;
    for _ in 0..3 {
        served.get("/api/v1/flags/", "env").await.expect(200);
    }
    served
        .get("/api/v1/identities/?identifier=a", "env")
        .await
        .expect(200);
    served
        .get("/api/v1/flags/", "no such key")
        .await
        .expect(403);
    let v1 = json!({"banner": 4, "no such": 9});
    served.post("/api/v1/analytics/flags/", "env", v1).await;
    let row = json!({"feature_name": "banner", "enabled_when_evaluated": true, "count": 2});
    let v2 = json!({"evaluations": [row]});
    served.post("/api/v2/analytics/flags/", "env", v2).await;
    let ann = ann.at(&served.router);
    let environment: i64 = world
        .sql
        .query_one("select id from environment", &[])
        .await
        .unwrap()
        .get(0);
    served.stop().await;
    tidy(&t).await;

    let usage = ann
        .get(&format!("/api/v1/organisations/{organisation}/usage-data/"))
        .await;
    let usage = usage.expect(200);
    assert_eq!(
        (&usage[0]["flags"], &usage[0]["identities"]),
        (&json!(3), &json!(1)),
        "{usage}"
    );
    let path = format!(
        "/api/v1/projects/{}/features/{feature}/evaluation-data/",
        world.project
    );
    let evaluations = ann
        .get(&format!("{path}?environment_id={environment}"))
        .await
        .expect(200);
    assert_eq!(
        (&evaluations[0]["count"], &evaluations[1]),
        (&json!(6), &Value::Null)
    );
    let raw = "select host from request_raw group by host";
    let row = world.sql.query_one(raw, &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "test");
}
