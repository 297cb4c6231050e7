//! Every edge is told of every identity, wherever and whenever its traits were stored.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use yardarm::app::Clock;

use crate::app::{TestApp, serve};
use crate::convergence::{Mortal, look_at_targets, target};
use crate::deliveries::{batch, deliver_as, seen};
use crate::edge::{RemoteEdge, SECRET};
use crate::told::until_traits;
use crate::world::World;

/// A control plane on a socket, with an environment `env`; nobody publishes yet.
async fn home() -> (TestApp, String) {
    let t = TestApp::with_the_computers_clock().await;
    let world = World::new(t.sql().await).await;
    world.environment("env").await;
    let (url, _serving) = serve(t.router.clone()).await;
    (t, url)
}

fn text(value: &str) -> Value {
    json!(value)
}

async fn number(t: &TestApp, statement: &str) -> i64 {
    let sql = t.sql().await;
    sql.query_one(statement, &[]).await.unwrap().get(0)
}

/// All targets have been told of all that there is.
async fn until_told(t: &TestApp) {
    let behind = "
        select count(*)
        from edge_target as target
        join environment on true
        left join edge_delivery as delivery
            on delivery.target_id = target.id and delivery.api_key = environment.api_key
        where exists (
            select
            from identity
            where identity.environment_id = environment.id
              and (change_number is null or change_number > coalesce(delivery.identities_told, -1))
        )";
    let end = Instant::now() + Duration::from_mins(1);
    while number(t, behind).await > 0 {
        assert!(Instant::now() < end, "not told");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn what_is_stored_at_one_edge_reaches_the_others_and_those_that_come_later() {
    let (t, home) = home().await;
    let sql = t.sql().await;
    let mut one = RemoteEdge::start_from(Some(home.clone())).await;
    target(&sql, "one", &one).await;
    let _publisher = Mortal::new(&t.url);
    until_traits(&one, "nobody", &[]).await;
    one.identify("ann", &[("plan", text("pro")), ("old", text("x"))])
        .await;
    until_told(&t).await;

    // Another joins.
    let other = RemoteEdge::start_from(Some(home)).await;
    target(&sql, "other", &other).await;
    look_at_targets(&sql).await;
    until_traits(&other, "ann", &[("old", text("x")), ("plan", text("pro"))]).await;

    // Both change her, and each hears of the other: a deletion, too.
    other
        .identify("ann", &[("old", Value::Null), ("seats", json!(5))])
        .await;
    one.identify("ann", &[("plan", text("team"))]).await;
    let all = [("plan", text("team")), ("seats", json!(5))];
    until_traits(&one, "ann", &all).await;
    until_traits(&other, "ann", &all).await;
    until_told(&t).await;

    // What was told is told back to nobody: it comes to an end.
    let moves =
        "select (select count(*) from edge_batch) + (select last_value from identity_change)";
    let before = number(&t, moves).await;
    sleep(Duration::from_millis(700)).await;
    assert_eq!(number(&t, moves).await, before);

    // One loses its disk, and has everything again.
    one.go_down().await;
    other.identify("bob", &[("plan", text("free"))]).await;
    one.come_up(true).await;
    until_traits(&one, "bob", &[("plan", text("free"))]).await;
    until_traits(&one, "ann", &all).await;
    // And an older change of what was deleted, which the new disk has never seen, revives it nowhere.
    let old = json!([{"key": "old", "value": "late", "changed_at_micros": 1_000}]);
    let late = batch(1, &[seen("env", "ann", 1_000, &old)]);
    deliver_as(&t, SECRET, &late.to_string(), 0)
        .await
        .expect(200);
    until_told(&t).await;
    assert_eq!(one.identify("ann", &[]).await.len(), 2);
    assert_eq!(number(&t, "select count(*) from identity_trait").await, 3);
}

#[tokio::test]
async fn publishers_that_die_hand_over_everything_that_changes_meanwhile() {
    const IDENTITIES: usize = 240;
    let (t, _) = home().await;
    let sql = t.sql().await;
    let edge = RemoteEdge::start().await;
    target(&sql, "one", &edge).await;
    let now = Clock::system().now().timestamp_micros();
    let version =
        |n: usize, at: i64| json!({"key": format!("t{n}"), "value": n, "changed_at_micros": at});
    // One of them has more traits than fit a request, another's were deleted.
    let mut identities: Vec<Value> = (0..IDENTITIES)
        .map(|n| seen("env", &format!("i{n}"), now, &json!([version(n, now)])))
        .collect();
    let many: Vec<Value> = (0..600).map(|n| version(n, now)).collect();
    identities.push(seen("env", "many", now, &json!(many)));
    let gone = json!([{"key": "t1", "value": null, "changed_at_micros": now + 9}]);
    identities.push(seen(
        "env",
        "gone",
        now,
        &json!([version(1, now), version(2, now)]),
    ));
    let deliver = async |number: u32, identities: &[Value]| {
        let body = batch(number, identities).to_string();
        deliver_as(&t, SECRET, &body, 0).await.expect(200);
    };
    deliver(1, &identities).await;
    deliver(2, &[seen("env", "gone", now, &gone)]).await;

    let mut publisher = Mortal::new(&t.url);
    let mut expected: BTreeMap<String, Vec<(String, Value)>> = BTreeMap::new();
    for round in 0..4_usize {
        sleep(Duration::from_millis(120 * (1 + round as u64 % 3))).await;
        publisher.die();
        // Whoever was told already may change, too.
        let later = now + 100 + i64::try_from(round).unwrap();
        let some = (0..IDENTITIES).filter(|n| n % 4 == round);
        let changed: Vec<Value> = some
            .map(|n| {
                seen(
                    "env",
                    &format!("i{n}"),
                    now,
                    &json!([version(1_000 + round, later)]),
                )
            })
            .collect();
        deliver(u32::try_from(3 + round).unwrap(), &changed).await;
        publisher.revive();
    }
    until_told(&t).await;
    for n in 0..IDENTITIES {
        let mut traits = vec![
            (format!("t{n}"), json!(n)),
            (format!("t{}", 1_000 + n % 4), json!(1_000 + n % 4)),
        ];
        traits.sort_by(|one, other| one.0.cmp(&other.0));
        expected.insert(format!("i{n}"), traits);
    }
    expected.insert("gone".to_owned(), vec![("t2".to_owned(), json!(2))]);
    for (identifier, traits) in expected {
        assert_eq!(
            edge.identify(&identifier, &[]).await,
            traits,
            "{identifier}"
        );
    }
    assert_eq!(edge.identify("many", &[]).await.len(), 600);
}

#[tokio::test]
async fn what_is_numbered_first_is_never_passed_by() {
    let (t, _) = home().await;
    let sql = t.sql().await;
    let edge = RemoteEdge::start().await;
    target(&sql, "one", &edge).await;
    let now = Clock::system().now().timestamp_micros();
    let plan = json!([{"key": "plan", "value": "pro", "changed_at_micros": now}]);
    let both = ["first", "second"].map(|name| seen("env", name, now, &plan));
    let body = batch(1, &both).to_string();
    deliver_as(&t, SECRET, &body, 0).await.expect(200);

    // Somebody numbers the first and takes long to commit. The second is neither numbered nor told before that.
    let slow = t.sql().await;
    let statement = "
        begin;
        select pg_advisory_xact_lock(7235421102);
        update identity set change_number = nextval('identity_change') where identifier = 'first';";
    slow.batch_execute(statement).await.unwrap();
    let _publisher = Mortal::new(&t.url);
    let end = Instant::now() + Duration::from_secs(30);
    while edge.flags("env").await.is_err() {
        assert!(Instant::now() < end, "not published");
        sleep(Duration::from_millis(20)).await;
    }
    sleep(Duration::from_millis(500)).await;
    let open = "select count(*) from identity where change_number is null";
    assert_eq!(number(&t, open).await, 2);
    slow.batch_execute("commit").await.unwrap();
    until_told(&t).await;
    for name in ["first", "second"] {
        let found = edge.identify(name, &[]).await;
        assert_eq!(found, [("plan".to_owned(), text("pro"))], "{name}");
    }
    let order = "select count(*) from identity where identifier = 'first' and change_number = 1";
    assert_eq!(number(&t, order).await, 1);
}
