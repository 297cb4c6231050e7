//! Segments.

use serde_json::{Value, json};

use crate::fixture::{Fixture, column, rules};

#[tokio::test]
async fn a_segment_from_cradle_to_grave() {
    let f = Fixture::start().await;
    let body = json!({"name": "premium", "description": "d", "project": f.project, "rules": rules("plan", "premium")});
    let made = f.ann.post(&f.segments(""), body).await.expect(201);
    assert_eq!(
        made,
        json!({
            "id": made["id"], "uuid": made["uuid"],
            "created_at": "2026-01-02T03:04:05.678901Z", "updated_at": "2026-01-02T03:04:05.678901Z",
            "name": "premium", "description": "d", "project": f.project, "feature": null, "version_of": made["id"],
            "rules": [{"id": 1, "type": "ALL", "rules": [{"id": 2, "type": "ANY", "conditions": [
                {"id": 1, "operator": "EQUAL", "property": "plan", "value": "premium", "description": null}
            ]}], "conditions": []}],
            "metadata": [], "membership_counts": [], "managed_by": "",
        })
    );
    assert_eq!(f.published().await, ["dev", "prod"]);
    let path = f.segments(&format!("{}/", made["id"]));
    assert_eq!(f.ann.get(&path).await.expect(200), made);
    let by_uuid = format!(
        "/api/v1/segments/get-by-uuid/{}/",
        made["uuid"].as_str().unwrap()
    );
    assert_eq!(f.ann.get(&by_uuid).await.expect(200), made);

    f.t.clock.advance(chrono::TimeDelta::seconds(1));
    let renamed = f
        .ann
        .patch(&path, json!({"name": "gold"}))
        .await
        .expect(200);
    assert_eq!(
        (&renamed["name"], &renamed["rules"]),
        (&json!("gold"), &made["rules"])
    );
    assert_eq!(renamed["updated_at"], "2026-01-02T03:04:06.678901Z");
    assert_eq!(f.published().await, ["dev", "prod"]);

    // Sent back as it is, nothing changes: not an id, and nothing is published.
    assert_eq!(f.ann.put(&path, renamed.clone()).await.expect(200), renamed);
    assert!(f.published().await.is_empty());

    let body = json!({"name": "gold", "rules": [{"type": "ALL", "rules": [{"type": "ANY", "conditions": [
        {"operator": "EQUAL", "property": "plan", "value": "premium", "delete": true},
        {"operator": "EQUAL", "property": "plan", "value": "gold"},
    ]}]}]});
    let changed = f.ann.put(&path, body).await.expect(200);
    assert_eq!(
        changed["rules"],
        json!([{"id": 3, "type": "ALL", "rules": [{"id": 4, "type": "ANY", "conditions": [
            {"id": 2, "operator": "EQUAL", "property": "plan", "value": "gold", "description": null}
        ]}], "conditions": []}])
    );
    assert_eq!(changed["description"], "d");

    let copy = f
        .ann
        .post(&format!("{path}clone/"), json!({"name": "copy"}))
        .await
        .expect(201);
    assert_eq!(
        (&copy["name"], &copy["rules"][0]["id"]),
        (&json!("copy"), &json!(5))
    );
    assert_eq!(
        copy["rules"][0]["rules"][0]["conditions"][0]["value"],
        "gold"
    );
    assert_eq!(
        f.ann
            .post(&format!("{path}clone/"), json!({}))
            .await
            .expect(400),
        json!({"name": ["This field is required."]})
    );

    f.published().await;
    f.ann.delete(&path).await.expect(204);
    assert_eq!(f.published().await, ["dev", "prod"]);
    assert_eq!(
        f.ann.delete(&path).await.expect(404),
        json!({"detail": "No Segment matches the given query."})
    );
    assert_eq!(
        f.audit(5).await,
        [
            "New Segment created: premium",
            "Segment updated: gold",
            "Segment updated: gold",
            "New Segment created: copy",
            "Segment deleted: gold",
        ]
    );
}

