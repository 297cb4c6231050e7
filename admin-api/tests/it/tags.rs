//! Tags, and the features that have them.

use serde_json::{Value, json};

use crate::fixture::{Fixture, column};

fn tags(f: &Fixture, rest: &str) -> String {
    format!("/api/v1/projects/{}/tags/{rest}", f.project)
}

async fn tag(f: &Fixture, label: &str) -> i64 {
    let made = f.ann.post(&tags(f, ""), json!({ "label": label })).await;
    made.expect(201)["id"].as_i64().unwrap()
}

#[tokio::test]
async fn a_tag_from_cradle_to_grave() {
    let f = Fixture::start().await;
    let body = json!({"label": "beta", "color": "#ff0000", "description": "stuff", "is_permanent": true,
        "is_system_tag": true, "type": "STALE", "project": 999});
    let made = f.ann.post(&tags(&f, ""), body).await.expect(201);
    let expected = json!({
        "id": made["id"], "label": "beta", "color": "#ff0000", "description": "stuff", "project": f.project,
        "uuid": made["uuid"], "is_permanent": true, "is_system_tag": false, "type": "NONE",
    });
    assert_eq!(made.to_string(), expected.to_string());
    let path = tags(&f, &format!("{}/", made["id"]));
    assert_eq!(f.ann.get(&path).await.expect(200), made);
    let by_uuid = format!("get-by-uuid/{}/", made["uuid"].as_str().unwrap());
    assert_eq!(f.ann.get(&tags(&f, &by_uuid)).await.expect(200), made);

    // Labels need not be unique, and everything else has a default.
    let plain = json!({"label": "beta"});
    let plain = f.ann.post(&tags(&f, ""), plain).await.expect(201);
    assert_eq!(
        (&plain["color"], &plain["description"], &plain["type"]),
        (&json!("#6837FC"), &Value::Null, &json!("NONE"))
    );
    let list = f.ann.get(&tags(&f, "")).await.expect(200);
    assert_eq!(list["results"], json!([made, plain]));
    let second = f
        .ann
        .get(&tags(&f, "?page=2&page_size=1"))
        .await
        .expect(200);
    assert_eq!(
        (&second["count"], &second["results"]),
        (&json!(2), &json!([plain]))
    );

    let body = json!({"label": "b", "color": "#112233"});
    let put = f.ann.put(&path, body).await.expect(200);
    assert_eq!(
        (&put["label"], &put["color"], &put["description"]),
        (&json!("b"), &json!("#112233"), &json!("stuff"))
    );
    let patch = json!({"description": "", "is_permanent": false});
    let patched = f.ann.patch(&path, patch).await.expect(200);
    assert_eq!(
        (&patched["description"], &patched["is_permanent"]),
        (&json!(""), &json!(false))
    );
    // Nothing new, nothing logged.
    assert_eq!(f.ann.put(&path, patched.clone()).await.expect(200), patched);
    assert_eq!(f.ann.get(&path).await.expect(200), patched);

    f.ann.delete(&path).await.expect(204);
    for gone in [path.as_str(), &tags(&f, &by_uuid), &tags(&f, "x/")] {
        assert_eq!(
            f.ann.get(gone).await.expect(404),
            json!({"detail": "No Tag matches the given query."})
        );
    }
    f.ann.delete(&path).await.expect(404);
    assert_eq!(
        f.audit(5).await,
        [
            "New Tag created: beta",
            "New Tag created: beta",
            "Tag updated: b",
            "Tag updated: b",
            "Tag deleted: b"
        ]
    );
    assert!(f.published().await.is_empty());
}

