//! Usage in a database of its own.

use clap::Parser as _;
use serde_json::json;
use yardarm::store::Pool;

use crate::app::{TestApp, connect, empty_database};
use crate::deliveries::{SECRET, deliver, id, target};
use crate::fixture::Fixture;
use crate::usage::{asked, minute, organisation, tidy_with};

#[tokio::test]
async fn usage_may_have_a_database_of_its_own() {
    let own = empty_database().await;
    let mut settings = None;
    let t = TestApp::start_with(async |pool: &Pool, clock| {
        let usage = Arguments::parse_from(["yardarm", "--analytics-database-url", &own]).usage;
        let opened = usage.open(pool, clock).await.unwrap();
        let store = opened.store.clone();
        settings = Some(opened);
        store
    })
    .await;
    let f = Fixture::at(t).await;
    target(&f.t, "one", SECRET, true).await;
    let body = json!({"id": id(1), "edge": "worker", "requests": [
        asked("dev", "flags", minute(&f, 0), 3, &json!({})),
    ]});
    deliver(&f.t, &body).await.expect(200);
    assert_eq!(deliver(&f.t, &body).await.expect(200)["status"], "already");
    tidy_with(&f.t, settings.unwrap()).await;
    let count = async |url: &str| {
        let statement = "select count(*) from request_bucket";
        let row = connect(url).await.query_one(statement, &[]).await.unwrap();
        row.get::<_, i64>(0)
    };
    assert_eq!((count(&own).await, count(&f.t.url).await), (2, 0));
    let organisation = organisation(&f).await;
    let total = format!("/api/v1/organisations/{organisation}/usage-data/total-count/");
    assert_eq!(f.ann.get(&total).await.expect(200), json!({"count": 3}));
    let statement = "select to_regclass('identity')::text";
    let other = connect(&own).await.query_one(statement, &[]).await.unwrap();
    assert_eq!(
        other.get::<_, Option<String>>(0),
        None,
        "nothing else is there"
    );
}

#[derive(clap::Parser)]
struct Arguments {
    #[command(flatten)]
    usage: yardarm::config::Usage,
}