#[tokio::test]
async fn deleting_a_segment_ends_its_overrides() {
    let f = Fixture::start().await;
    let x = f.feature_id("x").await;
    let vip = f.segment_id("vip").await;
    let value = json!({"type": "unicode", "string_value": "v"});
    let over = f.segment_override(x, json!({"segment": vip}), value).await;
    let path = f.segments(&format!("{vip}/associated-features/"));
    let listed = f.ann.get(&path).await.expect(200);
    assert_eq!(
        listed["results"],
        json!([{"id": over["id"], "feature": x, "environment": f.dev}])
    );
    let prod = f
        .ann
        .get(&format!("{path}?environment={}", f.prod))
        .await
        .expect(200);
    assert_eq!(prod["count"], 0);
    f.ann
        .delete(&f.segments(&format!("{vip}/")))
        .await
        .expect(204);
    let left = format!(
        "/api/v1/features/feature-segments/?environment={}&feature={x}",
        f.dev
    );
    assert_eq!(f.ann.get(&left).await.expect(200)["count"], 0);
    let states = format!(
        "/api/v1/features/featurestates/?environment={}&feature={x}",
        f.dev
    );
    assert_eq!(f.ann.get(&states).await.expect(200)["count"], 1);
}

#[tokio::test]
async fn lists_are_searched_and_paged() {
    let f = Fixture::start().await;
    let x = f.feature_id("x").await;
    for name in ["alpha", "beta"] {
        f.segment_id(name).await;
    }
    let only = json!({"name": "Alpha only", "feature": x, "rules": rules("a", "b")});
    f.ann.post(&f.segments(""), only).await.expect(201);
    for (query, names) in [
        ("", vec!["alpha", "beta", "Alpha only"]),
        ("?q=ALPHA", vec!["alpha", "Alpha only"]),
        ("?include_feature_specific=false", vec!["alpha", "beta"]),
        ("?page_size=1&page=2", vec!["beta"]),
    ] {
        let page = f.ann.get(&f.segments(query)).await.expect(200);
        assert_eq!(column(&page, "name"), names, "{query}");
    }
    // Names need not be unique.
    f.segment_id("alpha").await;
}

#[tokio::test]
async fn what_is_wrong_is_told_in_flagsmiths_words() {
    let f = Fixture::start().await;
    let condition = |operator: &str, property: Value| {
        json!({"name": "x", "rules": [{"type": "ALL", "rules": [{"type": "ANY", "conditions": [
            {"operator": operator, "property": property, "value": "1"}]}]}]})
    };
    for (body, error) in [
        (
            json!({}),
            json!({"name": ["This field is required."], "rules": ["This field is required."]}),
        ),
        (
            json!({"name": "x", "rules": []}),
            json!({"rules": {"non_field_errors": ["This list may not be empty."]}}),
        ),
        // The reference fails at this.
        (
            json!({"name": "x", "rules": null}),
            json!({"rules": ["This field may not be null."]}),
        ),
        (
            condition("NOPE", json!("p")),
            json!({"rules": [{"rules": [{"conditions": [{"operator": ["\"NOPE\" is not a valid choice."]}]}]}]}),
        ),
        (
            condition("EQUAL", json!(null)),
            json!({"rules": [{"rules": [{"conditions": [{"property": ["This field may not be blank."]}]}]}]}),
        ),
        (
            json!({"name": "x", "rules": rules("a", "b"), "feature": 999_999}),
            json!({"feature": ["Invalid pk \"999999\" - object does not exist."]}),
        ),
    ] {
        assert_eq!(f.ann.post(&f.segments(""), body).await.expect(400), error);
    }
    f.ann
        .post(&f.segments(""), condition("PERCENTAGE_SPLIT", json!(null)))
        .await
        .expect(201);
    let id = f.segment_id("vip").await;
    let path = f.segments(&format!("{id}/"));
    assert_eq!(
        f.ann.put(&path, json!({"name": "y"})).await.expect(400),
        json!({"rules": ["This field is required."]})
    );
    f.ann.get(&f.segments("999999/")).await.expect(404);
    f.published().await;
    for person in [&f.bob, &f.eve] {
        person.get(&f.segments("")).await.expect(404);
        person
            .post(&f.segments(""), condition("EQUAL", json!("p")))
            .await
            .expect(404);
        person.get(&path).await.expect(404);
        person.put(&path, json!({})).await.expect(404);
        person.patch(&path, json!({})).await.expect(404);
        person.delete(&path).await.expect(404);
        person
            .post(&format!("{path}clone/"), json!({"name": "x"}))
            .await
            .expect(404);
        person
            .get(&format!("{path}associated-features/"))
            .await
            .expect(404);
    }
    assert!(f.published().await.is_empty());
}