#[tokio::test]
async fn what_a_tag_may_not_be() {
    let f = Fixture::start().await;
    for (body, errors) in [
        (json!({}), json!({"label": ["This field is required."]})),
        (
            json!({"label": " ", "color": null}),
            json!({"label": ["This field may not be blank."], "color": ["This field may not be null."]}),
        ),
        (
            json!({"label": "c", "color": "#ff00000000000"}),
            json!({"color": ["Ensure this field has no more than 10 characters."]}),
        ),
        (
            json!({"label": "l".repeat(101), "description": "d".repeat(513)}),
            json!({"label": ["Ensure this field has no more than 100 characters."],
                "description": ["Ensure this field has no more than 512 characters."]}),
        ),
        (
            json!({"label": "c", "is_permanent": "perhaps"}),
            json!({"is_permanent": ["Must be a valid boolean."]}),
        ),
    ] {
        let reply = f.ann.post(&tags(&f, ""), body).await;
        assert_eq!(reply.expect(400), errors);
    }
    let id = tag(&f, "kept").await;
    let path = tags(&f, &format!("{id}/"));
    assert_eq!(
        f.ann.put(&path, json!({"color": "#fff"})).await.expect(400),
        json!({"label": ["This field is required."]})
    );

    // What the platform made is not for people to change.
    let sql = f.t.sql().await;
    let made = "update tag set is_system = true, type = 'UNHEALTHY' where id = $1";
    sql.execute(made, &[&id]).await.unwrap();
    assert_eq!(
        f.ann.patch(&path, json!({"label": "x"})).await.expect(400),
        json!({"non_field_errors": ["Cannot update a system tag."]})
    );
    assert_eq!(
        f.ann.delete(&path).await.expect(400),
        json!({"message": "Cannot delete a system tag."})
    );
    let shown = f.ann.get(&path).await.expect(200);
    assert_eq!(
        (&shown["label"], &shown["is_system_tag"], &shown["type"]),
        (&json!("kept"), &json!(true), &json!("UNHEALTHY"))
    );
}

#[tokio::test]
async fn features_have_tags_of_their_project() {
    let f = Fixture::start().await;
    let (one, two) = (tag(&f, "one").await, tag(&f, "two").await);
    let made = f
        .feature(json!({"name": "a", "tags": [two, one, two]}))
        .await;
    assert_eq!(made["tags"], json!([one, two]));
    f.published().await;

    let path = f.features(&format!("{}/", made["id"]));
    let patched = f.ann.patch(&path, json!({"tags": [two]})).await.expect(200);
    assert_eq!(patched["tags"], json!([two]));
    // Told of nothing, tags stay; told of the same ones, nothing happens.
    let patched = f.ann.patch(&path, json!({})).await.expect(200);
    assert_eq!(patched["tags"], json!([two]));
    f.ann.patch(&path, json!({"tags": [two]})).await.expect(200);
    f.ann
        .put(&path, json!({"name": "a", "tags": []}))
        .await
        .expect(200);
    assert_eq!(f.ann.get(&path).await.expect(200)["tags"], json!([]));
    assert_eq!(
        f.audit(3).await,
        [
            "New Flag / Remote Config created: a",
            "Flag / Remote Config updated: a",
            "Flag / Remote Config updated: a"
        ]
    );
    assert!(f.published().await.is_empty());

    let main = f.ann.get(&format!("/api/v1/projects/{}/", f.project)).await;
    let other = json!({"name": "Other", "organisation": main.expect(200)["organisation"]});
    let other = f.ann.post("/api/v1/projects/", other).await.expect(201)["id"].clone();
    let elsewhere = f
        .ann
        .post(
            &format!("/api/v1/projects/{other}/tags/"),
            json!({"label": "x"}),
        )
        .await
        .expect(201)["id"]
        .clone();
    let unknown =
        |id: &Value| json!({"tags": [format!("Invalid pk \"{id}\" - object does not exist.")]});
    for (said, errors) in [
        (json!([one, elsewhere]), unknown(&elsewhere)),
        (json!([0]), unknown(&json!(0))),
        (
            json!(["x"]),
            json!({"tags": ["Incorrect type. Expected pk value, received str."]}),
        ),
        (
            json!(null),
            json!({"tags": ["This field may not be null."]}),
        ),
    ] {
        let reply = f
            .ann
            .patch(&path, json!({"tags": said, "is_archived": true}))
            .await;
        assert_eq!(reply.expect(400), errors, "{said}");
    }
    let new = json!({"name": "b", "default_enabled": "x", "tags": [0]});
    let new = f.ann.post(&f.features(""), new).await.expect(400);
    assert_eq!(new["tags"], unknown(&json!(0))["tags"]);
    assert_eq!(new["default_enabled"], json!(["Must be a valid boolean."]));

    // A tag that goes is taken off its features.
    f.ann
        .patch(&path, json!({"tags": [one, two]}))
        .await
        .expect(200);
    f.ann
        .delete(&tags(&f, &format!("{one}/")))
        .await
        .expect(204);
    assert_eq!(f.ann.get(&path).await.expect(200)["tags"], json!([two]));
    f.ann.delete(&path).await.expect(204);
    f.ann.get(&tags(&f, &format!("{two}/"))).await.expect(200);
}

