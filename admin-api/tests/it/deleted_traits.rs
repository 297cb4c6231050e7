//! A trait that was deleted stays so, whatever older change of it arrives later.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::{Value, json};
use yardarm::app::Clock;
use yardarm_core::edge::IdentityRecord;

use crate::app::{Person, TestApp};
use crate::deliveries::{SECRET, batch, deliver, seen, target};
use crate::fixture::Fixture;
use crate::mounted::Served;

const IDENTITIES: &str = "/api/v1/environments/dev/identities/";

fn version(key: &str, value: &Value, at: i64) -> Value {
    json!({"key": key, "value": value, "changed_at_micros": at})
}

/// What is known of an identity: values of traits, or null for what is remembered as deleted, with times.
async fn known(t: &TestApp, identifier: &str) -> BTreeMap<String, (Option<String>, i64)> {
    let sql = t.sql().await;
    let rows = sql
        .query(
            "select trait_key, string_value, changed_at_micros as at
             from identity join identity_trait on identity_id = identity.id
             where identifier = $1
             union all
             select trait_key, null, deleted_at_micros from deleted_trait where identifier = $1",
            &[&identifier],
        )
        .await
        .unwrap();
    let count = rows.len();
    let known: BTreeMap<_, _> = rows
        .into_iter()
        .map(|row| (row.get("trait_key"), (row.get(1), row.get("at"))))
        .collect();
    assert_eq!(known.len(), count, "both there and deleted: {known:?}");
    known
}

/// All orders of the numbers below `count`.
fn orders(count: usize) -> Vec<Vec<usize>> {
    if count == 0 {
        return vec![Vec::new()];
    }
    let with_last = |order: Vec<usize>| {
        (0..count).map(move |place| {
            let mut order = order.clone();
            order.insert(place, count - 1);
            order
        })
    };
    orders(count - 1).into_iter().flat_map(with_last).collect()
}

#[tokio::test]
async fn any_order_of_arrival_comes_to_the_same() {
    let f = Fixture::start().await;
    target(&f.t, "one", SECRET, true).await;
    let now = f.t.clock.now().timestamp_micros();
    let versions = [
        version("set", &json!("first"), now + 1),
        version("set", &Value::Null, now + 2),
        version("set", &json!("last"), now + 3),
        version("deleted", &json!("first"), now + 1),
        version("deleted", &Value::Null, now + 3),
        version("deleted", &json!("between"), now + 2),
    ];
    let orders = orders(versions.len());
    assert_eq!(orders.len(), 720);
    // Each identity is told in an order of its own, and everything twice.
    for (number, place) in (1..).zip((0..versions.len()).chain(0..versions.len())) {
        let identities: Vec<Value> = orders
            .iter()
            .enumerate()
            .map(|(n, order)| {
                let traits = json!([versions[order[place]]]);
                seen("dev", &format!("i{n}"), now, &traits)
            })
            .collect();
        deliver(&f.t, &batch(number, &identities)).await.expect(200);
    }
    let sql = f.t.sql().await;
    let row = sql
        .query_one(
            "select
                count(*) filter (where trait_key = 'set' and string_value = 'last' and changed_at_micros = $1),
                count(*)
             from identity_trait",
            &[&(now + 3)],
        )
        .await
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (720, 720));
    let row = sql
        .query_one(
            "select count(*) filter (where trait_key = 'deleted' and deleted_at_micros = $1), count(*)
             from deleted_trait",
            &[&(now + 3)],
        )
        .await
        .unwrap();
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (720, 720));
}

#[tokio::test]
async fn deletions_are_remembered_for_a_month_and_not_too_many() {
    const DAY: i64 = 86_400_000_000;
    let f = Fixture::start().await;
    target(&f.t, "one", SECRET, true).await;
    let now = f.t.clock.now().timestamp_micros();
    let gone: Vec<Value> = (1..=100)
        .map(|n| version(&format!("t{n}"), &Value::Null, now - n))
        .chain([version("old", &Value::Null, now - 31 * DAY)])
        .collect();
    let other = json!([version("t", &Value::Null, now - 29 * DAY)]);
    let identities = [
        seen("dev", "ann", now, &json!(gone)),
        seen("dev", "bob", now, &other),
    ];
    deliver(&f.t, &batch(1, &identities)).await.expect(200);
    let kept: Vec<i64> = known(&f.t, "ann")
        .await
        .values()
        .map(|(_, at)| *at)
        .collect();
    assert_eq!(kept.len(), IdentityRecord::MOST_DELETED);
    assert!(kept.iter().all(|at| *at >= now - 64), "the oldest go");
    assert_eq!(known(&f.t, "bob").await["t"], (None, now - 29 * DAY));
}

/// A process with its own edge beside the application, and somebody who administers `dev`.
async fn served() -> (TestApp, Served, Person) {
    let f = Fixture::at(TestApp::with_the_computers_clock().await).await;
    target(&f.t, "one", SECRET, true).await;
    let served = Served::new(&f.t.url).await;
    let ann = f.ann.at(&served.router);
    (f.t, served, ann)
}