#[tokio::test]
async fn features_by_tags() {
    let f = Fixture::start().await;
    let (one, two, idle) = (
        tag(&f, "one").await,
        tag(&f, "two").await,
        tag(&f, "idle").await,
    );
    for (name, tags) in [
        ("first", json!([one])),
        ("second", json!([two])),
        ("both", json!([one, two])),
        ("none", json!([])),
    ] {
        f.feature(json!({"name": name, "tags": tags})).await;
    }
    for (query, names) in [
        (format!("tags={one}"), vec!["first", "both"]),
        (format!("tags={one},{two}"), vec!["both"]),
        (format!("tags={one},{one}"), vec!["first", "both"]),
        (
            format!("tags={one},{two}&tag_strategy=INTERSECTION"),
            vec!["both"],
        ),
        (
            format!("tags={one},{two},999&tag_strategy=UNION"),
            vec!["first", "second", "both"],
        ),
        (format!("tags={one},999"), vec![]),
        (format!("tags={idle}"), vec![]),
        ("tags=".to_owned(), vec!["none"]),
        ("tags=&tag_strategy=UNION".to_owned(), vec!["none"]),
        (
            "tag_strategy=UNION".to_owned(),
            vec!["first", "second", "both", "none"],
        ),
        (
            format!("tags={two}&environment={}", f.dev),
            vec!["second", "both"],
        ),
    ] {
        let page = f.ann.get(&f.features(&format!("?{query}"))).await;
        let page = page.expect(200);
        assert_eq!(column(&page, "name"), names, "{query}");
        assert_eq!(page["count"], names.len(), "{query}");
    }
    let page = f.ann.get(&f.features("?sort_field=name")).await.expect(200);
    assert_eq!(
        column(&page, "tags"),
        [json!([one, two]), json!([one]), json!([]), json!([two])]
    );
    let wrong = f.ann.get(&f.features("?tag_strategy=SOME")).await;
    assert_eq!(
        wrong.expect(400),
        json!({"tag_strategy": ["\"SOME\" is not a valid choice."]})
    );
}

#[tokio::test]
async fn a_tag_that_is_being_deleted_is_left_out() {
    let f = Fixture::start().await;
    let (going, staying) = (tag(&f, "going").await, tag(&f, "staying").await);
    let path = f.features(&format!("{}/", f.feature_id("a").await));
    let (deleting, watching) = (f.t.sql().await, f.t.sql().await);
    let delete = format!("begin; delete from tag where id = {going}");
    deleting.batch_execute(&delete).await.unwrap();
    let ann = f.ann.clone();
    let patch = tokio::spawn(async move {
        let body = json!({"tags": [going, staying]});
        ann.patch(&path, body).await
    });
    let waits = "select exists (select from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock')";
    while !watching
        .query_one(waits, &[])
        .await
        .unwrap()
        .get::<_, bool>(0)
    {
        assert!(!patch.is_finished(), "it did not wait");
        tokio::task::yield_now().await;
    }
    deleting.batch_execute("commit").await.unwrap();
    let patched = patch.await.unwrap().expect(200);
    assert_eq!(patched["tags"], json!([staying]));
}