#[tokio::test]
async fn what_sdks_and_people_delete_stays_deleted() {
    let (t, served, ann) = served().await;
    let sdk = async |traits: Value| {
        let body = json!({"identifier": "eve", "traits": traits});
        served
            .post("/api/v1/identities/", "dev", body)
            .await
            .expect(200)
    };
    let set = |key: &str, value: Value| json!({"trait_key": key, "trait_value": value});
    let before = Clock::system().now().timestamp_micros();
    let old = |number: u32| {
        let keys = ["sdk", "person", "everywhere", "with", "renamed"];
        let traits = keys.map(|key| version(key, &json!("old"), before));
        batch(number, &[seen("dev", "eve", before, &json!(traits))])
    };
    let all = ["sdk", "person", "everywhere", "with", "renamed"].map(|key| set(key, json!("x")));
    sdk(json!(all)).await;
    deliver(&t, &old(1)).await.expect(200);

    // An SDK deletes one, a person another, and one of everybody.
    let answer = sdk(json!([set("sdk", Value::Null)])).await;
    assert!(!answer.to_string().contains("sdk"), "{answer}");
    let eve = ann.get(IDENTITIES).await.expect(200)["results"][0]["id"].clone();
    let eve = format!("{IDENTITIES}{eve}/");
    let id = async |key: &str| {
        let list = ann.get(&format!("{eve}traits/")).await.expect(200);
        let mut rows = list["results"].as_array().unwrap().iter();
        rows.find(|row| row["trait_key"] == key).unwrap()["id"].clone()
    };
    let person = format!("{eve}traits/{}/", id("person").await);
    ann.delete(&person).await.expect(204);
    let everywhere = "/api/v1/environments/dev/delete-traits/";
    ann.post(everywhere, json!({"key": "everywhere"}))
        .await
        .expect(200);
    // And one gets another name.
    let renamed = format!("{eve}traits/{}/", id("renamed").await);
    ann.patch(&renamed, json!({"trait_key": "named"}))
        .await
        .expect(200);
    let now = known(&t, "eve").await;
    let gone = |known: &BTreeMap<String, (Option<String>, i64)>| {
        let gone = known.iter().filter(|(_, (value, _))| value.is_none());
        gone.map(|(key, _)| key.clone()).collect::<Vec<_>>()
    };
    assert_eq!(gone(&now), ["everywhere", "person", "renamed", "sdk"]);
    deliver(&t, &old(2)).await.expect(200);
    assert_eq!(known(&t, "eve").await, now);

    // What is set again is set, and later than the deletion.
    sdk(json!([set("person", json!("y"))])).await;
    let new = json!({"trait_key": "sdk", "string_value": "z"});
    ann.post(&format!("{eve}traits/"), new).await.expect(201);
    let after = known(&t, "eve").await;
    for (key, value) in [("person", "y"), ("sdk", "z")] {
        assert_eq!(after[key].0.as_deref(), Some(value));
        assert!(after[key].1 > now[key].1);
    }

    // An identity that goes, or goes under another name, leaves nothing to be brought back.
    ann.patch(&eve, json!({"identifier": "eva"}))
        .await
        .expect(200);
    deliver(&t, &old(3)).await.expect(200);
    assert_eq!(
        gone(&known(&t, "eve").await).len(),
        known(&t, "eve").await.len()
    );
    let eva = known(&t, "eva").await;
    assert_eq!(eva.len(), 4, "{eva:?}");
    let list = ann.get(IDENTITIES).await.expect(200);
    let rows = list["results"].as_array().unwrap();
    for row in rows {
        ann.delete(&format!("{IDENTITIES}{}/", row["id"]))
            .await
            .expect(204);
    }
    deliver(&t, &old(4)).await.expect(200);
    let row = t.sql().await;
    let row = row.query_one("select count(*) from identity_trait", &[]);
    assert_eq!(row.await.unwrap().get::<_, i64>(0), 0);
    // It comes back with what is later.
    let answer = sdk(json!([set("with", json!("new"))])).await;
    assert_eq!(answer["traits"].as_array().unwrap().len(), 1);
    served.stop().await;
}

#[tokio::test]
async fn a_person_is_later_than_an_edge_whose_clock_is_ahead() {
    let f = Fixture::start().await;
    target(&f.t, "one", SECRET, true).await;
    let ahead = (f.t.clock.now() + TimeDelta::minutes(4)).timestamp_micros();
    let gone = json!([version("plan", &Value::Null, ahead)]);
    let body = batch(1, &[seen("dev", "ann", ahead, &gone)]);
    deliver(&f.t, &body).await.expect(200);
    let id = f.ann.get(IDENTITIES).await.expect(200)["results"][0]["id"].clone();
    let path = format!("{IDENTITIES}{id}/traits/");
    let new = json!({"trait_key": "plan", "string_value": "pro"});
    f.ann.post(&path, new).await.expect(201);
    let known = known(&f.t, "ann").await;
    assert_eq!(known["plan"], (Some("pro".to_owned()), ahead + 1));
}
